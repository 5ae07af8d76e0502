package cli

import (
	"github.com/spf13/cobra"

	"lifeboat/internal/config"
)

func (c *cli) configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Say what lifeboat.yaml may hold"}
	cmd.AddCommand(&cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of lifeboat.yaml, for editors",
		Example: "  lifeboat config schema > lifeboat.schema.json\n  # first line of lifeboat.yaml: # yaml-language-server: $schema=lifeboat.schema.json",
		Args:    args(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			_, err := c.out.Write(config.Schema())
			return err
		},
	})
	return cmd
}
