package restore_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

// isPart reports whether a request writes or copies a part.
func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

// inCalls restores the only object of a scene, with a new destination for each call, which is stopped when it has written a
// part; between is called between two calls.
func (s *scene) inCalls(source func() restore.Bytes, between func(call int, at *restore.Upload)) (sum restore.Result, calls int, err error) {
	s.Helper()
	var at *restore.Upload
	s.parts = 0
	for calls = 1; calls < 20; calls++ {
		stop := make(chan struct{})
		var stopped atomic.Bool
		s.target.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if isPart(r) {
				atomic.AddInt64(&s.parts, 1)
			}
			if isPart(r) && stopped.CompareAndSwap(false, true) {
				close(stop)
			}
			return answer, err
		})
		target, err := restore.OpenBucket(s.Context(), s.options)
		if err != nil {
			s.Fatal(err)
		}
		target.From(source())
		done := false
		for u, err := range target.Plan(verify.Entries(s.Context(), s.image())) {
			if err != nil {
				s.Fatal(err)
			}
			if at, done, err = target.Resume(s.Context(), u, at, stop); err != nil {
				return sum, calls, err
			}
		}
		sum.Add(target.Result())
		s.target.Intercept(nil)
		if done {
			return sum, calls, nil
		}
		data, _ := json.Marshal(at)
		at = &restore.Upload{}
		if err := json.Unmarshal(data, at); err != nil {
			s.Fatal(err)
		}
		if between != nil {
			between(calls, at)
		}
	}
	s.Fatal("it does not end")
	return sum, calls, nil
}

func TestResume(t *testing.T) {
	for name, test := range map[string]struct {
		file  archivetest.File
		calls int
		parts int64
	}{
		"streamed":   {archivetest.File{Path: "uploads/huge", Data: noise(49<<20, 7)}, 4, 4},
		"even parts": {archivetest.File{Path: "uploads/huge", Data: noise(48<<20, 7)}, 4, 3},
		"compressed": {archivetest.File{Path: "uploads/huge", Data: noise(33<<20, 7), Document: true}, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, archivetest.New(t, []archivetest.File{test.file}))
			r, calls, err := s.inCalls(fromZIP(s), nil)
			if err != nil || r.Written != 1 || r.Bytes != int64(len(test.file.Data)) || calls != test.calls || s.parts != test.parts {
				t.Errorf("%d calls, %d parts, %+v, %v", calls, s.parts, r, err)
			}
			s.wants(map[string]string{"uploads/huge": described("application/octet-stream", test.file.Data)})
		})
	}
}

func fromZIP(s *scene) func() restore.Bytes {
	data := s.backup.Zip(s)
	return func() restore.Bytes { return restore.FileBytes(image(s.T, data)) }
}

// TestResumeSplice: parts that the store has copied are not copied again.
func TestResumeSplice(t *testing.T) {
	data := noise(43<<20, 7)
	s := newScene(t, archivetest.New(t, []archivetest.File{{Path: "uploads/huge", Data: data}}))
	s.options.Piece = 1 // the smallest
	var before int
	r, calls, err := s.inCalls(func() restore.Bytes { return restore.PackBytes(s.vault.Vault, s.pool()) }, func(_ int, at *restore.Upload) {
		if !at.Spliced || at.Written() <= before {
			t.Errorf("%d parts after %d: %+v", at.Written(), before, at)
		}
		before = at.Written()
	})
	if err != nil || r.Written != 1 || r.Spliced != 1 || calls > 9 {
		t.Errorf("%d calls, %+v, %v", calls, r, err)
	}
	s.wants(map[string]string{"uploads/huge": described("application/octet-stream", data)})
}

