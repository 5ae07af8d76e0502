package lambdafn_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/events"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/lambdafn/runtimeapi"
	"lifeboat/internal/local"
	"lifeboat/internal/machine"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
	"lifeboat/workflow"
)

// The account of the buckets that the functions reach with a role only; the server takes its access key for its account.
const (
	partner     = "444455556666"
	partnerKey  = "444455556666444455556666"
	partnerRole = "arn:aws:iam::" + partner + ":role/lifeboat"
	partnerID   = "lifeboat-7f3e9a2c"
)

// TestAccounts runs a backup and a restore of buckets in another account through the built functions: export, copy and
// restore assume the role that the configuration names, and nobody reaches the buckets in another way.
func TestAccounts(t *testing.T) {
	s := newStack(t)
	server := partnerServer(t)
	client, err := vault.Connect(t.Context(), vault.Store{
		Endpoint: server.URL(), Region: server.Region(), HTTP: server.HTTPClient(), AccessKey: secret.New(partner), SecretKey: secret.New(partnerKey),
	})
	if err != nil {
		t.Fatal(err)
	}
	from, to := vault.New(client, "partner", nil), vault.New(client, "partner-back", nil)
	want := map[string]string{"in/large.bin": strings.Repeat("0123456789abcdef", 3<<18), "in/small": "small"}
	for _, b := range []*vault.Vault{from, to} {
		if err := b.CreateBucket(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for key, text := range want {
		if _, err := from.Put(t.Context(), vault.Key(key), []byte(text), vault.Always()); err != nil {
			t.Fatal(err)
		}
	}
	refused := s.partners(server)
	sts := &runtimeapi.STS{Roles: map[string]runtimeapi.Trust{partnerRole: {ExternalID: partnerID, AccessKey: partner, SecretKey: partnerKey}}}
	s.with("AWS_ENDPOINT_URL_STS", sts)
	configuration := strings.NewReplacer("ROLE", partnerRole, "ID", partnerID).Replace(`
vault: ./vault
sources:
  theirs: {kind: files, prefer: speed, path: {s3: s3://partner/in, role: "ROLE", external-id: "ssm:/external-id"}}
targets:
  back: {kind: files, path: {s3: s3://partner-back/in, role: "ROLE", external-id: ID}}
`)
	s.services.Parameters["/external-id"] = partnerID
	s.services.Parameters["/config"] = configuration
	s.put("assets", "3f2a.yaml", []byte(configuration))

	record, outcome := s.backup("theirs", time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC))
	if record.Status != backup.Completed || outcome.Status != machine.Succeeded || record.Objects != 2 {
		s.explain()
		t.Fatalf("the backup is %s: %+v, %+v", record.Status, record.Failure, outcome)
	}
	restore := events.Restore{From: events.From{Backup: string(record.ID)}, To: events.To{Target: "back"}, StartedBy: catalog.Starter{By: "person"}}
	if outcome := s.execute(workflow.Restore, workflow.RestoreFunctions, "restore", "restore", events.RestoreInput{Restore: restore}); outcome.Status != machine.Succeeded {
		s.explain()
		t.Fatalf("the restore: %+v", outcome)
	}
	got := map[string]string{}
	for info, err := range to.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		data, _, err := to.Get(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		got[string(info.Key)] = string(data)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("restored (-want +got):\n%.2000s", diff)
	}
	if n := refused.Load(); n > 0 {
		t.Errorf("%d requests to the other account's buckets were made with other keys, or name another owner", n)
	}
	sessions := map[string]bool{}
	for _, a := range sts.Assumed() {
		sessions[a.Session] = true
	}
	if diff := cmp.Diff(map[string]bool{"lifeboat-theirs": true, "lifeboat-back": true}, sessions); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
}

func partnerServer(t *testing.T) *local.Server {
	t.Helper()
	folder := t.TempDir()
	err := os.Mkdir(filepath.Join(folder, "server"), 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "server", "credentials.json"), fmt.Appendf(nil, `{"access":%q,"secret":%q}`, partner, partnerKey), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	server, err := local.Attach(t.Context(), folder, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// partners has every function find the buckets of the other account behind the address where it finds its own. It counts
// the requests for them that nobody should make.
func (s *stack) partners(server *local.Server) *atomic.Int64 {
	s.t.Helper()
	var refused atomic.Int64
	guard, err := runtimeapi.NewGuard(server.URL(), server.HTTPClient().Transport, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	guard.Ask = func(r *http.Request, _, _, _ string) bool {
		if runtimeapi.AccessKey(r) == partner && r.Header.Get("X-Amz-Expected-Bucket-Owner") == partner {
			return true
		}
		refused.Add(1)
		return false
	}
	for _, f := range deployed.Functions {
		function := s.functions[f.Name]
		i := slices.IndexFunc(function.Variables, func(v string) bool { return strings.HasPrefix(v, "AWS_ENDPOINT_URL_S3=") })
		own, err := url.Parse(strings.TrimPrefix(function.Variables[i], "AWS_ENDPOINT_URL_S3="))
		if err != nil {
			s.t.Fatal(err)
		}
		pass := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = own.Scheme, own.Host, r.In.Host // the signature is over the host that was asked
		}}
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/partner") {
				guard.ServeHTTP(w, r)
				return
			}
			pass.ServeHTTP(w, r)
		}))
		s.t.Cleanup(front.Close)
		function.Variables[i] = "AWS_ENDPOINT_URL_S3=" + front.URL
	}
	return &refused
}

// with gives every function a variable that names a server.
func (s *stack) with(variable string, handler http.Handler) {
	server := httptest.NewServer(handler)
	s.t.Cleanup(server.Close)
	for _, f := range s.functions {
		f.Variables = append(f.Variables, variable+"="+server.URL)
	}
}
