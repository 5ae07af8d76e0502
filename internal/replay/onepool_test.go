package replay_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"lifeboat/events"
)

// TestOnePool: what a check reads, what it proves and what is put are found by one look at the packs: a merge between two
// would make the proof one of other objects.
func TestOnePool(t *testing.T) {
	w := newWorld(t, files())
	w.remote()
	s := w.process("aws")
	whole := w.begins(s, to(w.toApp(), events.To{Target: "new"}), "execution-1").Restore
	var looks atomic.Int64
	w.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if r.Method == http.MethodGet && r.URL.Query().Get("prefix") == "packs/photos/" {
			looks.Add(1)
		}
		return next.RoundTrip(r)
	})
	defer w.Intercept(nil)
	if err := w.asks(s, "restore", events.RestoreRequest{Step: "check", Restore: whole}, nil); err != nil || looks.Load() != 1 {
		t.Errorf("%d looks, %v", looks.Load(), err)
	}
}
