package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

// calls packs a batch in calls that each have time for so many bytes.
type calls struct {
	*world
	each   int64
	count  int
	before func(call int) // may be nil
	cold   bool           // at the end of the time connections break
	read   atomic.Int64   // bytes
	sum    atomic.Int64   // of skipped ones
}

const going = "a/going/1"

func newCalls(t *testing.T, each int64) *calls {
	t.Helper()
	return &calls{world: newWorld(t), each: each}
}

func (c *calls) key() vault.Key { return vault.Work(c.Source, c.Backup, going) }

// call makes one call.
func (c *calls) call(items []Item) (Result, bool, error) {
	reading, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	left := c.each
	if left == 0 {
		cancel()
	}
	c.Progress = func(_, bytes int64) {
		if left -= bytes; left <= 0 {
			cancel()
		}
	}
	c.Open = func(ctx context.Context, o app.Object) (app.Content, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		content, err := c.fake.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		return &skipping{content, c, reading}, nil
	}
	return c.PackSome(c.t.Context(), reading, c.key(), 1, items)
}

// all makes calls until the batch is done.
func (c *calls) all(items []Item) Result {
	c.t.Helper()
	for c.count = 1; c.count <= 60; c.count++ {
		if c.before != nil {
			c.before(c.count)
		}
		result, done, err := c.call(items)
		if err != nil {
			c.t.Fatalf("call %d: %v", c.count, err)
		}
		if done {
			c.check(result)
			return result
		}
	}
	c.t.Fatal("it never ends")
	return Result{}
}

// skipping counts what is read, and skips without reading.
type skipping struct {
	app.Content
	calls *calls
	ctx   context.Context
}

func (s *skipping) Read(p []byte) (int, error) {
	if s.calls.cold && s.ctx.Err() != nil {
		return 0, errors.New("use of a closed connection")
	}
	n, err := s.Content.Read(p)
	s.calls.read.Add(int64(n))
	return n, err
}

func (s *skipping) Skip(_ context.Context, n int64) error {
	s.calls.sum.Add(n)
	_, err := io.CopyN(io.Discard, s.Content, n)
	return err
}

// several is a batch with all sorts of items; the same for every world.
func several(w *world) []Item {
	var stored bytes.Buffer
	_, _ = stored.ReadFrom(content(5, LargeObject/2+3))
	dir := app.Object{Path: "empty/", Dir: true, Modified: noon}
	return []Item{
		w.item("large", behaviours["steady"], LargeObject),
		w.item("seen", behaviours["unchanged"], testPart+9),
		{Object: &dir},
		w.item("gone", behaviours["gone"], 100),
		{Document: new(w.document("export.json", stored.Bytes(), 100<<20))},
		w.item("bad", behaviours["unreadable"], testPart*2),
		w.item("last", behaviours["steady"], testPart+testPart/2),
		w.item("small", behaviours["steady"], 7),
	}
}

// TestInterrupted: wherever a batch is interrupted, and however often, its pack and entries are those of a batch that is
// not.
func TestInterrupted(t *testing.T) {
	for _, equal := range []bool{false, true} {
		undisturbed := newWorld(t)
		undisturbed.Equal = equal
		want := undisturbed.pack(several(undisturbed))
		for _, each := range []int64{2 << 20, testPart + 100<<10, 11 << 20} {
			for _, cold := range []bool{false, true}[:2-min(1, each>>23)] {
				if testing.Short() && (each < testPart || cold == equal) { // three of ten are left
					continue
				}
				t.Run(fmt.Sprintf("equal %v, %d bytes a call, cold %v", equal, each, cold), func(t *testing.T) {
					c := newCalls(t, each)
					c.Equal, c.cold = equal, cold
					result := c.all(several(c.world))
					if diff := cmp.Diff(want, result); diff != "" {
						t.Error(diff)
					}
					if c.count < 2 {
						t.Errorf("%d calls", c.count)
					}
				})
			}
		}
	}
}

