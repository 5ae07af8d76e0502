package notify_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/notify"
)

var update = flag.Bool("update", false, "write the golden files")

const token = "dG9rZW4tdG9rZW4tdG9rZW4tdG9rZW4tdG9rZW4tMTI"

func okMessage() notify.Message {
	start := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	previous := catalog.Record{
		ID: "20261120T020000Z-qwerty", Source: "photos", Status: backup.Completed, Started: start.AddDate(0, 0, -1),
		Objects: 62, Bytes: 44_900_000,
	}
	return notify.Message{
		Record: catalog.Record{
			Format: 1, ID: "20261121T020000Z-abcdef", Source: "photos", Kind: "zipline", Status: backup.Completed,
			StartedBy: catalog.Starter{By: "schedule", Who: "nightly"},
			Started:   start, Finished: start.Add(95 * time.Second), Lifeboat: "1.0.0",
			Facts: app.Facts{
				Application: "Zipline", Version: "4.3.1", Secrets: true,
				Counts: map[string]int64{"users": 3, "files": 1204, "urls": 12},
			},
			Documents: 2, Objects: 65, Bytes: 46_123_456, PackedObjects: 3, PackedBytes: 1_223_456,
			Manifest: catalog.Manifest{SHA256: strings.Repeat("0123456789abcdef", 4), Entries: 67},
			Archive:  catalog.Archive{Key: "archives/photos/20261121T020000Z-abcdef.zip", Bytes: 46_140_000, CRC32: "89abcdef"},
			Proof:    backup.Stored, Secrets: true, NotesTotal: 4,
		},
		Previous: &previous,
		Link: notify.Link{
			ID: "0011223344556677", URL: "https://backup.example.org/l/" + token,
			Expires: start.AddDate(0, 0, 7), NeedsCode: true,
		},
		From: "lifeboat@example.org", ReplyTo: "Admin <admin@example.org>", To: "anna@example.org", Version: "1.0.0",
	}
}

func partialMessage() notify.Message {
	m := okMessage()
	m.Zone, _ = time.LoadLocation("Europe/Berlin")
	m.Prefix = "[büro]"
	m.Record.Status, m.Record.Proof, m.Record.Scope.NoMetrics = backup.Partial, backup.ReRead, true
	for i := range 12 {
		m.Record.Problems = append(m.Record.Problems, app.Finding{
			Severity: app.Problem, Kind: "missing", Item: fmt.Sprintf("uploads/%02d.png", i),
			Message: "The export names it, the datasource doesn't have it.",
		})
	}
	m.Record.Problems[0].Item = "uploads/<b>fdp\u202e.exe</b>\r\nBcc: all@example.org"
	m.Record.ProblemsTotal = 1012
	m.Previous = nil
	m.Link.NeedsCode = false
	return m
}

func failedMessage() notify.Message {
	m := okMessage()
	m.Record = catalog.Record{
		Format: 1, ID: m.Record.ID, Source: "photos", Kind: "zipline", Status: backup.Failed,
		StartedBy: catalog.Starter{By: "person", Who: "anna@nas"}, Started: m.Record.Started, Finished: m.Record.Finished,
		Failure: &catalog.Failure{
			Kind: "denied", Message: "export of http://zipline.lan: the token was refused (401)\nlog in again",
			Hint: "make a new token in Zipline's settings and put it into token: env:ZIPLINE_TOKEN",
		},
	}
	m.Link = notify.Link{}
	return m
}

func withoutLink() notify.Message {
	m := okMessage()
	m.Link = notify.Link{}
	m.Record.Secrets = false
	return m
}

func volumesMessage() notify.Message {
	m := okMessage()
	a := catalog.Archive{Split: 4 << 30}
	for i := range 7 {
		v := catalog.Volume{Key: fmt.Sprintf("archives/photos/%s.v%03d.zip", m.Record.ID, i+1), Bytes: 4_200_000_000, CRC32: fmt.Sprintf("%08x", i)}
		a.Volumes, a.Bytes = append(a.Volumes, v), a.Bytes+v.Bytes
	}
	a.Key, a.CRC32 = a.Volumes[0].Key, a.Volumes[0].CRC32
	m.Record.Archive = a
	return m
}

func onDemandMessage() notify.Message {
	m := okMessage()
	m.Record.Archive = catalog.Archive{}
	return m
}

// TestNoArchive: a mail about a backup without an archive has no button that leads nowhere, whatever link was made.
func TestNoArchive(t *testing.T) {
	expired := onDemandMessage()
	expired.Record.Archive.Expired = time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)
	for want, m := range map[string]notify.Message{"made on demand": onDemandMessage(), "expired on 2026-11-20": expired} {
		sent, _ := compose(t, m)
		text := sent.Text + sent.HTML
		if strings.Count(text, want) != 4 || !strings.Contains(text, "lifeboat archive "+string(m.Record.ID)) || strings.Contains(text, token) || strings.Contains(text, "unlink") {
			t.Errorf("%s", text)
		}
	}
}

