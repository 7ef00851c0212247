package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/machine"
	"github.com/spf13/cobra"
)

func newDevicesInit(u *ui) *cobra.Command {
	var output, name, memory string
	var force bool
	o := machine.Options{}
	cmd := &cobra.Command{
		Use:   "init [-o FILE.yaml]",
		Short: "write a commented device profile of this machine",
		Long: `Init finds out the cores and memory of this machine, measures for a second or two how
fast it copies memory and multiplies matrices and what a run costs at least, and writes
that as a device profile to start from. Arithmetic is measured with ONNX Runtime where
it is found, else with Go code, which is slower; the comments say which.`,
		Example: `  dnnsplit devices init                       # prints it
  dnnsplit devices init -o profiles/laptop.yaml --name laptop
  dnnsplit devices profiles/`,
		Args: usage(noArguments),
		RunE: func(cmd *cobra.Command, _ []string) error {
			wrong := func(format string, args ...any) error {
				return usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
			}
			if name != "" && !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`).MatchString(name) {
				return wrong("--name: %q is no name of a device, which is made of letters, digits, - and _", name)
			}
			if output != "" && !force {
				if _, err := os.Lstat(output); err == nil {
					return fmt.Errorf("%s is there already; --force replaces it", output)
				}
			}
			if output != "" && filepath.Ext(output) != ".yaml" {
				u.notef("only files named *.yaml are read from a folder of device profiles; %s is not", output)
			}
			given := int64(0)
			if memory != "" {
				var err error
				if given, err = profiles.ParseBytes(memory); err != nil {
					return wrong("--memory: %v", err)
				}
			}
			o.Progress = func(what string) { u.progress(compiler.Progress{Stage: "measure", Done: -1, Note: what}) }
			m, note, err := machine.Measure(cmd.Context(), o)
			if err != nil {
				return err
			}
			if given > 0 {
				m.MemoryBytes = given
			}
			if m.MemoryBytes < 1<<20 {
				return errors.New("the memory of this machine cannot be found out; give it with --memory, for example --memory 8GiB")
			}
			if note != "" {
				u.notef("%s", note)
			}
			if name == "" {
				name = m.Name
			}
			text := m.Profile(name, time.Now())
			if output == "" {
				u.printf("%s", text)
				return nil
			}
			if err := writeWhole(output, func(w *bufio.Writer) error { _, err := w.WriteString(text); return err }); err != nil {
				return err
			}
			u.printf("wrote %s\n", printable(output))
			return nil
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&output, "output", "o", "", "`FILE` to write; standard output if left out")
	fl.StringVar(&name, "name", "", "`NAME` of the device (default: the host's)")
	fl.StringVar(&memory, "memory", "", "`SIZE` of its memory, for example 8GiB (default: what the system says)")
	fl.StringVar(&o.Library, "ort-lib", "", "ONNX Runtime's shared library, or the `FILE` or folder that holds it")
	fl.BoolVar(&force, "force", false, "replace the file if it is there")
	fl.BoolVarP(&u.quiet, "quiet", "q", false, quietUsage)
	return cmd
}
