package runtimeapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Services are stand-ins shaped like Secrets Manager, the parameter store of SSM, SES, the MACs of KMS, and StartExecution
// and DescribeExecution of Step Functions. One address serves all of them: AWS_ENDPOINT_URL_SECRETS_MANAGER,
// AWS_ENDPOINT_URL_SSM, AWS_ENDPOINT_URL_SESV2, AWS_ENDPOINT_URL_KMS and AWS_ENDPOINT_URL_SFN name it.
type Services struct {
	// MACs holds the HMAC keys by ARN: whatever of them is asked for is there.
	MACs       map[string][]byte
	Secrets    map[string]string // by name or ARN
	Parameters map[string]string
	// Started hears of each execution that was started, on a goroutine of its own; nobody does where it is nil. Such an
	// execution runs until End.
	Started func(machine, name, input string)

	mutex      sync.Mutex
	mails      [][]byte
	asked      map[string]int
	executions map[string]*execution
}

// execution is one of a state machine.
type execution struct {
	machine, input string
	ended          Ended
}

// Ended is how an execution ended; the zero value is one that runs.
type Ended struct {
	Status       string // SUCCEEDED, FAILED, TIMED_OUT, ABORTED
	Output       string
	Error, Cause string
}

// Executions returns the inputs of the executions that were started, by name.
func (s *Services) Executions() map[string]string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	inputs := map[string]string{}
	for name, e := range s.executions {
		inputs[name] = e.input
	}
	return inputs
}

// End ends an execution.
func (s *Services) End(name string, how Ended) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if e := s.executions[name]; e != nil {
		e.ended = how
	}
}

// Mails returns the mails that were sent, as raw MIME.
func (s *Services) Mails() [][]byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([][]byte{}, s.mails...)
}

// Asked returns how often a secret or parameter was asked for, or TrentService.GenerateMac and TrentService.VerifyMac of KMS.
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
		ExecutionArn    string
		KeyId           string
		MacAlgorithm    string
		Message, Mac    []byte
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
	case target == "TrentService.GenerateMac" || target == "TrentService.VerifyMac":
		s.mac(w, target, in.KeyId, in.MacAlgorithm, in.Message, in.Mac)
	case target == "AWSStepFunctions.StartExecution":
		s.start(w, in.StateMachineArn, in.Name, in.Input)
	case target == "AWSStepFunctions.DescribeExecution":
		s.describe(w, in.ExecutionArn)
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

// mac makes or checks a code as KMS does: a wrong one is an error, not a "no".
func (s *Services) mac(w http.ResponseWriter, target, id, algorithm string, message, code []byte) {
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[target]++
	refuse := func(code string) { answerJSON(w, http.StatusBadRequest, map[string]string{"__type": code}) }
	key, ok := s.MACs[id]
	switch {
	case !ok:
		refuse("NotFoundException")
		return
	case algorithm != "HMAC_SHA_256" || len(message) == 0 || len(message) > 4096:
		refuse("ValidationException")
		return
	}
	h := hmac.New(sha256.New, key)
	h.Write(message)
	sum := h.Sum(nil)
	answer := map[string]any{"KeyId": id, "MacAlgorithm": algorithm}
	switch {
	case target == "TrentService.GenerateMac":
		answer["Mac"] = sum
	case !hmac.Equal(sum, code):
		refuse("KMSInvalidMacException")
		return
	default:
		answer["MacValid"] = true
	}
	answerJSON(w, http.StatusOK, answer)
}

// start remembers an execution. A name is taken for ever, as it is for a closed execution on AWS.
func (s *Services) start(w http.ResponseWriter, machine, name, input string) {
	if _, there := s.executions[name]; there {
		answerJSON(w, http.StatusBadRequest, map[string]string{"__type": "ExecutionAlreadyExists", "message": name})
		return
	}
	if s.executions == nil {
		s.executions = map[string]*execution{}
	}
	s.executions[name] = &execution{machine: machine, input: input}
	if s.Started != nil {
		go s.Started(machine, name, input)
	}
	answerJSON(w, http.StatusOK, map[string]any{"executionArn": arnOf(machine, name), "startDate": 1795226400})
}

func arnOf(machine, name string) string {
	return strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + name
}

func (s *Services) describe(w http.ResponseWriter, arn string) {
	for name, e := range s.executions {
		if arnOf(e.machine, name) != arn {
			continue
		}
		answer := map[string]any{
			"executionArn": arn, "stateMachineArn": e.machine, "name": name, "input": e.input, "startDate": 1795226400, "status": "RUNNING",
		}
		if e.ended.Status != "" {
			answer["status"], answer["stopDate"] = e.ended.Status, 1795226500
		}
		for field, value := range map[string]string{"output": e.ended.Output, "error": e.ended.Error, "cause": e.ended.Cause} {
			if value != "" {
				answer[field] = value
			}
		}
		answerJSON(w, http.StatusOK, answer)
		return
	}
	answerJSON(w, http.StatusBadRequest, map[string]string{"__type": "ExecutionDoesNotExist", "message": "Execution Does Not Exist"})
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client is on this machine
}
