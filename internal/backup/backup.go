// Package backup holds the names that every other package speaks of: ids of backups, names of sources, scopes,
// statuses and proof levels. It has no behaviour beyond parsing and printing them.
package backup

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"lifeboat/internal/failure"
)

// ID names one run: YYYYMMDDTHHMMSSZ-<6 letters>. Ids of one source sort by the time of their start.
type ID string

// Source is the name of a configured application instance: [a-z0-9-]{1,40}.
type Source string

var (
	idPattern     = regexp.MustCompile(`^\d{8}T\d{6}Z-[a-z]{6}$`)
	sourcePattern = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
)

const idTime = "20060102T150405Z"

// NewID returns an id for a run that starts at the given time.
func NewID(at time.Time) ID {
	letters := make([]byte, 6)
	_, _ = rand.Read(letters) // never fails (crypto/rand)
	for i := range letters {
		letters[i] = 'a' + letters[i]%26
	}
	return ID(at.UTC().Format(idTime) + "-" + string(letters))
}

// ParseID returns text as an id, or an Invalid error.
func ParseID(text string) (ID, error) {
	if !idPattern.MatchString(text) {
		return "", failure.New(failure.Usage, "%q is not the id of a backup", text).
			WithHint("ids look like 20261121T020000Z-abcdef; `lifeboat list` shows them")
	}
	return ID(text), nil
}

// Time returns the time of the start that the id holds, to the second.
func (id ID) Time() time.Time {
	stamp, _, _ := strings.Cut(string(id), "-")
	at, _ := time.Parse(idTime, stamp)
	return at
}

// ParseSource returns text as a source's name, or a Usage error.
func ParseSource(text string) (Source, error) {
	if !sourcePattern.MatchString(text) {
		return "", failure.New(failure.Usage, "%q is no name for a source", text).
			WithHint("use 1 to 40 of a-z, 0-9 and -")
	}
	return Source(text), nil
}

// RestoreID names one restore: r and 20 hex digits, derived from what is restored, where to and how, so that the same
// restore, run again, has the same id.
type RestoreID string

var restorePattern = regexp.MustCompile(`^r[0-9a-f]{20}$`)

// NewRestoreID derives the id of a restore from all that tells it from another one. No word may be left out: empty ones
// count.
func NewRestoreID(words ...string) RestoreID {
	digest := sha256.New()
	for _, word := range words {
		fmt.Fprintf(digest, "%d:%s,", len(word), word)
	}
	return RestoreID("r" + hex.EncodeToString(digest.Sum(nil)[:10]))
}

// ParseRestoreID returns text as the id of a restore, or a Usage error.
func ParseRestoreID(text string) (RestoreID, error) {
	if !restorePattern.MatchString(text) {
		return "", failure.New(failure.Usage, "%q is not the id of a restore", text).
			WithHint("ids look like r0123456789abcdef0123; `lifeboat restores` shows them")
	}
	return RestoreID(text), nil
}

// Status is the state of a backup or of a restore.
type Status string

// The statuses. InProgress is the only one that another follows, but for Canceled, which a resumed run leaves.
const (
	InProgress Status = "in progress"
	Completed  Status = "completed"
	Partial    Status = "partial" // completed, with problems
	Failed     Status = "failed"
	Canceled   Status = "canceled"
	Expired    Status = "expired"
	Deleting   Status = "deleting" // marked; its bytes go next
)

// Good reports whether a backup of this status has an archive that verifies.
func (s Status) Good() bool { return s == Completed || s == Partial }

// Proof says how the bytes of a backup were proven.
type Proof string

// The proof levels, weakest first.
const (
	Unproven Proof = ""
	Stored   Proof = "stored"  // the store's own checksum equals the one derived from the pieces
	ReRead   Proof = "re-read" // every byte was read again
	Drilled  Proof = "drilled" // restored and asserted
)

// Better reports whether p proves more than q.
func (p Proof) Better(q Proof) bool {
	order := []Proof{Unproven, Stored, ReRead, Drilled}
	return slices.Index(order, p) > slices.Index(order, q)
}

// Scope says which part of a source a backup holds. The zero value is everything. Backups of one scope are compared
// with one another; packs are shared by all.
type Scope struct {
	Folder    string    `json:"folder,omitempty"`    // one folder of the application and all below it, by the application's id
	NoMetrics bool      `json:"no_metrics,omitzero"` // documents without metrics
	Since     time.Time `json:"since,omitzero"`      // no objects from before this time
	Until     time.Time `json:"until,omitzero"`      // no objects from this time on
}

// String returns the scope's canonical text, such as "all" or "no-metrics since=2026-01-01T00:00:00Z".
func (s Scope) String() string {
	var words []string
	if s.Folder != "" {
		words = append(words, "folder="+s.Folder)
	}
	if s.NoMetrics {
		words = append(words, "no-metrics")
	}
	if !s.Since.IsZero() {
		words = append(words, "since="+s.Since.UTC().Format(time.RFC3339))
	}
	if !s.Until.IsZero() {
		words = append(words, "until="+s.Until.UTC().Format(time.RFC3339))
	}
	if len(words) == 0 {
		return "all"
	}
	return strings.Join(words, " ")
}

// AllObjects reports whether the scope holds every object.
func (s Scope) AllObjects() bool { return s.Folder == "" && s.Since.IsZero() && s.Until.IsZero() }

// Holds reports whether an object of this time belongs to the scope.
func (s Scope) Holds(modified time.Time) bool {
	return !modified.Before(s.Since) && (s.Until.IsZero() || modified.Before(s.Until))
}
