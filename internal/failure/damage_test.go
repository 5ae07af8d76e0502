package failure

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"
)

// TestDamage: a verdict on bytes is told from all that keeps them from being read.
func TestDamage(t *testing.T) {
	broken := &fs.PathError{Op: "read", Path: "a.zip", Err: syscall.EIO}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                          {nil, false},
		"corrupt":                          {New(Corrupt, "another CRC-32"), true},
		"gone":                             {New(NotFound, "no such pack"), true},
		"corrupt, wrapped":                 {fmt.Errorf("a.zip: %w", New(Corrupt, "x")), true},
		"an end that is too early":         {io.ErrUnexpectedEOF, true},
		"an end where a header should be":  {fmt.Errorf("header: %w", io.EOF), true},
		"no deflate stream":                {flate.CorruptInputError(3), true},
		"no gzip file":                     {gzip.ErrHeader, true},
		"a gzip file that was changed":     {gzip.ErrChecksum, true},
		"a connection that broke off":      {New(Transient, "read a: %w", io.ErrUnexpectedEOF), false},
		"the same, called corrupt":         {New(Corrupt, "read: %w", New(Transient, "x: %w", io.ErrUnexpectedEOF)), false},
		"no right":                         {New(Denied, "x"), false},
		"a full disk":                      {New(Exhausted, "x"), false},
		"a full disk, as the system says":  {New(Corrupt, "write: %w", syscall.ENOSPC), false},
		"a disk that breaks":               {broken, false},
		"a disk that breaks, called wrong": {New(Corrupt, "read: %w", broken), false},
		"canceled":                         {New(Canceled, "x"), false},
		"a context":                        {fmt.Errorf("read: %w", context.Canceled), false},
		"a deadline, called corrupt":       {New(Corrupt, "read: %w", context.DeadlineExceeded), false},
		"one of several":                   {errors.Join(New(Corrupt, "x"), New(Transient, "y")), false},
		"a later format":                   {New(Invalid, "x"), false},
		"a conflict":                       {New(Conflict, "x"), false},
		"a wrong setting":                  {New(Usage, "x"), false},
		"our own fault":                    {errors.New("nil map"), false},
	} {
		if got := Damage(test.err); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}
