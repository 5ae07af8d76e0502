package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lifeboat/internal/catalog"
	"lifeboat/internal/local/vaulttest"
)

// TestKeepGone: a lease that was given back by whoever closed the run is not taken again, and the work ends soon; one that
// another run has taken over is lost though that has expired; one that is damaged is renewed.
func TestKeepGone(t *testing.T) {
	other, _ := json.Marshal(catalog.Lease{Run: id("bbbbbb")})
	for name, test := range map[string]struct {
		data []byte
		lost bool
	}{
		"given back": {nil, true},
		"taken over": {other, true},
		"damaged":    {[]byte("{"), false},
	} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.New(t)
			c, store := catalog.New(v.Vault), &leaseStore{}
			v.Intercept(store.answer)
			defer v.Intercept(nil)
			synctest.Test(t, func(t *testing.T) {
				mine := catalog.Lease{Run: id("aaaaaa"), Holder: "test"}
				if _, err := c.Acquire(t.Context(), "photos", mine, time.Now(), never); err != nil {
					t.Fatal(err)
				}
				working, stop := c.Keep(t.Context(), "photos", mine, time.Now)
				store.mutex.Lock()
				store.data = test.data
				store.mutex.Unlock()
				time.Sleep(catalog.LeaseTime/20 + time.Second)
				lost := errors.Is(context.Cause(working), catalog.ErrLeaseLost)
				stop()
				l, _ := store.lease()
				if lost != test.lost || test.lost == (l.Run == mine.Run) {
					t.Errorf("lost %v, the store has %+v", lost, l)
				}
			})
		})
	}
}
