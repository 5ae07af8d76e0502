package cli

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"lifeboat/internal/app/zipline/standin"
)

// shows fails unless standard output has each of the texts.
func (r result) shows(texts ...string) result {
	r.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out, text) {
			r.Errorf("lifeboat %s: no %q in\n%s", strings.Join(r.args, " "), text, r.out)
		}
	}
	return r
}

// TestDoctorTargets: what would keep a restore from a target is found before one begins.
func TestDoctorTargets(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	g := p.goal("fresh", empty("nora"))
	p.make("marks")
	p.addTarget("marks: {kind: linkding, data: ./marks}")
	p.inside("doctor").exits(0).shows("1 source, 2 targets", `target     fresh: Zipline 4.6.3 answers the super administrator "nora"`,
		"target     fresh: the folder "+g.folder+" can be written", "target     marks: the folder "+p.path("marks")+" can be written", "0 trouble, 0 warnings")
	g.untouched(t)
	healthy := string(p.read("lifeboat.yaml"))
	for name, test := range map[string]struct {
		line  string // of a target "other"
		code  int
		shown []string
	}{
		"a wrong token":      {`{kind: zipline, url: "` + g.url + `", token: file:./wrong, datasource: ./fresh}`, 12, []string{"trouble  target     other: ", "SUPERADMIN of the target"}},
		"an unset variable":  {`{kind: zipline, url: "` + g.url + `", token: env:LIFEBOAT_TEST_UNSET, datasource: ./fresh}`, 2, []string{"LIFEBOAT_TEST_UNSET is not set", "target     other: the folder " + g.folder + " can be written"}},
		"a stopped server":   {`{kind: zipline, url: "http://127.0.0.1:9", token: file:./token, datasource: ./fresh}`, 15, []string{"connection refused", "check the target's url"}},
		"a missing folder":   {`{kind: zipline, url: "` + g.url + `", token: file:./token, datasource: ./nowhere}`, 10, []string{"the target's datasource folder " + p.path("nowhere") + " does not exist", "in the target's settings"}},
		"a file":             {`{kind: files, path: ./token}`, 2, []string{"is not a folder", "in the target's settings"}},
		"a folder to be":     {`{kind: files, path: ./nowhere}`, 0, []string{"warning  target     other: the folder " + p.path("nowhere") + " does not exist: a restore makes it", "is the volume mounted?"}},
		"a bucket of nobody": {`{kind: zipline, url: "` + g.url + `", token: file:./token, datasource: {s3: s3://none, endpoint: "http://127.0.0.1:9", region: us-east-1, access-key: env:HOME, secret-key: env:HOME}}`, 15, []string{"trouble  target     other: "}},
	} {
		p.write("wrong", "nonsense")
		p.write("lifeboat.yaml", healthy+"  other: "+test.line+"\n")
		r := p.inside("doctor").exits(test.code).shows(test.shown...)
		if strings.Contains(r.out, "source's") {
			t.Errorf("%s: a target is no source:\n%s", name, r.out)
		}
	}
	if _, err := os.Stat(p.path("nowhere")); err == nil {
		t.Error("the doctor made a folder")
	}
	p.write("lifeboat.yaml", healthy)
	old := p.goal("old", standin.Options{Admin: "nora", NoRateLimits: true, Version: "4.4.1"})
	p.inside("doctor").exits(16).shows("target     old: the target is Zipline 4.4.1", "upgrade it to 4.4.2 or newer")
	old.untouched(t)
}

// TestDoctorSource: a source whose token is not there has its files looked at all the same, and is named once.
func TestDoctorSource(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.config("token: file:./token", "token: env:LIFEBOAT_TEST_UNSET")
	r := p.inside("doctor").exits(2).shows("trouble  source     photos: the environment variable", "ok       datasource photos: the folder ")
	if strings.Contains(r.out+r.err, "photos: source photos") {
		t.Errorf("%s%s", r.out, r.err)
	}
}

// TestRestoreKilled: of a restore that was killed, everybody says that it was interrupted, and what to do.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	g := p.goal("fresh", empty("nora"))
	victim := p.victim("restore", "latest", "--to", "fresh", "-q")
	g.faulty(func(_ int, r *http.Request) standin.Fault {
		if r.Method == http.MethodPost {
			victim.signal(os.Kill)
			return standin.Fault{Cut: standin.CutAfter}
		}
		return standin.Fault{}
	})
	victim.killed(t)
	g.faulty(nil)
	var m struct {
		ID, Status  string
		Interrupted bool
	}
	if err := json.Unmarshal([]byte(p.inside("restores", "--json").exits(0).out), &m); err != nil || m.Status != "in progress" || !m.Interrupted {
		t.Fatalf("%+v, %v", m, err)
	}
	p.inside("restores").exits(0).shows(m.ID + "  ")
	p.inside("restores", m.ID[:6]).exits(0).shows(m.ID+": interrupted, attempt 1", "run the same restore command again")
	p.inside("restores", m.ID[:1], "--follow").exits(0).shows(m.ID + ": interrupted")
	r := p.inside("doctor").exits(0).shows("fresh: restore "+m.ID+" into fresh was interrupted", "run the same restore command again")
	if strings.Contains(r.out, "backup "+m.ID) || strings.Contains(r.out, "lifeboat backup target") {
		t.Error(r.out)
	}
	p.inside("restore", "latest", "--to", "fresh", "-q").exits(0)
	if again := p.inside("restores", m.ID, "--json").exits(0); strings.Contains(again.out, "interrupted") {
		t.Error(again.out)
	}
	p.inside("doctor").exits(0).shows("no stale lock")
	p.inside("restores", "rffff").complains(10, "there is no restore rffff")
}