// TestResumeChanged: bytes that change between the calls never get a name.
func TestResumeChanged(t *testing.T) {
	data := noise(49<<20, 7)
	s := newScene(t, archivetest.New(t, []archivetest.File{{Path: "uploads/huge", Data: data}}))
	path := t.TempDir() + "/a.zip"
	if err := os.WriteFile(path, s.backup.Zip(t), 0o600); err != nil {
		t.Fatal(err)
	}
	source := func() restore.Bytes {
		i, file, err := verify.OpenFile(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return restore.FileBytes(i)
	}
	r, _, err := s.inCalls(source, func(call int, _ *restore.Upload) {
		if call != 2 {
			return
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.WriteAt([]byte("changed"), 40<<20); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil || r.Written != 0 || r.Total != 1 || r.Problems[0].Kind != "corrupt" {
		t.Errorf("%+v, %v", r, err)
	}
	s.wants(map[string]string{})
}

// TestResumeGone: an upload that somebody has freed is begun anew; one whose object is there by now is done.
func TestResumeGone(t *testing.T) {
	data := noise(49<<20, 7)
	for name, test := range map[string]struct {
		between func(s *scene, at *restore.Upload)
		want    restore.Result
	}{
		"freed": {func(s *scene, at *restore.Upload) {
			target, err := restore.OpenBucket(t.Context(), s.options)
			if err != nil {
				t.Fatal(err)
			}
			target.Abandon(t.Context(), *at)
			s.target.NoUploads(t)
		}, restore.Result{Written: 1, Bytes: 49 << 20}},
		"done": {func(s *scene, at *restore.Upload) {
			target, err := restore.OpenBucket(t.Context(), s.options)
			if err != nil {
				t.Fatal(err)
			}
			target.Abandon(t.Context(), *at)
			if _, err := s.from(t.Context(), fromZIP(s)()); err != nil {
				t.Fatal(err)
			}
		}, restore.Result{Existing: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, archivetest.New(t, []archivetest.File{{Path: "uploads/huge", Data: data}}))
			r, _, err := s.inCalls(fromZIP(s), func(call int, at *restore.Upload) {
				if call == 2 {
					test.between(s, at)
				}
			})
			if r.Streams = ""; err != nil || r.Written != test.want.Written || r.Existing != test.want.Existing || r.Total != 0 {
				t.Errorf("%+v, %v", r, err)
			}
			s.wants(map[string]string{"uploads/huge": described("application/octet-stream", data)})
		})
	}
}

// TestResumeBroken: what is written stays where the network fails in the middle of a call with a limit, and is freed in one
// without.
func TestResumeBroken(t *testing.T) {
	data := noise(49<<20, 7)
	s := newScene(t, archivetest.New(t, []archivetest.File{{Path: "uploads/huge", Data: data}}))
	breaks := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if isPart(r) && r.URL.Query().Get("partNumber") == "3" {
			return vaulttest.Refuse(r, http.StatusNotImplemented, "SlowDown")
		}
		return next.RoundTrip(r)
	}
	unit := func(target *restore.BucketTarget) (one restore.Unit) {
		for u, err := range target.Plan(verify.Entries(t.Context(), s.image())) {
			if err != nil {
				t.Fatal(err)
			}
			one = u
		}
		return one
	}
	target, err := restore.OpenBucket(t.Context(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	target.From(fromZIP(s)())
	u := unit(target)
	s.target.Intercept(breaks)
	if err := target.Do(t.Context(), u); err == nil {
		t.Error("nothing broke")
	}
	s.target.Intercept(nil)
	s.target.NoUploads(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.target.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if isPart(r) && r.URL.Query().Get("partNumber") == "3" {
			cancel()
		}
		return next.RoundTrip(r)
	})
	at, done, err := target.Resume(ctx, u, nil, make(chan struct{}))
	s.target.Intercept(nil)
	if failure.KindOf(err) != failure.Canceled || done || at.Written() != 2 {
		t.Fatalf("%v %v %+v", err, done, at)
	}
	at, done, err = target.Resume(t.Context(), u, at, make(chan struct{}))
	if err != nil || !done || at != nil {
		t.Errorf("%v %v %+v", err, done, at)
	}
	s.wants(map[string]string{"uploads/huge": described("application/octet-stream", data)})
}
