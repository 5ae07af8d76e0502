package notify_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/notify"
	"lifeboat/internal/vault"
)

const restoreID = backup.RestoreID("r0123456789abcdef0123")

func restoreMessage() notify.RestoreMessage {
	start := time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC)
	step := func(name string, after, took time.Duration, items, bytes int64) catalog.StepLog {
		return catalog.StepLog{Step: name, Began: start.Add(after), Took: took, Items: items, Bytes: bytes}
	}
	return notify.RestoreMessage{
		Record: catalog.Restore{
			Format: 1, ID: restoreID, Attempt: 1, Kind: "zipline", Target: "photos-new", Check: "full", Signature: "authenticated",
			From:   catalog.Origin{Source: "photos", Backup: "20261121T020000Z-abcdef", Digest: strings.Repeat("0123456789abcdef", 4)},
			Status: backup.Completed, StartedBy: catalog.Starter{By: "person", Who: "anna@nas"},
			Started: start, Finished: start.Add(95 * time.Second), Lifeboat: "1.0.0",
			Steps: []catalog.StepLog{
				step("check", time.Second, 20*time.Second, 67, 46_123_456), step("reserve", 21*time.Second, 40*time.Millisecond, 0, 0),
				step("put", 22*time.Second, 30*time.Second, 62, 46_000_000), step("replay", 52*time.Second, 40*time.Second, 3, 0),
			},
			Forecast: &app.Forecast{Application: "Zipline", Version: "4.4.2", Counts: []app.Count{{What: "files", Backup: 62, Create: 62}}},
			Confirmation: &app.Confirmation{
				Counts:   []app.Count{{What: "files", Backup: 1062, Create: 1060, Exists: 2}, {What: "folders", Backup: 15, Create: 15}, {What: "users", Backup: 3, Create: 2, Exists: 1}},
				Asserted: []string{"Every file has the size that the backup says.", "Every folder lies under its parent."},
			},
			Put:        catalog.Put{Written: 1060, Existing: 2, LeftOut: 4, Bytes: 46_000_000, Spliced: 12, SplicedBytes: 40_000_000},
			NotesTotal: 5,
		},
		For: "target photos-new", From: "lifeboat@example.org", ReplyTo: "Admin <admin@example.org>", To: "anna@example.org", Version: "1.0.0",
	}
}

func partialRestore() notify.RestoreMessage {
	m := restoreMessage()
	m.Zone, _ = time.LoadLocation("Europe/Berlin")
	m.Prefix = "[büro]"
	r := &m.Record
	r.Status, r.Attempt, r.Check, r.Signature, r.Part, r.Name = backup.Partial, 3, "stored", "unknown signer", "objects", "fdp\u202e.exe"
	r.From = catalog.Origin{URL: "https://anna:hunter2@files.example.org/zip/photos.zip?token=hunter2", Bytes: 46_140_000}
	r.Only = []string{"uploads/**", "<b>"}
	r.Confirmation = nil
	for i := range 12 {
		r.Problems = append(r.Problems, app.Finding{
			Severity: app.Problem, Kind: "missing", Item: fmt.Sprintf("uploads/%02d.png", i), Message: "The target refused it.",
		})
	}
	r.Problems[0].Item = "uploads/<b>fdp\u202e.exe</b>\r\nBcc: all@example.org"
	r.Problems[1].Message = "get https://files.example.org/x?X-Amz-Signature=hunter2: 403"
	r.ProblemsTotal = 1012
	m.For = "source photos"
	return m
}

func failedRestore() notify.RestoreMessage {
	m := restoreMessage()
	m.Record.Status, m.Record.Target = backup.Failed, "dir:/srv/restored"
	m.Record.From = catalog.Origin{Source: "photos", Backup: "20261121T020000Z-abcdef", File: "/home/anna/photos-20261121T020000Z-abcdef.zip"}
	m.Record.Forecast, m.Record.Confirmation, m.Record.Put, m.Record.Signature = nil, nil, catalog.Put{}, ""
	m.Record.Failure = &catalog.Failure{
		Kind: "corrupt", Message: "check the archive: uploads/a.png does not have the CRC-32 that its manifest says\nstop", Hint: "take another copy",
	}
	m.Record.Steps = []catalog.StepLog{{
		Step: "check", Began: m.Record.Started, Took: 9 * time.Second, Failed: true, Message: "uploads/a.png does not have the CRC-32 that its manifest says",
	}}
	return m
}

func drill() notify.RestoreMessage {
	m := restoreMessage()
	m.Record.Drill, m.Record.Target, m.Record.StartedBy = true, "drill", catalog.Starter{By: "schedule", Who: "weekly"}
	m.Record.Put, m.Record.NotesTotal, m.For = catalog.Put{Existing: 3}, 0, "source photos"
	return m
}

