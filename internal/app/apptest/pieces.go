package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/vault"
)

// pausing is a sink for pieces of a snapshot.
type pausing struct {
	*memory
	from   []byte // where the piece goes on; nil: it begins
	every  int    // a piece ends where it may for the n-th time
	asked  int
	idle   bool // it was asked before anything was taken
	cursor []byte
}

// Pause implements app.PausingSink.
func (p *pausing) Pause(cursor func() ([]byte, error)) (err error) {
	at, err := cursor()
	if err != nil || bytes.Equal(at, p.from) { // nothing was taken yet
		p.idle = err == nil
		return err
	}
	if p.asked++; p.asked < p.every {
		return nil
	}
	p.cursor = at
	return app.ErrPaused
}

// Reread implements app.PausingSink.
func (p *pausing) Reread(_ context.Context, path string, read func(io.Reader) error) error {
	text, ok := p.texts[path]
	if !ok {
		return fmt.Errorf("there is no document %q", path)
	}
	return read(strings.NewReader(text))
}

func (m *memory) clone() *memory {
	return &memory{
		documents: maps.Clone(m.documents), texts: maps.Clone(m.texts), objects: slices.Clone(m.objects), findings: slices.Clone(m.findings),
	}
}

// inPieces takes snapshots in pieces: together these are what one snapshot is.
func inPieces(t *testing.T, s Subject) {
	source, ok := s.Source.(app.Pausing)
	if !ok && !s.Pauses {
		t.Skip("the application's snapshot is taken in one go")
	}
	if n := SamePieces(t, source, backup.Scope{}); s.Pauses && n < 2 {
		t.Errorf("pieces of one object are %d pieces", n)
	}
}

// SamePieces takes snapshots in pieces of one object, of two, and so on, and compares them with one that is taken in one
// go. It returns how many pieces of one object there are.
func SamePieces(t *testing.T, source app.Pausing, scope backup.Scope) (most int) {
	t.Helper()
	var whole memory
	facts, err := source.Snapshot(t.Context(), scope, &whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, every := range []int{1, 2, 3, 7} {
		m, got, n := piecewise(t, source, scope, every)
		most = max(most, n)
		same(t, fmt.Sprintf("in pieces of %d", every), &whole, m)
		if diff := gocmp.Diff(facts, got); diff != "" {
			t.Errorf("in pieces of %d, the facts differ:\n%s", every, diff)
		}
	}
	return most
}

// Findings returns what a snapshot finds.
func Findings(t *testing.T, source app.Source, scope backup.Scope) []app.Finding {
	t.Helper()
	var m memory
	if _, err := source.Snapshot(t.Context(), scope, &m); err != nil {
		t.Fatal(err)
	}
	return m.findings
}

// Stored is the sink of a piece that follows one which has stored these documents, by their paths. It never pauses.
func Stored(documents map[string]string) app.PausingSink {
	return &pausing{memory: &memory{texts: documents}, every: math.MaxInt}
}

// piecewise takes a snapshot in pieces. The answer to every other piece is lost: it is taken once more.
func piecewise(t *testing.T, source app.Pausing, scope backup.Scope, every int) (*memory, app.Facts, int) {
	t.Helper()
	m, cursor := &memory{}, []byte(nil)
	for n := 1; n < 1000; n++ {
		if n%2 == 0 {
			_, _ = source.SnapshotFrom(t.Context(), scope, cursor, &pausing{memory: m.clone(), from: cursor, every: every + 1})
		}
		p := &pausing{memory: m, from: cursor, every: every}
		facts, err := source.SnapshotFrom(t.Context(), scope, cursor, p)
		switch {
		case cursor != nil && !p.idle:
			t.Fatalf("piece %d took something before it asked whether it has the time: nobody sees where a snapshot gets no further", n)
		case err == nil && p.cursor == nil:
			return m, facts, n
		case !errors.Is(err, app.ErrPaused) || p.cursor == nil:
			t.Fatalf("piece %d: %v, cursor %s", n, err, p.cursor)
		case !json.Valid(p.cursor):
			t.Fatalf("piece %d: the cursor is no JSON: %q", n, p.cursor)
		}
		cursor = p.cursor
	}
	t.Fatal("a thousand pieces, and no end")
	return nil, app.Facts{}, 0
}

// instant is a time in a document that says when it was made.
var instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

func timeless(documents map[string]string) map[string]string {
	all := map[string]string{}
	for path, text := range documents {
		all[path] = instant.ReplaceAllString(text, "then")
	}
	return all
}

// same compares two snapshots: documents, objects and findings in their order.
func same(t *testing.T, what string, want, got *memory) {
	t.Helper()
	settled := gocmp.FilterPath(func(p gocmp.Path) bool { return p.Last().String() == ".Settled" }, gocmp.Ignore())
	if diff := gocmp.Diff(want.objects, got.objects, settled); diff != "" {
		t.Errorf("%s, the objects differ:\n%s", what, diff)
	}
	if diff := gocmp.Diff(timeless(want.texts), timeless(got.texts)); diff != "" {
		t.Errorf("%s, the documents differ:\n%s", what, diff)
	}
	if diff := gocmp.Diff(want.findings, got.findings); diff != "" {
		t.Errorf("%s, the findings differ:\n%s", what, diff)
	}
}

// backupInPieces makes a backup whose snapshot is taken in as many pieces as there can be, with the real steps: it is
// what the backup of one piece is.
func backupInPieces(t *testing.T, v *vault.Vault, s Subject) {
	if !s.Pauses {
		t.Skip("the application's snapshot is taken in one go")
	}
	calm, hasty := newWorld(t, v, s.Source), newWorld(t, v, s.Source)
	hasty.hurried = true
	want, got := calm.completed(), hasty.completed()
	if calm.snapshots != 1 || hasty.snapshots < len(hasty.source.objects) {
		t.Errorf("%d objects: the snapshot was %d pieces, and %d", len(hasty.source.objects), calm.snapshots, hasty.snapshots)
	}
	if diff := gocmp.Diff(timeless(calm.verified(want)), timeless(hasty.verified(got))); diff != "" {
		t.Errorf("the backups differ (-one piece +many):\n%s", diff)
	}
	if want.Objects != got.Objects || want.Documents != got.Documents || want.PackedObjects != got.PackedObjects {
		t.Errorf("%d objects and %d documents, then %d and %d", want.Objects, want.Documents, got.Objects, got.Documents)
	}
	for what, pair := range map[string][2]any{
		"facts": {want.Facts, got.Facts}, "notes": {want.Notes, got.Notes}, "secrets": {want.Secrets, got.Secrets},
	} {
		if diff := gocmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("the %s differ (-one piece +many):\n%s", what, diff)
		}
	}
	if again := hasty.completed(); again.PackedObjects != 0 {
		t.Errorf("nothing has changed, %d objects were packed", again.PackedObjects)
	}
}
