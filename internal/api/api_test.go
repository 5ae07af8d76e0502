package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"

	"lifeboat/internal/api"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/link"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

const (
	source  = backup.Source("photos")
	id      = backup.ID("20261121T020000Z-abcdef")
	content = "PK\x05\x06 the bytes of an archive"
)

// records is a catalog of one record.
type records struct {
	mu     sync.Mutex
	record catalog.Record
}

func (r *records) Record(_ context.Context, s backup.Source, b backup.ID) (catalog.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.record.Source != s || r.record.ID != b {
		return catalog.Record{}, failure.New(failure.NotFound, "no record")
	}
	return r.record, nil
}

// world is a vault with one backup, and the handler above it.
type world struct {
	t       *testing.T
	handler http.Handler
	links   *link.Service
	records *records
	vault   *vault.Vault
	store   string // base URL of the S3 server
	now     time.Time
	log     bytes.Buffer
	s3      []*http.Request // GETs that the S3 server got
}

func newWorld(t *testing.T, proxy bool) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 21, 2, 5, 0, 0, time.UTC)}
	backend := s3mem.New()
	if err := backend.CreateBucket(t.Context(), "vault"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("X-Amz-Signature") {
			w.s3 = append(w.s3, r)
			if strings.Contains(r.URL.RawQuery, "forged") {
				http.Error(rw, "<Error>secret words</Error>", http.StatusForbidden)
				return
			}
			rw.Header().Set("X-Amz-Request-Id", "inside")
		}
		fake.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.store = server.URL
	w.vault = vault.New(s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), Region: "us-east-1", UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider("a", "b", ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	}), "vault", nil)
	key := vault.Archive(source, id)
	if _, err := w.vault.Put(t.Context(), key, []byte(content), vault.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return w.now }
	w.links = &link.Service{Vault: w.vault, Key: secret.New(strings.Repeat("k", 32)), Now: now}
	w.records = &records{record: record(string(key))}
	o := api.Options{
		Links: w.links, Records: w.records, Vault: w.vault, PublicURL: "https://backup.example.org/boat", Now: now,
		Log: slog.New(slog.NewJSONHandler(&w.log, nil)),
	}
	if proxy {
		o.Proxy = &api.Proxy{Endpoint: server.URL}
	}
	var err error
	if w.handler, err = api.New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

func record(key string) catalog.Record {
	return catalog.Record{
		Format: 1, ID: id, Source: source, Kind: "zipline", Status: backup.Completed, Name: "<b>my\u202e photos</b>",
		Started: time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC), Documents: 2, Objects: 65, Bytes: 46_123_456,
		Facts:    app.Facts{Application: "Zipline", Version: "4.3.1", Counts: map[string]int64{"users": 3, "files": 1204}},
		Manifest: catalog.Manifest{SHA256: strings.Repeat("ab", 32), Entries: 67},
		Archive:  catalog.Archive{Key: key, Bytes: 46_140_000, CRC32: "89abcdef"}, Proof: backup.Stored, Secrets: true,
	}
}

func (w *world) issue(o link.Options) string {
	w.t.Helper()
	l, err := w.links.Issue(w.t.Context(), source, id, "anna@example.org", o)
	if err != nil {
		w.t.Fatal(err)
	}
	return l.Token.Reveal()
}

func (w *world) do(method, target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Host = "backup.example.org"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	return answer
}

var noncePattern = regexp.MustCompile(`name="nonce" value="([^"]+)"`)

// nonce opens the page and returns the nonce of its form.
func (w *world) nonce(token string) string {
	w.t.Helper()
	match := noncePattern.FindStringSubmatch(w.do("GET", "/l/"+token, nil).Body.String())
	if match == nil {
		w.t.Fatal("the page has no nonce")
	}
	return match[1]
}

func (w *world) state(token string) link.State {
	w.t.Helper()
	var state link.State
	if _, err := w.vault.GetJSON(w.t.Context(), vault.Link(link.ID(token)), &state); err != nil {
		w.t.Fatal(err)
	}
	return state
}

