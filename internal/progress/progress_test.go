package progress_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/progress"
)

// screen is a buffer that several goroutines may write to.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// take returns what was written since the last take.
func (s *screen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.buf.Reset()
	return s.buf.String()
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &screen{}
		r := progress.New(out, progress.Options{Mode: progress.Plain})
		r.Phase("pack", 1204, 100e6)
		time.Sleep(time.Millisecond) // so that no Add and no line fall on the same instant
		for range 11 {
			time.Sleep(time.Second)
			r.Add(100, 8e6)
		}
		synctest.Wait()
		equal(t, out.take(), ""+
			"pack       32 %  400/1,204 objects  32.0 of 100 MB  6.4 MB/s  9–13 s left\n"+
			"pack       72 %  900/1,204 objects  72.0 of 100 MB  7.2 MB/s  3–6 s left\n")
		r.Note("2 objects are gone")
		r.Add(104, 12e6)
		r.Phase("assemble", 0, 0)
		equal(t, out.take(), "2 objects are gone\npack       done  1,204 objects  100 MB  9.1 MB/s  in 11 s\n")
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		equal(t, out.take(), "assemble      …\n")
		r.Done()
		r.Done()
		equal(t, out.take(), "assemble   done  in 5.5 s\n")
		r.Add(1, 1)
	})
}

func TestPlainEndsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &screen{}
		r := progress.New(out, progress.Options{Mode: progress.Plain})
		r.Phase("put", 65, 46.1e6)
		time.Sleep(time.Second)
		r.Add(41, 28.6e6)
		r.Done()
		equal(t, out.take(), "put       ended  41/65 objects  28.6 of 46.1 MB  29 MB/s  in 1.0 s\n")
	})
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &screen{}
		var width atomic.Int64 // the redrawing goroutine reads it
		width.Store(100)
		r := progress.New(out, progress.Options{Mode: progress.Live, Width: func() int { return int(width.Load()) }})
		r.Phase("pack", 65, 46.1e6)
		for range 41 {
			time.Sleep(99 * time.Millisecond)
			r.Add(1, 0.7e6)
		}
		synctest.Wait()
		text := out.take()
		if n := strings.Count(text, "pack"); n != 40 {
			t.Errorf("drawn %d times in 4.06 s", n)
		}
		if strings.Contains(text, "\n") {
			t.Error("a live line must not break")
		}
		if first, _, _ := strings.Cut(text, "\r"); strings.Contains(first, "left") {
			t.Errorf("the first line knows the time left: %q", first)
		}
		equal(t, last(text), "pack       60 %  40/65 objects  28.0 of 46.1 MB  7.0 MB/s  2–3 s left")

		width.Store(40)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		equal(t, last(out.take()), "pack       62 %  41/65 objects")
		width.Store(5)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		equal(t, last(out.take()), "pack")

		width.Store(40)
		r.Note("odd \x1b[31mname")
		equal(t, out.take(), "\r\x1b[Kodd \\x1b[31mname\npack       62 %  41/65 objects")
		r.Done()
		equal(t, out.take(), "\r\x1b[Kpack      ended  41/65 objects  28.7 of 46.1 MB  6.7 MB/s  in 4.3 s\n")
		r.Note("after")
		equal(t, out.take(), "after\n")
	})
}

// last returns what stands on the live line after text.
func last(text string) string {
	return strings.TrimRight(text[strings.LastIndex(text, "\r\x1b[K")+len("\r\x1b[K"):], " ")
}

func TestStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &screen{}
		r := progress.New(out, progress.Options{Mode: progress.Plain})
		r.Phase("pack", 0, 100)
		time.Sleep(3 * time.Second)
		r.Add(1, 50)
		time.Sleep(6*time.Second + time.Millisecond)
		synctest.Wait()
		equal(t, out.take(), "pack       50 %  1 object  50 of 100 B  10 B/s  4–6 s left\n")
		time.Sleep(time.Second)
		synctest.Wait()
		equal(t, out.take(), "pack       50 %  1 object  50 of 100 B  5 B/s  over 9 s left\n")
		r.Done()
	})
}

func TestTotalsThatWereTooLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &screen{}
		r := progress.New(out, progress.Options{Mode: progress.Plain})
		r.Phase("pack", 1, 100)
		r.Add(3, 3000)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		r.Done()
		equal(t, out.take(), "pack          …  3 objects  3.0 kB  600 B/s\npack       done  3 objects  3.0 kB  600 B/s  in 5.0 s\n")
	})
}

func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &screen{}
		r := progress.New(out, progress.Options{Mode: progress.JSON})
		r.Note("before\n")
		r.Phase("pack", 10, 1000)
		for range 4 {
			time.Sleep(600 * time.Millisecond)
			r.Add(2, 200)
		}
		r.Note("in \x1b")
		r.Done()
		synctest.Wait()
		text := out.take()
		equal(t, text, `{"message_type":"progress","note":"before\n"}
{"message_type":"progress","phase":"pack","state":"running","items":2,"total_items":10,"bytes":200,"total_bytes":1000,"seconds":1,"bytes_per_second":200}
{"message_type":"progress","phase":"pack","state":"running","items":6,"total_items":10,"bytes":600,"total_bytes":1000,"seconds":2,"bytes_per_second":300,"seconds_left":[1.212,1.467]}
{"message_type":"progress","phase":"pack","note":"in \u001b"}
{"message_type":"progress","phase":"pack","state":"ended","items":8,"total_items":10,"bytes":800,"total_bytes":1000,"seconds":2.4,"bytes_per_second":333}
`)
		for line := range strings.Lines(text) {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	})
}

func TestQuietAndNil(t *testing.T) {
	out := &screen{}
	var none *progress.Reporter
	for _, r := range []*progress.Reporter{none, progress.New(out, progress.Options{})} {
		r.Phase("pack", 1, 1)
		r.Add(1, 1)
		r.Note("note")
		r.Done()
	}
	equal(t, out.take(), "")
}

// TestConcurrent is for the race detector.
func TestConcurrent(t *testing.T) {
	out := &screen{}
	r := progress.New(out, progress.Options{Mode: progress.Live})
	r.Phase("pack", 800, 800)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				r.Add(1, 1)
				r.Note("n")
			}
		})
	}
	group.Wait()
	r.Done()
	if text := out.take(); !strings.Contains(text, "pack       done  800 objects  800 B") {
		t.Errorf("the last line is %q", last(text))
	}
}

func TestClock(t *testing.T) {
	now := time.Unix(0, 0)
	out := &screen{}
	r := progress.New(out, progress.Options{Mode: progress.Plain, Now: func() time.Time { return now }})
	r.Phase("seal", 0, 0)
	now = now.Add(90 * time.Second)
	r.Done()
	equal(t, out.take(), "seal       done  in 1 min 30 s\n")
	r.Phase("preflight", 0, 0) // the longest name there is
	r.Done()
	equal(t, out.take(), "preflight  done  in 0.0 s\n")
}

func TestModeFor(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		json, quiet bool
		want        progress.Mode
	}{{false, false, progress.Plain}, {true, false, progress.JSON}, {true, true, progress.Quiet}, {false, true, progress.Quiet}} {
		if got := progress.ModeFor(file, test.json, test.quiet); got != test.want {
			t.Errorf("ModeFor(json %v, quiet %v) = %v, want %v", test.json, test.quiet, got, test.want)
		}
	}
}

// TestFail: a phase that did not get through says so, also when it is tried again.
func TestFail(t *testing.T) {
	for mode, want := range map[progress.Mode]string{
		progress.Plain: "snapshot  failed  in 0.0 s\nsnapshot  failed  in 0.0 s\nnotify     done  in 0.0 s\n",
		progress.JSON: `{"message_type":"progress","phase":"snapshot","state":"failed"}
{"message_type":"progress","phase":"snapshot","state":"failed"}
{"message_type":"progress","phase":"notify","state":"done"}
`,
		progress.Quiet: "",
	} {
		var out strings.Builder
		at := time.Now()
		r := progress.New(&out, progress.Options{Mode: mode, Now: func() time.Time { return at }})
		r.Phase("snapshot", 0, 0)
		r.Phase("snapshot", 0, 0) // again
		r.Fail()
		r.Fail()
		r.Phase("notify", 0, 0)
		r.Done()
		if out.String() != want {
			t.Errorf("mode %d: %q, want %q", mode, out.String(), want)
		}
	}
}
