package runtimeapi

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// Services are stand-ins shaped like Secrets Manager, the parameter store of SSM, SES, and StartExecution of Step
// Functions. One address serves all of them: AWS_ENDPOINT_URL_SECRETS_MANAGER, AWS_ENDPOINT_URL_SSM,
// AWS_ENDPOINT_URL_SESV2 and AWS_ENDPOINT_URL_SFN name it.
type Services struct {
	Secrets    map[string]string // by name or ARN
	Parameters map[string]string

	mutex      sync.Mutex
	mails      [][]byte
	asked      map[string]int
	executions map[string]string
}

// Executions returns the inputs of the executions that were started, by name.
func (s *Services) Executions() map[string]string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return maps.Clone(s.executions)
}

// Mails returns the mails that were sent, as raw MIME.
func (s *Services) Mails() [][]byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([][]byte{}, s.mails...)
}

// Asked returns how often a secret or parameter was asked for.
func (s *Services) Asked(name string) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.asked[name]
}

// ServeHTTP implements http.Handler.
func (s *Services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		return
	}
	var in struct {
		SecretId, Name  string
		Content         struct{ Raw struct{ Data []byte } }
		Input           string
		StateMachineArn string
	}
	if err := json.Unmarshal(body, &in); err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]string{"__type": "SerializationException"})
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch target := r.Header.Get("X-Amz-Target"); {
	case target == "secretsmanager.GetSecretValue":
		s.value(w, s.Secrets, in.SecretId, "ResourceNotFoundException", func(v string) any { return map[string]string{"SecretString": v} })
	case target == "AmazonSSM.GetParameter":
		s.value(w, s.Parameters, in.Name, "ParameterNotFound", func(v string) any {
			return map[string]any{"Parameter": map[string]string{"Name": in.Name, "Value": v}}
		})
	case target == "AWSStepFunctions.StartExecution":
		s.start(w, in.StateMachineArn, in.Name, in.Input)
	case strings.HasPrefix(r.URL.Path, "/v2/email/outbound-emails"):
		s.mails = append(s.mails, in.Content.Raw.Data)
		answerJSON(w, http.StatusOK, map[string]string{"MessageId": "0107"})
	default:
		answerJSON(w, http.StatusBadRequest, map[string]string{"__type": "UnknownOperationException"})
	}
}

func (s *Services) value(w http.ResponseWriter, values map[string]string, name, missing string, answer func(string) any) {
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[name]++
	if value, ok := values[name]; ok {
		answerJSON(w, http.StatusOK, answer(value))
		return
	}
	answerJSON(w, http.StatusBadRequest, map[string]string{"__type": missing})
}

// start remembers an execution. A name is taken for ever, as it is for a closed execution on AWS.
func (s *Services) start(w http.ResponseWriter, machine, name, input string) {
	if _, there := s.executions[name]; there {
		answerJSON(w, http.StatusBadRequest, map[string]string{"__type": "ExecutionAlreadyExists", "message": name})
		return
	}
	if s.executions == nil {
		s.executions = map[string]string{}
	}
	s.executions[name] = input
	answerJSON(w, http.StatusOK, map[string]any{"executionArn": machine + ":" + name, "startDate": 1795226400})
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client is on this machine
}
