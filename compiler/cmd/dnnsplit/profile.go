package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newProfile(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "measured costs of operations",
		Long: `Profile makes cost files (dnnsplit/costs/v1), which device profiles name under "costs":
what operations take on a processor, measured instead of computed from a data sheet.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return usageError{cmd.CommandPath(), errors.New("what to do? dnnsplit profile import reads profiles that runtimes wrote")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newProfileImport(u))
	return cmd
}