// TestConfigurationForURL: only a configuration that is not there is none.
func TestConfigurationForURL(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.zipOf("some.zip", "a.txt", "1")
	p.write("lifeboat.yaml", "sources: {}\n")
	p.run("restore", "https://files.example.com/a.zip", "--to", "dir:never").complains(2, "vault is missing")
	p.run("restore", "some.zip", "--to", "dir:file", "--trust", "-q").exits(0).says("warning: the configuration is not used: ", "vault is missing")
	p.remove("lifeboat.yaml")
	r := p.run("restore", "some.zip", "--to", "dir:again", "--trust", "-q").exits(0)
	if strings.Contains(r.err, "configuration") {
		t.Error(r.err)
	}
	p.run("restore", "http://192.168.0.9:81/a.zip?key=hunter2", "--to", "dir:never", "-q").
		complains(12, `fetch: {allow: ["http://192.168.0.9:81"]}`)
}

// TestNoZIP: what is no ZIP is called what it is, and a refusal names its first reason.
func TestNoZIP(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write("page.zip", "\n<!DOCTYPE html><html><title>Sign in</title></html>")
	p.write("denied.zip", `<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`)
	p.write("text.zip", "a text")
	p.zipOf("evil.zip", "fine", "0", "../evil", "1", "../worse", "2")
	for _, command := range [][]string{{"verify"}, {"restore", "--to", "dir:never", "--trust"}} {
		p.run(append(command, "page.zip")...).complains(16, "is a web page, not a ZIP (a login page, an expired link?)")
		p.run(append(command, "denied.zip")...).complains(16, "is an XML document, not a ZIP")
		p.run(append(command, "text.zip")...).complains(13, "unreadable: there is no end record", "was the download complete?")
		r := p.run(append(command, "evil.zip")...).complains(13, "nonlocal: entry 1, ../evil: ", "(and 1 more)")
		if strings.Contains(r.err, "lifeboat verify FILE") != (command[0] == "restore") {
			t.Error(r.err)
		}
	}
	p.run("verify", "https://files.example.com/a.zip?key=hunter2").complains(2, "only `restore` takes a URL")
	p.run("files", "https://files.example.com/a.zip?key=hunter2").complains(2, "only `restore` takes a URL")
}

// TestVerifyOdd: a ZIP that is known as an application's and lacks what it needs is not said to be in order.
func TestVerifyOdd(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.zipOf("bare.zip", "export.json", string(p.instance.Export()))
	r := p.run("verify", "bare.zip").exits(3).says("lifeboat: warning: bare.zip has 1 problem as an archive of zipline")
	r.shows("problem: no-objects")
	var m verifyMessage
	p.run("verify", "bare.zip", "--json").exits(3).last(&m)
	if m.OK || len(m.Problems) != 1 || m.Problems[0].Kind != "no-objects" {
		t.Errorf("%+v", m)
	}
}

// TestNoSuchBackup: a text that names no backup gets the one that was meant.
func TestNoSuchBackup(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.config("sources:\n", "sources:\n  bookmarks: {kind: linkding, data: ./bookmarks}\n")
	p.make("bookmarks")
	p.backup(0)
	p.run("drill", "bookmarks").complains(10, "lifeboat backup bookmarks")
	for _, command := range [][]string{{"verify"}, {"restore", "--to", "dir:never"}} {
		p.run(append(command, "photos")...).complains(10, "photos is a source: write photos:latest")
		p.run(append(command, "phots:latest")...).complains(10, `did you mean "photos:latest"?`)
		p.run(append(command, "bookmarks:latest")...).complains(10, "`lifeboat backup bookmarks` makes one")
		p.run(append(command, "photos:2020")...).complains(10, "`lifeboat list photos` shows its backups")
		p.run(append(command, "photos:bookmarks:latest")...).complains(2, "names no backup: before the colon stands one source")
	}
	p.run("restore", "latest", "--to", "photos").complains(10, `has no target "photos"`, "photos is a source", "under targets: in lifeboat.yaml")
}
