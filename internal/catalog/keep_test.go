package catalog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
)

// TestKeep: the lease is renewed for as long as it is kept, through an outage of the store, and not after that; the work
// ends when another run has it.
func TestKeep(t *testing.T) {
	v := vaulttest.New(t)
	c := catalog.New(v.Vault)
	store := &leaseStore{}
	v.Intercept(store.answer)
	defer v.Intercept(nil)
	synctest.Test(t, func(t *testing.T) {
		mine := catalog.Lease{Run: id("aaaaaa"), Holder: "test"}
		if _, err := c.Acquire(t.Context(), "photos", mine, time.Now(), never); err != nil {
			t.Fatal(err)
		}
		working, stop := c.Keep(t.Context(), "photos", mine, time.Now)
		time.Sleep(2*catalog.LeaseTime + time.Second)
		if l, ok := store.lease(); !ok || l.Run != mine.Run || !time.Now().Add(catalog.LeaseTime/2).Before(l.Expires) {
			t.Errorf("it was not renewed: %+v", l)
		}
		store.refuse(true)
		time.Sleep(catalog.LeaseTime / 4)
		store.refuse(false)
		time.Sleep(catalog.LeaseTime / 4)
		if l, _ := store.lease(); working.Err() != nil || !time.Now().Add(catalog.LeaseTime/2).Before(l.Expires) {
			t.Errorf("after an outage: %+v, %v", l, context.Cause(working))
		}
		store.set(catalog.Lease{Run: id("bbbbbb"), Expires: time.Now().Add(time.Hour)})
		<-working.Done()
		stop()
		if err := context.Cause(working); !errors.Is(err, catalog.ErrLeaseLost) || failure.KindOf(err) != failure.Conflict {
			t.Errorf("another run has it: %v", err)
		}

		store.set(catalog.Lease{})
		working, stop = c.Keep(t.Context(), "photos", mine, time.Now)
		stop()
		if working.Err() == nil || errors.Is(context.Cause(working), catalog.ErrLeaseLost) {
			t.Errorf("stopped: %v", context.Cause(working))
		}
		time.Sleep(catalog.LeaseTime)
		if l, _ := store.lease(); l.Run != "" {
			t.Errorf("it was renewed after the end: %+v", l)
		}
	})
}

// leaseStore is a store of one object that answers without a network, in the time of a bubble.
type leaseStore struct {
	mutex   sync.Mutex
	data    []byte
	refuses bool
}

func (s *leaseStore) answer(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case s.refuses:
		return vaulttest.Refuse(r, http.StatusForbidden, "AccessDenied")
	case r.Method == http.MethodGet && s.data == nil:
		return vaulttest.Refuse(r, http.StatusNotFound, "NoSuchKey")
	}
	body := s.data
	if r.Method == http.MethodPut {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.data, body = data, nil
	}
	header := http.Header{"Etag": {`"1"`}}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r}, nil
}

func (s *leaseStore) lease() (l catalog.Lease, ok bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return l, json.Unmarshal(s.data, &l) == nil
}

func (s *leaseStore) set(l catalog.Lease) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.data, _ = json.Marshal(l)
}

func (s *leaseStore) refuse(refuses bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.refuses = refuses
}
