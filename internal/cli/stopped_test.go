package cli

import (
	"context"
	"fmt"
	"testing"
	"time"

	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/manifest"
	"lifeboat/internal/replay"
)

// TestStopped: what a signal has stopped is said in words, with what to type; what somebody knew better stays.
func TestStopped(t *testing.T) {
	t.Parallel()
	over, stop := context.WithCancel(t.Context())
	stop()
	known := failure.New(failure.Canceled, "stopped: the restore is not complete").WithHint("it begins anew")
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		want string
	}{
		"a read":             {over, fmt.Errorf("read a: %w", context.Canceled), "stopped by a person or the system; run the same command again"},
		"a hint of its own":  {over, known, "stopped: the restore is not complete; it begins anew"},
		"another error":      {over, failure.New(failure.Corrupt, "damaged"), "damaged; "},
		"no signal":          {t.Context(), context.DeadlineExceeded, "context deadline exceeded; "},
		"partial at the end": {over, partial{"3 problems"}, "3 problems; "},
	} {
		err := stopped(test.ctx, test.err)
		if got := err.Error() + "; " + failure.HintOf(err); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestUnproven: a drill that proves nothing says why, and that only.
func TestUnproven(t *testing.T) {
	t.Parallel()
	signed := string(manifest.Authenticated)
	for want, record := range map[string]catalog.Restore{
		"its packs are damaged, and its archive was restored in their place; `lifeboat backup photos --rehash` makes a new backup": {
			From: catalog.Origin{Source: "photos"}, Signature: signed, Notes: []app.Finding{{Kind: replay.NoteArchive}},
		},
		"nobody known here signed it":                                 {Signature: string(manifest.Unsigned)},
		"its target holds 2 things that are other than in the backup": {Signature: signed, Confirmation: &app.Confirmation{Differs: 2}},
		"its target has nothing that could be asserted":               {Signature: signed},
	} {
		if got := unproven(record); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestReasons: status names the reasons that there are.
func TestReasons(t *testing.T) {
	t.Parallel()
	for want, st := range map[string]sourceStatus{
		"[]":                                    {},
		"[overdue (no good backup within 1 h)]": {Overdue: true},
		"[suspicious damaged]":                  {Suspicious: true, Damaged: []backup.ID{"a"}},
		"[a record that cannot be read]":        {Unreadable: []backup.ID{"a"}},
	} {
		if got := fmt.Sprint(st.reasons(time.Hour)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
