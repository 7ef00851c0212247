package main

import (
	"bytes"
	_ "embed"
	"fmt"

	"github.com/spf13/cobra"
)

// bashSupplement mends two things in the script that cobra makes for bash: it needs
// functions of the package bash-completion, and it completes nothing behind a pattern
// with special characters, as in --pin '^head/='.
//
//go:embed completion.bash
var bashSupplement string

func newCompletion(u *ui, root *cobra.Command) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "print the script that completes commands in a shell",
		Long: `Completion prints a script for a shell. With it, the tab key completes commands,
options, files, choices, and the names of processors and devices: those of the fleet
of --devices, else of the folder profiles.

To load it in every session, once:

  bash        dnnsplit completion bash > ~/.local/share/bash-completion/completions/dnnsplit
  zsh         dnnsplit completion zsh > "${fpath[1]}/_dnnsplit"
  fish        dnnsplit completion fish > ~/.config/fish/completions/dnnsplit.fish
  powershell  dnnsplit completion powershell >> $PROFILE`,
		Example:               `  source <(dnnsplit completion bash)              # in this session only`,
		DisableFlagsInUseLine: true,
		ValidArgs:             shells,
		Args: usage(func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("for which shell? name one of bash, zsh, fish, powershell")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			var b bytes.Buffer
			var err error
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(&b, true)
				b.WriteString("\n" + bashSupplement)
			case "zsh":
				err = root.GenZshCompletion(&b)
			case "fish":
				err = root.GenFishCompletion(&b, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(&b)
			default:
				return usageError{cmd.CommandPath(), fmt.Errorf("there is no script for %q; want bash, zsh, fish or powershell", args[0])}
			}
			if err == nil {
				u.printf("%s", b.Bytes())
			}
			return err
		},
	}
}