func TestRestoreSubject(t *testing.T) {
	file, foreign, canceled, single := failedRestore(), partialRestore(), failedRestore(), restoreMessage()
	file.Record.From = catalog.Origin{File: "/tmp/" + strings.Repeat("ä", 300) + ".zip"}
	foreign.Prefix, foreign.Record.ProblemsTotal = "", 1
	canceled.Record.Status, canceled.Record.Failure = backup.Canceled, nil
	single.Record.Put, single.Record.Target = catalog.Put{}, "s3://bucket/\r\nBcc: x"
	for _, test := range []struct {
		m    notify.RestoreMessage
		want string
	}{
		{restoreMessage(), "[ok] photos restore 2026-11-21 14:00 UTC — into photos-new: 1,060 files, 46.0 MB (2 there already)"},
		{drill(), "[ok] photos drill 2026-11-21 14:00 UTC — no file (3 there already)"},
		{single, `[ok] photos restore 2026-11-21 14:00 UTC — into s3://bucket/\r\nBcc: x: no file`},
		{foreign, "[PARTIAL] files.example.org restore 2026-11-21 15:00 CET — into photos-new: 1 problem, 1,060 files, 46.0 MB (2 there already)"},
		{canceled, "[CANCELED] photos restore 2026-11-21 14:00 UTC — into dir:/srv/restored: somebody stopped it"},
		{file, "[FAILED] " + strings.Repeat("ä", 23) + "… restore 2026-11-21 14:00 UTC — into dir:/srv/restored: check the archive: uploads/a.png does not have the CRC-32 that its manifest says\\nstop"},
	} {
		if got := test.m.Subject(); got != test.want {
			t.Errorf("subject %q\n   want %q", got, test.want)
		}
		if first := string([]rune(test.m.Subject())[:60]); !strings.Contains(first, "2026-11-21 1") {
			t.Errorf("its beginning has no time: %s", first)
		}
		if _, raw := compose(t, test.m); len(subjectLine(raw)) > 998 || strings.Contains(string(raw), "\r\nBcc:") {
			t.Errorf("the headers are\n%s", raw)
		}
	}
}

// TestRestoreSecrets: addresses in a mail have lost what is secret in them.
func TestRestoreSecrets(t *testing.T) {
	m := partialRestore()
	m.Record.Status = backup.Failed
	m.Record.Failure = &catalog.Failure{
		Message: "fetch https://anna:hunter2@files.example.org/photos.zip?token=hunter2: 403",
		Hint:    `try "http://x@hunter2@h/#hunter2" again`,
	}
	m.Record.Steps = []catalog.StepLog{{Step: "fetch", Failed: true, Message: "get https://h?a=hunter2 twice"}}
	for _, m := range []notify.RestoreMessage{partialRestore(), m} {
		sent, raw := compose(t, m)
		if strings.Contains(sent.Subject+sent.Text+sent.HTML+string(raw), "hunter2") {
			t.Errorf("a secret shows:\n%s", sent.Text)
		}
		if !strings.Contains(sent.Text, "https://files.example.org/") {
			t.Errorf("the address is gone:\n%s", sent.Text)
		}
	}
}

