package restore_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"lifeboat/internal/failure"
	"lifeboat/internal/restore"
)

// TestBrokenOff: a connection that breaks off in the middle of a body is read again, or ends the restore as unreachable, and
// the same restore goes on: nothing of it calls the backup damaged.
func TestBrokenOff(t *testing.T) {
	for name, test := range map[string]struct {
		often int64 // broken bodies; 0: all
	}{
		"once": {1}, "twice": {2}, "five times": {5}, "always": {0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, mixed(t))
			source := restore.PackBytes(s.vault.Vault, s.pool())
			var broken atomic.Int64
			s.vault.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
				answer, err := next.RoundTrip(r)
				if err != nil || r.Method != http.MethodGet || r.Header.Get("Range") == "" || answer.ContentLength < 1000 {
					return answer, err
				}
				if n := broken.Add(1); test.often == 0 || n <= test.often {
					answer.Body = struct {
						io.Reader
						io.Closer
					}{io.MultiReader(io.LimitReader(answer.Body, answer.ContentLength/2), failing{io.ErrUnexpectedEOF}), answer.Body}
				}
				return answer, nil
			})
			s.options.Floor = 1 << 40 // no store copies: every byte is read
			result, err := s.from(t.Context(), source)
			s.vault.Intercept(nil)
			for _, p := range result.Problems {
				t.Errorf("a problem: %+v", p)
			}
			if broken.Load() == 0 {
				t.Error("nothing was broken")
			}
			if err != nil && failure.KindOf(err) != failure.Transient || err == nil && test.often == 0 {
				t.Errorf("%s: %v", failure.KindOf(err), err)
			}
			if result, err = s.from(t.Context(), source); err != nil || len(result.Problems) > 0 {
				t.Errorf("again: %v, %+v", err, result.Problems)
			}
			s.wants(wantMixed())
		})
	}
}
