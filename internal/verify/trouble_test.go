package verify_test

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/local/vaulttest"
	"lifeboat/internal/verify"
)

// breaking is a body that ends with an error in its middle.
type breaking struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// breakOff lets the half of a body through.
func breakOff(err error) vaulttest.Hook {
	return func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		answer, failed := next.RoundTrip(r)
		if failed == nil && r.Method == http.MethodGet {
			answer.Body = &breaking{answer.Body, answer.ContentLength / 2, err}
		}
		return answer, failed
	}
}

// refuse is an error of the store, however often it is asked.
func refuse(status int, code string) vaulttest.Hook {
	return func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
		return vaulttest.Refuse(r, status, code)
	}
}

// TestTroubleIsNoVerdict fails the n-th request of every kind of verification, and all that follow, in every way that says
// nothing of the bytes: it ends with that error, finds no problem, and counts as no proof.
func TestTroubleIsNoVerdict(t *testing.T) {
	v := vaulttest.New(t)
	b := tiny(t)
	b.Store(t, v.Vault)
	b.StoreArchive(t, v.Vault)
	record := recordOf(t, b)
	troubles := map[string]struct {
		hook   vaulttest.Hook
		bodies bool // only the answers that have one are disturbed
		want   failure.Kind
		every  int // of so many requests one is tried: the SDK repeats them
	}{
		"the connection breaks off":   {breakOff(io.ErrUnexpectedEOF), true, failure.Transient, 1},
		"the connection is reset":     {breakOff(vaulttest.ErrDropped), true, failure.Transient, 1},
		"no answer":                   {vaulttest.Drop, false, failure.Transient, 4},
		"the store is busy":           {refuse(429, "Unheard"), false, failure.Transient, 1},
		"a right is missing":          {refuse(403, "AccessDenied"), false, failure.Denied, 1},
		"the store's disk is full":    {refuse(507, "InsufficientStorage"), false, failure.Exhausted, 1},
		"a request that nobody knows": {refuse(400, "Unheard"), false, failure.Internal, 1},
		"somebody cancels":            {breakOff(context.Canceled), true, failure.Canceled, 1},
	}
	for what, do := range checks(v, record) {
		for name, trouble := range troubles {
			t.Run(what+", "+name, func(t *testing.T) {
				for n := 1; ; n += max(trouble.every, 1) {
					var seen atomic.Int64 // whole packs are read side by side
					v.Intercept(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
						if r.Method == http.MethodGet || !trouble.bodies {
							seen.Add(1)
						}
						if seen.Load() >= int64(n) {
							return trouble.hook(r, next)
						}
						return next.RoundTrip(r)
					})
					sound, problems, err := do(t.Context())
					v.Intercept(nil)
					if seen.Load() < int64(n) { // it was not disturbed
						if err != nil || !sound || problems != 0 || n == 1 {
							t.Errorf("undisturbed, with %d requests: %t, %d problems, %v", n-1, sound, problems, err)
						}
						return
					}
					if sound || problems != 0 || err == nil || failure.KindOf(err) != trouble.want {
						t.Errorf("request %d: sound %t, %d problems, %s: %v", n, sound, problems, failure.KindOf(err), err)
					}
				}
			})
		}
	}
}

// checks are the ways to verify a backup, and to read from it.
func checks(v *vaulttest.Store, record catalog.Record) map[string]func(context.Context) (sound bool, problems int, err error) {
	options := verify.Options{Trusted: trusted()}
	return map[string]func(context.Context) (bool, int, error){
		"a backup and its archive": func(ctx context.Context) (bool, int, error) {
			report, err := verify.Backup(ctx, v.Vault, record, options)
			return report.OK, report.Total, err
		},
		"an archive": func(ctx context.Context) (bool, int, error) {
			image, err := verify.OpenRecorded(ctx, v.Vault, record)
			if err != nil {
				return false, 0, err
			}
			report, err := verify.Whole(ctx, image, options)
			return report.OK, report.Total, err
		},
		"whole packs": func(ctx context.Context) (bool, int, error) {
			report, err := verify.Deep(ctx, v.Vault, record.Source, []catalog.Record{record}, nil)
			return err == nil && report.OK(), len(report.Problems), err
		},
		"a signature": func(ctx context.Context) (bool, int, error) {
			signature, err := verify.Signed(ctx, v.Vault, record, trusted()...)
			return signature != "", 0, err
		},
		"one file": func(ctx context.Context) (bool, int, error) {
			_, err := verify.Get(ctx, v.Vault, record, "uploads/b", io.Discard)
			return err == nil, 0, err
		},
	}
}
