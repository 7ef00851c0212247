package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Shells ask the program itself what could stand where the cursor is; cobra makes
// their scripts ("dnnsplit completion bash"). Files are left to the shell, which
// knows how to show them; names of processors, devices and nodes come from the
// files that the command line names so far. What cannot be read completes nothing.

// completer lists what a flag's value could be, given what is typed of it.
type completer func(cmd *cobra.Command, args []string, typed string) []string

// completerOf is that of a flag, nil if the shell does better.
func completerOf(flag string) completer {
	switch flag {
	case "source", "sink", "drop-device":
		return completeDevice
	case "pin", "forbid":
		return completeRule
	case "explain":
		return completeNode
	case "sort":
		return completeColumn
	case "vary":
		return completeParameter
	}
	return nil
}

// addCompletions adds what can be completed to every command.
func addCompletions(cmd *cobra.Command) error {
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := f.Name
		var err error
		switch {
		case completerOf(name) != nil:
			complete := completerOf(name)
			err = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
				return startingWith(complete(cmd, args, typed), typed), cobra.ShellCompDirectiveNoFileComp | noSpaceAfter(name)
			})
		case name == "devices" || name == "output" && cmd.Name() != "sweep" && cmd.Name() != "place":
			err = cmd.MarkFlagDirname(name)
		case strings.Contains(f.Value.Type(), "|"):
			choices := strings.Split(f.Value.Type(), "|")
			err = cmd.RegisterFlagCompletionFunc(name, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				return startingWith(choices, typed), cobra.ShellCompDirectiveNoFileComp
			})
		}
		if failed == nil {
			failed = err
		}
	})
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		switch {
		case cmd.Name() == "diff" && len(args) < 2:
		case cmd.HasAvailableSubCommands() && cmd.HasParent(), len(args) > 0, !strings.Contains(cmd.Use, " "):
			return nil, cobra.ShellCompDirectiveNoFileComp
		case strings.Contains(cmd.Use, ".onnx "):
			return []string{"onnx"}, cobra.ShellCompDirectiveFilterFileExt
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	for _, c := range cmd.Commands() {
		if err := addCompletions(c); failed == nil {
			failed = err
		}
	}
	return failed
}

// noSpaceAfter: more text follows the completed part of some flags.
func noSpaceAfter(flag string) cobra.ShellCompDirective {
	if flag == "vary" {
		return cobra.ShellCompDirectiveNoSpace
	}
	return cobra.ShellCompDirectiveDefault
}

func startingWith(list []string, typed string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !strings.HasPrefix(s, typed) })
}

// fleetOf is the fleet that --devices names, nil if it cannot be read.
func fleetOf(cmd *cobra.Command) *profiles.Fleet {
	dir, err := cmd.Flags().GetString("devices")
	if err != nil || dir == "" {
		return nil
	}
	fleet, err := profiles.Load(dir)
	if err != nil {
		return nil
	}
	return fleet
}

func completeDevice(cmd *cobra.Command, _ []string, _ string) []string {
	var names []string
	if fleet := fleetOf(cmd); fleet != nil {
		for _, d := range fleet.Platform.Devices {
			names = append(names, d.Name)
		}
	}
	return names
}

// completeRule completes the processor behind the last = of REGEX=PROCESSOR.
func completeRule(cmd *cobra.Command, _ []string, typed string) []string {
	at := strings.LastIndex(typed, "=")
	fleet := fleetOf(cmd)
	if at < 0 || fleet == nil {
		return nil
	}
	var rules []string
	for _, p := range fleet.Processors {
		rules = append(rules, typed[:at+1]+p.Name)
	}
	return rules
}

func completeNode(cmd *cobra.Command, args []string, _ string) []string {
	const largest = 64 << 20 // a shell does not wait for more
	if len(args) != 1 {
		return nil
	}
	if st, err := os.Stat(filepath.Clean(args[0])); err != nil || st.Size() > largest {
		return nil
	}
	in, err := compiler.Inspect(cmd.Context(), compiler.Options{Model: args[0]})
	if err != nil {
		return nil
	}
	var names []string
	for i := range in.Analysis.Nodes {
		names = append(names, in.Analysis.Nodes[i].Name)
	}
	return names
}

func completeColumn(cmd *cobra.Command, _ []string, _ string) []string {
	names := slices.Clone(sortColumns)
	if fleet := fleetOf(cmd); fleet != nil {
		for _, p := range fleet.Processors {
			names = append(names, p.Name)
		}
	}
	return names
}

func completeParameter(cmd *cobra.Command, _ []string, _ string) []string {
	fleet := fleetOf(cmd)
	if fleet == nil {
		return []string{"link:", "device:", "processor:"}
	}
	var names []string
	for _, p := range fleet.Parameters() {
		names = append(names, p+"=")
	}
	return names
}
