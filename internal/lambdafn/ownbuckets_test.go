package lambdafn

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/remote"
)

const ofMany = `
vault: ./v
sources:
  plain: {kind: files, path: s3://plain}
  named: {kind: files, path: {s3: "s3://named", owner: "444455556666"}}
  role: {kind: files, path: {s3: "s3://role", role: "arn:aws:iam::777788889999:role/r"}}
  keyed: {kind: files, path: {s3: "s3://keyed", access-key: "secretsmanager:a", secret-key: "secretsmanager:b"}}
  elsewhere: {kind: files, path: {s3: "s3://elsewhere", endpoint: "https://s3.example.org", access-key: "secretsmanager:a", secret-key: "secretsmanager:b"}}
targets:
  back: {kind: files, path: s3://back}
`

// TestOwnBuckets: a bucket that a function reaches with its own role belongs to the account of the stack, unless the file
// names another.
func TestOwnBuckets(t *testing.T) {
	c, err := config.Parse("lifeboat.yaml", []byte(ofMany), "/")
	if err != nil {
		t.Fatal(err)
	}
	ownBuckets(c, "111122223333")
	got := map[string]string{}
	for _, s := range c.Sources {
		got[string(s.Name)] = s.Datasource.Bucket.Owner
	}
	for _, to := range c.Targets {
		got[to.Name] = to.Datasource.Bucket.Owner
	}
	want := map[string]string{"plain": "111122223333", "named": "444455556666", "role": "777788889999", "keyed": "", "elsewhere": "", "back": "111122223333"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestConfigurationOwner: the configuration is read from a bucket of the stack's account only.
func TestConfigurationOwner(t *testing.T) {
	owner := "111122223333"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if named := r.Header.Get("X-Amz-Expected-Bucket-Owner"); named != "" && named != owner {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<Error><Code>AccessDenied</Code></Error>"))
			return
		}
		_, _ = w.Write([]byte("vault: ./v\nsources: {a: {kind: files, path: s3://aaa}}\n"))
	}))
	defer server.Close()
	client := s3.New(s3.Options{
		Region: "eu-central-1", BaseEndpoint: &server.URL, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	about := remote.Stack{Config: "s3://cdk-assets/lifeboat.yaml", VaultBucket: "vault", Account: owner}
	if _, err := remote.Configuration(t.Context(), client, about); err != nil {
		t.Error(err)
	}
	owner = "999999999999" // somebody has made the bucket anew
	if _, err := remote.Configuration(t.Context(), client, about); failure.KindOf(err) != failure.Denied {
		t.Errorf("the bucket of somebody else: %v", err)
	}
}
