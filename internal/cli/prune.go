package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/backup"
	"lifeboat/internal/failure"
	"lifeboat/internal/plain"
	"lifeboat/internal/retention"
	"lifeboat/internal/setup"
	"lifeboat/internal/vault"
)

func (c *cli) pruneCommand() *cobra.Command {
	var now, dry bool
	cmd := &cobra.Command{
		Use:   "prune [SOURCE]",
		Short: "Free what no backup needs any more",
		Long: `Free what no backup of a source, or of every source, needs any more: packs that deleted backups and
failed runs have left, and what was merged into larger packs. Archives that are older than ` + "`archive: {keep: …}`" + `
of their source go; ` + "`lifeboat archive`" + ` makes them again. Uploads that nobody has gone on with for a day are
aborted, and runs that were killed and that nobody has gone on with for a day are closed. What was
fetched for a restore from a URL goes a week after its last attempt.

Packs go in two steps: what nobody needs is condemned first, and goes with the first prune or backup
that is at least a day later, if nobody needs it by then. --now spares it the day; don't use it while
a restore or a download is under way.

Nothing of a source goes while a run works on it or may go on, or while one of its records or
manifests cannot be read. The command ends with 3 then.`,
		Example: "  lifeboat prune --dry-run\n  lifeboat prune photos",
		Args:    args(0, 1, "no argument, or the name of a source"),
		RunE: func(cmd *cobra.Command, given []string) error {
			return c.prune(cmd.Context(), given, retention.Options{Now: now, DryRun: dry})
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "don't wait a day before condemned packs go")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would go")
	return cmd
}

// pruneMessage is what became of one source, for robots.
type pruneMessage struct {
	Type           string        `json:"message_type"`
	Source         backup.Source `json:"source"`
	DryRun         bool          `json:"dry_run"`
	Packs          int           `json:"packs"`
	Bytes          int64         `json:"bytes"`
	Archives       int           `json:"archives"`
	ArchiveBytes   int64         `json:"archive_bytes"`
	Uploads        int           `json:"uploads"`
	Condemned      int           `json:"condemned"`
	CondemnedBytes int64         `json:"condemned_bytes"`
	Due            time.Time     `json:"due,omitzero"`
	Refused        int           `json:"refused"`
	Locked         int           `json:"locked,omitzero"` // packs that Object Lock keeps
	LockedUntil    time.Time     `json:"locked_until,omitzero"`
	Kept           string        `json:"kept,omitempty"` // why no pack was looked at
}

func (c *cli) prune(ctx context.Context, given []string, o retention.Options) error {
	s, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	sources, err := s.prunable(ctx, given)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	if !c.json && len(sources) > 0 {
		freed := map[bool]string{false: "FREED", true: "WOULD FREE"}
		fmt.Fprintf(table, "SOURCE\t%s\tARCHIVES\tUPLOADS\tCONDEMNED\tDUE\n", freed[o.DryRun])
	}
	var kept []error
	refused := 0
	for _, source := range sources {
		pruned, err := c.pruneSource(ctx, s, source, o)
		if err != nil {
			_ = table.Flush() // what was done before is said all the same
			return err
		}
		if pruned.Kept != nil {
			kept = append(kept, fmt.Errorf("%s: %w", source, pruned.Kept))
		}
		refused += pruned.Refused
		c.pruned(table, source, pruned, o.DryRun)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := c.pruneIncoming(ctx, s, given, o); err != nil {
		return err
	}
	for _, err := range kept {
		c.warn("%v", err)
		if hint := failure.HintOf(err); hint != "" {
			c.warn("%s", hint)
		}
	}
	switch {
	case len(kept) > 0:
		return partial{fmt.Sprintf("of %d of %d sources no pack could be freed", len(kept), len(sources))}
	case refused > 0:
		return partial{fmt.Sprintf("the store did not let go of %d %s: they may be locked", refused, plural(refused, "object"))}
	}
	return nil
}

// pruneIncoming frees what was fetched for restores that nobody goes on with; it belongs to no source.
func (c *cli) pruneIncoming(ctx context.Context, s *session, given []string, o retention.Options) error {
	if len(given) > 0 {
		return nil
	}
	files, bytes, err := retention.Incoming(ctx, s.vault, time.Now(), o.DryRun)
	if err != nil || files == 0 {
		return err
	}
	c.message(struct {
		Type   string `json:"message_type"`
		DryRun bool   `json:"dry_run"`
		Files  int    `json:"files"`
		Bytes  int64  `json:"bytes"`
	}{"prune-incoming", o.DryRun, files, bytes})
	c.say("%s of restores that nobody has gone on with for a week: %s", count(files, "fetched archive"), plain.Size(bytes))
	return nil
}

func (c *cli) pruneSource(ctx context.Context, s *session, source backup.Source, o retention.Options) (retention.Pruned, error) {
	o.Holder = holder()
	policy, err := (&setup.Sources{Config: s.config, Zipline: c.zipline}).Policy(source)
	if err != nil && failure.KindOf(err) != failure.NotFound { // a source that is configured no longer keeps its archives
		return retention.Pruned{}, err
	}
	o.ExpireArchive = policy.Expired(time.Now())
	if o.DryRun { // needs no lease, but what a run at work makes of it is not known yet
		if err := s.atWork(ctx, &runner{session: s}, source); err != nil {
			return retention.Pruned{}, err
		}
		return retention.Prune(ctx, s.vault, source, o)
	}
	if _, err := c.runner(s, source); err != nil { // who cannot make backups here frees none
		return retention.Pruned{}, err
	}
	o.Stale = stale
	return retention.Prune(ctx, s.vault, source, o)
}

// pruned says what became of a source.
func (c *cli) pruned(table *tabwriter.Writer, source backup.Source, p retention.Pruned, dry bool) {
	m := pruneMessage{
		Type: "prune", Source: source, DryRun: dry, Packs: p.Packs, Bytes: p.Bytes, Archives: p.Archives, ArchiveBytes: p.ArchiveBytes,
		Uploads: p.Uploads, Condemned: p.Condemned, CondemnedBytes: p.CondemnedBytes, Due: p.Due, Refused: p.Refused,
		Locked: p.Locked, LockedUntil: p.LockedUntil,
	}
	if p.Kept != nil {
		m.Kept = p.Kept.Error()
	}
	c.message(m)
	if locks := p.Locks(); locks != "" {
		c.say("%s: %s", source, locks)
	}
	if c.json {
		return
	}
	amount := func(n int, bytes int64) string {
		if n == 0 {
			return dash("")
		}
		return fmt.Sprintf("%s (%d)", plain.Size(bytes), n)
	}
	uploads := dash("")
	if p.Uploads > 0 {
		uploads = fmt.Sprint(p.Uploads)
	}
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", source, amount(p.Packs, p.Bytes), amount(p.Archives, p.ArchiveBytes), uploads,
		amount(p.Condemned, p.CondemnedBytes), dash(moment(p.Due)))
}

// prunable returns the sources to prune: the one that was given, or those of the configuration and of the vault.
func (s *session) prunable(ctx context.Context, given []string) ([]backup.Source, error) {
	known := map[backup.Source]bool{}
	for _, prefix := range []vault.Key{vault.Records(""), vault.Condemned("")} {
		for info, err := range s.vault.List(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			name, _ := strings.CutPrefix(string(info.Key), string(prefix))
			name, _, _ = strings.Cut(name, "/")
			if source, err := backup.ParseSource(strings.TrimSuffix(name, ".json")); err == nil {
				known[source] = true
			}
		}
	}
	for _, source := range s.config.Sources {
		known[source.Name] = true
	}
	sources := make([]backup.Source, 0, len(known))
	for source := range known {
		sources = append(sources, source)
	}
	slices.Sort(sources)
	if len(given) == 0 {
		return sources, nil
	}
	source, err := backup.ParseSource(given[0])
	if err != nil {
		return nil, err
	}
	if !known[source] {
		return nil, failure.New(failure.NotFound, "there is no source %s, neither in %s nor in the vault", source, s.config.File).
			WithHint("`lifeboat status` shows the sources")
	}
	return []backup.Source{source}, nil
}