func TestLandingPage(t *testing.T) {
	w := newWorld(t, false)
	token := w.issue(link.Options{NeedsCode: true})
	before := w.state(token)
	for range 50 {
		w.do("HEAD", "/l/"+token, nil)
	}
	answer := w.do("GET", "/l/"+token, nil)
	page := answer.Body.String()
	if answer.Code != 200 {
		t.Fatalf("status %d\n%s", answer.Code, page)
	}
	for _, want := range []string{
		"photos", "Zipline 4.3.1", "21 November 2026, 02:00 UTC", "46.1 MB (46,140,000 bytes)", "89abcdef", strings.Repeat("ab", 32),
		"1,204 files, 3 users", "2 documents, 65 objects", "stored: the store", "passwords, tokens or keys", "28 November 2026, 02:05 UTC",
		"lifeboat link " + string(id), `name="code"`, `&lt;b&gt;my\u202e photos&lt;/b&gt;`, "photos-20261121T020000Z-abcdef.zip",
		`href="./../assets/style.css"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"X-Amz", "archives/", "<script", "style=", token, w.links.Code(source, id)} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if after := w.state(token); after != before {
		t.Errorf("looking changed the link: %+v", after)
	}
	for name, want := range map[string]string{
		"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self' " + w.store + "; base-uri 'none'; frame-ancestors 'none'",
	} {
		if got := answer.Header().Get(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if css := w.do("GET", "/assets/style.css", nil); css.Code != 200 || !strings.Contains(css.Header().Get("Content-Type"), "text/css") {
		t.Errorf("style: %d %s", css.Code, css.Header())
	}
}

func TestMintRedirects(t *testing.T) {
	w := newWorld(t, false)
	token := w.issue(link.Options{NeedsCode: true})
	answer := w.do("POST", "/l/"+token, url.Values{"nonce": {w.nonce(token)}, "code": {strings.ToLower(w.links.Code(source, id))}}, "Sec-Fetch-Site", "same-origin")
	location, err := url.Parse(answer.Header().Get("Location"))
	if answer.Code != http.StatusSeeOther || err != nil || !strings.HasPrefix(location.String(), w.store+"/vault/archives/photos/") {
		t.Fatalf("%d, %v, %s", answer.Code, err, answer.Header())
	}
	if got := location.Query().Get("X-Amz-Expires"); got != "900" {
		t.Errorf("it lives %s s", got)
	}
	if got := location.Query().Get("response-content-disposition"); got != `attachment; filename="photos-20261121T020000Z-abcdef.zip"` {
		t.Errorf("disposition %s", got)
	}
	if state := w.state(token); state.Mints != 1 || state.LastMinted.IsZero() {
		t.Errorf("state %+v", state)
	}
	logged := w.log.String()
	if strings.Contains(logged, token) || strings.Contains(logged, "X-Amz") || !strings.Contains(logged, link.ID(token)) {
		t.Errorf("the log is\n%s", logged)
	}
}

func TestMintRefuses(t *testing.T) {
	w := newWorld(t, false)
	token := w.issue(link.Options{NeedsCode: true})
	other, err := w.links.Issue(t.Context(), source, id, "bob@example.org", link.Options{})
	if err != nil {
		t.Fatal(err)
	}
	old := w.nonce(token)
	foreign := w.nonce(other.Token.Reveal())
	w.now = w.now.Add(31 * time.Minute)
	good, code := w.nonce(token), w.links.Code(source, id)
	for _, test := range []struct {
		name   string
		form   url.Values
		header []string
		status int
		text   string
	}{
		{"no nonce", url.Values{"code": {code}}, nil, 403, "open for too long"},
		{"an old nonce", url.Values{"nonce": {old}, "code": {code}}, nil, 403, "open for too long"},
		{"a nonce of another link", url.Values{"nonce": {foreign}, "code": {code}}, nil, 403, "open for too long"},
		{"another site", url.Values{"nonce": {good}, "code": {code}}, []string{"Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{"another origin", url.Values{"nonce": {good}, "code": {code}}, []string{"Origin", "https://evil.example"}, 403, "another site"},
		{"a null origin that is cross-site", url.Values{"nonce": {good}, "code": {code}}, []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{"no code", url.Values{"nonce": {good}}, nil, 403, "asks for a code"},
		{"a wrong code", url.Values{"nonce": {good}, "code": {"AAAA-AAAA"}}, nil, 403, "9 more wrong codes"},
		{"a huge form", url.Values{"nonce": {strings.Repeat("x", 10_000)}}, nil, 400, "no form"},
	} {
		answer := w.do("POST", "/l/"+token, test.form, test.header...)
		if answer.Code != test.status || !strings.Contains(answer.Body.String(), test.text) || answer.Header().Get("Location") != "" {
			t.Errorf("%s: %d\n%s", test.name, answer.Code, answer.Body)
		}
	}
	if state := w.state(token); state.Mints != 0 || state.WrongCodes != 1 {
		t.Errorf("state %+v", state)
	}
	answer := w.do("POST", "/l/"+token, url.Values{"nonce": {good}, "code": {code}}, "Origin", "null")
	if answer.Code != 303 {
		t.Errorf("our own form under no-referrer on plain http: %d", answer.Code)
	}
}

func TestRefusalPages(t *testing.T) {
	w := newWorld(t, false)
	post := func(token, code string) int {
		return w.do("POST", "/l/"+token, url.Values{"nonce": {w.nonce(token)}, "code": {code}}).Code
	}
	check := func(name, token string, status int, text string) {
		t.Helper()
		if answer := w.do("GET", "/l/"+token, nil); answer.Code != status || !strings.Contains(answer.Body.String(), text) {
			t.Errorf("%s: %d\n%s", name, answer.Code, answer.Body)
		}
		answer := w.do("POST", "/l/"+token, url.Values{"nonce": {"x"}}, "Accept", "application/json")
		var got struct {
			Type    string `json:"message_type"`
			Kind    string
			Message string
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != status || got.Type != "error" || !strings.Contains(got.Message, text) || got.Kind == "" {
			t.Errorf("%s as JSON: %d, %v %+v", name, answer.Code, err, got)
		}
	}
	check("unknown", strings.Repeat("A", 43), 404, "no such link")
	check("not a token", "x", 404, "no such link")

	locked := w.issue(link.Options{NeedsCode: true})
	for n := 1; n <= link.MaxWrongCodes; n++ {
		want := 403
		if n == link.MaxWrongCodes {
			want = 429
		}
		if got := post(locked, "wrong"); got != want {
			t.Errorf("wrong code %d: %d", n, got)
		}
	}
	check("locked", locked, 429, "locked")

	used := w.issue(link.Options{})
	for range link.MaxMints {
		if got := post(used, ""); got != 303 {
			t.Errorf("mint: %d", got)
		}
	}
	check("used up", used, 429, "used up")

	withdrawn := w.issue(link.Options{})
	if _, err := w.links.Revoke(t.Context(), source, id); err != nil {
		t.Fatal(err)
	}
	check("withdrawn", withdrawn, 410, "withdrawn")

	expired := w.issue(link.Options{TTL: time.Hour})
	w.now = w.now.Add(2 * time.Hour)
	check("expired", expired, 410, "expired on 2026-11-21 03:05 UTC")

	removed := w.issue(link.Options{})
	if err := w.vault.Delete(t.Context(), vault.Archive(source, id)); err != nil {
		t.Fatal(err)
	}
	check("archive removed", removed, 410, "archive is not in the vault")
	w.records.record.Status = backup.Expired
	check("backup expired", removed, 410, "archive is not in the vault")
	w.records.record.ID = "20261122T020000Z-abcdef"
	check("no record", removed, 410, "backup is not in the vault")
	if got := w.state(removed); got.Mints != 0 {
		t.Errorf("%d mints of what is gone", got.Mints)
	}
}

func TestVaultFailureIsNotShown(t *testing.T) {
	w := newWorld(t, false)
	token := w.issue(link.Options{})
	key := vault.Link(link.ID(token))
	if _, err := w.vault.Put(t.Context(), key, []byte("{"), vault.Always()); err != nil {
		t.Fatal(err)
	}
	answer := w.do("GET", "/l/"+token, nil)
	if answer.Code != 500 || strings.Contains(answer.Body.String(), "unexpected end") || !strings.Contains(w.log.String(), "unexpected end") {
		t.Errorf("%d\n%s\n%s", answer.Code, answer.Body, w.log.String())
	}
}

func TestHosts(t *testing.T) {
	w := newWorld(t, false)
	token := w.issue(link.Options{})
	for host, status := range map[string]int{
		"backup.example.org": 200, "BACKUP.example.org:443": 200, "localhost:8080": 200, "127.0.0.1": 200, "127.1.2.3:80": 200, "[::1]:80": 200,
		"evil.example": 421, "backup.example.org.evil.example": 421, "10.0.0.1": 421, "": 421,
	} {
		if got := w.do("GET", "/l/"+token, nil, "Host", host).Code; got != status {
			t.Errorf("host %q: %d, want %d", host, got, status)
		}
	}
	if got := w.do("GET", "/healthz", nil, "Host", "10.0.0.1"); got.Code != 200 || got.Body.String() != "ok\n" {
		t.Errorf("healthz: %d %s", got.Code, got.Body)
	}
	for target, status := range map[string]int{"/": 404, "/l/": 404, "/l/x/y": 404, "/download/vault/archives/x.zip": 404, "/assets/": 404} {
		if got := w.do("GET", target, nil).Code; got != status {
			t.Errorf("%s: %d", target, got)
		}
	}
	if got := w.do("DELETE", "/l/"+token, nil).Code; got != 405 {
		t.Errorf("DELETE: %d", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []api.Options{
		{PublicURL: "backup.example.org"},
		{PublicURL: "ftp://x"},
		{PublicURL: "https://u:p@x"},
		{Proxy: &api.Proxy{Endpoint: "127.0.0.1:9000"}},
		{Proxy: &api.Proxy{Endpoint: "http://x/path"}},
	} {
		if _, err := api.New(o); failure.KindOf(err) != failure.Usage {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
