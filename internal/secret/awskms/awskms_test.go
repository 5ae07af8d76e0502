package awskms_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/manifest"
	"lifeboat/internal/secret/awskms"
)

const arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd"

var _ manifest.Authenticator = (*awskms.MAC)(nil)

func open(t *testing.T, service http.Handler, key string) *awskms.MAC {
	t.Helper()
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	return awskms.New(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}, key)
}

func TestMAC(t *testing.T) {
	mac := open(t, &runtimeapi.Services{MACs: map[string][]byte{arn: []byte("key")}}, arn)
	message := []byte("lifeboat mac 1\n")
	code, err := mac.Make(t.Context(), message)
	again, _ := mac.Make(t.Context(), message)
	if err != nil || len(code) != 32 || !bytes.Equal(code, again) || mac.Key() != arn {
		t.Fatalf("%x, %x, %v", code, again, err)
	}
	if ok, err := mac.Verify(t.Context(), message, code); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := mac.Verify(t.Context(), []byte("another"), code); ok || err != nil {
		t.Errorf("of another message: %v, %v", ok, err)
	}
	if _, err := mac.Make(t.Context(), make([]byte, 4097)); failure.KindOf(err) != failure.Internal {
		t.Errorf("too long: %v", err)
	}
	other := open(t, &runtimeapi.Services{}, arn)
	if _, err := other.Make(t.Context(), message); failure.KindOf(err) != failure.Denied || failure.HintOf(err) == "" {
		t.Errorf("no such key: %v", err)
	}
}

func TestFaults(t *testing.T) {
	for code, want := range map[string]failure.Kind{
		"AccessDeniedException": failure.Denied, "DisabledException": failure.Denied, "KMSInvalidStateException": failure.Denied,
		"NotFoundException": failure.Denied, "InvalidKeyUsageException": failure.Usage, "ThrottlingException": failure.Transient,
		"KMSInternalException": failure.Transient, "SomethingElse": failure.Internal,
	} {
		mac := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			status := http.StatusBadRequest
			if code == "KMSInternalException" {
				status = http.StatusInternalServerError
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"__type":%q,"message":"quotes what it was asked"}`, code)
		}), arn)
		_, err := mac.Make(t.Context(), []byte("m"))
		_, second := mac.Verify(t.Context(), []byte("m"), []byte("c"))
		if failure.KindOf(err) != want || failure.KindOf(second) != want || strings.Contains(err.Error(), "quotes") {
			t.Errorf("%s: %v, %v", code, err, second)
		}
	}
	gone := open(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), arn)
	if _, err := gone.Make(t.Context(), []byte("m")); failure.KindOf(err) != failure.Transient {
		t.Errorf("no answer: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gone.Make(canceled, []byte("m")); failure.KindOf(err) != failure.Canceled {
		t.Errorf("canceled: %v", err)
	}
}
