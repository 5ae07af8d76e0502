package pack

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/vault"
	"lifeboat/internal/zipfmt"
)

// behaviour is what happens to an object between its listing and the end of its reading.
type behaviour struct {
	versions func(size int64) []version
	seen     bool   // an earlier backup has version 0
	outcome  string // what the backup then holds; "" is nothing, "unchanged" the old entry
	finding  string // kind of the problem
}

var (
	errBlock = failure.New(failure.Invalid, "a bad block")
	errGone  = failure.New(failure.NotFound, "gone")
)

var behaviours = map[string]behaviour{
	"steady": {versions: func(n int64) []version { return []version{{size: n, seed: 1}} }, outcome: "version 0"},
	"unchanged": {
		versions: func(n int64) []version { return []version{{size: n, seed: 2}} }, seen: true, outcome: "unchanged",
	},
	"gone": {versions: func(n int64) []version {
		return []version{{size: n, seed: 3, openErr: errGone}}
	}, finding: "missing"},
	"unreadable": {versions: func(n int64) []version {
		return []version{{size: n, seed: 4, after: n / 2, readErr: errBlock}}
	}, finding: "unreadable"},
	"unreadable at last": {versions: func(n int64) []version {
		return []version{{size: n, seed: 4, nowErr: errBlock}}
	}, finding: "unreadable"},
	"changes once while it is read": {versions: func(n int64) []version {
		return []version{{size: n, seed: 5, later: true}, {size: n, seed: 6}}
	}, outcome: "version 1", finding: "changed"},
	"keeps changing": {versions: func(n int64) []version {
		return []version{{size: n, seed: 7, later: true}, {size: n, seed: 8, later: true}}
	}, outcome: "version 1", finding: "changed"},
	"shrinks while it is read": {versions: func(n int64) []version {
		return []version{{size: n + 2, seed: 9, after: n/2 + 1}, {size: n/2 + 1, seed: 10}}
	}, outcome: "version 1", finding: "changed"},
	"keeps shrinking": {versions: func(n int64) []version {
		return []version{{size: n + 2, seed: 9, after: n/2 + 1}}
	}, outcome: "part of version 0", finding: "changed"},
	"vanishes while it is read": {versions: func(n int64) []version {
		return []version{{size: n, seed: 11, later: true}, {size: n, seed: 11, openErr: errGone}}
	}, finding: "missing"},
	"was replaced by a smaller one": {versions: func(n int64) []version {
		return []version{{size: n + 5, seed: 12, openErr: failure.New(failure.Conflict, "412")}, {size: n, seed: 13}}
	}, outcome: "version 1", finding: "changed"},
	"was replaced by a larger one": {versions: func(n int64) []version {
		return []version{{size: n, seed: 14, openErr: failure.New(failure.Conflict, "412")}, {size: n + 70_000, seed: 15}}
	}, outcome: "version 1", finding: "changed"},
	"grows while it is read": {versions: func(n int64) []version {
		return []version{{size: n, seed: 16, later: true}, {size: n + 1000, seed: 17}}
	}, outcome: "version 1", finding: "changed"},
}

func (w *world) item(name string, b behaviour, size int64) Item {
	versions := b.versions(size)
	o := w.fake.object(name, versions...)
	item := Item{Object: &o}
	if b.seen {
		item.Previous = previous(o, versions[0])
	}
	return item
}

// expect says what becomes of an item.
func (b behaviour) expect(name string, size int64) (entry, unchanged, finding string) {
	switch {
	case b.outcome == "unchanged":
		unchanged = name
	case b.outcome == "part of version 0":
		entry = fmt.Sprintf("%s: %d bytes of version 0", name, size/2+1)
	case b.outcome != "":
		entry = name + ": " + b.outcome
	}
	if b.finding != "" {
		finding = "problem " + b.finding + " " + name
	}
	return entry, unchanged, finding
}

// expected collects what becomes of several items.
type expected struct{ entries, unchanged, findings []string }