// TestWhatRemains: that nothing was written is said only where the log shows it.
func TestWhatRemains(t *testing.T) {
	const nothing, still = "Nothing was written to the target.", "may still be there"
	failed := catalog.StepLog{Step: "check", Failed: true}
	for name, test := range map[string]struct {
		attempt int
		steps   []catalog.StepLog
		want    string
	}{
		"check":           {1, []catalog.StepLog{{Step: "fetch"}, failed}, nothing},
		"reserve":         {1, []catalog.StepLog{{Step: "check"}, {Step: "reserve", Failed: true}}, nothing},
		"a later attempt": {2, []catalog.StepLog{failed}, "This attempt wrote nothing to the target."},
		"put":             {1, []catalog.StepLog{{Step: "check"}, {Step: "put", Failed: true}}, still},
		"after put":       {1, []catalog.StepLog{{Step: "put"}, failed}, still},
		"killed":          {1, []catalog.StepLog{{Step: "check"}}, still},
		"no log":          {1, nil, still},
	} {
		m := failedRestore()
		m.Record.Attempt, m.Record.Steps = test.attempt, test.steps
		if sent, _ := compose(t, m); !strings.Contains(sent.Text, test.want) || !strings.Contains(sent.HTML, test.want) {
			t.Errorf("%s: not %q in\n%s", name, test.want, sent.Text)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*notify.RestoreMessage)
		want failure.Kind
	}{
		"prefix with a line break": {func(m *notify.RestoreMessage) { m.Prefix = "x\r\nBcc: all@example.org" }, failure.Usage},
		"two recipients":           {func(m *notify.RestoreMessage) { m.To = "a@example.org, b@example.org" }, failure.Usage},
		"no sender":                {func(m *notify.RestoreMessage) { m.From = "" }, failure.Usage},
		"restore that is none":     {func(m *notify.RestoreMessage) { m.Record.ID = "../x" }, failure.Usage},
		"no attempt":               {func(m *notify.RestoreMessage) { m.Record.Attempt = 0 }, failure.Internal},
	} {
		m := restoreMessage()
		test.edit(&m)
		if _, err := notify.Compose(m); failure.KindOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHugeRestore: whatever a record holds, the mail stays small and says where the rest is.
func TestHugeRestore(t *testing.T) {
	m := partialRestore()
	hostile := strings.Repeat(`"'<&>`, 1000)
	r := &m.Record
	r.Confirmation = &app.Confirmation{}
	r.Problems = nil
	for range 500 {
		r.Problems = append(r.Problems, app.Finding{Kind: hostile, Item: hostile, Message: hostile})
		r.Steps = append(r.Steps, catalog.StepLog{Step: hostile, Message: hostile})
		r.Only = append(r.Only, hostile)
		r.Confirmation.Asserted = append(r.Confirmation.Asserted, hostile)
		r.Confirmation.Counts = append(r.Confirmation.Counts, app.Count{What: hostile, Backup: 1 << 62, Create: 1 << 62, Exists: 1 << 62, Skip: 1 << 62})
	}
	r.Target, r.Name, r.Part, r.Check, r.Signature, r.Kind = hostile, hostile, hostile, hostile, hostile, hostile
	r.From = catalog.Origin{File: hostile, Backup: backup.ID(hostile), Source: backup.Source(hostile), Digest: hostile}
	r.StartedBy, r.Failure = catalog.Starter{By: hostile, Who: hostile}, &catalog.Failure{Message: hostile, Hint: hostile}
	for _, status := range []backup.Status{backup.Partial, backup.Failed} {
		r.Status = status
		sent, _ := compose(t, m) // refuses more than 100 kB
		for _, want := range []string{"1,002 more: lifeboat restores " + string(restoreID), "484 more: lifeboat restores", "480 more: lifeboat restores", "490 more"} {
			if !strings.Contains(sent.Text, want) || !strings.Contains(sent.HTML, want) {
				t.Errorf("%s: it does not say %q", status, want)
			}
		}
	}
}

// TestDeliverRestore: each attempt of a restore is told once to each recipient, in the same outbox as backups.
func TestDeliverRestore(t *testing.T) {
	v, _ := newStore(t)
	sender := &recorder{}
	deliver := func(m notify.RestoreMessage, policy notify.Policy, before backup.Status) catalog.Notified {
		t.Helper()
		box := &notify.Outbox{Vault: v, Sender: sender, Policy: policy, Now: func() time.Time { return noon }}
		told, err := box.Deliver(t.Context(), m, before, notify.Recipient{Address: anna.Address}, bob)
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	m := restoreMessage()
	want := catalog.Notified{Status: "sent", At: noon, To: []string{"anna@example.org", "Bob <bob@example.org>"}}
	for range 2 {
		if diff := cmp.Diff(want, deliver(m, "", "")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if told := deliver(m, notify.OnProblem, ""); told.Status != "quiet" {
		t.Errorf("on problem: %+v", told)
	}
	if told := deliver(m, notify.OnChange, backup.Completed); told.Status != "quiet" {
		t.Errorf("on change: %+v", told)
	}
	m.Record.Attempt = 2
	deliver(m, notify.OnChange, backup.Failed)
	for _, id := range sender.ids[:2] {
		if !strings.HasPrefix(id, "lifeboat.r0123456789abcdef0123.restore-1.") || !strings.HasSuffix(id, "@example.org") {
			t.Errorf("Message-ID %s", id)
		}
	}
	unique := map[string]bool{}
	for _, id := range sender.ids {
		unique[id] = true
	}
	if len(sender.ids) != 4 || len(unique) != 4 {
		t.Errorf("sent %q", sender.ids)
	}
	if _, _, err := v.Get(t.Context(), vault.Outbox(backup.ID(restoreID), "restore-2", "anna@example.org")); err != nil {
		t.Error(err)
	}
}

func FuzzRestoreHeaders(f *testing.F) {
	f.Add("prefix", "photos-new", "reason", "/tmp/a.zip", "https://h/a.zip?x")
	f.Add("x\r\nBcc: b@example.org", "t\r\nX: y", "r\r\nSubject: z", "\u202e<script>", "\xff://?#")
	_, plainMail := compose(f, failedRestore())
	want := headerNames(f, plainMail)
	f.Fuzz(func(t *testing.T, prefix, target, reason, file, address string) {
		m := failedRestore()
		m.Prefix, m.Record.Target, m.Record.Failure.Message = prefix, target, reason
		m.Record.From = catalog.Origin{File: file, URL: address}
		m.Record.Steps = []catalog.StepLog{{Step: target, Message: reason}}
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
