package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/spf13/cobra"
)

// newMan writes manual pages from the same texts as --help.
func newMan(u *ui, root *cobra.Command) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "man [-o DIR]",
		Short: "print the manual page, or write one for each command",
		Long: `Man prints the manual page of dnnsplit, in the troff format that man reads. With -o it
writes a page for each command into a folder.`,
		Example: `  dnnsplit man | man -l -
  dnnsplit man -o /usr/local/share/man/man1`,
		Args: usage(noArguments),
		RunE: func(*cobra.Command, []string) error {
			if output == "" {
				u.printf("%s", manPage(root))
				return nil
			}
			if err := os.MkdirAll(output, 0o777); err != nil {
				return err
			}
			pages := append([]*cobra.Command{root}, described(root)...)
			for _, c := range pages {
				name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
				if err := os.WriteFile(filepath.Join(output, name), manPage(c), 0o644); err != nil {
					return err
				}
			}
			u.printf("wrote %s to %s\n", diag.Count(len(pages), "page", "pages"), output)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`DIR` to write a page for each command to; standard output if left out")
	return cmd
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("it takes no arguments, but there is %q", args[0])
	}
	return nil
}

// described lists the commands below one that help names, at any depth.
func described(cmd *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			list = append(list, c)
			list = append(list, described(c)...)
		}
	}
	return list
}

// manPage is the manual page of a command, with the macros of man(7).
func manPage(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1\n.SH NAME\n%s \\- %s\n", strings.ToUpper(troff(name)), troff(name), troff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n%s\n", troff(cmd.UseLine()))
	if cmd.Long != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n.nf\n%s\n.fi\n", troff(cmd.Long))
	}
	if commands := availableCommands(cmd); len(commands) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range commands {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s\n", troff(c.Name()), troff(c.Short))
		}
	}
	groups := flagGroups(cmd)
	if len(groups) > 0 {
		b.WriteString(".SH OPTIONS\n")
	}
	for _, g := range groups {
		if len(groups) > 1 {
			fmt.Fprintf(&b, ".SS %s\n", troff(g.title))
		}
		for _, f := range g.flags {
			short, long, value := flagForm(f)
			if short != "" {
				short = "\\fB" + troff(short) + "\\fR, "
			}
			fmt.Fprintf(&b, ".TP\n%s\\fB%s\\fR \\fI%s\\fR\n%s\n", short, troff(long), troff(value), troff(flagText(f)))
		}
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", troff(cmd.Example))
	}
	b.WriteString(".SH EXIT STATUS\n0 done; 1 the input cannot be compiled or no placement is feasible; 2 wrong usage; 3 verification or diff \\-\\-exit\\-code found a difference; 130 interrupted.\n")
	var also []string
	if cmd.HasParent() {
		also = append(also, strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-"))
	}
	for _, c := range availableCommands(cmd) {
		also = append(also, strings.ReplaceAll(c.CommandPath(), " ", "-"))
	}
	slices.Sort(also)
	if len(also) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s(1)\n", troff(strings.Join(also, "(1), ")))
	}
	return b.Bytes()
}

func availableCommands(cmd *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			list = append(list, c)
		}
	}
	return list
}

// troff escapes text: backslashes, hyphens, and dots and quotes that start a line.
func troff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
