package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/vault"
)

// halfway makes two calls of a batch with a large object and returns its cursor: the line, and the bytes behind it.
func halfway(t *testing.T, c *calls, items []Item) (cursor, []byte) {
	t.Helper()
	for range 2 {
		if _, done, err := c.call(items); err != nil || done {
			t.Fatal(done, err)
		}
	}
	data, _, err := c.store.Get(t.Context(), c.key())
	if err != nil {
		t.Fatal(err)
	}
	line, rest, _ := bytes.Cut(data, []byte{'\n'})
	var at cursor
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatal(err)
	}
	return at, rest
}

// TestWrongCursor: a cursor that contradicts itself does not count, whatever is wrong with it.
func TestWrongCursor(t *testing.T) {
	c := newCalls(t, testPart*2+100)
	items := []Item{c.item("a", behaviours["steady"], LargeObject)}
	good, bytes := halfway(t, c, items)
	if len(good.Stream.Parts) < 2 || len(good.Stream.Held) != 1 || good.Under == nil || good.Under.Reading == nil {
		t.Fatalf("%+v", good.Stream)
	}
	line, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*cursor){
		"nothing":                      func(*cursor) {},
		"small parts":                  func(c *cursor) { c.Stream.Part = vault.MinPart - 1 },
		"huge parts":                   func(c *cursor) { c.Stream.Part = vault.MaxPart + 1 },
		"a part is missing":            func(c *cursor) { c.Stream.Parts = c.Stream.Parts[1:] },
		"the last part is missing":     func(c *cursor) { c.Stream.Parts = c.Stream.Parts[:len(c.Stream.Parts)-1] },
		"a part is there twice":        func(c *cursor) { c.Stream.Parts = append(c.Stream.Parts, c.Stream.Parts[0]) },
		"a part has another size":      func(c *cursor) { c.Stream.Parts[0].Size++ },
		"a part has less than nothing": func(c *cursor) { c.Stream.Parts[0].Size -= 1 << 30; c.Stream.Parts[1].Size += 1 << 30 },
		"a part waits and is written":  func(c *cursor) { c.Stream.Held[0].Number = c.Stream.Parts[0].Number },
		"what waits lies elsewhere":    func(c *cursor) { c.Stream.Held[0].Start++ },
		"the number is another":        func(c *cursor) { c.Stream.Number++ },
		"the offset is another":        func(c *cursor) { c.Stream.Offset++ },
		"there is no upload":           func(c *cursor) { c.Stream.Upload = nil },
		"the upload is of another":     func(c *cursor) { c.Stream.Upload.Key += "x" },
		"the mark is behind its part":  func(c *cursor) { c.Under.Mark.Length = 1 << 30 },
		"the mark is in no part":       func(c *cursor) { c.Under.Mark.Number = 77 },
		"the mark is elsewhere":        func(c *cursor) { c.Under.Mark.Offset++ },
		"more was read":                func(c *cursor) { c.Under.Reading.size++ },
		"the header is elsewhere":      func(c *cursor) { c.Stream.Entry++ },
		"no such item":                 func(c *cursor) { c.Next = 2 },
		"an item too many":             func(c *cursor) { c.Next = 1 },
		"an item before the first":     func(c *cursor) { c.Next = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			var at cursor
			if err := json.Unmarshal(line, &at); err != nil {
				t.Fatal(err)
			}
			spoil(&at)
			spoilt, err := json.Marshal(at)
			if err != nil {
				t.Fatal(err)
			}
			c.put(append(append(spoilt, '\n'), bytes...))
			l, err := c.resume(t.Context(), 1, c.key())
			if err != nil || (l == nil) != (name != "nothing") {
				t.Errorf("resumed: %v, %v", l != nil, err)
			}
		})
	}
}

// TestWrittenUnderWay: what a batch under way has packed is known too, so that it can be freed.
func TestWrittenUnderWay(t *testing.T) {
	c := newCalls(t, 20<<20)
	items := append(several(c.world), c.item("tiny", behaviours["steady"], 100))
	at, _ := halfway(t, c, items)
	c.abortAll()
	at.Before.Packs = append(at.Before.Packs, c.pack([]Item{c.item("other", behaviours["steady"], 10)}).Packs...)
	line, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	c.put(append(line, '\n'))
	want := map[string]bool{at.ID: true}
	for _, p := range at.Before.Packs {
		want[p.ID] = true
	}
	written, err := Written(t.Context(), c.Vault, c.Source, c.Backup)
	got := map[string]bool{}
	for id := range written {
		got[id] = true
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(want) < 2 {
		t.Errorf("%v, %v, %s", want, err, diff)
	}
	c.put([]byte("no cursor"))
	if written, err := Written(t.Context(), c.Vault, c.Source, c.Backup); err != nil || len(written) > 0 {
		t.Errorf("%v, %v", written, err)
	}
}

// TestFirstUploadGone: somebody gives up the upload that this very call has begun; it is tried again.
func TestFirstUploadGone(t *testing.T) {
	c := newCalls(t, 1<<40)
	c.store.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.URL.Query().Has("partNumber") && strings.Contains(r.URL.Path, "/packs/") {
			return vaulttest.Refuse(r, http.StatusNotFound, "NoSuchUpload")
		}
		return next.RoundTrip(r)
	})
	if _, _, err := c.call([]Item{c.item("a", behaviours["steady"], LargeObject)}); failure.KindOf(err) != failure.Transient {
		t.Errorf("%v", err)
	}
}

// TestHeldLost: a run that no longer holds its source keeps no cursor, and leaves no upload.
func TestHeldLost(t *testing.T) {
	c := newCalls(t, testPart*2+100)
	lost := failure.New(failure.Conflict, "another run has taken the source over")
	c.Hold = func(context.Context) error { return lost }
	_, done, err := c.call([]Item{c.item("a", behaviours["steady"], LargeObject)})
	if done || failure.KindOf(err) != failure.Conflict {
		t.Errorf("%v, %v", done, err)
	}
	if _, _, err := c.store.Get(t.Context(), c.key()); failure.KindOf(err) != failure.NotFound {
		t.Errorf("there is a cursor: %v", err)
	}
	for u, err := range c.Vault.Uploads(t.Context(), vault.Packs(c.Source)) {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestLargeParts: a part of more than the usual size takes its own size of memory, not what growing makes of it.
func TestLargeParts(t *testing.T) {
	for _, part := range []int64{streamPart, 40<<20 + 1} {
		s := newStream(t.Context(), nil, "", 0, part)
		if err := s.copy(t.Context(), io.LimitReader(newNoise(1), part-10), func([]byte) {}); err != nil {
			t.Fatal(err)
		}
		if most := int64(s.limit()); part > streamPart && int64(cap(s.buffer)) > most || len(s.buffer) != int(part-10) {
			t.Errorf("%d bytes in %d, of a part of %d", len(s.buffer), cap(s.buffer), most)
		}
	}
}
