package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Help and manual pages come from the same texts: what a command says of itself, and
// its flags in groups.

// helpWidth is where lines of help end at most; narrower terminals have theirs.
const helpWidth = 100

// groupKey is the annotation of a flag that names its group in help.
const groupKey = "group"

// Groups of flags. Flags without one come first, under "Options"; generalGroup holds what
// every command has.
const (
	optionsGroup = "Options"
	steerGroup   = "Steering by hand"
	searchGroup  = "Search"
	measureGroup = "Learning from a run on this machine"
	outputGroup  = "What is written and printed"
	limitsGroup  = "Limits on models"
	generalGroup = "General"
)

// group puts flags into a group of the help.
func group(fl *pflag.FlagSet, title string, names ...string) {
	for _, name := range names {
		if err := fl.SetAnnotation(name, groupKey, []string{title}); err != nil {
			panic(err) // no such flag: a mistake in the program
		}
	}
}

// flagGroup is a heading of the help with the flags below it.
type flagGroup struct {
	title string
	flags []*pflag.Flag
}

// flagGroups are the visible flags of a command, those of the commands above it
// included, in the order of their groups.
func flagGroups(cmd *cobra.Command) []flagGroup {
	groups := []flagGroup{
		{title: optionsGroup},
		{title: steerGroup},
		{title: searchGroup},
		{title: measureGroup},
		{title: outputGroup},
		{title: limitsGroup},
		{title: generalGroup},
	}
	add := func(f *pflag.Flag) {
		title := optionsGroup
		if names := f.Annotations[groupKey]; len(names) > 0 {
			title = names[0]
		}
		if slices.Contains([]string{"help", "version", "quiet", "timings"}, f.Name) {
			title = generalGroup
		}
		for i := range groups {
			if groups[i].title == title && !f.Hidden {
				groups[i].flags = append(groups[i].flags, f)
			}
		}
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	return slices.DeleteFunc(groups, func(g flagGroup) bool { return len(g.flags) == 0 })
}

// flagForm is what is typed, such as "-o, --output DIR", in its parts.
func flagForm(f *pflag.Flag) (short, long, value string) {
	if f.Shorthand != "" {
		short = "-" + f.Shorthand
	}
	value, _ = pflag.UnquoteUsage(f) // without a word of its own: the name of its type
	switch value {
	case "bool":
		value = ""
	case "int", "uint", "float":
		value = "N"
	case "duration":
		value = "TIME"
	}
	return short, "--" + f.Name, value
}

// flagText says what a flag does and what it is without it.
func flagText(f *pflag.Flag) string {
	_, text := pflag.UnquoteUsage(f)
	if slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
		return text
	}
	return text + " (default " + f.DefValue + ")"
}

// printHelp prints the help of a command, fitted to the terminal.
func printHelp(u *ui, cmd *cobra.Command, w io.Writer) {
	width := helpWidth
	if u.outWidth > 0 {
		width = min(width, u.outWidth)
	}
	var b strings.Builder
	heading := func(title string) { fmt.Fprintf(&b, "\n%s\n", u.styled(bold, title+":")) }
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	b.WriteString(about + "\n")
	heading("Usage")
	if cmd.Runnable() {
		b.WriteString("  " + cmd.UseLine() + "\n")
	}
	commands := availableCommands(cmd)
	if len(commands) > 0 {
		b.WriteString("  " + cmd.CommandPath() + " COMMAND ...\n")
	}
	if cmd.Example != "" {
		heading("Examples")
		b.WriteString(cmd.Example + "\n")
	}
	if len(commands) > 0 {
		heading("Commands")
		most := 0
		for _, c := range commands {
			most = max(most, len(c.Name()))
		}
		for _, c := range commands {
			helpEntry(&b, "  "+c.Name(), c.Short, most+4, width)
		}
	}
	for _, g := range flagGroups(cmd) {
		heading(g.title)
		for _, f := range g.flags {
			short, long, value := flagForm(f)
			form := "      " + long
			if short != "" {
				form = "  " + short + ", " + long
			}
			if value != "" {
				form += " " + value
			}
			helpEntry(&b, form, flagText(f), 28, width)
		}
	}
	if len(commands) > 0 {
		fmt.Fprintf(&b, "\n\"%s COMMAND --help\" says more about a command.\n", cmd.CommandPath())
	}
	fmt.Fprint(w, b.String())
}

// helpEntry writes a form and, from a column on, what it does; below it where the form is
// too long, and near the left edge where the terminal is too narrow for two columns.
func helpEntry(b *strings.Builder, form, text string, column, width int) {
	if width-column < 30 {
		column = 8
	}
	b.WriteString(form)
	at := len(form)
	if at > column-2 {
		b.WriteString("\n")
		at = 0
	}
	for _, line := range wrapped(text, width-column) {
		b.WriteString(strings.Repeat(" ", column-at) + line + "\n")
		at = 0
	}
}

// wrapped is a text in lines of at most width columns, if its words are not longer.
func wrapped(text string, width int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case textWidth(*last)+1+textWidth(word) > width:
			lines = append(lines, word)
		default:
			*last += " " + word
		}
	}
	return lines
}
