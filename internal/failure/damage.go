package failure

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"slices"
	"syscall"
)

// Damage reports whether an error is a verdict on bytes that were to be read: they are wrong, end too early or are gone.
// An error that says only that they could not be read is none, whatever it is wrapped in: a store or a network that
// fails, a right that is missing, a disk that is full or breaks, a cancellation.
func Damage(err error) bool {
	if err == nil || passing(err) {
		return false
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind == Corrupt || e.Kind == NotFound
	}
	_, inflated := errors.AsType[flate.CorruptInputError](err)
	return inflated || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// passing reports whether anything in an error's tree says that another time may end otherwise.
func passing(err error) bool {
	switch e := err.(type) {
	case *Error:
		switch e.Kind {
		case Transient, Canceled, Denied, Exhausted:
			return true
		}
	case syscall.Errno:
		return true
	}
	if err == context.Canceled || err == context.DeadlineExceeded {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		return inner != nil && passing(inner)
	case interface{ Unwrap() []error }:
		if slices.ContainsFunc(e.Unwrap(), passing) {
			return true
		}
	}
	return false
}
