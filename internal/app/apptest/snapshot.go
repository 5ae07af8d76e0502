package apptest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// memory is a sink that keeps everything, and fails at one of its calls.
type memory struct {
	documents map[string]int64
	texts     map[string]string // of the documents
	objects   []app.Object
	findings  []app.Finding
	calls     int
	failAt    int   // 0: never
	err       error // what the call returns
}

func (m *memory) fails() bool {
	m.calls++
	return m.calls == m.failAt
}

func (m *memory) Document(_ context.Context, d app.Document, body io.Reader) error {
	if m.fails() {
		_, _ = body.Read(make([]byte, 1))
		return m.err
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if m.documents == nil {
		m.documents, m.texts = map[string]int64{}, map[string]string{}
	}
	if _, twice := m.documents[d.Path]; twice {
		return errors.New("the document " + d.Path + " comes twice")
	}
	m.documents[d.Path], m.texts[d.Path] = int64(len(text)), string(text)
	return nil
}

func (m *memory) Object(o app.Object) error {
	if m.fails() {
		return m.err
	}
	m.objects = append(m.objects, o)
	return nil
}

func (m *memory) Found(f app.Finding) { m.findings = append(m.findings, f) }

func (m *memory) sorted() []app.Object {
	slices.SortFunc(m.objects, func(a, b app.Object) int { return cmp.Compare(a.Path, b.Path) })
	return m.objects
}

// snapshotTwice takes two snapshots of an application that does not change: they are equal, and have the layout that
// an archive needs.
func snapshotTwice(t *testing.T, s Subject) {
	var first, second memory
	facts, err := s.Source.Snapshot(t.Context(), backup.Scope{}, &first)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Application == "" {
		t.Error("the facts name no application")
	}
	if _, err := s.Source.Snapshot(t.Context(), backup.Scope{}, &second); err != nil {
		t.Fatal(err)
	}
	settled := gocmp.FilterPath(func(p gocmp.Path) bool { return p.Last().String() == ".Settled" }, gocmp.Ignore())
	if diff := gocmp.Diff(first.sorted(), second.sorted(), settled); diff != "" {
		t.Errorf("a second snapshot differs:\n%s", diff)
	}
	for _, f := range first.findings {
		if f.Severity != app.Note {
			t.Errorf("an application that is well has a problem: %+v", f)
		}
	}
	layout(t, s, &first)
}

func layout(t *testing.T, s Subject, m *memory) {
	t.Helper()
	documents := slices.Sorted(maps.Keys(m.documents))
	if diff := gocmp.Diff(slices.Sorted(slices.Values(s.Documents)), documents); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	want, got, folders := map[string]int64{}, map[string]int64{}, map[string]uint32{}
	for path, content := range s.Objects() {
		want[path] = int64(len(content))
	}
	seen := map[string]bool{}
	for _, o := range m.objects {
		if o.Key == "" || o.Identity == "" || seen[o.Path] {
			t.Errorf("an object without key or identity, or one that comes twice: %+v", o)
		}
		if seen[o.Path] = true; o.Dir {
			folders[o.Path] = o.Mode
		} else {
			got[o.Path] = o.Size
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("objects and sizes (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(atLeast(s.Folders), folders); diff != "" {
		t.Errorf("folders and modes (-want +got):\n%s", diff)
	}
	for _, path := range append(documents, slices.Collect(maps.Keys(seen))...) {
		if reason := unfit(path); reason != "" {
			t.Errorf("the path %q %s", path, reason)
		}
	}
}

func atLeast[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// unfit says why a path can't stand in an archive; "" where it can.
func unfit(path string) string {
	name := strings.TrimSuffix(path, "/")
	switch {
	case !utf8.ValidString(path) || len(path) > 65535:
		return "is no name that a ZIP can hold"
	case !fs.ValidPath(name) || name == ".":
		return "is not a clean relative path"
	case strings.ContainsFunc(path, func(c rune) bool { return c < 0x20 || c == 0x7f || c == '\\' }):
		return "has a control character or a backslash"
	case name == "lifeboat" || strings.HasPrefix(name, "lifeboat/"):
		return "lies in the folder that is lifeboat's own"
	}
	return ""
}

// sinkFails lets each call of the sink fail: the snapshot ends with that error.
func sinkFails(t *testing.T, s Subject) {
	var whole memory
	if _, err := s.Source.Snapshot(t.Context(), backup.Scope{}, &whole); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= whole.calls; n++ {
		m := &memory{failAt: n, err: failure.New(failure.Exhausted, "the disk is full")}
		if _, err := s.Source.Snapshot(t.Context(), backup.Scope{}, m); !errors.Is(err, m.err) {
			t.Errorf("call %d of the sink failed, the snapshot says %v", n, err)
		}
		if m.calls > n {
			t.Errorf("call %d of the sink failed, %d followed", n, m.calls-n)
		}
	}
}

// canceled wants nothing of a run that nobody wants any more.
func canceled(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Source.Snapshot(ctx, backup.Scope{}, &memory{}); failure.KindOf(err) != failure.Canceled {
		t.Errorf("the kind of a canceled snapshot is %s: %v", failure.KindOf(err), err)
	}
}
