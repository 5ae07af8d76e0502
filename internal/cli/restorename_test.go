package cli

import (
	"os"
	"strings"
	"testing"

	"lifeboat/internal/catalog"
)

// TestNameInUse: who asks for a name that another restore has taken hears whose it is, not that the folder is not empty.
func TestNameInUse(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backup(0)
	into := []string{"restore", "latest", "--to", "dir:shelf", "--name", "same"}
	first := p.run(append(into, "--json", "-q")...).exits(0).restored()
	taken := []string{
		`the name "same" is in use in dir:` + p.path("shelf") + ": restore " + string(first.ID) + " of " + starter().Who + " took it at ",
		"choose another --name; `lifeboat restores " + string(first.ID) + "` shows that restore",
	}
	p.run(append(into, "--only", "export.json", "-q")...).complains(11, taken...)
	p.run(append(into, "--only", "export.json", "-q", "--dry-run")...).complains(11, taken...)
	p.backup(0)
	p.run(append(into, "-q")...).complains(11, taken...)
}

// TestNewMachine: with a ZIP, a target and no vault, as after a disaster, a restore makes the vault that notes it.
func TestNewMachine(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.backed()
	p.inside("download", "latest", "-o", p.path("photos.zip")).exits(0)
	g := p.goal("fresh", empty("nora"))
	p.config("vault: ./vault", "vault: ./elsewhere")
	if err := os.Rename(p.path("state"), p.path("state of the lost machine")); err != nil {
		t.Fatal(err)
	}
	p.inside("restore", "latest", "--to", "fresh", "-q").complains(10, "there is no vault at ", "`lifeboat doctor`")
	p.inside("restore", p.path("none.zip"), "--to", "fresh", "-q").complains(10, "none.zip")
	if _, err := os.Stat(p.path("elsewhere")); err == nil {
		t.Error("a vault was made")
	}
	p.inside("restore", p.path("photos.zip"), "--to", "fresh", "--trust", "-q").exits(0).
		says("lifeboat: warning: there was no vault at ", "elsewhere: one was made, which notes this restore")
	if got, err := os.ReadDir(g.folder); len(got) == 0 || err != nil {
		t.Errorf("nothing came in: %v", err)
	}
	if said := p.inside("restore", p.path("photos.zip"), "--to", "fresh", "--trust", "-q").exits(0).err; strings.Contains(said, "no vault") {
		t.Error(said)
	}
}

// TestFoldersWritten: an empty folder is no file.
func TestFoldersWritten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		put  catalog.Put
		want string
	}{
		{catalog.Put{Written: 1, Folders: 1}, "1 folder"},
		{catalog.Put{Written: 3, Folders: 2}, "1 file and 2 folders"},
		{catalog.Put{Written: 2}, "2 files"},
		{catalog.Put{}, "0 files"},
	} {
		if got := writtenWords(test.put, "file"); got != test.want {
			t.Errorf("%+v: %q, want %q", test.put, got, test.want)
		}
	}
	p := newPlace(t)
	p.write("kept.yaml", "vault: ./vault\nstate-dir: ./state\nsources:\n  kept: {kind: files, path: ./kept}\n")
	p.make("kept")
	p.make("kept/empty")
	p.run("-c", "kept.yaml", "backup", "kept", "-q")
	said := p.run("-c", "kept.yaml", "restore", "kept:latest", "--to", "dir:out").exits(0)
	if !strings.Contains(said.out, "out: 1 file and 1 folder written, ") {
		t.Error(said.out)
	}
}
