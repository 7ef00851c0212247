package main

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Completion follows from what help says: the first words in capitals of a
// command's synopsis are its arguments, and the word that stands for a flag's value
// says what can be there. Names of processors and devices come from the fleet of
// --devices, else from the folder profiles, or from the bundle that is named.

type completer = func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective)

// addCompletion tells the shells what can stand where, for a command and those below it.
func addCompletions(cmd *cobra.Command) error {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = completeArgs(arguments(cmd.Use))
		if cmd.HasAvailableSubCommands() {
			// Names of commands and kinds of files cannot be asked for at once: files of
			// every kind are offered where no command begins like the word.
			cmd.ValidArgsFunction = nil
		}
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if c := completeFlag(f); c != nil {
			if err := cmd.RegisterFlagCompletionFunc(f.Name, c); failed == nil {
				failed = err
			}
		}
	})
	for _, sub := range cmd.Commands() {
		if err := addCompletions(sub); failed == nil {
			failed = err
		}
	}
	return failed
}

// plainUsages takes the quotes away that mark the value's name in the texts of
// flags: shells show the texts as they are.
func plainUsages(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, sub := range cmd.Commands() {
		plainUsages(sub)
	}
}

var capitals = regexp.MustCompile(`^[A-Z]+(\.[a-z.]+)?(\.\.\.)?$`)

// arguments are the words in a synopsis that stand for arguments; what comes with a
// flag or in brackets is none.
func arguments(use string) []string {
	var list []string
	for _, word := range strings.Fields(use)[1:] {
		if !capitals.MatchString(word) {
			break
		}
		list = append(list, word)
	}
	return list
}

func completeArgs(words []string) completer {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		at := len(args)
		if at >= len(words) {
			if len(words) == 0 || !strings.HasSuffix(words[len(words)-1], "...") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			at = len(words) - 1
		}
		return files(strings.TrimSuffix(words[at], "..."))
	}
}

// files says which files can stand for a word such as MODEL.onnx, DIR or FILE.
func files(word string) ([]string, cobra.ShellCompDirective) {
	name, ext, _ := strings.Cut(word, ".")
	switch {
	case ext != "":
		return []string{ext[strings.LastIndexByte(ext, '.')+1:]}, cobra.ShellCompDirectiveFilterFileExt
	case name == "DIR" || name == "BUNDLE" || name == "PROFILES":
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveDefault
}

func fixed(choices ...string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return choices, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag is what can be the value of a flag; nil for a switch.
func completeFlag(f *pflag.Flag) completer {
	if f.NoOptDefVal != "" {
		return nil
	}
	word, _ := pflag.UnquoteUsage(f)
	left, right, pair := strings.Cut(word, "=")
	switch {
	case f.Name == "optimization":
		return fixed(runtime.Disabled.String(), runtime.Basic.String(), runtime.Extended.String(), runtime.All.String())
	case f.Name == "engine":
		return fixed(verify.EngineORT, verify.EngineGo)
	case f.Name == "sort":
		return named(func(cmd *cobra.Command, args []string) []string {
			return append(slices.Clone(sortColumns), processorChoices(cmd, args)...)
		}, "", "")
	case f.Name == "explain":
		return named(nodeChoices, "", "")
	case f.Name == "vary":
		return named(parameterChoices, "", "=")
	case f.Name == "only":
		return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			return named(targetChoices, text[:strings.LastIndexByte(text, ',')+1], "")(cmd, args, text)
		}
	case f.Name == "processor" || word == "PROCESSOR":
		return named(processorChoices, "", "")
	case word == "DEVICE":
		return named(deviceChoices, "", "")
	case pair && strings.EqualFold(right, "processor"):
		return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			at := strings.LastIndexByte(text, '=')
			if at < 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return named(targetChoices, text[:at+1], "")(cmd, args, text)
		}
	case pair && strings.EqualFold(left, "processor"):
		return named(processorChoices, "", "=")
	case pair && strings.EqualFold(left, "device"):
		return named(deviceChoices, "", "=")
	case strings.Contains(word, "|"):
		// Words in capitals stand for something.
		return fixed(slices.DeleteFunc(strings.Split(word, "|"), func(c string) bool { return strings.ToLower(c) != c })...)
	case f.Name == "model":
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return files("MODEL.onnx")
		}
	case word == "FILE" || word == "DIR" || capitals.MatchString(word) && strings.Contains(word, "."):
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return files(word) }
	case f.Name == "output" || f.Name == "reuse" || strings.HasSuffix(word, "=FILE"):
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		}
	}
	return fixed()
}

// named completes the names that list finds, between what stands before and behind.
func named(list func(cmd *cobra.Command, args []string) []string, before, behind string) completer {
	return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, name := range list(cmd, args) {
			name, about, described := strings.Cut(name, "\t")
			if name = before + name + behind; !strings.HasPrefix(name, text) {
				continue
			}
			if described {
				name += "\t" + about
			}
			out = append(out, name)
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if behind != "" {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return out, directive
	}
}

// fleetOf is the fleet that a command line speaks of; nil if there is none.
func fleetOf(cmd *cobra.Command) *profiles.Fleet {
	dir := "profiles"
	if f := cmd.Flags().Lookup("devices"); f != nil && f.Value.String() != "" {
		dir = f.Value.String()
	}
	fleet, err := profiles.Load(dir)
	if err != nil {
		return nil // completion has no place for errors
	}
	return fleet
}

func processorChoices(cmd *cobra.Command, args []string) []string {
	var out []string
	if cmd.Flags().Lookup("devices") == nil && len(args) > 0 {
		if m, err := compiler.ReadBundle(args[0]); err == nil {
			for _, p := range m.Processors {
				out = append(out, p.Name+"\t"+p.Kind)
			}
			return out
		}
	}
	if fleet := fleetOf(cmd); fleet != nil {
		for _, p := range fleet.Platform.Processors {
			about := p.Kind
			if p.Provider != "" {
				about += ", " + p.Provider
			}
			out = append(out, p.Name+"\t"+about)
		}
	}
	return out
}

// targetChoices are processors, and devices that have several.
func targetChoices(cmd *cobra.Command, args []string) []string {
	out := processorChoices(cmd, args)
	for _, d := range deviceChoices(cmd, args) {
		if !slices.ContainsFunc(out, func(p string) bool { p, _, _ = strings.Cut(p, "\t"); return p == d }) {
			out = append(out, d+"\tdevice")
		}
	}
	return out
}

func deviceChoices(cmd *cobra.Command, _ []string) []string {
	var out []string
	if fleet := fleetOf(cmd); fleet != nil {
		for _, d := range fleet.Platform.Devices {
			out = append(out, d.Name)
		}
	}
	return out
}

// nodeChoices are the nodes of the model that the command line names.
func nodeChoices(cmd *cobra.Command, args []string) []string {
	const largest = 64 << 20 // a shell does not wait for more
	if len(args) != 1 {
		return nil
	}
	if st, err := os.Stat(args[0]); err != nil || st.Size() > largest {
		return nil
	}
	in, err := compiler.Inspect(cmd.Context(), compiler.Options{Model: args[0]})
	if err != nil {
		return nil
	}
	var names []string
	for i := range in.Analysis.Nodes {
		n := &in.Analysis.Nodes[i]
		names = append(names, n.Name+"\t"+n.Op)
	}
	return names
}

// parameterChoices are the numbers of a fleet that can be varied.
func parameterChoices(cmd *cobra.Command, _ []string) []string {
	fleet := fleetOf(cmd)
	if fleet == nil {
		return nil
	}
	return fleet.Parameters()
}
