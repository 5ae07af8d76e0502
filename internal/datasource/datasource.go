// Package datasource lists and opens the files that an application's documents refer to, where they lie: in a
// folder of this machine or in an S3 bucket.
//
// It knows nothing of applications. Keys are what the store calls its objects, byte for byte; whether a key can
// stand in an archive is for the adapter to judge, and so is app.Object.Path, which stays empty here. Adapters
// import this package; it imports app and failure. It stores nothing.
package datasource

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"lifeboat/internal/app"
)

// Datasource is one place that holds objects. It is safe for concurrent use.
type Datasource interface {
	// List yields every object once, in the lexical order of the keys' bytes. An error of type *Skipped is about
	// the one object or folder that it names: the listing goes on after it. Any other error is the last value.
	List(ctx context.Context) iter.Seq2[app.Object, error]

	// Open reads one object that List yielded, perhaps in another process. NotFound when it is gone; Conflict
	// when the store itself says that it is another version by now.
	Open(ctx context.Context, object app.Object) (app.Content, error)

	// Describe names the place in a sentence, such as "the folder /zipline/uploads".
	Describe() string
}

// Resumable is a Datasource whose listing can begin in the middle.
type Resumable interface {
	Datasource
	// ListAfter yields what List yields, but only what comes after a key; "" comes before all. A Mark says which keys
	// may be that key. Invalid where the store begins elsewhere.
	ListAfter(ctx context.Context, after string) iter.Seq2[app.Object, error]

	// Place names the place as no other is named, with its store: a listing goes on where it began.
	Place() string
}

var _ Resumable = (*Bucket)(nil)

// Mark follows a listing and says where another one may go on.
type Mark struct {
	After string // the last key that was passed; "" before the first
	lost  bool
}

// Pass notes the next key of the listing and reports whether another may begin after it. None may once the keys have
// been out of order, nor after a key with U+FFFD, which a store may have put where its XML can't hold what is there.
func (m *Mark) Pass(key string) bool {
	m.lost = m.lost || key <= m.After
	m.After = key
	return !m.lost && !strings.ContainsRune(key, utf8.RuneError)
}

// side says whose place it is, for errors.
type side string

const ofTarget side = "target" // "" is a source

// String names the settings that the place stands in.
func (s side) String() string {
	if s == "" {
		return "the source's settings"
	}
	return "the " + string(s) + "'s settings"
}

// whose is "target's " for a target's place. A source's is said without it.
func (s side) whose() string {
	if s == "" {
		return ""
	}
	return string(s) + "'s "
}

// Skipped says that List left something out. It comes with an app.Object of which only Key is set.
type Skipped struct {
	Key    string // the object's key; a folder's ends with "/"
	Reason string // such as "it is a symbolic link"
}

func (s *Skipped) Error() string { return fmt.Sprintf("%q was skipped: %s", s.Key, s.Reason) }
