//go:build unix

package local

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"testing"

	"github.com/versity/versitygw/s3err"
)

func TestDiskError(t *testing.T) {
	other := errors.New("other")
	taken := s3err.GetAPIError(s3err.ErrExistingObjectIsDirectory)
	const huge = math.MaxInt64 - slack // more than any disk has left
	for name, c := range map[string]struct {
		err  error
		need int64
		want error
	}{
		"success":            {nil, huge, nil},
		"full":               {fmt.Errorf("write: %w", syscall.ENOSPC), 0, errFull},
		"quota":              {fmt.Errorf("write: %w", syscall.EDQUOT), 0, errFull},
		"full, translated":   {s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice), 0, errFull},
		"quota, translated":  {s3err.GetAPIError(s3err.ErrQuotaExceeded), 0, errFull},
		"hidden, full":       {other, huge, errFull},
		"hidden, space left": {other, 0, other},
		"folder, full":       {taken, huge, errFull},
		"folder, space left": {taken, 0, taken},
		"something else":     {s3err.GetAPIError(s3err.ErrNoSuchKey), huge, s3err.GetAPIError(s3err.ErrNoSuchKey)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, known := freeSpace(t.TempDir()); !known && c.need == huge {
				t.Skip("this system does not say how much space is left")
			}
			got := guarded{folder: t.TempDir()}.diskError(c.err, c.need)
			if !errors.Is(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
