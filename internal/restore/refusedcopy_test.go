package restore_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"

	"lifeboat/internal/archive/archivetest"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/restore"
	"lifeboat/internal/verify"
)

// copying says how a store answers to who has it copy.
type copying func(r *http.Request, next http.RoundTripper) (*http.Response, error)

// inCallsWith restores the only object of a scene in calls that each end at their first part. Each finds the store as call
// says. It returns the ids of the uploads that the calls left.
func (s *scene) inCallsWith(call func(n int) copying) (ids []string) {
	s.Helper()
	var at *restore.Upload
	for n := 1; n < 10; n++ {
		stop := make(chan struct{})
		var stopped atomic.Bool
		copies := call(n)
		s.target.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if r.Header.Get("x-amz-copy-source") != "" && copies != nil {
				return copies(r, next)
			}
			answer, err := next.RoundTrip(r)
			if isPart(r) && stopped.CompareAndSwap(false, true) {
				close(stop)
			}
			return answer, err
		})
		target, err := restore.OpenBucket(s.Context(), s.options)
		if err != nil {
			s.Fatal(err)
		}
		target.From(restore.PackBytes(s.vault.Vault, s.pool()))
		for u, err := range target.Plan(verify.Entries(s.Context(), s.image())) {
			if err != nil {
				s.Fatal(err)
			}
			before, done := at.Written(), false
			at, done, err = target.Resume(s.Context(), u, at, stop)
			s.target.Intercept(nil)
			if err != nil {
				s.Fatal(err)
			}
			if done {
				return ids
			}
			if ids = append(ids, at.ID); len(ids) > 1 && ids[len(ids)-2] == at.ID && at.Written() <= before {
				s.Fatalf("call %d has written nothing: %d parts", n, at.Written())
			}
		}
		data, _ := json.Marshal(at)
		at = &restore.Upload{}
		if err := json.Unmarshal(data, at); err != nil {
			s.Fatal(err)
		}
	}
	s.Fatalf("it does not end: %v", ids)
	return nil
}

// TestResumeRefusedCopy: what is streamed because the store does not copy it goes on in the next call, in which nobody
// knows that yet, or the store does copy.
func TestResumeRefusedCopy(t *testing.T) {
	denied := func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
	}
	unable := func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, http.StatusNotImplemented, "NotImplemented")
	}
	data := noise(49<<20, 7)
	for name, test := range map[string]struct {
		call func(n int) copying
	}{
		"denied": {func(int) copying { return denied }},
		"unable": {func(int) copying { return unable }},
		"denied at first": {func(n int) copying {
			if n == 1 {
				return denied
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, archivetest.New(t, []archivetest.File{{Path: "uploads/huge", Data: data}}))
			s.options.Piece = 1 // the smallest
			ids := s.inCallsWith(test.call)
			all := map[string]bool{}
			for _, id := range ids {
				all[id] = true
			}
			if len(all) != 1 || len(ids) < 2 {
				t.Errorf("the uploads of the calls: %v", ids)
			}
			s.wants(map[string]string{"uploads/huge": described("application/octet-stream", data)})
			s.target.NoUploads(t)
		})
	}
}
