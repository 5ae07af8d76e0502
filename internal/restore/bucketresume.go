package restore

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/archive"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
)

// Upload is how far the writing of one large object is; it is JSON. Its parts lie in the target's store until the object is
// complete or Abandon frees them.
type Upload struct {
	Key     string         `json:"key"`
	ID      string         `json:"id"`
	Spliced bool           `json:"spliced,omitzero"` // the store copies the parts, in any order
	Parts   []Part         `json:"parts"`            // from the first on; one that is not there yet has no ETag
	Read    *archive.Begun `json:"read,omitempty"`   // what the parts hold, of a content that is not compressed
}

// Part is one part of an upload.
type Part struct {
	ETag  string `json:"etag"`
	CRC32 string `json:"crc32"` // as the store says it
}

func (p Part) completed(number int32) types.CompletedPart {
	return types.CompletedPart{PartNumber: &number, ETag: some(p.ETag), ChecksumCRC32: some(p.CRC32)}
}

// Written returns how many parts there are.
func (u *Upload) Written() int {
	n := 0
	if u == nil {
		return n
	}
	for _, p := range u.Parts {
		if p.ETag != "" {
			n++
		}
	}
	return n
}

// writing is the work on one large object.
type writing struct {
	at   *Upload         // nil: nothing of it is there
	stop <-chan struct{} // when to end it early; nil: never, and nothing is kept after an error
}

// errStopped ends the work on an object early.
var errStopped error = failure.New(failure.Canceled, "the time for this object is over")

func (w *writing) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// keeps reports whether what is written by then stays for another call.
func (w *writing) keeps(err error) bool {
	kind := failure.KindOf(err)
	return w.stop != nil && w.at.Written() > 0 && (kind == failure.Canceled || kind == failure.Transient)
}

// gone reports whether an upload is not there any more: somebody has freed its parts, or it was completed.
func gone(err error) bool { return code(err) == "NoSuchUpload" }

// Do does one unit. An error concerns more than its objects.
func (t *BucketTarget) Do(ctx context.Context, u Unit) error {
	if u.Large {
		return t.large(ctx, u, &writing{})
	}
	return t.small(ctx, u, t)
}

// Resume does a unit as Do does, but ends early when stop is closed. What is written of a large object is kept then, and
// where the store or the network has failed: the Upload, for the next call. A window is small and done as a whole.
func (t *BucketTarget) Resume(ctx context.Context, u Unit, at *Upload, stop <-chan struct{}) (more *Upload, done bool, err error) {
	w := &writing{at: at, stop: stop}
	switch {
	case w.stopped():
		return at, false, nil
	case !u.Large:
		err = t.small(ctx, u, t)
		return nil, err == nil, err
	}
	err = t.large(ctx, u, w)
	if at != nil && gone(err) {
		w.at, u.Fresh = nil, false
		err = t.large(ctx, u, w)
	}
	if errors.Is(err, errStopped) {
		return w.at, false, nil
	}
	return w.at, err == nil, err
}

// Holds reports whether the target has an entry under its name, and whether it has its bytes: by the store's checksum, or
// else by reading it. The entry is one that the target wants.
func (t *BucketTarget) Holds(ctx context.Context, e manifest.Entry) (same, found bool, err error) {
	key, err := t.names.key(e)
	if err != nil || key == "" {
		return false, false, nil // it was never written, and that was said
	}
	return t.compare(ctx, Item{Key: key, Entry: e})
}

// Abandon frees what Resume has kept. What cannot be freed is for the bucket's own rule about incomplete uploads.
func (t *BucketTarget) Abandon(ctx context.Context, u Upload) { t.abort(ctx, Item{Key: u.Key}, u.ID) }
