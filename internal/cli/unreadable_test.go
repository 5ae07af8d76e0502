package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recordOf is the file of a backup's record in the vault.
func (p *place) recordOf(id string) string {
	return p.path("vault/buckets/vault/catalog/backups/photos/" + id + ".json")
}

// broken are the ways in which a record goes bad.
var broken = map[string]func(t *testing.T, name string){
	"one byte": func(t *testing.T, name string) { flip(t, name, 40) },
	"cut off": func(t *testing.T, name string) {
		if err := os.Truncate(name, 20); err != nil {
			t.Fatal(err)
		}
	},
	"empty": func(t *testing.T, name string) {
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	},
}

// TestUnreadableRecord: where the record of the newest backup is damaged, nobody gets an older one without a word.
func TestUnreadableRecord(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first := p.backup(0)
	p.write("uploads/CHANGES.md", "changed")
	second := p.backup(3) // it has another size than its row
	record, err := os.ReadFile(p.recordOf(second.ID))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range broken {
		t.Run(name, func(t *testing.T) {
			p := p.of(t)
			if err := os.WriteFile(p.recordOf(second.ID), record, 0o600); err != nil {
				t.Fatal(err)
			}
			p.run("show", second.ID).exits(0)
			damage(t, p.recordOf(second.ID))
			warning := "lifeboat: warning: the record of backup " + second.ID + " cannot be read, and it may be the latest; taking " + first.ID
			for _, args := range [][]string{
				{"restore", "latest", "--to", "dir:out " + name},
				{"verify", "latest"},
				{"show", "photos:latest"},
				{"files", "latest"},
				{"get", "latest", "export.json"},
				{"download", "latest", "-o", name + ".zip"},
			} {
				p.run(append(args, "-q")...).exits(0).says(warning)
			}
			dry := p.run("restore", "latest", "--to", "dir:never", "--dry-run", "--json").exits(0).restored()
			if len(dry.Notes) == 0 || dry.Notes[0].Kind != "passed" || dry.Notes[0].Item != second.ID {
				t.Errorf("%+v", dry.Notes)
			}
			if out := p.run("status").exits(3).out; !strings.Contains(out, "RECORD UNREADABLE: "+second.ID) {
				t.Error(out)
			}
			if out := p.run("status", "--json").exits(3).out; !strings.Contains(out, `"unreadable":["`+second.ID+`"]`) {
				t.Error(out)
			}
			p.run("doctor").complains(13, "records photos/"+second.ID, "archives/photos/"+second.ID+".zip")
			p.run("drill", "photos").exits(3).says(warning, "was restored but for 1 problem, and is not marked as proven")
			p.run("drill", "photos", "--backup", first.ID).exits(0)
			p.run("list").exits(13).says("hint: `lifeboat doctor` says what to do")
			p.run("verify", second.ID).complains(13, "the record of backup "+second.ID+" cannot be read", "`lifeboat doctor` says what to do")
			for _, named := range []string{second.ID, second.ID[:len(second.ID)-1]} {
				p.run("restore", named, "--to", "dir:never").complains(13, second.ID)
				p.run("show", named).exits(13)
			}
			p.run("delete", second.ID[:len(second.ID)-1], "--yes").exits(13)
			p.run("restore", first.ID, "--to", "dir:first "+name, "-q").exits(0)
		})
	}
}

// TestOnlyRecordUnreadable: a backup whose record is damaged is there, and its archive needs no record.
func TestOnlyRecordUnreadable(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	made := p.backup(0)
	flip(t, p.recordOf(made.ID), 40)
	for _, text := range []string{"latest", "photos:latest"} {
		p.run("restore", text, "--to", "dir:never").complains(13, "no backup is left for \""+text+"\" to choose", made.ID, "archives/photos/"+made.ID+".zip")
		p.run("verify", text).complains(13, made.ID)
		p.run("delete", text, "--yes").complains(13, made.ID)
	}
	p.run("drill", "photos").complains(13, made.ID)
	p.run("restore", p.path("vault/buckets/vault/archives/photos/"+made.ID+".zip"), "--to", "dir:out", "-q").exits(0)
}

// TestUnreadableFrees: a damaged record keeps every pack, and is a problem of the next run, which cannot compare itself with it.
func TestUnreadableFrees(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	made := p.backup(0)
	first := p.recordOf(made.ID)
	there, err := filepath.Glob(p.path("vault/buckets/vault/packs/photos/??/*"))
	if err != nil || len(there) == 0 {
		t.Fatal(there, err)
	}
	flip(t, first, 40)
	before := time.Now().Add(-time.Hour) // of what was written since another began, nobody knows which is newer
	if err := os.Chtimes(first, before, before); err != nil {
		t.Fatal(err)
	}
	p.run("prune", "--now").exits(3).says("find out which packs backup "+made.ID+" needs", "no pack could be freed")
	second := p.backup(3)
	if len(second.Problems) != 1 || second.Problems[0].Kind != "previous" || second.Problems[0].Item != made.ID {
		t.Errorf("%+v", second.Problems)
	}
	third := p.backup(0) // the second is what it is compared with
	p.run("delete", second.ID).exits(0)
	p.run("delete", third.ID, "--now").exits(13)
	p.run("prune", "--now").exits(3)
	for _, pack := range there {
		if _, err := os.Stat(pack); err != nil {
			t.Error(err)
		}
	}
	flip(t, first, 40) // it is right again
	p.good(made.ID)
}
