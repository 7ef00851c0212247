package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/spf13/cobra"
)

func newExport(u *ui) *cobra.Command {
	o := export.Options{}
	var gpus, hosts pairFlag
	var shapes shapeFlag
	gpus.want, hosts.want = "PROCESSOR=INDEX", "DEVICE=HOST"
	targets := export.Targets()
	names := make([]string, 0, len(targets))
	long := `Export turns a bundle into what other tools take:

`
	for _, t := range targets {
		names = append(names, t.Name)
		long += fmt.Sprintf("  %-11s %s\n", t.Name, t.What)
	}
	long += `
What the target cannot express is an error that names the tensors, before anything is
written. How to use the result is printed on standard output.`
	var to formatFlag
	to.choices = names
	format := formatFlag{"text", []string{"text", "json"}}
	quiet := false
	var limits limitFlags
	cmd := &cobra.Command{
		Use:   "export BUNDLE --to " + strings.Join(names, "|") + " [-o DIR]",
		Short: "turn a bundle into what other tools take",
		Long:  long,
		Example: `  dnnsplit export model.split --to triton -o model_repository/
  dnnsplit export out/ --to triton --gpu 'server.gpu=1'
  dnnsplit export out/ --to nnstreamer --host 'pi=192.168.1.20' --host 'jetson=192.168.1.21'
  dnnsplit export out/ --to annotated --model model.onnx
  dnnsplit export out/ --to runner && node out.runner/run.js --check`,
		Args: usage(oneFile("the folder of a bundle")),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.quiet = quiet
			wrong := func(format string, args ...any) error {
				return usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
			}
			if to.value == "" {
				return wrong("--to is missing: name one of %s", strings.Join(names, ", "))
			}
			o.Bundle, o.To, o.Hosts = args[0], to.value, hosts.values
			o.Dims, o.Shapes = shapes.dims, shapes.inputs
			o.Limits = limits.options()
			if o.Port < 0 || o.Port > 65535 {
				return wrong("--port: %d is no port", o.Port)
			}
			o.GPUs = map[string]int{}
			for _, name := range gpus.names {
				n, err := strconv.ParseUint(gpus.values[name], 10, 16)
				if err != nil {
					return wrong("--gpu: %q is no index of a GPU", gpus.values[name])
				}
				o.GPUs[name] = int(n)
			}
			o.Progress = func(done float64, note string) {
				u.progress(compiler.Progress{Stage: "export", Done: done, Note: note})
			}
			r, err := export.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			for _, n := range r.Notes {
				u.notef("%s", n)
			}
			if format.value == "json" {
				return printJSON(u, r)
			}
			for _, line := range strings.Split(strings.TrimSuffix(r.Text, "\n"), "\n") {
				u.printf("%s\n", printable(line))
			}
			u.printf("wrote %s\n", r.Output)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.Var(&to, "to", "what to make")
	fl.StringVarP(&o.Output, "output", "o", "", "`DIR` to write (default BUNDLE.TARGET)")
	fl.BoolVar(&o.Force, "force", false, "replace the output folder even if it is no export")
	fl.StringVar(&o.Name, "name", "", "`NAME` of the exported model (default: as the model's file)")
	fl.StringVar(&o.Model, "model", "", "annotated, runner: `FILE` of the whole model (default: the one that the manifest names, beside the bundle or here)")
	fl.Var(&gpus, "gpu", "triton: the server's GPU for a processor (default: its place among its device's GPUs); repeatable")
	fl.Var(&hosts, "host", "nnstreamer: the address of a device (default localhost); repeatable")
	fl.Var(&shapes, "shape", "nnstreamer: extent of a symbolic dimension, or shape of a value, which are static there; repeatable")
	fl.IntVar(&o.Port, "port", 0, "nnstreamer: the first port for tensors between devices (default 5001)")
	limits.add(fl)
	fl.Var(&format, "format", "of what is printed")
	fl.BoolVarP(&quiet, "quiet", "q", false, quietUsage)
	return cmd
}

// pairFlag collects NAME=VALUE.
type pairFlag struct {
	want   string
	names  []string // in the order given
	values map[string]string
}

func (f *pairFlag) String() string { return "" }
func (f *pairFlag) Type() string   { return f.want }

func (f *pairFlag) Set(text string) error {
	at := strings.LastIndex(text, "=")
	if at <= 0 || at == len(text)-1 {
		return errors.New("want " + f.want)
	}
	if f.values == nil {
		f.values = map[string]string{}
	}
	if _, dup := f.values[text[:at]]; dup {
		return fmt.Errorf("%q is given twice", text[:at])
	}
	f.names = append(f.names, text[:at])
	f.values[text[:at]] = text[at+1:]
	return nil
}
