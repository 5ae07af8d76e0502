package files

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"time"

	"lifeboat/internal/failure"
)

// cursor is where the snapshot of a bucket goes on that has paused.
type cursor struct {
	Format int       `json:"format"`
	What   string    `json:"what"`  // of the snapshot: see digestOf
	After  string    `json:"after"` // the last key that was listed
	Began  time.Time `json:"began"`
	Used   []bool    `json:"used"` // include patterns that matched something
	Counts counts    `json:"counts"`
	Left   int       `json:"left"`
	Digest []byte    `json:"digest"` // of the list so far: the hash as it marshals itself
}

// cursorFormat is the version of a cursor. A run may outlive an update of its functions.
const cursorFormat = 2

// digestOf tells snapshots apart whose lists are of other places, or made by other patterns: none goes on for another.
func digestOf(place string, include, exclude []string) string {
	text, _ := json.Marshal([]any{place, include, exclude}) // strings always encode
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// position returns the cursor after the last key.
func (l *listing) position() ([]byte, error) {
	digest, err := l.digest.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, err
	}
	return json.Marshal(cursor{
		Format: cursorFormat, What: l.what, After: l.mark.After, Began: l.began, Used: l.used, Counts: l.counts, Left: l.left, Digest: digest,
	})
}

// resume begins a piece that follows another. The sink is asked at once whether it is time to stop: so it sees one that
// gets no further.
func (l *listing) resume(from []byte) error {
	if l.pausing == nil {
		return failure.New(failure.Invalid, "the snapshot was begun in a bucket, and cannot go on in a folder").
			WithHint("the source's settings have changed meanwhile: start the backup again")
	}
	if err := l.goOn(from); err != nil {
		return err
	}
	return l.pausing.Pause(l.position)
}

// goOn takes over what an earlier piece has listed.
func (l *listing) goOn(from []byte) error {
	var at cursor
	err := json.Unmarshal(from, &at)
	switch {
	case err != nil:
	case at.Format != cursorFormat:
		return failure.New(failure.Invalid, "the snapshot was begun by another version of lifeboat and cannot go on").WithHint("start the backup again")
	case at.What != l.what || len(at.Used) != len(l.used):
		return failure.New(failure.Invalid, "the snapshot was begun in another place, or with other patterns, and cannot go on here").
			WithHint("the source's settings have changed meanwhile: start the backup again")
	default:
		l.mark.After, l.began, l.used, l.counts, l.left = at.After, at.Began, at.Used, at.Counts, at.Left
		err = l.digest.(encoding.BinaryUnmarshaler).UnmarshalBinary(at.Digest)
	}
	if err != nil {
		return failure.New(failure.Corrupt, "read where the snapshot goes on: %w", err).WithHint("start the backup again")
	}
	return nil
}
