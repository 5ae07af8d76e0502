package cli

import (
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
)

// scopeFlags are what a filtered backup is asked for with.
type scopeFlags struct {
	since, until string
	noMetrics    bool
}

func (f *scopeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.since, "since", "", "only files from this time on: 2026-11-01, or 2026-11-01T12:00:00Z")
	cmd.Flags().StringVar(&f.until, "until", "", "only files from before this time")
	cmd.Flags().BoolVar(&f.noMetrics, "no-metrics", false, "leave the application's statistics out")
}

// scope returns what the flags ask for. A date is midnight UTC.
func (f *scopeFlags) scope() (backup.Scope, error) {
	scope := backup.Scope{NoMetrics: f.noMetrics}
	for _, flag := range []struct {
		name, text string
		to         *time.Time
	}{{"--since", f.since, &scope.Since}, {"--until", f.until, &scope.Until}} {
		if flag.text == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, flag.text)
		if err != nil {
			at, err = time.Parse(time.RFC3339, flag.text)
		}
		if err != nil {
			return scope, failure.New(failure.Usage, "%s %q is no date", flag.name, flag.text).WithHint("write 2026-11-01, or 2026-11-01T12:00:00Z")
		}
		*flag.to = at.UTC()
	}
	if !scope.Until.IsZero() && !scope.Since.Before(scope.Until) {
		return scope, failure.New(failure.Usage, "--until %s does not lie behind --since %s", f.until, f.since).WithHint("no file could be from that time")
	}
	return scope, nil
}
