package app_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"lifeboat/internal/app"
	"lifeboat/internal/failure"
)

// plainContent is a content that can only be read.
type plainContent struct {
	io.Reader
	app.Content
}

func (c plainContent) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// skipper is one that notes what it was asked to skip.
type skipper struct {
	plainContent
	asked *int64
}

func (s skipper) Skip(_ context.Context, n int64) error {
	*s.asked += n
	return nil
}

// TestSkip reads what it must to leave something out, and no more.
func TestSkip(t *testing.T) {
	whole := strings.Repeat("0123456789", 300_000) // three pieces
	broken := errors.New("the cable is out")
	for name, test := range map[string]struct {
		body io.Reader
		n    int64
		rest string
		kind failure.Kind // where err
		err  string
	}{
		"nothing":           {strings.NewReader(whole), 0, whole, 0, ""},
		"some":              {strings.NewReader(whole), 7, whole[7:], 0, ""},
		"several pieces":    {iotest.HalfReader(strings.NewReader(whole)), 2_500_001, whole[2_500_001:], 0, ""},
		"all but one":       {strings.NewReader(whole), 2_999_999, "9", 0, ""},
		"all":               {strings.NewReader(whole), 3_000_000, "", 0, ""},
		"more than all":     {strings.NewReader(whole), 3_000_005, "", failure.Transient, "ended 5 bytes before"},
		"a broken transfer": {io.MultiReader(strings.NewReader("01234"), iotest.ErrReader(broken)), 7, "", failure.Internal, broken.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			content := plainContent{Reader: test.body}
			err := app.Skip(t.Context(), content, test.n)
			if test.err != "" {
				if err == nil || failure.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v", err)
				}
				return
			}
			rest, readErr := io.ReadAll(content)
			if err != nil || readErr != nil || string(rest) != test.rest {
				t.Errorf("%d bytes are left, %v, %v", len(rest), err, readErr)
			}
		})
	}
}

// TestSkipper: who can skip does it himself, once, and not for nothing.
func TestSkipper(t *testing.T) {
	var asked int64
	s := skipper{plainContent{Reader: strings.NewReader("abc")}, &asked}
	for _, n := range []int64{0, 12} {
		if err := app.Skip(t.Context(), s, n); err != nil {
			t.Error(err)
		}
	}
	if rest, err := io.ReadAll(s); asked != 12 || string(rest) != "abc" || err != nil {
		t.Errorf("asked for %d, left %q, %v", asked, rest, err)
	}
}

// TestSkipCanceled: skipping ends with its context.
func TestSkipCanceled(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := app.Skip(ctx, plainContent{Reader: strings.NewReader("abc")}, 2); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
