package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/plain"
	"lifeboat/internal/secret"
)

func (c *cli) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Export or import the key that signs this vault's backups",
		Long: `The key that signs backups never lies in the vault. Keep a copy of it elsewhere: without it the
backups can still be read and restored, but nobody can tell that they are yours.`,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "export",
		Short: "Print the signing key of the vault; it is secret",
		Args:  args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			key, err := s.signer()
			if err != nil {
				return err
			}
			_, err = c.out.Write(keyring.Encode(key))
			return err
		},
	}, &cobra.Command{
		Use:   "import FILE",
		Short: "Keep a signing key that `key export` printed, or the phrase of a stack",
		Long: `Keep a signing key on this machine: what ` + "`lifeboat key export`" + ` printed, or the phrase that a stack in AWS derives its
key from, which the stack's output SigningKey prints. - reads it from standard input:

  aws secretsmanager get-secret-value … --query SecretString --output text | lifeboat key import -`,
		Args: args(1, 1, "one file, or - for standard input"),
		RunE: func(cmd *cobra.Command, given []string) error { return c.importKey(cmd.Context(), given[0]) },
	})
	return cmd
}

func (c *cli) importKey(ctx context.Context, name string) error {
	data, err := c.keyFile(name)
	if err != nil {
		return err
	}
	key, derived, err := parseKey(data)
	if err != nil {
		return failure.New(failure.KindOf(err), "%s: %w", name, err).
			WithHint("name the file that `lifeboat key export` wrote on the machine that made the vault, or the phrase that a stack's output SigningKey prints")
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	s := &session{config: cfg}
	if err := s.ring().Store(key); err != nil {
		return err
	}
	c.message(struct {
		Type  string `json:"message_type"`
		Vault string `json:"vault"`
	}{"key", key.Vault})
	c.say("the key of vault %s is kept in %s", key.Vault, s.ring().Folder)
	if derived {
		c.compare(ctx, cfg, key)
	}
	return nil
}

// maxKey bounds a key that is imported, in bytes.
const maxKey = 64 << 10

// keyFile reads a file, or standard input.
func (c *cli) keyFile(name string) ([]byte, error) {
	in := c.in
	if name != "-" {
		file, err := os.Open(name)
		if errors.Is(err, fs.ErrPermission) {
			return nil, failure.New(failure.Denied, "the key %s may not be read", name).WithHint("make it readable for you: chmod u+r %s", name)
		}
		if err != nil {
			return nil, failure.New(failure.NotFound, "read the key: %w", err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxKey))
	if err != nil {
		return nil, failure.New(failure.NotFound, "read the key %s: %w", name, err)
	}
	return data, nil
}

// parseKey reads what `key export` printed; or a phrase, of which any one gives a key. What has space in it, or is
// shorter than the stack takes, is none.
func parseKey(data []byte) (key keyring.Key, derived bool, err error) {
	text := bytes.TrimSpace(data)
	phrase := len(text) > 0 && text[0] != '{' && !bytes.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
	if phrase {
		if key, err = deployed.SigningKey(secret.New(string(text))); err == nil {
			return key, true, nil
		}
	}
	key, err = keyring.Parse(text)
	return key, false, err
}

// compare says whether the key belongs to the vault of the configuration: a wrong phrase gives a key, too. It may be that
// of another vault, whose archives somebody wants to trust.
func (c *cli) compare(ctx context.Context, cfg *config.Config, key keyring.Key) {
	s, err := c.open(ctx)
	if err != nil {
		c.warn("nobody could tell whether it is the key of the vault at %s: %s", cfg.Vault, plain.Text(err.Error()))
		return
	}
	defer s.close()
	if s.about.ID != key.Vault {
		c.warn("the vault at %s is another one, %s: this phrase is not the one that its key derives from", cfg.Vault, s.about.ID)
	}
}
