package main

import (
	"fmt"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/spf13/cobra"
)

func newVerify(u *ui) *cobra.Command {
	o := verify.Options{}
	f := splitFlags{}
	level := "all"
	var inputs inputFlag
	cmd := &cobra.Command{
		Use:   "verify BUNDLE [--model MODEL.onnx]",
		Short: "run whole and split, compare the outputs",
		Long: `Verify runs the model and the sub-models of a bundle in ONNX Runtime on the same
seeded inputs, one after the other on this machine's CPU. With graph optimisation
off every output must agree bit for bit; with it on the largest difference is
reported. Exit code 3 says that a difference was found.

Where ONNX Runtime is missing, plain float32 networks run in a pure-Go engine
(onnx-go), whose results differ a little from those of other runtimes.

ONNX Runtime is looked up at --ort-lib, at $ONNXRUNTIME_LIB, in the folder .ort,
and where the system keeps libraries. Beside a model, MODEL.onnx.hints.json can
give {"shapes": {INPUT: [...]}, "values": {INPUT: ...}} for inputs that need them.`,
		Example: `  dnnsplit verify model.split
  dnnsplit verify out/ --model model.onnx --shape batch=2
  dnnsplit verify out/ --seed 7 --trials 5 --format json
  dnnsplit verify out/ --inputs test_data_set_0/ --tolerance 1e-5
  dnnsplit verify out/ --input image=cat.npy --engine onnx-go`,
		Args: usage(oneFile("the folder of a bundle")),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.quiet = f.quiet
			o.Bundle = args[0]
			o.Dims, o.Shapes = f.shapes.dims, f.shapes.inputs
			o.InputFiles = inputs
			o.Limits = f.limits.options()
			switch o.Engine {
			case "", verify.EngineORT, verify.EngineGo:
			default:
				return usageError{cmd.CommandPath(), fmt.Errorf("--engine %s: there is no such engine; want %s or %s", o.Engine, verify.EngineORT, verify.EngineGo)}
			}
			l, err := runtime.ParseLevel(level)
			if err != nil {
				return usageError{cmd.CommandPath(), fmt.Errorf("--optimization: %w", err)}
			}
			if o.Levels = []runtime.Level{l}; l == runtime.Disabled {
				o.Levels = []runtime.Level{}
			}
			o.Progress = func(what string) { u.progress(compiler.Progress{Stage: "verify", Done: -1, Note: what}) }
			r, err := verify.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if f.format.value == "json" {
				err = printJSON(u, r)
			} else {
				printVerification(u, r)
			}
			if err == nil && !r.Equal {
				err = errDifferent
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Model, "model", "", "`FILE` of the whole model (default: the one that the manifest names, beside the bundle or here)")
	fl.StringVar(&o.Engine, "engine", "", "`NAME` of the engine: "+verify.EngineORT+" or "+verify.EngineGo+" (default: ONNX Runtime, and the pure-Go engine where there is none)")
	fl.StringVar(&o.Library, "ort-lib", "", "ONNX Runtime's shared library, or the `FILE` or folder that holds it")
	f.shapes = shapeFlag{}
	fl.Var(&f.shapes, "shape", "extent of a symbolic dimension, or shape of an input, to run with; repeatable")
	fl.Var(&inputs, "input", "your own value for an input, a .npy or .pb file; repeatable")
	fl.StringVar(&o.InputSet, "inputs", "", "your own values: an .npz `FILE`, or a folder of .npy or input_N.pb files")
	fl.Uint64Var(&o.Seed, "seed", 0, "seed of the generated inputs")
	fl.IntVar(&o.Trials, "trials", 0, "sets of inputs (default 2: one cannot tell whether outputs depend on inputs)")
	fl.Float64Var(&o.Tolerance, "tolerance", 0, "largest absolute or relative difference that counts as equal (default: bit for bit)")
	fl.StringVar(&level, "optimization", level, "`LEVEL` of graph optimisation to compare at besides off: disabled (none), basic, extended, all")
	f.limits.add(fl)
	f.format = formatFlag{"text", []string{"text", "json"}}
	fl.Var(&f.format, "format", "of the report")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, quietUsage)
	return cmd
}

func printVerification(u *ui, r *verify.Report) {
	verdict := u.styled(green, "EQUAL")
	if !r.Equal {
		verdict = u.styled(red, "DIFFERENT")
	}
	u.printf("%s: %s against %s, %s on %s\n", verdict, printable(r.Bundle), printable(r.Model), diag.Count(r.Trials, "set of inputs", "sets of inputs"), r.Engine)
	for _, p := range r.Problems {
		u.printf("problem: %s\n", printable(p))
	}
	for _, w := range r.Warnings {
		u.printf("warning: %s\n", printable(w))
	}
	var rows [][]string
	for _, l := range r.Levels {
		for _, o := range l.Outputs {
			same := "bit-equal"
			switch {
			case o.Diff.Mismatch != "":
				same = o.Diff.Mismatch
			case !o.BitEqual:
				same = fmt.Sprintf("%d of its elements differ", o.Diff.Differing)
			}
			rows = append(rows, []string{
				o.Tensor, "optimisation " + l.Level, same,
				fmt.Sprintf("%.3g", o.Diff.MaxAbs), fmt.Sprintf("%.3g", o.Diff.MaxRel), fmt.Sprint(o.Diff.MaxULP),
			})
		}
	}
	if len(rows) > 0 {
		u.table([]string{"output", "", "", "max abs", "max rel", "max ULP"}, rows)
	}
	if len(r.Problems) > 0 && sameOutputs(r) {
		u.printf("no output differs on these inputs, but a file that has changed is a difference: split again\n")
	}
	if c := r.FirstDifference; c != nil {
		u.printf("the first sub-model that computes something else is %s, in tensor %s\n", c.Submodel, printable(c.Tensor))
	}
}

// sameOutputs says whether all outputs that were compared are bit-equal.
func sameOutputs(r *verify.Report) bool {
	for _, l := range r.Levels {
		if !l.BitEqual {
			return false
		}
	}
	return len(r.Levels) > 0
}
