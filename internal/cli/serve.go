package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"lifeboat/internal/api"
	"lifeboat/internal/failure"
)

func (c *cli) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Answer the links in the mails, and an API for robots, until it is stopped",
		Long: `Answer the links of this vault on the address serve: {listen: …} of the configuration.
Where the vault is a folder, downloads pass through this server too.

/backups and /restores say what there is (GET) and start it here (POST), for who has the token in the file
api-token of the state-dir: Authorization: Bearer TOKEN. At most two runs are at work at a time. Ctrl-C stops
them, too; a backup that was asked for again in the same words goes on where it was.`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			s, err := c.openWith(cmd.Context(), cfg) // a service may start before the first backup
			if err != nil {
				return err
			}
			defer s.close()
			listener, err := net.Listen("tcp", s.config.Serve.Listen)
			if err != nil {
				return failure.New(failure.Conflict, "listen on %s: %w", s.config.Serve.Listen, err).
					WithHint("another program has this address; serve: {listen: …} names another")
			}
			return c.serve(cmd.Context(), s, listener)
		},
	}
}

// serve answers on listener until ctx ends.
func (c *cli) serve(ctx context.Context, s *session, listener net.Listener) error {
	if _, err := s.signer(); err != nil {
		return err
	}
	token, err := api.Token(s.config.StateDir)
	if err != nil {
		return err
	}
	options := api.Options{
		Links: s.notifier().Links(), Records: s.catalog, Vault: s.vault, PublicURL: s.config.Serve.PublicURL,
		Restores: s.catalog, Token: token, Log: slog.New(slog.NewTextHandler(c.err, nil)),
	}
	if c.quiet {
		options.Log = nil
	}
	if s.server != nil {
		options.Proxy = &api.Proxy{Endpoint: s.server.URL(), Transport: s.server.HTTPClient().Transport}
	}
	working, stop := context.WithCancel(ctx)
	runs := c.newRuns(working, s)
	defer runs.wait()
	defer stop()
	options.Starter = runs
	handler, err := api.New(options)
	if err != nil {
		return err
	}
	c.message(struct {
		Type    string `json:"message_type"`
		Address string `json:"address"`
		URL     string `json:"url"`
	}{"serve", listener.Addr().String(), s.publicURL()})
	c.say("answering links on http://%s (public: %s); stop with Ctrl-C", listener.Addr(), s.publicURL())
	if err := api.Serve(ctx, listener, handler); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
