package cli

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/events"
	"lifeboat/internal/app"
	"lifeboat/internal/backup"
	"lifeboat/internal/catalog"
	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/link"
	"lifeboat/internal/plain"
	"lifeboat/internal/replay"
)

func (c *cli) backupCommand() *cobra.Command {
	var run events.Run
	var scope scopeFlags
	cmd := &cobra.Command{
		Use:   "backup SOURCE",
		Short: "Back up a source: snapshot, pack what is new, assemble, prove, notify",
		Long: `Back up one source of lifeboat.yaml.

What the last backup of the source has is not read again. A run that was interrupted goes on
where it stopped when the same command is given again within 24 hours.

A backup that is filtered (--folder, --since, --until, --no-metrics) carries its scope: it is compared with
backups of the same scope only, and shares their packs with all.

--folder takes the id of a folder in Zipline, or its path: names with "/" between them ("Work/2024"), with the
user's name in front where several have such a folder ("lin:2024"). A "/" in a name is written "\/". The archive
has the folder's tree with the original names of its files, and folder.json, which says what is what.

Exit codes: 0 complete, 3 complete with problems (see "lifeboat show"), others: no backup.`,
		Example: "  lifeboat backup photos\n  lifeboat backup photos --name before-upgrade --description 'Zipline 4.6 to 4.7'\n  lifeboat backup photos --folder Work/2024",
		Args:    args(1, 1, "the name of one source"),
		RunE: func(cmd *cobra.Command, given []string) error {
			run.Source = backup.Source(given[0])
			var err error
			if run.Scope, err = scope.scope(cmd); err != nil {
				return err
			}
			return c.backup(cmd, run)
		},
	}
	cmd.Flags().StringVar(&run.Name, "name", "", "a name for this backup, up to 200 bytes")
	cmd.Flags().StringVar(&run.Description, "description", "", "what it is for, up to 4000 bytes")
	cmd.Flags().BoolVar(&run.Rehash, "rehash", false, "read and pack every object anew, even where nothing says that it changed")
	scope.add(cmd)
	return cmd
}

func (c *cli) backup(cmd *cobra.Command, run events.Run) error {
	if c.stack != "" {
		return c.backupOnStack(cmd, run)
	}
	ctx := cmd.Context()
	cfg, err := c.load()
	if err != nil {
		return err
	}
	folder, err := c.asked(ctx, cfg, &run)
	if err != nil {
		return err
	}
	s, err := c.openWith(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.close()
	r, err := c.runner(s, run.Source)
	if err != nil {
		return err
	}
	record, _, err := r.run(ctx, run)
	if err != nil {
		return err
	}
	return c.backedUp(cmd, s, record, folder)
}

// asked completes what was asked for: the run gets its id and whole scope. It returns the path of the scope's folder.
func (c *cli) asked(ctx context.Context, cfg *config.Config, run *events.Run) (folder string, err error) {
	source, err := cfg.Source(string(run.Source))
	if err != nil {
		return "", err
	}
	if run.Scope.NoMetrics && source.Kind != "zipline" {
		return "", failure.New(failure.Usage, "--no-metrics: a source of kind %s has none", source.Kind).WithHint("leave it out")
	}
	if run.Scope.Folder != "" {
		if folder, err = c.findFolder(ctx, cfg, source, &run.Scope); err != nil {
			return "", err
		}
	}
	run.ID, run.StartedBy = backup.NewID(time.Now()), starter()
	run.Scope.NoMetrics = run.Scope.NoMetrics || !source.Metrics && run.Scope.Folder == ""
	return folder, nil
}

// backedUp says what became of a run, and how the command ends.
func (c *cli) backedUp(cmd *cobra.Command, s *session, record catalog.Record, folder string) error {
	c.showBackup(cmd, s, record)
	if folder != "" {
		c.say("  the folder %s, id %s, and all below it", plain.Text(folder), plain.Text(record.Scope.Folder))
	}
	if record.Status == backup.Partial {
		return partial{fmt.Sprintf("the backup is complete but for %d %s: `lifeboat show %s` lists them",
			record.ProblemsTotal, plural(record.ProblemsTotal, "problem"), record.ID)}
	}
	return nil
}

func starter() catalog.Starter {
	who := "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		who += "@" + host
	}
	return catalog.Starter{By: "person", Who: who}
}

// backupMessage is the last line of `backup` for robots. Its fields are fixed; `show --json` has everything.
type backupMessage struct {
	Type          string         `json:"message_type"`
	ID            backup.ID      `json:"id"`
	Source        backup.Source  `json:"source"`
	Scope         string         `json:"scope"`
	Status        backup.Status  `json:"status"`
	Proof         backup.Proof   `json:"proof"`
	Documents     int            `json:"documents"`
	Objects       int            `json:"objects"`
	Bytes         int64          `json:"bytes"`
	PackedObjects int            `json:"packed_objects"`
	PackedBytes   int64          `json:"packed_bytes"`
	Archive       archiveMessage `json:"archive"`
	Notes         []finding      `json:"notes"`
	Problems      []finding      `json:"problems"`
	Link          *string        `json:"link"`
}

// listMessage is a line of `list` for robots.
type listMessage struct {
	backupMessage
	Name        string    `json:"name,omitempty"`
	Description string    `json:"description,omitempty"`
	Kind        string    `json:"kind"`
	Started     time.Time `json:"started"`
	Finished    time.Time `json:"finished,omitzero"`
	Secrets     bool      `json:"secrets"`
	Notified    string    `json:"notified"`
	Damage      string    `json:"damage,omitempty"`
	Interrupted bool      `json:"interrupted,omitempty"` // it is in progress, and nobody works on it
}

