package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says what pflag says about a command line in the words of the other errors.
func flagError(cmd *cobra.Command, err error) error {
	var missing *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &missing):
		name := "--" + missing.GetSpecifiedName()
		if missing.GetSpecifiedShortnames() != "" {
			name = name[1:] // a letter
		}
		return fmt.Errorf("there is no flag %s%s", name, profiles.DidYouMean(name, flagNames(cmd)))
	case errors.As(err, &bare):
		return fmt.Errorf("--%s needs a value", bare.GetFlag().Name)
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		if wanted := wantedValue(f.Value.Type()); wanted != "" {
			return fmt.Errorf("--%s %s: want %s", f.Name, invalid.GetValue(), wanted)
		}
		return fmt.Errorf("--%s %s: %w", f.Name, invalid.GetValue(), errors.Unwrap(invalid))
	case errors.As(err, &syntax):
		return fmt.Errorf("%s is no flag: want --NAME or --NAME=VALUE", syntax.GetSpecifiedFlag())
	}
	return err
}

// wantedValue says what a flag of one of pflag's own types takes; "" for other types,
// which say so themselves.
func wantedValue(kind string) string {
	switch kind {
	case "int", "int64":
		return "a whole number"
	case "uint64":
		return "a whole number of at least 0"
	case "float64":
		return "a number"
	case "duration":
		return "a time such as 500ms or 10s"
	case "bool":
		return "true or false"
	}
	return ""
}

// flagNames are the flags that help lists for a command.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return names
}

// modelOrCommand wants the one model to split, and takes a word that is no file
// and no path for a misspelt command, or one that there is not.
func modelOrCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		if _, err := os.Lstat(args[0]); err != nil {
			commands := availableCommands(cmd)
			names := make([]string, 0, len(commands))
			for _, c := range commands {
				names = append(names, c.Name())
			}
			hint := profiles.DidYouMean(args[0], names)
			if hint == "" && !strings.ContainsAny(args[0], `./\`) {
				hint = "; to split, give an ONNX model and no command"
			}
			if hint != "" {
				return fmt.Errorf("there is no command and no file %q%s", args[0], hint)
			}
		}
	}
	return oneFile("an ONNX model")(cmd, args)
}
