package failure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/failure"
)

func TestTable(t *testing.T) {
	words, names, exits := map[string]bool{}, map[string]bool{}, map[int]bool{}
	kinds := failure.Kinds()
	for _, k := range kinds {
		if k.String() == "" || !strings.HasPrefix(k.ErrorName(), "Lifeboat.") || len(k.ErrorName()) <= len("Lifeboat.") ||
			k.ExitCode() < 1 || k.ExitCode() > 255 || k.HTTPStatus() < 400 || k.HTTPStatus() > 599 {
			t.Errorf("kind %d: %q, %q, %d, %d", k, k, k.ErrorName(), k.ExitCode(), k.HTTPStatus())
		}
		if got, ok := failure.KindOfName(k.ErrorName()); got != k || !ok {
			t.Errorf("%s is %v, %v", k.ErrorName(), got, ok)
		}
		words[k.String()], names[k.ErrorName()], exits[k.ExitCode()] = true, true, true
	}
	if len(words) != len(kinds) || len(names) != len(kinds) || len(exits) != len(kinds) || exits[3] { // 3 is partial
		t.Errorf("%d kinds, %d words, %d names, %d exit codes", len(kinds), len(words), len(names), len(exits))
	}
	if next := kinds[len(kinds)-1] + 1; next.String() != "" {
		t.Errorf("Kinds leaves %v out", next)
	}
	for _, name := range []string{"", "States.Timeout", "Lifeboat."} {
		if k, ok := failure.KindOfName(name); ok || k != failure.Internal {
			t.Errorf("%q is %v", name, k)
		}
	}
}

func TestKindOf(t *testing.T) {
	denied := failure.New(failure.Denied, "no")
	for _, test := range []struct {
		err  error
		want failure.Kind
	}{
		{nil, failure.Internal},
		{io.EOF, failure.Internal},
		{denied, failure.Denied},
		{fmt.Errorf("open: %w", denied), failure.Denied},
		{errors.Join(io.EOF, denied), failure.Denied},
		{failure.New(failure.Corrupt, "outermost wins: %w", denied), failure.Corrupt},
		{fmt.Errorf("read: %w", context.Canceled), failure.Canceled},
		{context.DeadlineExceeded, failure.Canceled},
		{fmt.Errorf("write: %w", syscall.ENOSPC), failure.Exhausted},
		{syscall.EDQUOT, failure.Exhausted},
	} {
		if got := failure.KindOf(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}

func TestUnwrap(t *testing.T) {
	e := failure.New(failure.Transient, "%w and %w", io.EOF, syscall.ENOSPC)
	if !errors.Is(e, io.EOF) || !errors.Is(e, syscall.ENOSPC) || errors.Is(e, io.ErrUnexpectedEOF) {
		t.Error("a message that names two errors loses one")
	}
	if e.Error() != "EOF and no space left on device" {
		t.Error(e)
	}
}

func TestHintOf(t *testing.T) {
	inner := failure.New(failure.Denied, "no").WithHint("ask %s", "nicely")
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{io.EOF, ""},
		{inner, "ask nicely"},
		{fmt.Errorf("open: %w", inner), "ask nicely"},
		{failure.New(failure.Corrupt, "read: %w", fmt.Errorf("open: %w", inner)), "ask nicely"},
		{failure.New(failure.Corrupt, "read: %w", inner).WithHint("mine"), "mine"},
	} {
		if diff := cmp.Diff(test.want, failure.HintOf(test.err)); diff != "" {
			t.Errorf("%v: %s", test.err, diff)
		}
	}
}
