package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
)

func (c *cli) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a commented lifeboat.yaml",
		Args:  args(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			file, err := os.OpenFile(c.configFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return failure.New(failure.Conflict, "%s exists already; it was left as it is", c.configFile).WithHint("--config names another file")
			}
			if err != nil {
				return unwritable(c.configFile, err)
			}
			_, err = io.WriteString(file, config.Template)
			if err := errors.Join(err, file.Close()); err != nil {
				return fmt.Errorf("write the configuration: %w", err)
			}
			c.message(struct {
				Type string `json:"message_type"`
				File string `json:"file"`
			}{"init", c.configFile})
			c.say("%s is written: set url, token and datasource in it, then run lifeboat backup SOURCE", c.configFile)
			return nil
		},
	}
}

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
		Short: "Keep a signing key that `key export` printed",
		Args:  args(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, given []string) error {
			data, err := os.ReadFile(given[0])
			if errors.Is(err, fs.ErrPermission) {
				return failure.New(failure.Denied, "the key %s may not be read", given[0]).WithHint("make it readable for you: chmod u+r %s", given[0])
			}
			if err != nil {
				return failure.New(failure.NotFound, "read the key: %w", err)
			}
			key, err := keyring.Parse(data)
			if err != nil {
				return failure.New(failure.KindOf(err), "%s: %w", given[0], err).WithHint("name the file that `lifeboat key export` wrote on the machine that made the vault")
			}
			cfg, err := c.load()
			if err != nil {
				return err
			}
			s := &session{config: cfg}
			if err := s.ring().Store(key); err != nil {
				return err
			}
			c.say("the key of vault %s is kept in %s", key.Vault, s.ring().Folder)
			return nil
		},
	})
	return cmd
}
