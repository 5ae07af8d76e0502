package manifest_test

import (
	"bytes"
	"context"
	"testing"

	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

// answering makes one code, and finds every code right.
type answering struct {
	code  []byte
	asked int
}

func (*answering) Key() string                                           { return "key" }
func (a *answering) Make(context.Context, []byte) ([]byte, error)        { return a.code, nil }
func (a *answering) Verify(_ context.Context, _, _ []byte) (bool, error) { a.asked++; return true, nil }

// TestCodeLength: a code that is none of HMAC-SHA-256 is damage, and KMS, which would call the request wrong, is not asked.
func TestCodeLength(t *testing.T) {
	for length, right := range map[int]bool{0: false, 31: false, 32: true, 33: false} {
		a := &answering{code: bytes.Repeat([]byte{7}, length)}
		sealed := manifest.Sealed{Source: "photos", Backup: "20261121T120000Z-aaaaaa", Entries: 1}
		data, err := manifest.Authenticate(t.Context(), a, sealed)
		if err != nil {
			t.Fatal(err)
		}
		err = manifest.CheckMAC(t.Context(), a, data, sealed)
		if right && (err != nil || a.asked != 1) || !right && (failure.KindOf(err) != failure.Corrupt || a.asked != 0) {
			t.Errorf("%d bytes: %v, asked %d times", length, err, a.asked)
		}
	}
}