type finding struct {
	Kind    string `json:"kind"`
	Item    string `json:"item"`
	Message string `json:"message"`
}

func findings(list []app.Finding) []finding {
	out := make([]finding, 0, len(list))
	for _, f := range list {
		out = append(out, finding{f.Kind, f.Item, f.Message})
	}
	return out
}

func message(r catalog.Record) backupMessage {
	return backupMessage{
		Type: "backup", ID: r.ID, Source: r.Source, Scope: r.Scope.String(), Status: r.Status, Proof: r.Proof,
		Documents: r.Documents, Objects: r.Objects, Bytes: r.Bytes, PackedObjects: r.PackedObjects, PackedBytes: r.PackedBytes,
		Archive: archiveOf(r), Notes: findings(r.Notes), Problems: findings(r.Problems),
	}
}

func listed(r catalog.Record) listMessage {
	return listMessage{
		backupMessage: message(r), Name: r.Name, Description: r.Description, Kind: r.Kind, Started: r.Started, Finished: r.Finished,
		Secrets: r.Secrets, Notified: r.Notified.Status, Damage: r.Damage,
	}
}

// showBackup says what became of a run.
func (c *cli) showBackup(cmd *cobra.Command, s *session, r catalog.Record) {
	m := message(r)
	if url := c.mailedLink(cmd, s, r); url != "" {
		m.Link = &url
	}
	c.message(m)
	c.say("%s", r.ID)
	c.say("  %s, proven: %s", r.Status, r.Proof)
	c.say("  %s, %s, %s; packed %s, %s", count(r.Documents, "document"), count(r.Objects, "object"), plain.Size(r.Bytes),
		count(r.PackedObjects, "object"), plain.Size(r.PackedBytes))
	for _, line := range archiveLines(r) {
		c.say("  %s", line)
	}
	c.sayFindings(r, 10)
	if r.Suspicious() {
		c.say("  later runs are not compared with it until somebody says that it is right: lifeboat accept %s", r.ID)
	}
	c.say("  %s", told(r.Notified))
	if s.stack == nil {
		c.say("next: lifeboat verify %s", r.ID)
	}
}

func (c *cli) sayFindings(r catalog.Record, most int) {
	rest := fmt.Sprintf("lifeboat show %s", r.ID)
	c.sayFound("problem", r.Problems, r.ProblemsTotal, most, rest)
	c.sayFound("note", r.Notes, r.NotesTotal, most, rest)
}

// sayFound says the first most findings of a run that are called word, of total; rest is where all of them are.
func (c *cli) sayFound(word string, findings []app.Finding, total, most int, rest string) {
	said := 0
	for i, f := range findings {
		if f.Severity == app.Note && (f.Kind == replay.NoteArchive || f.Kind == replay.NoteSignature) { // of a restore as a whole
			c.warn("%s: %s", near("dir:"+f.Item), f.Message)
			continue
		}
		if said == most {
			c.say("  … and %s more %ss: %s", plain.Number(int64(total-i)), word, rest)
			return
		}
		said++
		c.say("  %s: %s", word, findingLine(f))
	}
}

// maxItem bounds the name of a finding's item on a line, in characters; --json has all of it.
const maxItem = 200

func findingLine(f app.Finding) string {
	if f.Item == "" {
		return fmt.Sprintf("%s: %s", f.Kind, plain.Text(f.Message))
	}
	item := plain.Text(f.Item)
	if len(item) > maxItem {
		item = plain.Short(f.Item, maxItem)
	}
	return fmt.Sprintf("%s: %s: %s", f.Kind, item, plain.Text(f.Message))
}

func told(n catalog.Notified) string {
	switch n.Status {
	case "sent":
		return fmt.Sprintf("mailed to %s", plain.Text(fmt.Sprint(n.To)))
	case "written":
		return "mail written to " + plain.Text(n.Message)
	case "failed":
		return "nobody was told: " + plain.Text(n.Message)
	case "quiet":
		return "no mail: " + plain.Text(n.Message)
	}
	return "nobody was told"
}

// mailedLink returns the address that the first recipient of the run's mail got, or "".
func (c *cli) mailedLink(cmd *cobra.Command, s *session, r catalog.Record) string {
	source, err := s.config.Source(string(r.Source))
	if err != nil || r.Notified.Link == "" || len(r.Archive.Files()) == 0 || len(source.Notify.To) == 0 || s.config.Serve.PublicURL == "" {
		return ""
	}
	l, err := s.notifier().Links().Issue(cmd.Context(), r.Source, r.ID, source.Notify.To[0], link.Options{NeedsCode: r.Secrets && source.Link.Code, Files: len(r.Archive.Files())})
	if err != nil || l.ID != r.Notified.Link {
		return ""
	}
	return l.URL(s.config.Serve.PublicURL)
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// count is a number with its word.
func count(n int, word string) string { return countOf(n, word, word+"s") }

// countOf is count for a word whose plural is its own.
func countOf(n int, one, many string) string {
	if n != 1 {
		one = many
	}
	return plain.Number(int64(n)) + " " + one
}

// notGood is the error of commands that need a backup that can be read.
func notGood(r catalog.Record) error {
	if r.Status.Good() {
		return nil
	}
	return failure.New(failure.Conflict, "backup %s is %s: it has no archive", r.ID, r.Status).WithHint("`lifeboat list` shows which ones are completed")
}