func (x *expected) add(entry, unchanged, finding string) {
	for text, list := range map[string]*[]string{"e" + entry: &x.entries, "u" + unchanged: &x.unchanged, "f" + finding: &x.findings} {
		if len(text) > 1 {
			*list = append(*list, text[1:])
		}
	}
}

func (w *world) compare(x expected, r Result) {
	w.t.Helper()
	var unchanged []string
	for _, e := range r.Unchanged {
		unchanged = append(unchanged, e.Path)
		if e.Header.Offset != 17 || !e.Origin.Settled {
			w.t.Errorf("%s: the old place or the new knowledge is lost: %+v", e.Path, e)
		}
	}
	for what, lists := range map[string][2][]string{
		"entries": {x.entries, describe(w.fake, r.Entries)}, "unchanged": {x.unchanged, unchanged}, "findings": {x.findings, findings(r)},
	} {
		if diff := cmp.Diff(sortedStrings(lists[0]), sortedStrings(lists[1])); diff != "" {
			w.t.Errorf("%s: %s", what, diff)
		}
	}
}

func sortedStrings(list []string) []string {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return sortedKeys(set)
}

// TestSmallBatch has one object of each behaviour, twice, in one buffer.
func TestSmallBatch(t *testing.T) {
	w := newWorld(t)
	var items []Item
	var want expected
	for i, size := range []int64{2, 10_000, 300_000} {
		for _, name := range sortedKeys(behaviours) {
			b := behaviours[name]
			path := fmt.Sprintf("%s %d", name, i)
			items = append(items, w.item(path, b, size))
			want.add(b.expect(path, size))
		}
	}
	for _, name := range []string{"empty", "empty too"} {
		items = append(items, w.item(name, behaviours["steady"], 0))
		want.add(name+": version 0", "", "")
	}
	items = append(items, Item{Document: new(w.document("export.json", []byte("deflated"), 20))})
	result := w.pack(items)
	result.Entries = result.Entries[:len(result.Entries):len(result.Entries)]
	var objects []manifest.Entry
	for _, e := range result.Entries {
		if !e.Document {
			objects = append(objects, e)
		}
	}
	if len(objects) != len(result.Entries)-1 {
		t.Errorf("%d entries, %d of them objects: the document is missing", len(result.Entries), len(objects))
	}
	result.Entries = objects
	w.compare(want, result)
	// What outgrew its slot was packed in a second pack, after the rest.
	if len(result.Packs) != 2 {
		t.Errorf("%d packs", len(result.Packs))
	}
}

// TestStream packs objects of every behaviour and of several parts, in random order and size.
func TestStream(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			random := rand.New(rand.NewPCG(seed, 1))
			names := sortedKeys(behaviours)
			random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			sizes := []int64{2, 1000, 1 << 20, testPart - 40, testPart, 11 << 20}
			large := w.item("large", behaviours["steady"], LargeObject)
			items := []Item{large}
			var want expected
			want.add("large: version 0", "", "")
			for _, name := range names {
				size := sizes[random.IntN(len(sizes))]
				items = append(items, w.item(name, behaviours[name], size))
				want.add(behaviours[name].expect(name, size))
			}
			result := w.pack(items)
			w.compare(want, result)
			if len(result.Packs) != 1 {
				t.Errorf("%d packs", len(result.Packs))
			}
		})
	}
}