// TestReadOnce: what was read is not read again.
func TestReadOnce(t *testing.T) {
	c := newCalls(t, 3<<20)
	size := int64(LargeObject + 12345)
	c.all([]Item{c.item("large", behaviours["steady"], size)})
	if c.read.Load() != size || c.sum.Load() < size || c.count < 9 {
		t.Errorf("%d bytes read, %d skipped, %d calls", c.read.Load(), c.sum.Load(), c.count)
	}
}

// TestChangesBetween: the object is another one when the next call goes on.
func TestChangesBetween(t *testing.T) {
	const n = LargeObject
	first, second := version{size: n, seed: 1}, version{size: n + 1000, seed: 2}
	for name, test := range map[string]struct {
		versions []version
		which    string // "" where it is not in the backup
		finding  string
		mixed    bool // nobody knows what version it is
	}{
		"once":             {[]version{first, second}, "version 1", "changed", false},
		"touched":          {[]version{first, {size: n, seed: 1, modified: noon.Add(5e9)}}, "version 0", "changed", false},
		"larger each time": {[]version{first, second, second, second, {size: n + 5000, seed: 3}}, "unknown", "changed", true},
		"shorter at last":  {[]version{first, second, second, second, {size: 1000, seed: 3}}, "some bytes of version 1", "changed", true},
		"gone":             {[]version{first, {size: n, seed: 1, openErr: errGone}}, "", "missing", false},
		"gone at last":     {[]version{first, second, second, second, {size: n, seed: 1, openErr: errGone}}, "", "missing", false},
		"may not be read":  {[]version{first, {size: n, seed: 1, openErr: errBlock}}, "", "unreadable", false},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && !slices.Contains([]string{"once", "shorter at last", "gone"}, name) {
				t.Skip("reads 32 MiB up to five times")
			}
			c := newCalls(t, 10<<20)
			o := c.fake.object("a", test.versions...)
			result := c.all([]Item{{Object: &o}, c.item("b", behaviours["steady"], n)})
			if diff := cmp.Diff([]string{"problem " + test.finding + " a"}, findings(result)); diff != "" {
				t.Error(diff)
			}
			want := []string{"b: version 0"}
			if test.which != "" {
				want = []string{"a: " + test.which, "b: version 0"}
			}
			got := describe(c.fake, result.Entries)
			for i := range got {
				got[i] = regexp.MustCompile(`\d+ bytes`).ReplaceAllString(got[i], "some bytes")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			for _, e := range result.Entries {
				if e.Path == "a" && test.mixed != (e.Origin.Identity == "") {
					t.Errorf("%+v", e.Origin)
				}
			}
		})
	}
}

// TestBetweenCalls has what happens to the vault between two calls. The batch is what it would be, all the same.
func TestBetweenCalls(t *testing.T) {
	undisturbed := newWorld(t)
	want := undisturbed.pack(several(undisturbed))
	var old []byte
	for name, disturb := range map[string]func(c *calls, call int){
		"the upload is gone": func(c *calls, call int) {
			if call == 3 {
				c.abortAll()
			}
		},
		"it is gone twice": func(c *calls, call int) {
			if call == 3 || call == 5 {
				c.abortAll()
			}
		},
		"an answer was lost, and its cursor": func(c *calls, call int) {
			switch call {
			case 3:
				old, _, _ = c.store.Get(c.t.Context(), c.key())
			case 5:
				c.put(old)
			}
		},
		"the cursor is torn": func(c *calls, call int) {
			if call == 3 {
				data, _, _ := c.store.Get(c.t.Context(), c.key())
				c.put(data[:len(data)-1])
			}
		},
		"the cursor is another's":  func(c *calls, call int) { c.edit(call, `"format":1`, `"format":2`) },
		"the cursor is of another": func(c *calls, call int) { c.edit(call, `"batch":1`, `"batch":2`) },
		"a hash is damaged":        func(c *calls, call int) { c.edit(call, `"sha":"`, `"sha":"AAAA`) },
		"a part is huge":           func(c *calls, call int) { c.edit(call, `"buffer":`, `"buffer":9999999999`) },
		"the cursor is gone": func(c *calls, call int) {
			if call == 3 {
				_ = c.store.Delete(c.t.Context(), c.key())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && !slices.Contains([]string{"it is gone twice", "an answer was lost, and its cursor", "the cursor is torn"}, name) {
				t.Skip("packs 70 MiB like the others")
			}
			c := newCalls(t, 7<<20)
			c.before = func(call int) { disturb(c, call) }
			result := c.all(several(c.world))
			if diff := cmp.Diff(want, result); diff != "" {
				t.Error(diff)
			}
			if c.count < 8 {
				t.Errorf("%d calls", c.count)
			}
		})
	}
}

