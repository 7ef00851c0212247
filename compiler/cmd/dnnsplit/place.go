package main

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/spf13/cobra"
)

func newPlace(u *ui) *cobra.Command {
	o := compiler.Options{SkipAuto: true}
	var f splitFlags
	var output string
	cmd := &cobra.Command{
		Use:   "place GRAPH.json [-o PLAN.json]",
		Short: "place an execution graph that is not ONNX",
		Long: `Place reads an execution graph (dnnsplit/graph/v1: nodes with a cost on every
processor, values with sizes, devices and links), places it, and writes the plan
(dnnsplit/plan/v1). "-" reads standard input. "dnnsplit inspect MODEL.onnx
--devices DIR --graph FILE" writes such a graph from a model.`,
		Example: `  dnnsplit place graph.json                       # prints the plan
  dnnsplit place graph.json -o plan.json          # writes it, prints a summary
  dnnsplit place graph.json --submodels auto --objective throughput
  dnnsplit inspect model.onnx --devices profiles/ --graph - | dnnsplit place -`,
		Args: usage(oneFile("an execution graph")),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			f.apply(u, &o)
			problem, placement, err := compiler.PlaceGraph(cmd.Context(), o)
			if err != nil {
				return err
			}
			if cmd.Context().Err() != nil {
				u.notef("the search was interrupted: this is the best plan so far")
			}
			if output == "" {
				w := bufio.NewWriter(u.out)
				if err := ir.WritePlan(w, problem, placement.Plan); err != nil {
					return err
				}
				return w.Flush()
			}
			if err := writeWhole(output, func(w *bufio.Writer) error { return ir.WritePlan(w, problem, placement.Plan) }); err != nil {
				return err
			}
			printPlacement(u, problem, placement)
			u.printf("wrote %s\n", output)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&output, "output", "o", "", "`FILE` to write; standard output if left out")
	f.search(fl, &o)
	f.keepBest(fl, &o)
	fl.BoolVarP(&f.quiet, "quiet", "q", false, quietUsage)
	return cmd
}

// writeWhole writes a file by way of a temporary one beside it: all of it or nothing.
// Errors name the file.
func writeWhole(path string, write func(*bufio.Writer) error) error {
	err := writeBeside(path, write)
	if err == nil {
		return nil
	}
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err // its path is that of the temporary file
	} else if le := (*os.LinkError)(nil); errors.As(err, &le) {
		err = le.Err
	}
	return &diag.Error{File: path, Msg: "cannot be written", Err: err}
}

func writeBeside(path string, write func(*bufio.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriter(f)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
