package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noTrace makes the place's commands use a folder of its own for temporary files, and returns what lies in it.
func (p *place) noTrace() func() []string {
	p.Helper()
	p.make("tmp")
	p.env = append(p.env, "TMPDIR="+p.path("tmp"))
	return func() []string {
		var names []string
		entries, err := os.ReadDir(p.path("tmp"))
		if err != nil {
			p.Fatal(err)
		}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return names
	}
}

// statusOf returns what `status` says of a source.
func (p *place) statusOf(source string) sourceStatus {
	p.Helper()
	for line := range strings.Lines(p.inside("status", "--json").out) {
		var st sourceStatus
		if (result{T: p.T, out: line}).last(&st); string(st.Source) == source {
			return st
		}
	}
	p.Fatalf("status says nothing of %s", source)
	return sourceStatus{}
}

// TestDrill drills a backup of each kind: it is marked as restorable, and nothing is left of the throw-away target.
func TestDrill(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	left := p.noTrace()
	p.make("docs")
	p.write("docs/a.txt", "alpha")
	p.write("docs/100% ü.html", "<p>")
	p.config("sources:\n", "sources:\n  docs: {kind: files, path: ./docs}\n")
	kinds := []string{"photos", "docs"}
	if fixtures := os.Getenv("LIFEBOAT_FIXTURES"); fixtures != "" {
		if err := os.CopyFS(p.path("data"), os.DirFS(filepath.Join(fixtures, "linkding", "data"))); err != nil {
			t.Fatal(err)
		}
		p.config("sources:\n", "sources:\n  marks: {kind: linkding, data: ./data}\n")
		kinds = append(kinds, "marks")
	}
	for _, source := range kinds {
		p.inside("backup", source, "-q").exits(0)
		if st := p.statusOf(source); st.LastDrilled != "" || !st.DrilledAt.IsZero() {
			t.Errorf("%s before its drill: %+v", source, st)
		}
		r := p.run("drill", source, "-q").exits(0)
		if !strings.Contains(r.out, " of "+source+" is restorable: ") || r.err != "" {
			t.Errorf("%s%s", r.out, r.err)
		}
		if names := left(); len(names) > 0 {
			t.Errorf("the drill of %s leaves %v", source, names)
		}
		st := p.statusOf(source)
		if st.LastDrilled == "" || st.LastDrilled != st.LastGood || st.LastProven != st.LastGood || st.DrilledAt.IsZero() {
			t.Errorf("%s after its drill: %+v", source, st)
		}
		shown := p.inside("show", source+":latest").exits(0)
		if !strings.Contains(shown.out, "restorable") || !strings.Contains(shown.out, "drilled") {
			t.Error(shown.out)
		}
		m := p.inside("drill", source, "--json", "-q").exits(0).restored()
		if !m.Drill || m.Confirmation == nil || len(m.Confirmation.Asserted) == 0 || m.Status != "completed" {
			t.Errorf("%s: %+v", source, m)
		}
	}
	if st := p.inside("status").exits(0); !strings.Contains(st.out, "LAST DRILLED") {
		t.Error(st.out)
	}
	p.inside("drill", "photos", "--backup", "20200101T000000Z-aaaaaa", "-q").complains(10)
	p.inside("drill", "photoz", "-q").complains(10, `did you mean "photos"`)
	p.inside("drill", "-q").complains(2)
	p.env = append(p.env, "TMPDIR="+p.path("none"))
	p.run("drill", "docs", "-q").complains(10, "make the folder of the drill", "$TMPDIR names another one")
}

// TestDrillDamaged: a backup that is damaged fails its drill, is not marked, and nothing is left.
func TestDrillDamaged(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	left := p.noTrace()
	p.backed()
	if err := os.RemoveAll(p.path("vault/buckets/vault/archives")); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(p.path("vault/buckets/vault/packs/photos/*/*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, name := range packs {
		if info, err := os.Stat(name); err == nil && info.Size() > 1<<20 {
			flip(t, name, info.Size()/2)
		}
	}
	p.run("drill", "photos", "-q").complains(13, "damaged")
	if names := left(); len(names) > 0 {
		t.Errorf("the drill leaves %v", names)
	}
	if st := p.statusOf("photos"); st.LastDrilled != "" {
		t.Errorf("%+v", st)
	}
}

// TestDrillReal drills the recorded instance.
func TestDrillReal(t *testing.T) {
	t.Parallel()
	_, p := recorded(t)
	m := p.inside("drill", "photos", "--json", "-q").exits(0).restored()
	for _, n := range m.Confirmation.Counts {
		if n.What == "files" && n.Create != 62 || n.What == "folders" && n.Create != 15 {
			t.Errorf("%+v", n)
		}
	}
	if len(m.Problems) > 0 || m.Written != 62 {
		t.Errorf("%+v", m)
	}
}

// TestDrillFolder: the backup of one folder is not the newest backup of its source, and can be drilled by its id.
func TestDrillFolder(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, done := p.client()
	t.Cleanup(done)
	p.inside("backup", "photos", "-q").exits(0)
	var whole, part summary
	p.inside("list", "--json").exits(0).last(&whole)
	p.inside("backup", "photos", "--folder", "nora:Photos", "--json", "-q").exits(0).last(&part)
	if m := p.inside("drill", "photos", "--json", "-q").exits(0).restored(); string(m.Backup) != whole.ID {
		t.Errorf("drilled %s, want %s, which holds all", m.Backup, whole.ID)
	}
	if m := p.inside("drill", "photos", "--backup", part.ID, "--json", "-q").exits(0).restored(); m.Confirmation == nil || m.Confirmation.Counts[1].What != "files" || m.Confirmation.Counts[1].Create != 3 {
		t.Errorf("%+v", m) // rebuilt in the stand-in by its folder API
	}
	if st := p.statusOf("photos"); string(st.LastDrilled) != whole.ID {
		t.Errorf("%+v", st)
	}
}

// TestDrillInstead: a drill that has restored the archive in the place of damaged packs says so, and marks the backup.
func TestDrillInstead(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.make("docs")
	p.write("docs/a.txt", "alpha, beta and gamma, and whatever else there is to say here of letters and of their order")
	p.config("sources:\n", "sources:\n  docs: {kind: files, path: ./docs}\n")
	p.run("backup", "docs", "-q").exits(0)
	packs, err := filepath.Glob(p.path("vault/buckets/vault/packs/docs/??/*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, pack := range packs {
		flip(t, pack, 60)
	}
	p.run("drill", "docs", "-q").exits(3).says("not marked as proven: its packs are damaged, and its archive was restored in their place")
	if st := p.statusOf("docs"); len(st.Damaged) != 1 || st.LastDrilled != "" {
		t.Errorf("%+v", st)
	}
}
