package notify_test

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
	"lifeboat/internal/notify"
)

// sesRequest is what the v2 API gets.
type sesRequest struct {
	FromEmailAddress     string
	ConfigurationSetName string
	Destination          struct{ ToAddresses []string }
	Content              struct{ Raw struct{ Data []byte } }
}

// sesStandIn is shaped like SES: POST /v2/email/outbound-emails.
func sesStandIn(t *testing.T, answer func(http.ResponseWriter, sesRequest)) aws.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in sesRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v2/email/outbound-emails" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		w.Header().Set("Content-Type", "application/json")
		answer(w, in)
	}))
	t.Cleanup(server.Close)
	return awsConfig(server.URL)
}

func awsConfig(url string) aws.Config {
	return aws.Config{
		Region: "eu-central-1", BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}
}

func TestSES(t *testing.T) {
	sent, raw := compose(t, partialMessage())
	var got sesRequest
	config := sesStandIn(t, func(w http.ResponseWriter, in sesRequest) {
		got = in
		fmt.Fprint(w, `{"MessageId":"0107019a"}`)
	})
	receipt, err := notify.NewSES(config, "lifeboat").Send(t.Context(), sent)
	if err != nil || receipt.Status != notify.Sent || receipt.Detail != "SES message 0107019a" {
		t.Fatalf("%v, %v", receipt, err)
	}
	if string(got.Content.Raw.Data) != string(raw) {
		t.Errorf("SES got other bytes than SMTP would:\n%s", got.Content.Raw.Data)
	}
	if got.FromEmailAddress != "lifeboat@example.org" || fmt.Sprint(got.Destination.ToAddresses) != "[anna@example.org]" || got.ConfigurationSetName != "lifeboat" {
		t.Errorf("%+v", got)
	}
}

func TestSESRefusals(t *testing.T) {
	sent, _ := compose(t, okMessage())
	for code, want := range map[string]struct {
		status int
		kind   failure.Kind
	}{
		"MessageRejected":                    {400, failure.Invalid},
		"MailFromDomainNotVerifiedException": {400, failure.Denied},
		"SendingPausedException":             {400, failure.Denied},
		"AccessDeniedException":              {403, failure.Denied},
		"NotFoundException":                  {404, failure.NotFound},
		"LimitExceededException":             {400, failure.Exhausted},
		"TooManyRequestsException":           {429, failure.Transient},
		"BadRequestException":                {400, failure.Invalid},
		"InternalFailure":                    {500, failure.Transient},
	} {
		config := sesStandIn(t, func(w http.ResponseWriter, _ sesRequest) {
			w.Header().Set("X-Amzn-ErrorType", code)
			w.WriteHeader(want.status)
			fmt.Fprint(w, `{"message":"Email address is not verified \u202e"}`)
		})
		_, err := notify.NewSES(config, "").Send(t.Context(), sent)
		if failure.KindOf(err) != want.kind || strings.Contains(fmt.Sprint(err), "\u202e") {
			t.Errorf("%s: %v (%v), want %v", code, err, failure.KindOf(err), want.kind)
		}
		if code == "AccessDeniedException" && !strings.Contains(failure.HintOf(err), "identity/*") { // not the sender's only: see the sandbox
			t.Errorf("the hint is %q", failure.HintOf(err))
		}
	}
}

func TestSESUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	sent, _ := compose(t, okMessage())
	if _, err := notify.NewSES(awsConfig(server.URL), "").Send(t.Context(), sent); failure.KindOf(err) != failure.Transient {
		t.Errorf("%v (%v)", err, failure.KindOf(err))
	}
}
