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