func compose(t testing.TB, m notify.Letter) (*notify.Mail, []byte) {
	t.Helper()
	sent, err := notify.Compose(m)
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if _, err := sent.WriteTo(&raw); err != nil {
		t.Fatal(err)
	}
	return sent, raw.Bytes()
}

func TestGoldenMails(t *testing.T) {
	for name, m := range map[string]notify.Letter{
		"ok": okMessage(), "partial": partialMessage(), "failed": failedMessage(), "ok-without-link": withoutLink(),
		"volumes": volumesMessage(), "on-demand": onDemandMessage(),
		"restore-ok": restoreMessage(), "restore-partial": partialRestore(), "restore-failed": failedRestore(), "restore-drill": drill(),
	} {
		t.Run(name, func(t *testing.T) {
			sent, raw := compose(t, m)
			if _, again := compose(t, m); !bytes.Equal(raw, again) {
				t.Error("the same message gives different bytes")
			}
			head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
			golden(t, name+".headers.golden", strings.ReplaceAll(string(head), "\r\n", "\n")+"\n")
			golden(t, name+".txt.golden", sent.Subject+"\n\n"+sent.Text)
			golden(t, name+".html.golden", sent.HTML)
			if len(sent.HTML) >= 100_000 || strings.Contains(sent.HTML, "<img") || strings.Contains(sent.HTML, "<script") {
				t.Error("the HTML is too large or loads something")
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestMailParses(t *testing.T) {
	sent, raw := compose(t, partialMessage())
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	want := "[büro] [PARTIAL] photos backup 2026-11-21 03:00 CET — 1,012 problems, 65 objects, 46.1 MB (first)"
	if err != nil || subject != want {
		t.Errorf("subject %q, want %q (%v)", subject, want, err)
	}
	_, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(parsed.Body, params["boundary"])
	for _, want := range []struct{ kind, body string }{{"text/plain; charset=UTF-8", sent.Text}, {"text/html; charset=UTF-8", sent.HTML}} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part)
		if got := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || part.Header.Get("Content-Type") != want.kind || got != want.body {
			t.Errorf("part %s: %v\n%s", part.Header.Get("Content-Type"), err, cmp.Diff(want.body, got))
		}
	}
}

func TestLinkIsSpelledOnce(t *testing.T) {
	sent, _ := compose(t, okMessage())
	if n := strings.Count(sent.Text, token); n != 1 {
		t.Errorf("the text part has the token %d times", n)
	}
	if n := strings.Count(sent.HTML, token); n != 1 {
		t.Errorf("the HTML part has the token %d times", n)
	}
}

func TestMessageIDs(t *testing.T) {
	ids := map[string]bool{}
	for _, edit := range []func(*notify.Message){
		func(*notify.Message) {},
		func(m *notify.Message) { m.To = "bob@example.org" },
		func(m *notify.Message) { m.Name = "failure" },
		func(m *notify.Message) { m.Record.ID = "20261122T020000Z-abcdef" },
	} {
		m := okMessage()
		edit(&m)
		sent, _ := compose(t, m)
		ids[sent.ID] = true
		m.Date = m.Record.Finished.Add(time.Hour)
		if again, _ := compose(t, m); again.ID != sent.ID {
			t.Errorf("a later mail has another id: %s, %s", again.ID, sent.ID)
		}
	}
	if len(ids) != 4 {
		t.Errorf("four messages have %d ids", len(ids))
	}
}

func TestComposeRefuses(t *testing.T) {
	for name, edit := range map[string]func(*notify.Message){
		"prefix with a line break": func(m *notify.Message) { m.Prefix = "x\r\nBcc: all@example.org" },
		"prefix with bidi":         func(m *notify.Message) { m.Prefix = "x\u202e" },
		"long prefix":              func(m *notify.Message) { m.Prefix = strings.Repeat("x", 61) },
		"two recipients":           func(m *notify.Message) { m.To = "a@example.org, b@example.org" },
		"recipient with CR":        func(m *notify.Message) { m.To = "a@example.org\rBcc: b@example.org" },
		"quoted local part":        func(m *notify.Message) { m.To = `"a> b"@example.org` },
		"no recipient":             func(m *notify.Message) { m.To = "" },
		"no sender":                func(m *notify.Message) { m.From = "lifeboat" },
		"long reply-to":            func(m *notify.Message) { m.ReplyTo = strings.Repeat("a", 1000) + "@example.org" },
		"link of another scheme":   func(m *notify.Message) { m.Link.URL = "javascript:alert(1)" },
		"link with a line break":   func(m *notify.Message) { m.Link.URL = "https://example.org/\n" },
		"run that is none":         func(m *notify.Message) { m.Record.ID = "../x" },
	} {
		m := okMessage()
		edit(&m)
		if _, err := notify.Compose(m); failure.KindOf(err) != failure.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := okMessage()
	m.Link.URL = "https://bucket.s3.amazonaws.com/a.zip?X-Amz-Signature=00"
	if _, err := notify.Compose(m); err == nil || strings.Contains(err.Error(), "amazonaws") {
		t.Errorf("a presigned URL: %v", err)
	}
}

func TestSubject(t *testing.T) {
	ok, failed := okMessage(), failedMessage()
	canceled := failedMessage()
	canceled.Record.Status, canceled.Record.Failure = backup.Canceled, nil
	equal := okMessage()
	equal.Previous.Bytes, equal.Record.Proof = equal.Record.Bytes, backup.Unproven
	long := failedMessage()
	long.Record.Failure.Message = strings.Repeat("ä", 5000)
	for _, test := range []struct {
		m    notify.Message
		want string
	}{
		{ok, "[ok] photos backup 2026-11-21 02:00 UTC — 65 objects, 46.1 MB (+1.2 MB), proven: stored"},
		{equal, "[ok] photos backup 2026-11-21 02:00 UTC — 65 objects, 46.1 MB (no change), proven: not yet"},
		{failed, `[FAILED] photos backup 2026-11-21 02:00 UTC — export of http://zipline.lan: the token was refused (401)\nlog in again`},
		{canceled, "[CANCELED] photos backup 2026-11-21 02:00 UTC — somebody stopped it"},
		{long, "[FAILED] photos backup 2026-11-21 02:00 UTC — " + strings.Repeat("ä", 99) + "…"},
	} {
		if got := test.m.Subject(); got != test.want {
			t.Errorf("subject %q\n   want %q", got, test.want)
		}
		if _, raw := compose(t, test.m); len(subjectLine(raw)) > 998 {
			t.Errorf("subject of %d bytes", len(subjectLine(raw)))
		}
	}
}

func subjectLine(raw []byte) string {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return ""
	}
	return parsed.Header.Get("Subject")
}

func FuzzHeaders(f *testing.F) {
	f.Add("prefix", "anna@example.org", "reason", "item", "Zipline")
	f.Add("x\r\nBcc: b@example.org", "a@example.org\r\nX: y", "r\r\nSubject: z", "\u202e<script>", "\xff")
	f.Add("=?utf-8?q?=0d=0ax?=", "=?utf-8?q?=0aBcc=3a?= <a@example.org>", "=?utf-8?q?=0a?=", "--lifeboat", "a\n.\nb")
	_, plainMail := compose(f, failedMessage())
	want := headerNames(f, plainMail)
	f.Fuzz(func(t *testing.T, prefix, to, reason, item, application string) {
		m := failedMessage()
		m.Prefix, m.To, m.Record.Failure.Message, m.Record.Facts.Application = prefix, to, reason, application
		m.Record.Problems = []app.Finding{{Item: item, Message: reason, Kind: application}}
		sent, err := notify.Compose(m)
		if err != nil {
			return
		}
		var raw bytes.Buffer
		if _, err := sent.WriteTo(&raw); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, headerNames(t, raw.Bytes())); diff != "" {
			t.Errorf("headers (-want +got):\n%s\n%q", diff, raw.Bytes())
		}
		if strings.ContainsAny(sent.Text+sent.Subject, "\r\u202e\u2066\x1b\x00") {
			t.Errorf("the text part holds a control character: %q", sent.Text)
		}
	})
}

func headerNames(t testing.TB, raw []byte) map[string]int {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v\n%q", err, raw)
	}
	names := map[string]int{}
	for name, values := range parsed.Header {
		names[name] = len(values)
	}
	if _, err := parsed.Header.AddressList("To"); err != nil {
		t.Fatalf("To: %v", err)
	}
	return names
}

func TestPolicy(t *testing.T) {
	for _, test := range []struct {
		policy         notify.Policy
		status, before backup.Status
		quiet          bool
	}{
		{notify.Always, backup.Completed, backup.Completed, false},
		{notify.OnProblem, backup.Completed, backup.Failed, true},
		{notify.OnProblem, backup.Partial, backup.Partial, false},
		{notify.OnProblem, backup.Failed, "", false},
		{notify.OnChange, backup.Completed, backup.Completed, true},
		{notify.OnChange, backup.Completed, backup.Failed, false},
		{notify.OnChange, backup.Completed, "", false},
		{notify.OnChange, backup.Failed, backup.Failed, false},
	} {
		if got := test.policy.Quiet(test.status, test.before); got != test.quiet {
			t.Errorf("%s, %s after %q: quiet %v", test.policy, test.status, test.before, got)
		}
	}
	if p, err := notify.ParsePolicy(""); p != notify.Always || err != nil {
		t.Errorf("the default is %q, %v", p, err)
	}
	if _, err := notify.ParsePolicy("sometimes"); failure.KindOf(err) != failure.Usage {
		t.Errorf("sometimes: %v", err)
	}
}