// TestRollBack takes entries back from every place of a part: lead is what lies before, in bytes of its part.
func TestRollBack(t *testing.T) {
	const part = int64(testPart)
	header := func(name string) int64 { return zipfmt.Entry{Name: name}.LocalSize() }
	leads := map[string]int64{
		"at the beginning":      0,
		"in the middle":         part / 2,
		"a full part before":    part,
		"no room for a header":  part - 10,
		"no room but a header":  part - header("object"),
		"one byte after header": part - header("object") - 1,
	}
	large, small := part+part/2, int64(100)
	chains := map[string][]struct {
		name string // of one length with "object"
		what string
		size int64
	}{
		"then one that stays": {
			{"large1", "unchanged", large},
			{"large2", "unreadable", large},
			{"small1", "unchanged", small},
			{"small2", "unreadable at last", small},
			{"small3", "keeps changing", small},
			{"end", "steady", small},
		},
		"then the end": {{"large1", "unreadable at last", large}, {"small1", "shrinks while it is read", small}, {"small2", "unreadable", small}},
	}
	if testing.Short() {
		delete(leads, "in the middle")
		delete(leads, "a full part before")
		delete(leads, "one byte after header")
	}
	for where, lead := range leads {
		for then, chain := range chains {
			t.Run(where+", "+then, func(t *testing.T) {
				w := newWorld(t)
				var items []Item
				var want expected
				if lead > 0 {
					items = append(items, w.item("lead", behaviours["steady"], lead-header("lead")))
					want.add("lead: version 0", "", "")
				}
				for _, c := range chain {
					items = append(items, w.item(c.name, behaviours[c.what], c.size))
					want.add(behaviours[c.what].expect(c.name, c.size))
				}
				result := Result{Batch: 1}
				if err := w.packLarge(t.Context(), &ids{packer: w.Packer, batch: 1}, items, &result); err != nil {
					t.Fatal(err)
				}
				w.check(result)
				w.compare(want, result)
			})
		}
	}
}

func TestNothingRemains(t *testing.T) {
	for name, size := range map[string]int64{"small": 1000, "large": LargeObject} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			result := w.pack([]Item{
				w.item("a", behaviours["unchanged"], size), w.item("b", behaviours["gone"], 1000), w.item("c", behaviours["unreadable"], 1000),
			})
			if len(result.Packs)+len(result.Entries) > 0 || len(result.Unchanged) != 1 || len(result.Findings) != 2 {
				t.Errorf("%+v", result)
			}
		})
	}
}

func TestDocuments(t *testing.T) {
	w := newWorld(t)
	var buffer bytes.Buffer
	_, _ = buffer.ReadFrom(content(5, LargeObject+3))
	items := []Item{
		{Document: new(w.document("large.json", buffer.Bytes(), 100<<20))},
		{Document: new(w.document("empty.json", nil, 0))},
		// 4 GiB of zeros compress to 4 MB: the header is a long one although the bytes are few.
		{Document: new(w.document("zeros.json", []byte("as if"), 5<<30))},
	}
	result := w.pack(items)
	if len(result.Entries) != 3 || len(result.Packs) != 1 {
		t.Errorf("%+v", result)
	}
	small := newWorld(t)
	result = small.pack([]Item{
		{Document: new(small.document("zeros.json", []byte("as if there were more"), 5<<30))},
		{Document: new(small.document("b.json", []byte("b"), 1))},
	})
	if len(result.Entries) != 2 {
		t.Errorf("%+v", result)
	}
}

func TestDamagedDocument(t *testing.T) {
	for name, size := range map[string]int{"small": 1000, "large": LargeObject} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.document("export.json", make([]byte, size), 5)
			d.Entry.Deflated.CRC32++
			_, err := w.Pack(t.Context(), 1, []Item{{Document: &d}})
			if failure.KindOf(err) != failure.Corrupt {
				t.Errorf("%v", err)
			}
			w.check(Result{})
		})
	}
}

// TestRepeated: an attempt that died after its pack was complete left one that nobody names.
func TestRepeated(t *testing.T) {
	for name, size := range map[string]int64{"small": 1000, "large": LargeObject} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			items := []Item{w.item("a", behaviours["steady"], size)}
			first := w.pack(items)
			if _, err := w.store.CreateUpload(t.Context(), vault.Pack(w.Source, first.Packs[0].ID)); err != nil {
				t.Fatal(err)
			}
			second, err := w.Pack(t.Context(), 1, items)
			if err != nil {
				t.Fatal(err)
			}
			if same := first.Packs[0].ID == second.Packs[0].ID; same != (name == "small") {
				t.Errorf("packs %s and %s", first.Packs[0].ID, second.Packs[0].ID)
			}
			if first.Packs[0].CRC32 != second.Packs[0].CRC32 {
				t.Error("the same objects make other bytes")
			}
		})
	}
}

