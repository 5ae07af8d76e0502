package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"

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
	var force bool
	importing := &cobra.Command{
		Use:   "import FILE",
		Short: "Keep a signing key that `key export` printed, or the phrase of a stack",
		Long: `Keep a signing key on this machine: what ` + "`lifeboat key export`" + ` printed, or the phrase that a stack in AWS derives its
key from, 64 letters and digits, which the command in the stack's output SigningKeyCommand prints. - reads it from
standard input:

  aws secretsmanager get-secret-value … --query SecretString --output text | lifeboat key import -

A key of another vault than the one of lifeboat.yaml is refused.`,
		Args: args(1, 1, "one file, or - for standard input"),
		RunE: func(cmd *cobra.Command, given []string) error { return c.importKey(cmd.Context(), given[0], force) },
	}
	importing.Flags().BoolVar(&force, "force", false, "keep the key of another vault, whose archives you want to trust; or a phrase of another form")
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
	}, importing)
	return cmd
}

func (c *cli) importKey(ctx context.Context, name string, force bool) error {
	data, err := c.keyFile(name)
	if err != nil {
		return err
	}
	key, err := parseKey(data, force)
	if err != nil {
		return failure.New(failure.KindOf(err), "%s: %w", name, err).
			WithHint("name the file that `lifeboat key export` wrote on the machine that made the vault, or the phrase that the command in a stack's output SigningKeyCommand prints")
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if err := c.compare(ctx, cfg, key, force); err != nil {
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

// phraseForm is what Secrets Manager makes up for a stack: what was cut off or copied with too much is another key.
var phraseForm = regexp.MustCompile(`^[A-Za-z0-9]{64}$`)

// parseKey reads what `key export` printed; or a phrase, of which any one gives a key, and which is therefore taken in the
// form of a stack's only. With force any phrase without space will do that a stack would take.
func parseKey(data []byte, force bool) (keyring.Key, error) {
	text := bytes.TrimSpace(data)
	visible := len(text) > 0 && text[0] != '{' && !bytes.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
	if phraseForm.Match(text) || visible && force {
		if key, err := deployed.SigningKey(secret.New(string(text))); err == nil {
			return key, nil
		}
	}
	return keyring.Parse(text)
}

// compare refuses a key that is not the one of the configured vault, where the vault can be asked: a wrong phrase gives a
// key, too. With force it is kept: it may be that of another vault, whose archives somebody wants to trust.
func (c *cli) compare(ctx context.Context, cfg *config.Config, key keyring.Key, force bool) error {
	s, err := c.open(ctx)
	if err != nil {
		c.warn("nobody could tell whether it is the key of the vault at %s: %s", cfg.Vault, plain.Text(err.Error()))
		return nil
	}
	defer s.close()
	switch {
	case s.about.ID == key.Vault:
	case force:
		c.warn("the vault at %s is another one, %s", cfg.Vault, s.about.ID)
	default:
		return failure.New(failure.Conflict, "this is the key of vault %s, and the vault at %s is another one, %s", key.Vault, cfg.Vault, s.about.ID).
			WithHint("a phrase must be the whole one of this vault's stack; --force keeps the key all the same, to trust archives of that other vault")
	}
	return nil
}
