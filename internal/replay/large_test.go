package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/app/files"
	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/manifest"
	"lifeboat/internal/restore"
	"lifeboat/internal/vault"
)

// many yields n small entries and counts what it yields.
func many(n int, yielded *atomic.Int64, each func(i int)) func(context.Context) iter.Seq2[manifest.Entry, error] {
	return func(context.Context) iter.Seq2[manifest.Entry, error] {
		return func(yield func(manifest.Entry, error) bool) {
			for i := range n {
				yielded.Add(1)
				if each != nil {
					each(i)
				}
				path := fmt.Sprintf("uploads/%03d/file-%07d.jpg", i/1000, i)
				if !yield(manifest.Entry{Path: path, Size: 1, CRC32: 0xa505df1b, Origin: &manifest.Origin{Key: path}, Modified: time.Unix(1, 0)}, nil) {
					return
				}
			}
		}
	}
}

// oneByte has a byte for every entry, which is \x01.
func oneByte() restore.Bytes {
	at := int64(0)
	return restore.Bytes{
		Locate: func(manifest.Entry) (restore.Spot, error) { at += 60; return restore.Spot{Offset: at}, nil },
		Open: func(context.Context, vault.Key, int64, int64) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("\x01")), nil
		},
	}
}

func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestLargePlan plans a large restore: what crosses to the next state is small, and the plan is never in memory as a
// whole.
func TestLargePlan(t *testing.T) {
	if testing.Short() {
		t.Skip("plans 170,000 entries")
	}
	const n = 170_000
	v := vaulttest.New(t)
	s := &Steps{Vault: v.Vault, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	r := events.Restore{ID: backup.NewRestoreID("large"), Wishes: app.Wishes{Documents: true, Objects: true}}
	base, peak := live(), uint64(0)
	var yielded atomic.Int64
	sample := func(i int) {
		if i%40_000 == 39_999 {
			peak = max(peak, live())
		}
	}
	b := &subject{close: func() {}, name: "large", bytes: oneByte}
	only, _ := files.ParseGlobs(nil)
	folder := t.TempDir()
	put := func(_ context.Context, f Files) (restore.Destination, error) {
		return restore.OpenFolderTarget(restore.FolderOptions{Folder: folder, Wants: f.Wants})
	}
	for _, n := range []int{n / 8, n} { // few batches, and many
		SmallBatches(t, map[bool]int64{true: 1000, false: 20_000}[n > 100_000])
		b.entries = many(n, &yielded, sample)
		p := &planner{steps: s, restore: r, subject: b, only: only, place: Place{Put: put, Close: func() {}}}
		plan, err := p.write(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		data, _ := json.Marshal(events.Checked{Done: true, Plan: plan})
		if len(data) > 4<<10 || p.file.Items != int64(n) || plan.Many != (p.file.Batches > fewBatches) || plan.Many != (n > 100_000) || p.file.Batches < 2 {
			t.Errorf("%d bytes cross to the next state, %+v", len(data), p.file)
		}
		t.Logf("%d batches, %d bytes", p.file.Batches, len(data))
	}
	if grown := int64(peak) - int64(base); grown > 48<<20 {
		t.Errorf("the plan holds %d MiB", grown>>20)
	} else {
		t.Logf("%d KiB more than before", grown>>10)
	}
	lines := 0
	for batch := range batches(t, s, r.ID) {
		whole, err := s.units(t.Context(), nil, batch, &putting{restore: r.ID}, lineCounter{n: &lines})
		if err != nil || !whole {
			t.Fatal(whole, err)
		}
	}
	if lines != n {
		t.Errorf("the batches have %d entries", lines)
	}
}

var countLines sync.Mutex

// lineCounter counts the entries that it is to write.
type lineCounter struct {
	restore.Destination
	n *int
}

func (c lineCounter) Do(_ context.Context, u restore.Unit) error {
	countLines.Lock()
	defer countLines.Unlock()
	*c.n += len(u.Items)
	return nil
}

// batches reads the list of a plan of many.
func batches(t *testing.T, s *Steps, id backup.RestoreID) iter.Seq[events.Batch] {
	t.Helper()
	data, _, err := s.Vault.Get(t.Context(), vault.RestoreWork(id, "plan/batches.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(events.Batch) bool) {
		for line := range strings.Lines(string(data)) {
			var b events.Batch
			if err := json.Unmarshal([]byte(line), &b); err != nil {
				t.Fatal(err)
			}
			if !yield(b) {
				return
			}
		}
	}
}

// TestContent opens entries: in the order of the archive at once, in any other all the same, many at a time, and while
// earlier ones are open and the list is read.
func TestContent(t *testing.T) {
	const n = 5000
	var yielded atomic.Int64
	b := &subject{close: func() {}, name: "it", bytes: oneByte, entries: many(n, &yielded, nil)}
	path := func(i int) string { return fmt.Sprintf("uploads/%03d/file-%07d.jpg", i/1000, i) }
	var open []io.ReadCloser
	for i := range n {
		body, err := b.content(t.Context(), path(i))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, body)
	}
	if got := yielded.Load(); got != n {
		t.Errorf("%d entries were walked over for %d", got, n)
	}
	for range 3 { // the one where it stands
		if _, err := b.content(t.Context(), path(n-1)); err != nil {
			t.Error(err)
		}
	}
	if yielded.Load() != n {
		t.Error("the same entry was looked for again")
	}
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			body, err := b.content(t.Context(), path(n-1-i*100))
			if err != nil {
				t.Error(err)
				return
			}
			if data, err := io.ReadAll(body); err != nil || string(data) != "\x01" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	seen := 0
	for _, err := range b.entries(t.Context()) {
		if seen++; err != nil {
			t.Error(err)
		}
		if seen == 1 {
			group.Wait() // the list stands still meanwhile
		}
	}
	for _, body := range open {
		if data, err := io.ReadAll(body); err != nil || string(data) != "\x01" {
			t.Fatalf("%q, %v", data, err)
		}
	}
	yielded.Store(0)
	if _, err := b.content(t.Context(), "uploads/none"); failure.KindOf(err) != failure.NotFound || yielded.Load() > 2*n {
		t.Errorf("%v after %d entries", err, yielded.Load())
	}
	b.end()
	b.end()
}

// TestContentBroken begins the walk anew once where it has broken off, and not where the list itself is at fault.
func TestContentBroken(t *testing.T) {
	for _, test := range []struct {
		err   error
		walks int
		want  failure.Kind
	}{
		{failure.New(failure.Transient, "broke off"), 2, failure.Internal},
		{failure.New(failure.Corrupt, "no manifest"), 1, failure.Corrupt},
		{errors.New("anything"), 1, failure.Internal},
	} {
		walks := 0
		var yielded atomic.Int64
		good := many(10, &yielded, nil)
		b := &subject{close: func() {}, name: "it", bytes: oneByte}
		b.entries = func(ctx context.Context) iter.Seq2[manifest.Entry, error] {
			walks++
			first := walks == 1
			return func(yield func(manifest.Entry, error) bool) {
				seen := 0
				for e, err := range good(ctx) {
					if seen++; seen == 5 && first {
						yield(e, test.err)
						return
					}
					if !yield(e, err) {
						return
					}
				}
			}
		}
		if _, err := b.content(t.Context(), "uploads/000/file-0000002.jpg"); err != nil {
			t.Fatal(err)
		}
		_, err := b.content(t.Context(), "uploads/000/file-0000007.jpg")
		if walks != test.walks || (err == nil) != (test.walks == 2) || err != nil && failure.KindOf(err) != test.want {
			t.Errorf("%v: %d walks, %v", test.err, walks, err)
		}
		b.end()
	}
}
