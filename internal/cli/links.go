package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/link"
	"lifeboat/internal/vault"
)

func (c *cli) linkCommand() *cobra.Command {
	var direct bool
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "link BACKUP",
		Short: "Print a link that somebody can download the archive with",
		Long: `Print the address of a page that lets whoever holds it download the archive, until it expires or
"lifeboat unlink" withdraws it. "lifeboat serve" must run to answer it. Where the archive holds
secrets the page asks for the code that is printed with the link: hand it over by another way.

With --direct, print a presigned URL of the store instead, one for each volume of a split archive: 15
minutes, no page, no code, no way to withdraw it.`,
		Args: args(1, 1, "one backup"),
		RunE: func(cmd *cobra.Command, given []string) error { return c.link(cmd, given[0], direct, ttl) },
	}
	cmd.Flags().BoolVar(&direct, "direct", false, "print a presigned URL of 15 minutes")
	cmd.Flags().DurationVar(&ttl, "for", link.DefaultTTL, "how long a new link lasts")
	return cmd
}

type linkMessage struct {
	Type    string    `json:"message_type"`
	Backup  string    `json:"backup"`
	ID      string    `json:"id,omitempty"`
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
	Code    string    `json:"code,omitempty"`
	Volume  int       `json:"volume,omitzero"` // of a split archive, with --direct
}

func (c *cli) link(cmd *cobra.Command, arg string, direct bool, ttl time.Duration) error {
	ctx := cmd.Context()
	if ttl < time.Minute || ttl > 365*24*time.Hour {
		return failure.New(failure.Usage, "--for %s: a link lasts at least a minute and at most a year", ttl).
			WithHint("write it as 90m or 72h")
	}
	s, record, err := c.find(ctx, arg)
	if err != nil {
		return err
	}
	defer s.close()
	if err := noArchive(record); err != nil {
		return err
	}
	if direct {
		return c.directLink(ctx, s, record)
	}
	if err := s.canLink(); err != nil {
		return err
	}
	links := s.notifier().Links()
	code := record.Secrets
	if source, err := s.config.Source(string(record.Source)); err == nil {
		code = code && source.Link.Code
	}
	made, err := links.Issue(ctx, record.Source, record.ID, "link command "+time.Now().UTC().Format(time.RFC3339Nano), link.Options{TTL: ttl, NeedsCode: code, Files: len(record.Archive.Files())})
	if err != nil {
		return err
	}
	m := linkMessage{Type: "link", Backup: string(record.ID), ID: made.ID, URL: made.URL(s.publicURL()), Expires: made.Expires.UTC()}
	c.say("%s", m.URL)
	if made.NeedsCode {
		m.Code = links.Code(record.Source, record.ID)
		c.say("code: %s  (the archive holds secrets: give it by another way than the link)", m.Code)
	}
	while := ", while `lifeboat serve` runs"
	if s.stack != nil {
		while = ""
	}
	c.say("until %s%s; lifeboat unlink %s withdraws it", moment(made.Expires), while, record.ID)
	c.message(m)
	return nil
}

// directLink prints a presigned URL for each file of the archive.
func (c *cli) directLink(ctx context.Context, s *session, record catalog.Record) error {
	const lasts = 15 * time.Minute
	if s.server != nil && s.server.Started() {
		c.warn("the vault's server ends with this command: the URL works while `lifeboat serve` runs on this machine")
	}
	files := record.Archive.Files()
	for i, f := range files {
		expires := time.Now().Add(lasts)
		url, err := s.vault.Presign(ctx, vault.Key(f.Key), browserName(record, f), lasts)
		if err != nil {
			return err
		}
		m := linkMessage{Type: "link", Backup: string(record.ID), URL: url, Expires: expires.UTC()}
		if len(files) > 1 {
			m.Volume = i + 1
		}
		c.message(m)
		c.say("%s", url)
	}
	return nil
}

// publicURL is where `lifeboat serve` is reached.
func (s *session) publicURL() string {
	if url := s.config.Serve.PublicURL; url != "" {
		return url
	}
	return "http://" + s.config.Serve.Listen
}

func (c *cli) unlinkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unlink BACKUP",
		Short: "Withdraw every link of a backup",
		Args:  args(1, 1, "one backup"),
		RunE: func(cmd *cobra.Command, given []string) error {
			s, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			record, err := c.named(cmd.Context(), s, given[0])
			if err != nil {
				return err
			}
			n, err := s.notifier().Links().Revoke(cmd.Context(), record.Source, record.ID)
			if err != nil {
				return err
			}
			c.message(struct {
				Type    string `json:"message_type"`
				Backup  string `json:"backup"`
				Revoked int    `json:"revoked"`
			}{"unlink", string(record.ID), n})
			c.say("%d %s withdrawn; a presigned URL that was minted before lasts 15 minutes at most", n, plural(n, "link"))
			return nil
		},
	}
}
