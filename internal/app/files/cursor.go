package files

import (
	"encoding"
	"encoding/json"
	"time"

	"lifeboat/internal/failure"
)

// cursor is where the snapshot of a bucket goes on that has paused.
type cursor struct {
	Format int       `json:"format"`
	After  string    `json:"after"` // the last key that was listed
	Began  time.Time `json:"began"`
	Used   []bool    `json:"used"` // include patterns that matched something
	Counts counts    `json:"counts"`
	Left   int       `json:"left"`
	Digest []byte    `json:"digest"` // of the list so far: the hash as it marshals itself
}

// cursorFormat is the version of a cursor. A run may outlive an update of its functions.
const cursorFormat = 1

// position returns the cursor after the last key.
func (l *listing) position() ([]byte, error) {
	digest, err := l.digest.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, err
	}
	return json.Marshal(cursor{
		Format: cursorFormat, After: l.mark.After, Began: l.began, Used: l.used, Counts: l.counts, Left: l.left, Digest: digest,
	})
}

// goOn takes over what an earlier piece has listed; nothing where there was none.
func (l *listing) goOn(from []byte) error {
	if from == nil {
		return nil
	}
	var at cursor
	err := json.Unmarshal(from, &at)
	if err == nil && at.Format == cursorFormat && len(at.Used) == len(l.used) {
		l.mark.After, l.began, l.used, l.counts, l.left = at.After, at.Began, at.Used, at.Counts, at.Left
		err = l.digest.(encoding.BinaryUnmarshaler).UnmarshalBinary(at.Digest)
	} else if err == nil {
		return failure.New(failure.Invalid, "the snapshot was begun by another version of lifeboat, or with other patterns, and cannot go on").
			WithHint("start the backup again")
	}
	if err != nil {
		return failure.New(failure.Corrupt, "read where the snapshot goes on: %w", err).WithHint("start the backup again")
	}
	return nil
}