func (c *calls) abortAll() {
	if err := c.store.AbortAll(c.t.Context(), vault.Packs(c.Source)); err != nil {
		c.t.Error(err)
	}
}

func (c *calls) put(data []byte) {
	if _, err := c.store.Put(c.t.Context(), c.key(), data, vault.Always()); err != nil {
		c.t.Error(err)
	}
}

// edit changes a word of the cursor before the third call.
func (c *calls) edit(call int, from, to string) {
	if call != 3 {
		return
	}
	data, _, err := c.store.Get(c.t.Context(), c.key())
	if err != nil || !bytes.Contains(data, []byte(from)) {
		c.t.Errorf("no %s in the cursor: %v", from, err)
	}
	c.put(bytes.Replace(data, []byte(from), []byte(to), 1))
}

// TestRepeatedCall: the answer of the last call was lost; the pack is complete by then.
func TestRepeatedCall(t *testing.T) {
	c := newCalls(t, 12<<20)
	items := several(c.world)
	want := c.all(items)
	for range 2 {
		if diff := cmp.Diff(want, c.all(items)); diff != "" {
			t.Error(diff)
		}
	}
	if c.count != 1 {
		t.Errorf("%d calls", c.count)
	}
}

// TestCallFails: a call that the store fails loses only what it did itself.
func TestCallFails(t *testing.T) {
	part := func(r *http.Request) bool {
		return r.URL.Query().Has("partNumber") && strings.Contains(r.URL.Path, "/packs/")
	}
	complete := func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && strings.Contains(r.URL.Path, "/packs/")
	}
	cursor := func(r *http.Request) bool { return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, going) }
	undisturbed := newWorld(t)
	want := undisturbed.pack([]Item{undisturbed.item("a", behaviours["steady"], LargeObject)})
	for name, match := range map[string]func(*http.Request) bool{"a part": part, "completion": complete, "the cursor": cursor} {
		t.Run(name, func(t *testing.T) {
			c := newCalls(t, 6<<20)
			items := []Item{c.item("a", behaviours["steady"], LargeObject)}
			failed := 0
			for call := range 30 {
				if call == 3 || name == "completion" && failed == 0 {
					c.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
						if match(r) {
							return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
						}
						return next.RoundTrip(r)
					})
				}
				result, done, err := c.call(items)
				c.store.Intercept(nil)
				if err != nil && failure.KindOf(err) != failure.Denied {
					t.Fatal(err)
				}
				if err != nil {
					failed++
				}
				if !done {
					continue
				}
				c.check(result)
				if diff := cmp.Diff(want, result); diff != "" || failed != 1 {
					t.Errorf("%d calls failed\n%s", failed, diff)
				}
				return
			}
			t.Error("it never ends")
		})
	}
}

// TestNoProgress: a call that gets no further than the one before says so; it may be made again.
func TestNoProgress(t *testing.T) {
	c := newCalls(t, 10<<20)
	items := []Item{c.item("a", behaviours["steady"], LargeObject)}
	for i, test := range []struct {
		each       int64
		done, fail bool
	}{{0, false, false}, {0, false, true}, {9 << 20, false, false}, {0, false, true}, {0, false, true}, {LargeObject * 2, true, false}} {
		c.each = test.each
		result, done, err := c.call(items)
		if done != test.done || (failure.KindOf(err) == failure.Transient && err != nil) != test.fail || err != nil && !test.fail {
			t.Errorf("call %d: done %v, %v", i, done, err)
		}
		if done {
			c.check(result)
		}
	}
}