// TestVaultTrouble: what the vault refuses is not the objects' fault, and leaves nothing behind.
func TestVaultTrouble(t *testing.T) {
	begin := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploads") }
	part := func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" }
	complete := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	put := func(r *http.Request) bool { return r.Method == http.MethodPut }
	for name, test := range map[string]struct {
		match func(*http.Request) bool
		size  int64
	}{"begin": {begin, LargeObject}, "part": {part, LargeObject}, "complete": {complete, LargeObject}, "put": {put, 1000}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			items := []Item{w.item("a", behaviours["steady"], test.size), w.item("b", behaviours["steady"], 1000)}
			w.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				if test.match(r) {
					return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
				}
				return next.RoundTrip(r)
			})
			result, err := w.Pack(t.Context(), 1, items)
			if failure.KindOf(err) != failure.Denied || len(result.Findings) > 0 {
				t.Errorf("%v, %+v", err, result)
			}
			w.store.Intercept(nil)
			w.check(Result{})
		})
	}
}

func TestSourceTrouble(t *testing.T) {
	for name, size := range map[string]int64{"small": 1000, "large": LargeObject} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.fake.object("a", version{size: size, after: size / 2, readErr: failure.New(failure.Transient, "the network is down")})
			_, err := w.Pack(t.Context(), 1, []Item{w.item("b", behaviours["steady"], 1000), {Object: &o}})
			if failure.KindOf(err) != failure.Transient {
				t.Errorf("%v", err)
			}
			w.check(Result{})
		})
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hold := make(chan struct{})
	o := w.fake.object("b", version{size: LargeObject, hold: hold})
	w.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if r.URL.Query().Get("partNumber") == "2" { // some of it is written
			cancel()
			close(hold)
		}
		return answer, err
	})
	_, err := w.Pack(ctx, 1, []Item{w.item("a", behaviours["steady"], LargeObject), {Object: &o}})
	if failure.KindOf(err) != failure.Canceled {
		t.Errorf("%v", err)
	}
	w.store.Intercept(nil)
	w.check(Result{})
}

func TestImpossibleNames(t *testing.T) {
	w := newWorld(t)
	result := w.pack([]Item{
		w.item("good", behaviours["steady"], 10), w.item(strings.Repeat("x", 65_536), behaviours["steady"], 10),
		w.item("bad\xff", behaviours["steady"], 10), w.item("", behaviours["steady"], 10), w.item(strings.Repeat("y", 65_535), behaviours["steady"], 10),
	})
	if len(result.Entries) != 2 || len(result.Findings) != 3 {
		t.Errorf("%d entries, %v", len(result.Entries), findings(result))
	}
}

func TestProgress(t *testing.T) {
	for name, size := range map[string]int64{"small": 1000, "large": LargeObject} {
		w := newWorld(t)
		var count, bytes int64
		lock := make(chan struct{}, 1)
		w.Progress = func(i, b int64) {
			lock <- struct{}{}
			count, bytes = count+i, bytes+b
			<-lock
		}
		w.pack([]Item{w.item("a", behaviours["steady"], size), w.item("b", behaviours["was replaced by a larger one"], size)})
		if count != 2 || bytes != 2*size+70_000 {
			t.Errorf("%s: %d items, %d bytes", name, count, bytes)
		}
	}
}

func TestUnknownIdentity(t *testing.T) {
	w := newWorld(t)
	item := w.item("a", behaviours["steady"], 10)
	item.Object.Identity = ""
	if result := w.pack([]Item{item}); len(result.Findings) > 0 || len(result.Entries) != 1 {
		t.Errorf("%+v", result)
	}
}
