package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/config"
	"lifeboat/internal/verify"
)

// completionTime bounds what a shell waits for.
const completionTime = 3 * time.Second

// quietly runs a completion without a word to the terminal; whatever goes wrong completes nothing.
func (c *cli) quietly(cmd *cobra.Command, list func(ctx context.Context) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	base := cmd.Context()
	if base == nil {
		base = context.Background()
	}
	ctx, cancel := context.WithTimeout(base, completionTime)
	defer cancel()
	c.log, c.quiet, c.err = slog.New(slog.DiscardHandler), true, io.Discard
	found, err := list(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeSource completes the name of a source.
func (c *cli) completeSource(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.quietly(cmd, func(context.Context) ([]string, error) {
		cfg, err := config.Load(c.configFile)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, s := range cfg.Sources {
			names = append(names, fmt.Sprintf("%s\t%s", s.Name, s.Kind))
		}
		return names, nil
	})
}

// completeBackup completes the id of a backup.
func (c *cli) completeBackup(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.quietly(cmd, func(ctx context.Context) ([]string, error) {
		s, err := c.open(ctx)
		if err != nil {
			return nil, err
		}
		defer s.close()
		ids := []string{"latest"}
		for r, err := range s.catalog.All(ctx, "") {
			if err == nil {
				ids = append(ids, fmt.Sprintf("%s\t%s, %s", r.ID, r.Source, r.Status))
			}
		}
		return ids, nil
	})
}

// completeFile completes the id of a backup, or the name of an archive.
func (c *cli) completeFile(cmd *cobra.Command, given []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 0 && strings.ContainsAny(word, "/.") {
		return []string{"zip"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return c.completeBackup(cmd, given, word)
}

// maxPaths is how many paths a completion offers.
const maxPaths = 1000

// completePath completes a path inside of a backup, one folder at a time.
func (c *cli) completePath(cmd *cobra.Command, given []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 0 {
		return c.completeBackup(cmd, given, word)
	}
	if len(given) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	paths, directive := c.quietly(cmd, func(ctx context.Context) ([]string, error) {
		image, _, closeImage, err := c.image(ctx, given[0])
		if err != nil {
			return nil, err
		}
		defer closeImage()
		var paths []string
		seen := map[string]bool{}
		for e, err := range verify.Entries(ctx, image) {
			if err != nil {
				return nil, err
			}
			if rest, ok := strings.CutPrefix(e.Path, word); ok {
				if i := strings.IndexByte(rest, '/'); i >= 0 {
					rest = rest[:i+1]
				}
				if path := word + rest; !seen[path] && len(paths) < maxPaths {
					seen[path] = true
					paths = append(paths, path)
				}
			}
		}
		return paths, nil
	})
	if directive == cobra.ShellCompDirectiveNoFileComp {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return paths, directive
}

// completions says what each command's arguments are.
func (c *cli) completions(root *cobra.Command) {
	for name, complete := range map[string]cobra.CompletionFunc{
		"backup": c.completeSource, "list": c.completeSource, "prune": c.completeSource, "show": c.completeBackup, "files": c.completeFile,
		"get": c.completePath, "download": c.completeBackup, "link": c.completeBackup, "unlink": c.completeBackup,
		"delete": c.completeBackup, "verify": c.completeFile, "restore": c.completeFile, "accept": c.completeBackup,
		"archive": c.completeBackup,
	} {
		if cmd, _, err := root.Find([]string{name}); err == nil {
			cmd.ValidArgsFunction = complete
		}
	}
}
