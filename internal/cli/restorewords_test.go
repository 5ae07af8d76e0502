package cli

import (
	"os"
	"strings"
	"testing"
)

// TestRestoreWords: each wrong flag, and each two that don't go together, are refused in one sentence, and nothing is
// written.
func TestRestoreWords(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	g := p.goal("fresh", empty("nora"))
	p.addTarget("docs: {kind: files, path: ./docs-new}")
	p.addTarget("marks: {kind: linkding, data: ./marks-new}")
	p.inside("download", "latest", "-q", "-o", p.path("photos.zip")).exits(0)
	before := around(t, p.dir)
	folder := "dir:" + p.path("never")
	for _, c := range []struct {
		args string
		code int
		text string
	}{
		{"latest --to " + folder + " --as nora", 2, "--as"},
		{"latest --to " + folder + " --rename", 2, "--rename"},
		{"latest --to " + folder + " --folder-into root", 2, "--folder-into"},
		{"latest --to s3://bucket --as nora", 2, "--as"},
		{"latest --to s3://bucket --rename", 2, "--rename"},
		{"latest --to s3://bucket --folder-into root", 2, "--folder-into"},
		{"latest --to fresh --name new", 2, "--name"},
		{"latest --to fresh --folder-into root", 2, "--folder-into"},
		{"latest --to fresh --folder-into root --as nora", 2, ""},
		{"latest --to fresh --only-objects --only-documents", 2, "leave nothing"},
		{"latest --to fresh --into-existing", 2, "--into-existing is for folders"},
		{"latest --to fresh --layout datasource", 2, "--layout is for buckets"},
		{"latest --to fresh --endpoint http://127.0.0.1:1", 2, "--endpoint is for buckets"},
		{"latest --to fresh --check some", 2, "--check some: it is full or stored"},
		{"latest --to fresh --only uploads//x", 2, "is none"},
		{"latest --to fresh --no-such-flag", 2, "unknown flag"},
		{"latest --to fresh --as somebody", 2, `no user "somebody"`},
		{"latest --to fresh --folder-into root --name ../up", 2, "../up"},
		{"latest --to " + folder + " --name ../up", 2, "is no name"},
		{"latest --to " + folder + " --name ..", 2, "is no name"},
		{"latest", 2, "--to is missing"},
		{"--to fresh", 2, "one backup, archive or URL"},
		{"latest photos.zip --to fresh", 2, "one backup, archive or URL"},
		{"latest --to dir:", 2, "--to dir:"},
		{"latest --to ./never", 2, "--to dir:./never"},
		{"latest --to fresh,docs", 2, "--to fresh,docs"},
		{"latest --to frehs", 10, `did you mean "fresh"`},
		{"latest --to docs", 16, "kind zipline can't be restored into docs"},
		{"latest --to marks", 16, "kind zipline can't be restored into marks"},
		{"20200101T000000Z-aaaaaa --to fresh", 10, "20200101T000000Z-aaaaaa"},
		{"nothing:latest --to fresh", 10, "nothing"},
		{p.path("none.zip") + " --to fresh", 10, "none.zip"},
		{p.path("photos.zip") + " --to fresh --check stored", 2, "for backups in the vault"},
		{p.path("photos.zip") + " --to " + folder + " --as nora", 2, "--as"},
		{"http://example.org/x.zip --to fresh", 12, "not allowed"},
		{"file:///etc/passwd --to fresh", 12, "not allowed"},
	} {
		t.Run(strings.ReplaceAll(c.args, p.dir, ""), func(t *testing.T) {
			p := p.of(t)
			args := append([]string{"restore"}, strings.Fields(c.args)...)
			p.inside(append(args, "-q")...).complains(c.code, c.text)
		})
	}
	g.untouched(t)
	after := around(t, p.dir)
	for name := range after {
		if _, was := before[name]; !was && !strings.HasPrefix(name, "vault/") && !strings.HasPrefix(name, "mail/") {
			t.Errorf("%s was made", name)
		}
	}
	if _, err := os.Stat(p.path("never")); err == nil {
		t.Error("a folder was made")
	}
}
