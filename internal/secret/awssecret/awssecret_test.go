package awssecret_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret/awssecret"
)

const value = "hunter2-hunter2"

// standIn answers as both services do: JSON 1.1, the operation in a header.
func standIn(t *testing.T) *awssecret.Resolver {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			SecretId, Name string
			WithDecryption bool
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		switch target := r.Header.Get("X-Amz-Target"); {
		case strings.HasPrefix(in.SecretId+in.Name, "fail-"):
			code := strings.TrimPrefix(in.SecretId+in.Name, "fail-")
			status := http.StatusBadRequest
			if code == "InternalServerError" {
				status = http.StatusInternalServerError
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"__type":%q,"message":"quotes %s"}`, code, value)
		case target == "secretsmanager.GetSecretValue" && in.SecretId == "binary":
			fmt.Fprint(w, `{"SecretBinary":"AAAA"}`)
		case target == "secretsmanager.GetSecretValue" && in.SecretId == "object":
			fmt.Fprintf(w, `{"SecretString":%q}`, `{"token":"`+value+`","n":1}`)
		case target == "secretsmanager.GetSecretValue":
			fmt.Fprintf(w, `{"SecretString":%q}`, value)
		case target == "AmazonSSM.GetParameter" && in.WithDecryption:
			fmt.Fprintf(w, `{"Parameter":{"Name":%q,"Value":%q}}`, in.Name, value)
		default:
			t.Errorf("unexpected %s %+v", target, in)
		}
	}))
	t.Cleanup(server.Close)
	return awssecret.New(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
}

func TestResolve(t *testing.T) {
	r := standIn(t)
	for _, c := range [][2]string{
		{"secretsmanager", "plain"},
		{"secretsmanager", "arn:aws:secretsmanager:eu-central-1:111122223333:secret:a-AbCdEf"},
		{"secretsmanager", "object#token"},
		{"ssm", "/lifeboat/token"},
	} {
		got, err := r.Resolve(t.Context(), c[0], c[1])
		if err != nil || got.Reveal() != value {
			t.Errorf("%v: %q, %v", c, got.Reveal(), err)
		}
	}
}

func TestErrors(t *testing.T) {
	r := standIn(t)
	for _, c := range []struct {
		scheme, name string
		kind         failure.Kind
	}{
		{"secretsmanager", "binary", failure.Usage},
		{"secretsmanager", "plain#token", failure.Usage},
		{"secretsmanager", "object#n", failure.Usage},
		{"secretsmanager", "object#none", failure.Usage},
		{"secretsmanager", "fail-ResourceNotFoundException", failure.NotFound},
		{"secretsmanager", "fail-AccessDeniedException", failure.Denied},
		{"secretsmanager", "fail-ThrottlingException", failure.Transient},
		{"secretsmanager", "fail-InvalidRequestException", failure.Usage},
		{"ssm", "fail-ParameterNotFound", failure.NotFound},
		{"ssm", "fail-AccessDeniedException", failure.Denied},
		{"ssm", "fail-InternalServerError", failure.Transient},
		{"ssm", "fail-Unheard", failure.Internal},
	} {
		got, err := r.Resolve(t.Context(), c.scheme, c.name)
		if failure.KindOf(err) != c.kind || !got.Empty() {
			t.Errorf("%s %s: %v, %v", c.scheme, c.name, failure.KindOf(err), err)
		}
		if text := fmt.Sprint(err, failure.HintOf(err)); strings.Contains(text, value) {
			t.Errorf("%s %s shows the value: %s", c.scheme, c.name, text)
		}
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	r := awssecret.New(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	if _, err := r.Resolve(t.Context(), "ssm", "a"); failure.KindOf(err) != failure.Transient {
		t.Errorf("%v, %v", failure.KindOf(err), err)
	}
}