// TestAlwaysGone: an upload that is gone before each call is not begun anew for ever.
func TestAlwaysGone(t *testing.T) {
	c := newCalls(t, 12<<20)
	items := []Item{c.item("a", behaviours["steady"], LargeObject)}
	for call := range 20 {
		_, done, err := c.call(items)
		if done {
			t.Fatal("it is done")
		}
		if err != nil {
			if failure.KindOf(err) != failure.Conflict || failure.HintOf(err) == "" || call > 2*restarts+1 {
				t.Errorf("call %d: %v", call, err)
			}
			return
		}
		c.abortAll()
	}
	t.Error("it never ends")
}

// TestNoPause: without a key a batch that is stopped leaves nothing behind.
func TestNoPause(t *testing.T) {
	c := newCalls(t, 6<<20)
	reading, cancel := context.WithCancel(t.Context())
	c.Progress = func(_, _ int64) { cancel() }
	_, done, err := c.PackSome(t.Context(), reading, "", 1, []Item{c.item("a", behaviours["steady"], LargeObject)})
	if done || failure.KindOf(err) != failure.Canceled {
		t.Errorf("%v, %v", done, err)
	}
	c.check(Result{})
}

// TestInterruptedRefusal: the store refuses to copy, so that all of a batch streams. What was packed before is not packed
// again, and the store is not asked again.
func TestInterruptedRefusal(t *testing.T) {
	b := newBucket(t)
	for i := range 3 {
		b.put(fmt.Sprintf("large %d", i), LargeObject+int64(i))
		b.put(fmt.Sprintf("small %d", i), mib)
	}
	items := b.list(10 * mib)
	var asked atomic.Int64
	b.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Header.Get("x-amz-copy-source") != "" {
			asked.Add(1)
			return vaulttest.Refuse(r, 403, "AccessDenied")
		}
		return next.RoundTrip(r)
	})
	calls := 0
	for ; calls < 40; calls++ {
		reading, cancel := context.WithCancel(t.Context())
		var told atomic.Int64
		b.Progress = func(_, bytes int64) {
			if told.Add(bytes) >= 10*mib && asked.Load() > 0 {
				cancel()
			}
		}
		before := asked.Load()
		result, done, err := b.PackSome(t.Context(), reading, vault.Work(b.Source, b.Backup, going), 1, items)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if calls > 0 && asked.Load() != before {
			t.Errorf("call %d asks for copies", calls)
		}
		if !done {
			continue
		}
		b.store.Intercept(nil)
		b.check(result)
		b.complete(result)
		if diff := cmp.Diff([]string{"note streamed "}, findings(result)); diff != "" || calls < 5 {
			t.Errorf("%d calls\n%s", calls, diff)
		}
		return
	}
	t.Error("it never ends")
}

// TestGoesOnInBucket: the rest of an object of a bucket is asked for as a range of the version that was begun.
func TestGoesOnInBucket(t *testing.T) {
	b := newBucket(t)
	b.put("a", LargeObject)
	b.Located, b.part = nil, testPart
	asked := 0
	b.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, b.name+"/") && r.Header.Get("Range") != "" {
			if !strings.HasSuffix(r.Header.Get("Range"), "-") || r.Header.Get("If-Match") == "" {
				t.Errorf("%v", r.Header)
			}
			asked++
		}
		return next.RoundTrip(r)
	})
	items := b.list(1 << 40)
	for range 10 {
		reading, cancel := context.WithCancel(t.Context())
		left := int64(12 * mib)
		b.Progress = func(_, n int64) {
			if left -= n; left <= 0 {
				cancel()
			}
		}
		result, done, err := b.PackSome(t.Context(), reading, vault.Work(b.Source, b.Backup, going), 1, items)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if done {
			b.store.Intercept(nil)
			b.check(result)
			b.complete(result)
			if asked != 2 {
				t.Errorf("%d ranges", asked)
			}
			return
		}
	}
	t.Error("it never ends")
}
