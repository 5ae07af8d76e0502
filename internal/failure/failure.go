// Package failure is the one vocabulary of what can go wrong.
//
// Every error that a person, a state machine or an HTTP client sees has a Kind. One table maps a Kind to the
// error name that the state machine's Retry and Catch match, to the exit code of the command line and to the
// status of the HTTP API. Code acts upon an error's kind, never on its message.
//
// The package sits below everything else and imports nothing of ours.
package failure

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// Kind says what sort of failure an error is.
type Kind int

// The kinds. The zero value is Internal: an error that nobody classified is a fault of ours.
const (
	Internal  Kind = iota // a fault of lifeboat
	Usage                 // the command line or the configuration is wrong
	Invalid               // data of an application or an archive is wrong or of a version that is not supported
	NotFound              // a named thing does not exist
	Denied                // credentials are wrong or not sufficient
	Conflict              // somebody else holds or has changed the thing
	Corrupt               // bytes do not match what was recorded
	Exhausted             // disk, quota or a limit is used up
	Transient             // a server does not answer, or asks to come back later
	Canceled              // a person or a deadline stopped the work
)

type row struct {
	word string // in JSON output
	name string // error name in the state machine
	exit int
	http int
}

// table is the only place where kinds meet names, exit codes and HTTP statuses.
var table = map[Kind]row{
	Internal:  {"internal", "Lifeboat.Internal", 1, 500},
	Usage:     {"usage", "Lifeboat.Usage", 2, 400},
	Invalid:   {"invalid", "Lifeboat.Invalid", 16, 422},
	NotFound:  {"not found", "Lifeboat.NotFound", 10, 404},
	Denied:    {"denied", "Lifeboat.Denied", 12, 403},
	Conflict:  {"conflict", "Lifeboat.Conflict", 11, 409},
	Corrupt:   {"corrupt", "Lifeboat.Corrupt", 13, 500},
	Exhausted: {"exhausted", "Lifeboat.Exhausted", 14, 507},
	Transient: {"unreachable", "Lifeboat.Transient", 15, 503},
	Canceled:  {"canceled", "Lifeboat.Canceled", 130, 499},
}

// Kinds returns every kind, in the order of their declaration.
func Kinds() []Kind {
	kinds := make([]Kind, 0, len(table))
	for k := Internal; k <= Canceled; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// String returns the word that output for robots uses.
func (k Kind) String() string { return table[k].word }

// ErrorName returns the name that a state machine's Retry and Catch match.
func (k Kind) ErrorName() string { return table[k].name }

// ExitCode returns the exit code of the command line.
func (k Kind) ExitCode() int { return table[k].exit }

// HTTPStatus returns the status of the HTTP API.
func (k Kind) HTTPStatus() int { return table[k].http }

// KindOfName returns the kind behind a state machine's error name.
func KindOfName(name string) (Kind, bool) {
	for k, r := range table {
		if r.name == name {
			return k, true
		}
	}
	return Internal, false
}

// Error is an error with a kind and, where we know it, what to do next.
type Error struct {
	Kind Kind
	Hint string // one sentence: what to type or change next; may be empty
	err  error
}

// New returns an error of a kind.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, err: fmt.Errorf(format, args...)}
}

// WithHint sets what to do next and returns e.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns what e wraps, with all of its tree: a message may name several errors.
func (e *Error) Unwrap() error { return e.err }

// KindOf returns the kind of the outermost *Error in err's tree; without one it knows cancellation and a
// full disk, and calls everything else Internal.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Canceled
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return Exhausted
	}
	return Internal
}

// HintOf returns the hint of the outermost *Error that has one.
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Unwrap()
	}
	return ""
}
