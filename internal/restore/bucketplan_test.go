package restore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

const mib = 1 << 20

// piece is an entry of the plan's tests: where its body lies and how long it is.
type piece struct {
	pack         string
	offset, size int64
	deflated     int64 // bytes of the compressed body; 0: stored
}

// planned returns the units of a plan as text: "KEY@OFFSET+LENGTH[ large][ copy]: INDEX…".
func planned(t *testing.T, copies bool, pieces ...piece) []string {
	t.Helper()
	entries := func(yield func(manifest.Entry, error) bool) {
		for i, p := range pieces {
			e := manifest.Entry{Path: fmt.Sprint(i), Size: p.size, Header: manifest.Place{Pack: p.pack}, BodyPlace: &manifest.Place{Pack: p.pack, Offset: p.offset}}
			if p.deflated > 0 {
				e.Deflated = &manifest.Deflated{Size: p.deflated}
			}
			if !yield(e, nil) {
				return
			}
		}
	}
	plan := restore.Plan{
		Floor: restore.DefaultFloor, Copy: copies,
		Locate: func(e manifest.Entry) (restore.Spot, error) {
			object := int64(1 << 40)
			if e.BodyPlace.Pack == "tiny" {
				object = vault.MinPart
			}
			return restore.Spot{Key: vault.Key(e.BodyPlace.Pack), Offset: e.BodyPlace.Offset, Object: object}, nil
		},
		Name:  func(e manifest.Entry) (string, error) { return e.Path, nil },
		Found: func(f app.Finding) { t.Error(f) },
	}
	var units []string
	for u, err := range restore.PlanBucket(entries, plan) {
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		text.WriteString(fmt.Sprintf("%s@%d+%d", u.From.Key, u.From.Offset, u.Length))
		if u.Large {
			text.WriteString(" large")
		}
		if u.Copy {
			text.WriteString(" copy")
		}
		text.WriteString(":")
		for _, i := range u.Items {
			text.WriteString(" " + i.Key)
			if i.Entry.Size > 0 && (i.Offset < u.From.Offset || i.Offset+i.Entry.StoredSize() > u.From.Offset+u.Length) {
				t.Errorf("%s lies outside of its unit %s", i.Key, text.String())
			}
		}
		units = append(units, text.String())
		line, err := json.Marshal(u)
		var back restore.Unit
		if err == nil {
			err = json.Unmarshal(line, &back)
		}
		if diff := cmp.Diff(u, back); diff != "" || err != nil {
			t.Errorf("as JSON: %v\n%s", err, diff)
		}
	}
	return units
}

func TestPlanBucket(t *testing.T) {
	for name, test := range map[string]struct {
		pieces []piece
		copies bool
		want   []string
	}{
		"nothing":                       {},
		"neighbours":                    {[]piece{{"a", 100, 5, 0}, {"a", 200, 5, 0}}, true, []string{"a@100+105: 0 1"}},
		"a gap that is read along":      {[]piece{{"a", 0, 1, 0}, {"a", 1 + 256<<10, 1, 0}}, true, []string{"a@0+262146: 0 1"}},
		"a gap that is not":             {[]piece{{"a", 0, 1, 0}, {"a", 2 + 256<<10, 1, 0}}, true, []string{"a@0+1: 0", "a@262146+1: 1"}},
		"backwards":                     {[]piece{{"a", 10, 5, 0}, {"a", 0, 5, 0}}, true, []string{"a@10+5: 0", "a@0+5: 1"}},
		"overlapping":                   {[]piece{{"a", 0, 5, 0}, {"a", 0, 5, 0}}, true, []string{"a@0+5: 0", "a@0+5: 1"}},
		"another pack":                  {[]piece{{"a", 0, 5, 0}, {"b", 5, 5, 0}}, true, []string{"a@0+5: 0", "b@5+5: 1"}},
		"empty ones go along":           {[]piece{{"a", 9, 0, 0}, {"b", 7, 5, 0}, {"c", 0, 0, 0}, {"b", 12, 1, 0}}, true, []string{"b@7+6: 0 1 2 3"}},
		"only empty ones":               {[]piece{{"a", 9, 0, 0}}, true, []string{"@0+0: 0"}},
		"a full window":                 {[]piece{{"a", 0, 15 * mib, 0}, {"a", 15 * mib, mib, 0}, {"a", 16 * mib, 1, 0}}, false, []string{"a@0+16777216: 0 1", "a@16777216+1: 2"}},
		"a large one between":           {[]piece{{"a", 0, 1, 0}, {"a", 1, 8 * mib, 0}, {"b", 0, 1, 0}}, true, []string{"a@1+8388608 large copy: 1", "a@0+1: 0", "b@0+1: 2"}},
		"just not large":                {[]piece{{"a", 0, 8*mib - 1, 0}}, true, []string{"a@0+8388607: 0"}},
		"no store that copies":          {[]piece{{"a", 0, 8 * mib, 0}, {"a", 8 * mib, 17 * mib, 0}}, false, []string{"a@8388608+17825792 large: 1", "a@0+8388608: 0"}},
		"a source without ranges":       {[]piece{{"tiny", 0, 8 * mib, 0}}, true, []string{"tiny@0+8388608: 0"}},
		"documents":                     {[]piece{{"a", 0, mib, 9}, {"a", 9, mib + 1, 9}}, true, []string{"a@9+9 large: 1", "a@0+9: 0"}},
		"a compressed one is no object": {[]piece{{"a", 0, 20 * mib, 10 * mib}}, true, []string{"a@0+10485760 large: 0"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if diff := cmp.Diff(test.want, planned(t, test.copies, test.pieces...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	many := make([]piece, 5000)
	if units := planned(t, true, many...); len(units) != 2 {
		t.Errorf("%d units for 5,000 empty objects", len(units))
	}
}

// TestPlanStops: what cannot be located ends the plan, what cannot be named is left out.
func TestPlanStops(t *testing.T) {
	lost := errors.New("lost")
	entries := func(yield func(manifest.Entry, error) bool) {
		_ = yield(manifest.Entry{Path: "good", Size: 1}, nil) && yield(manifest.Entry{Path: "bad", Size: 1}, nil) && yield(manifest.Entry{}, lost)
	}
	var found []string
	plan := restore.Plan{
		Locate: func(manifest.Entry) (restore.Spot, error) { return restore.Spot{}, nil },
		Name: func(e manifest.Entry) (string, error) {
			if e.Path == "bad" {
				return "", errors.New("no name")
			}
			return e.Path, nil
		},
		Found: func(f app.Finding) { found = append(found, f.Item) },
	}
	for _, err := range restore.PlanBucket(entries, plan) {
		if !errors.Is(err, lost) {
			t.Errorf("%v", err)
		}
	}
	if diff := cmp.Diff([]string{"bad"}, found); diff != "" {
		t.Error(diff)
	}
}

// TestHostileKeys: no name of a manifest leads out of the prefix.
func TestHostileKeys(t *testing.T) {
	files := []string{"../evil", "a/../../evil", "/evil", "./evil", "a//b", "..", ".", "a/..", strings.Repeat("x", 1100)}
	for _, layout := range []restore.Layout{restore.ByPath, restore.ByKey} {
		b := backupOf(t, append([]string{"good"}, files...)...)
		s := newScene(t, b)
		s.options.Layout = layout
		r, err := s.run(t.Context())
		if err != nil || r.Written != 1 || r.Total != len(files) {
			t.Errorf("%s: %+v, %v", layout, r, err)
		}
		if diff := cmp.Diff([]string{"some/where/good"}, s.target.Keys(t)); diff != "" {
			t.Error(diff)
		}
	}
}
