package vault_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

const reader = "arn:aws:iam::111122223333:role/lifeboat-reader"

// onlyHere points the SDK to servers of the test, and away from what the machine has.
func onlyHere(t *testing.T, sts, store http.Handler) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "OURS", "AWS_SECRET_ACCESS_KEY": "ours", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "eu-central-1",
		"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	for name, handler := range map[string]http.Handler{"AWS_ENDPOINT_URL_STS": sts, "AWS_ENDPOINT_URL_S3": store} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		t.Setenv(name, server.URL)
	}
}

// TestRole: the role is assumed once, with the machine's credentials, and every request is signed with what it gets; what
// ends soon is renewed.
func TestRole(t *testing.T) {
	var got []string
	store := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+runtimeapi.AccessKey(r)+" "+r.Header.Get("X-Amz-Security-Token")+" "+r.Header.Get("X-Amz-Expected-Bucket-Owner"))
		if !strings.Contains(r.Header.Get("Authorization"), "x-amz-expected-bucket-owner") {
			t.Error("the owner is not signed")
		}
	})
	sts := &runtimeapi.STS{Roles: map[string]runtimeapi.Trust{reader: {Principal: "OURS", ExternalID: "x-77", AccessKey: "THEIRS", SecretKey: "theirs", Token: "token"}}}
	onlyHere(t, sts, store)
	client, err := vault.Connect(t.Context(), vault.Store{
		Role: vault.Role{ARN: reader, ExternalID: secret.New("x-77"), Session: "lifeboat-papers"}, Owner: "111122223333",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sts.Assumed()) != 0 {
		t.Error("connecting asks STS already")
	}
	for range 3 {
		if _, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("data"), Key: aws.String("k")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{
		Bucket: aws.String("data"), Key: aws.String("k"), UploadId: aws.String("u"), PartNumber: aws.Int32(1), CopySource: aws.String("vault/p"),
	}); err != nil {
		t.Log(err) // the request is what counts
	}
	want := []string{"HEAD THEIRS token 111122223333", "HEAD THEIRS token 111122223333", "HEAD THEIRS token 111122223333", "PUT THEIRS token 111122223333"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]runtimeapi.Assumed{{Role: reader, Session: "lifeboat-papers", Principal: "OURS"}}, sts.Assumed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	sts.Life = time.Minute
	if client, err = vault.Connect(t.Context(), vault.Store{Role: vault.Role{ARN: reader, ExternalID: secret.New("x-77"), Session: "s1"}, Owner: "1"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("data"), Key: aws.String("k")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(sts.Assumed()); n != 3 {
		t.Errorf("credentials that are about to end were renewed %d times, want 2", n-1)
	}
}

// TestRoleRefused: each way not to get a role is one sentence with its kind, and says where to look.
func TestRoleRefused(t *testing.T) {
	answer := func(status int, code string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, "<ErrorResponse><Error><Code>%s</Code><Message>User: arn:aws:iam::1:user/x is secretive</Message></Error></ErrorResponse>", code)
		})
	}
	sts := &runtimeapi.STS{Roles: map[string]runtimeapi.Trust{reader: {ExternalID: "x-77", AccessKey: "THEIRS", SecretKey: "theirs"}}}
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, test := range map[string]struct {
		sts     http.Handler
		id      string
		keyless bool
		kind    failure.Kind
		want    string
		hint    string
	}{
		"wrong external id": {sts, "x-78", false, failure.Denied, "the role " + reader + " can't be assumed (AccessDenied)", "its sts:ExternalId is the bucket's external-id"},
		"no external id":    {sts, "", false, failure.Denied, "the role " + reader + " can't be assumed (AccessDenied)", "whether it asks for an external-id"},
		"own keys":          {answer(403, "InvalidClientTokenId"), "x-77", false, failure.Denied, "the role " + reader + " can't be assumed (InvalidClientTokenId)", "check the credentials"},
		"invalid":           {answer(400, "ValidationError"), "x-77", false, failure.Usage, "STS takes no such request for the role " + reader + " (ValidationError)", "external-id"},
		"throttled":         {answer(400, "Throttling"), "x-77", false, failure.Transient, "STS gives no credentials of the role " + reader + " now (Throttling)", "later"},
		"down":              {answer(503, "ServiceUnavailable"), "x-77", false, failure.Transient, "STS gives no credentials of the role " + reader + " now (ServiceUnavailable)", "later"},
		"unreachable":       {nil, "x-77", false, failure.Transient, "STS does not answer, which gives the credentials of the role " + reader, "reached"},
		"no credentials":    {sts, "x-77", true, failure.Denied, "there are no credentials to assume the role " + reader + " with", "AWS SDK"},
	} {
		t.Run(name, func(t *testing.T) {
			onlyHere(t, test.sts, http.NotFoundHandler())
			t.Setenv("AWS_MAX_ATTEMPTS", "1") // the SDK's own patience is not what is tested
			if test.sts == nil {
				t.Setenv("AWS_ENDPOINT_URL_STS", gone.URL)
			}
			if test.keyless {
				t.Setenv("AWS_ACCESS_KEY_ID", "")
			}
			client, err := vault.Connect(t.Context(), vault.Store{Role: vault.Role{ARN: reader, ExternalID: secret.New(test.id), Session: "s1"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("data"), Key: aws.String("k")})
			err = vault.Fault(err, "look")
			if got := err.Error(); got != "look: "+test.want || failure.KindOf(err) != test.kind || !strings.Contains(failure.HintOf(err), test.hint) {
				t.Errorf("%s: %s\n%s", failure.KindOf(err), got, failure.HintOf(err))
			}
		})
	}
}
