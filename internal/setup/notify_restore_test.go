package setup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/setup"
)

func TestMain(m *testing.M) { vaulttest.Main(m) }

const told = `
vault: ./vault
sources:
  photos: {kind: files, path: ./photos, notify: {to: source@example.org, on: problem}}
  quiet: {kind: files, path: ./quiet}
targets:
  photos-new: {kind: files, path: ./new, notify: {to: [target@example.org, bob@example.org]}}
  changes: {kind: files, path: ./changes, notify: {to: change@example.org, on: change}}
  nobody: {kind: files, path: ./nobody}
`

func restored(number byte, target string, source backup.Source, status backup.Status) catalog.Restore {
	start := time.Date(2026, 11, 21, 14, 0, int(number), 0, time.UTC)
	return catalog.Restore{
		ID: backup.NewRestoreID(string(number)), Attempt: 1, Target: target, Status: status, Check: "full", Started: start, Finished: start.Add(time.Minute),
		From: catalog.Origin{Source: source, Backup: "20261121T020000Z-abcdef"}, StartedBy: catalog.Starter{By: "person", Who: "anna@nas"},
	}
}

// TestNotifyRestore: who hears of which restore, and why nobody does.
func TestNotifyRestore(t *testing.T) {
	cfg, err := config.Parse("lifeboat.yaml", []byte(told), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := &setup.Notifier{Config: cfg, Vault: vaulttest.New(t).Vault, Version: "1.0.0"}
	dry, drill := restored(1, "photos-new", "photos", backup.Failed), restored(2, "photos-new", "photos", backup.Failed)
	dry.DryRun, drill.Drill = true, true
	for name, test := range map[string]struct {
		record catalog.Restore
		want   string // recipients, or why nobody heard
	}{
		"target":              {restored(3, "photos-new", "photos", backup.Completed), "target@example.org bob@example.org"},
		"target without":      {restored(4, "nobody", "photos", backup.Failed), "source@example.org"},
		"folder":              {restored(5, "dir:/tmp/photos-new", "photos", backup.Partial), "source@example.org"},
		"policy":              {restored(6, "dir:/tmp/x", "photos", backup.Completed), "notify: {on: problem} of the source photos keeps quiet about this restore"},
		"drill":               {drill, "source@example.org"},
		"dry run":             {dry, "a dry run is told to nobody but who asked for it"},
		"nobody named":        {restored(7, "nobody", "quiet", backup.Failed), "names anybody"},
		"a stranger's file":   {restored(8, "dir:/tmp/x", "", backup.Failed), "names anybody"},
		"an unknown source":   {restored(9, "nobody", "gone", backup.Failed), "names anybody"},
		"change, none before": {restored(10, "changes", "photos", backup.Completed), "change@example.org"},
	} {
		told, err := n.NotifyRestore(t.Context(), test.record)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := strings.Join(told.To, " ")
		if told.Status == "quiet" {
			got = told.Message
		}
		if !strings.Contains(got, test.want) || (told.Status == "written") != strings.Contains(test.want, "@") {
			t.Errorf("%s: %+v, want %s", name, told, test.want)
		}
	}
	mails, err := filepath.Glob(filepath.Join(setup.MailFolder(cfg), "*.eml"))
	if err != nil || len(mails) != 6 {
		t.Errorf("mails %v, %v", mails, err)
	}
	mail, err := os.ReadFile(filepath.Join(setup.MailFolder(cfg), string(backup.NewRestoreID("\x03"))+"-restore-1.eml"))
	if err != nil || !strings.Contains(string(mail), "To: <target@example.org>") || !strings.Contains(string(mail), "target photos-new") {
		t.Errorf("%v\n%s", err, mail)
	}
}

// TestNotifyChange: on change compares with the newest other restore into the same target that has ended.
func TestNotifyChange(t *testing.T) {
	cfg, err := config.Parse("lifeboat.yaml", []byte(told), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := vaulttest.New(t)
	n := &setup.Notifier{Config: cfg, Vault: store.Vault, Version: "1.0.0"}
	c := catalog.New(store.Vault)
	begin := func(r catalog.Restore) {
		t.Helper()
		if _, _, err := c.BeginRestore(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	check := func(number byte, want string) {
		t.Helper()
		r := restored(number, "changes", "photos", backup.Completed)
		begin(r)
		if told, err := n.NotifyRestore(t.Context(), r); err != nil || told.Status != want {
			t.Errorf("restore %d: %+v, %v; want %s", number, told, err, want)
		}
	}
	begin(restored(1, "changes", "photos", backup.Failed))
	begin(restored(2, "nobody", "photos", backup.Completed))
	check(3, "written")
	begin(restored(4, "changes", "photos", backup.InProgress))
	dry := restored(5, "changes", "photos", backup.Failed)
	dry.DryRun = true
	begin(dry)
	check(6, "quiet")
	begin(restored(7, "changes", "photos", backup.Partial))
	check(8, "written")
}
