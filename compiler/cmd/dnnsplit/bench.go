package main

import (
	"bufio"
	"fmt"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/bench"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/spf13/cobra"
)

func newBench(u *ui) *cobra.Command {
	o := bench.Options{}
	f := splitFlags{}
	level := levelFlag(runtime.All)
	var inputs inputFlag
	var trace string
	cmd := &cobra.Command{
		Use:   "bench BUNDLE",
		Short: "run the bundle on this machine: predicted beside measured",
		Long: `Bench runs the sub-models of a bundle on this machine, one worker for each processor,
bound to cores, with ONNX Runtime. Tensors go from one to the next without a copy.
It measures single inferences and a pipeline of many, beside the prediction, beside
the whole model on each processor, and beside ONNX Runtime's own ways to use the
same cores: inter-op threads (its parallel execution mode) and intra-op threads.
All of them run in turns; medians are shown, with the median absolute deviation.

Without --map the processors that have sub-models share the cores evenly; a
processor that --map names and that has no sub-models is measured with the whole
model. Files that are not those that the manifest describes are noted. Exit code 3
says that the split's outputs are not those of the model.`,
		Example: `  dnnsplit bench model.split
  dnnsplit bench out/ --map pi=0 --map jetson.gpu=1 --trace measured.json
  dnnsplit bench out/ --map pi=0-1 --map server=2-7 --emulate-links --format json`,
		Args: usage(oneFile("the folder of a bundle")),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.quiet = f.quiet
			o.Bundle = args[0]
			o.Optimization = runtime.Level(level)
			o.Inputs.Dims, o.Inputs.Shapes, o.Inputs.InputFiles = f.shapes.dims, f.shapes.inputs, inputs
			o.Progress = func(what string, done float64) {
				u.progress(compiler.Progress{Stage: "bench", Done: done, Note: what})
			}
			m, err := bench.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			for _, n := range m.Report.Notes {
				u.notef("%s", n)
			}
			if trace != "" {
				text, err := m.Trace()
				if err == nil {
					err = writeWhole(trace, func(w *bufio.Writer) error { _, err := w.Write(text); return err })
				}
				if err != nil {
					return err
				}
			}
			if f.format.value == "json" {
				err = printJSON(u, m.Report)
			} else {
				printBench(u, m.Report)
			}
			if err == nil && !m.Report.Agree {
				err = errDifferent
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.Var((*mapFlag)(&o.Map), "map", "cores that stand for a processor, and the provider that runs there; repeatable")
	fl.BoolVar(&o.EmulateLinks, "emulate-links", false, "let tensors between devices take as long as the links of the fleet would")
	fl.IntVar(&o.Window, "window", 0, "most inferences under way in the pipeline (default: two more than sub-models, at most 16)")
	fl.DurationVar(&o.Time, "time", 10*time.Second, "most time to measure in; less where medians are certain before")
	fl.Float64Var(&o.Confidence, "confidence", 0.01, "half width of the 95 % interval of each median at which measuring ends, as a share of it")
	fl.Var(&level, "optimization", "`LEVEL` of graph optimisation: disabled, basic, extended, all")
	fl.Float64Var(&o.Tolerance, "tolerance", 1e-3, "largest absolute or relative difference of an output that counts as equal")
	fl.StringVar(&trace, "trace", "", "write the measured timeline, with the predicted one below it, to `FILE` (Chrome trace JSON)")
	fl.StringVar(&o.Inputs.Model, "model", "", "`FILE` of the whole model (default: the one that the manifest names, beside the bundle or here)")
	fl.StringVar(&o.Library, "ort-lib", "", "ONNX Runtime's shared library, or the `FILE` or folder that holds it")
	fl.Var(&f.shapes, "shape", "extent of a symbolic dimension, or shape of an input, to run with; repeatable")
	fl.Var(&inputs, "input", "your own value for an input, a .npy or .pb file; repeatable")
	fl.StringVar(&o.Inputs.InputSet, "inputs", "", "your own values: an .npz `FILE`, or a folder of .npy or input_N.pb files")
	fl.Uint64Var(&o.Inputs.Seed, "seed", 0, "seed of the generated inputs")
	f.output(fl)
	return cmd
}

// mapFlag collects --map PROCESSOR=CPUS[:PROVIDER].
type mapFlag []bench.Mapping

func (f *mapFlag) String() string { return "" }
func (f *mapFlag) Type() string   { return "PROCESSOR=CPUS[:PROVIDER]" }

func (f *mapFlag) Set(text string) error {
	m, err := bench.ParseMapping(text)
	if err != nil {
		return err
	}
	*f = append(*f, m)
	return nil
}

// levelFlag is a level of graph optimisation.
type levelFlag runtime.Level

func (f *levelFlag) Type() string   { return "LEVEL" }
func (f *levelFlag) String() string { return runtime.Level(*f).String() }

func (f *levelFlag) Set(text string) error {
	l, err := runtime.ParseLevel(text)
	*f = levelFlag(l)
	return err
}

func printBench(u *ui, r *bench.Report) {
	u.printf("%s: %s, %s, optimisation %s\n", printable(r.Bundle), printable(r.Model), r.Engine, r.Optimization)
	for _, p := range r.Processors {
		what := "cores"
		if p.Threads == 1 {
			what = "core"
		}
		u.printf("%s on %s %s: %s, %s\n", printable(p.Name), what, p.CPUs, diag.Count(p.Submodels, "sub-model", "sub-models"), p.Provider)
	}
	var rows [][]string
	row := func(what string, x *bench.Result, speedup string) {
		predicted, off := "-", "-"
		if x.PredictedUs != nil {
			predicted = fmt.Sprintf("%.3f", *x.PredictedUs/1e3)
		}
		if x.Error != nil {
			off = percent(*x.Error)
		}
		rows = append(rows, []string{
			what, predicted, fmt.Sprintf("%.3f", x.MedianUs/1e3), fmt.Sprintf("%.3f", x.MADUs/1e3), off,
			fmt.Sprint(x.Samples), fmt.Sprint(x.Outliers), speedup,
		})
	}
	times := func(x *float64) string {
		if x == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f", *x)
	}
	row("split, one inference", &r.Latency, "-")
	if r.Interval.Samples > 0 {
		row("split, pipeline", &r.Interval, "-")
	}
	for i := range r.Whole {
		row("whole on "+r.Whole[i].Name, &r.Whole[i], times(r.Whole[i].Speedup))
	}
	for i := range r.Parallel {
		row("whole, "+r.Parallel[i].Name, &r.Parallel[i], times(r.Parallel[i].Speedup))
	}
	u.printf("\n")
	u.table([]string{"", "predicted ms", "measured ms", "± ms", "error", "samples", "outliers", "speed-up by the split"}, rows)
	if r.Interval.Samples > 0 && r.Interval.Speedup != nil {
		u.printf("throughput  %.4g inferences/s, %.2f times that of the whole model on %s\n", 1e6/r.Interval.MedianUs, *r.Interval.Speedup, printable(r.BestWhole))
	}
	if r.Copies != nil && r.Copies.Speedup != nil {
		u.printf("copies      %.4g inferences/s, %.2f times that, of whole models on all processors at once\n", 1e6/r.Copies.MedianUs, *r.Copies.Speedup)
	}
	u.printf("\n")
	rows = make([][]string, 0, len(r.Submodels))
	for _, s := range r.Submodels {
		off := "-"
		if s.Error != nil {
			off = percent(*s.Error)
		}
		rows = append(rows, []string{s.ID, s.Processor, fmt.Sprintf("%.3f", s.PredictedUs/1e3), fmt.Sprintf("%.3f", s.MedianUs/1e3), fmt.Sprintf("%.3f", s.MADUs/1e3), off})
	}
	u.table([]string{"sub-model", "processor", "predicted ms", "measured ms", "± ms", "error"}, rows)
	printAgreement(u, r)
}

func printAgreement(u *ui, r *bench.Report) {
	var worst float64
	for _, o := range r.Outputs {
		if !o.Random {
			worst = max(worst, o.Diff.MaxAbs)
		}
	}
	if r.Agree {
		u.printf("outputs     those of the whole model, to %.3g\n", worst)
		return
	}
	for _, o := range r.Outputs {
		switch {
		case o.Random || o.Diff.Within(r.Tolerance):
		case o.Diff.Mismatch != "":
			u.printf("outputs     DIFFERENT: %s: %s\n", printable(o.Tensor), o.Diff.Mismatch)
		default:
			u.printf("outputs     DIFFERENT: %s: %d elements, by up to %.3g\n", printable(o.Tensor), o.Diff.Differing, o.Diff.MaxAbs)
		}
	}
}

// percent prints a signed share.
func percent(x float64) string { return fmt.Sprintf("%+.1f%%", 100*x) }
