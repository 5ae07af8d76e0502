package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/backup"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/setup"
)

// scopeFlags are what a filtered backup is asked for with.
type scopeFlags struct {
	folder       string
	since, until string
	noMetrics    bool
}

func (f *scopeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.folder, "folder", "", `only one folder of the application and all below it: its id, or its path such as "Work/2024" or "lin:Memes"`)
	cmd.Flags().StringVar(&f.since, "since", "", "only files from this time on: 2026-11-01, or 2026-11-01T12:00:00Z")
	cmd.Flags().StringVar(&f.until, "until", "", "only files from before this time")
	cmd.Flags().BoolVar(&f.noMetrics, "no-metrics", false, "leave the application's statistics out")
}

// scope returns what the flags ask for; a folder as it was given, for findFolder. A date is midnight UTC.
func (f *scopeFlags) scope(cmd *cobra.Command) (backup.Scope, error) {
	scope := backup.Scope{Folder: f.folder, NoMetrics: f.noMetrics}
	if f.folder == "" && cmd.Flags().Changed("folder") {
		return scope, failure.New(failure.Usage, "--folder is empty").WithHint("give the folder's id or path, or leave --folder out")
	}
	if f.folder != "" && f.noMetrics {
		return scope, failure.New(failure.Usage, "--folder and --no-metrics: the backup of a folder holds no metrics anyway").WithHint("leave --no-metrics out")
	}
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

// findFolder asks the source's application for the folder that a scope names, and puts its id into the scope. It returns
// the folder's path.
func (c *cli) findFolder(ctx context.Context, cfg *config.Config, source config.Source, scope *backup.Scope) (string, error) {
	if source.Kind != "zipline" {
		return "", failure.New(failure.Usage, "--folder: a source of kind %s has no folders of its own", source.Kind).WithHint("leave it out; it is for sources of kind zipline")
	}
	opened, _, err := (&setup.Sources{Config: cfg, Zipline: c.zipline}).Open(ctx, backup.Source(source.Name))
	if err != nil {
		return "", err
	}
	finder, ok := opened.(interface {
		Folder(ctx context.Context, text string) (id, path string, err error)
	})
	if !ok {
		return "", failure.New(failure.Internal, "the adapter of %s finds no folders", source.Kind)
	}
	id, path, err := finder.Folder(ctx, scope.Folder)
	if err != nil {
		return "", fmt.Errorf("--folder: %w", err)
	}
	scope.Folder = id
	return path, nil
}
