package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/measure"
	"github.com/spf13/cobra"
)

func newProfile(u *ui) *cobra.Command {
	o := measure.Options{}
	f := splitFlags{}
	level := levelFlag(runtime.All)
	var cpus, beside, output string
	var inputs inputFlag
	cmd := &cobra.Command{
		Use:   "profile MODEL.onnx... --processor NAME -o FILE.costs.json",
		Short: "measure op costs with ONNX Runtime on this machine",
		Long: `Profile measures what the operations of models take on this machine, and writes a cost
file (dnnsplit/costs/v1), which device profiles name under "costs".

Every operation, or group of operations that runs as one, is emitted as the small model
that a split would hold, and measured; so are short and long stretches of the model, and
the whole. Costs are then worked out that explain all measurements together: what an
operation takes inside a model, what a run of a sub-model costs, and what each tensor
costs that goes in or out of one, where runtimes change its layout.

An existing file keeps what it has: what is known is not measured again, so that a run
that was interrupted goes on, and models can be added one by one. Measure while nothing
else runs.`,
		Example: `  dnnsplit profile model.onnx --processor pi -o profiles/pi.costs.json
  dnnsplit profile a.onnx b.onnx --processor host.cpu0 --cpus 0 -o profiles/cpu0.costs.json
  dnnsplit profile *.onnx --processor server --threads 8 --all-signatures -o server.costs.json`,
		Args: usage(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which file? give one or more ONNX models")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			wrong := func(format string, args ...any) error {
				return usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
			}
			switch {
			case o.Processor == "":
				return wrong("--processor is missing: name the processor that this machine stands for")
			case output == "":
				return wrong("-o is missing: name the cost file to write, for example %s.costs.json", o.Processor)
			case o.Threads < 0:
				return wrong("--threads %d: want a number of at least 1", o.Threads)
			case !(o.Confidence > 0 && o.Confidence < 1):
				return wrong("--confidence %v: want a share of a median between 0 and 1, for example 0.01", o.Confidence)
			}
			if cpus != "" {
				var err error
				if o.CPUs, err = runtime.ParseCPUs(cpus); err != nil {
					return wrong("--cpus: %w", err)
				}
			}
			if beside != "" {
				var err error
				if o.Beside, err = runtime.ParseCPUs(beside); err != nil {
					return wrong("--beside: %w", err)
				}
				if cpus == "" || slices.ContainsFunc(o.Beside, func(c int) bool { return slices.Contains(o.CPUs, c) }) {
					return wrong("--beside wants other cores than --cpus, which must be given")
				}
			}
			o.Models, o.Optimization = args, runtime.Level(level)
			f.apply(u, &o.Compile)
			o.Compile.Progress = nil
			o.Inputs.Dims, o.Inputs.Shapes, o.Inputs.InputFiles = f.shapes.dims, f.shapes.inputs, inputs
			return profile(cmd, u, o, output, f.format.value)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Processor, "processor", "", "`NAME` of the processor that this machine stands for")
	fl.StringVarP(&output, "output", "o", "", "cost `FILE` to write; an existing one is added to")
	fl.StringVar(&o.Provider, "provider", "", "ONNX Runtime's execution `PROVIDER` (default CPUExecutionProvider)")
	fl.StringVar(&cpus, "cpus", "", "cores to run on, a `LIST` such as 0-3,6 (default: any)")
	fl.StringVar(&beside, "beside", "", "cores of the other processors of the device, a `LIST`: measure how much longer models take while those are busy")
	fl.IntVar(&o.Threads, "threads", 0, "threads inside an operation (default: as many as there are --cpus, or one)")
	fl.Var(&level, "optimization", "`LEVEL` of graph optimisation: disabled, basic, extended, all")
	fl.Float64Var(&o.Confidence, "confidence", 0.01, "half width of the 95 % interval of a median at which a timing ends, as a share of it")
	fl.BoolVar(&o.AllSignatures, "all-signatures", false, "measure every node by itself too, not only the groups that run as one, for models that group them in other ways")
	fl.BoolVar(&o.Probes, "probes", false, "measure common operators at several sizes too, for models whose operators are in none of these")
	fl.BoolVar(&o.Again, "again", false, "measure anew what the file has")
	fl.StringVar(&o.Library, "ort-lib", "", "ONNX Runtime's shared library, or the `FILE` or folder that holds it")
	f.model(fl)
	fl.Var(&inputs, "input", "your own value for an input, a .npy or .pb file; repeatable")
	fl.StringVar(&o.Inputs.InputSet, "inputs", "", "your own values: an .npz `FILE`, or a folder of .npy or input_N.pb files")
	f.output(fl)
	cmd.AddCommand(newProfileImport(u))
	return cmd
}

// profile measures and writes.
func profile(cmd *cobra.Command, u *ui, o measure.Options, output, format string) error {
	var err error
	if o.Base, err = readCostFile(output); err != nil {
		return err
	}
	saved := false
	o.Save = func(c *profiles.CostFile) error {
		saved = true
		return writeCostFile(output, c)
	}
	start := time.Now()
	o.Progress = func(what string, done float64) {
		u.progress(compiler.Progress{Stage: "profile", Done: done, Note: bar(done) + "  " + timeLeft(time.Since(start), done) + what})
	}
	r, err := measure.Run(cmd.Context(), o)
	if err != nil {
		if saved && cmd.Context().Err() != nil {
			u.notef("%s holds what was measured; the same command goes on from there", output)
		}
		return err
	}
	for _, n := range r.Notes {
		u.notef("%s", n)
	}
	for i, d := range r.Disturbed {
		if i == 5 {
			u.notef("%d more timings were disturbed", len(r.Disturbed)-i)
			break
		}
		u.notef("%s was disturbed: %d of %d runs stand apart, %.4g us at most where %.4g us are usual", d.What, d.Outliers, d.Samples, d.MaxUs, d.MedianUs)
	}
	fits := fitReports(r.File)
	if format == "json" {
		return printJSON(u, struct {
			*measure.Report
			Fits []fitReport `json:"fits"`
		}{r, append([]fitReport{}, fits...)})
	}
	printProfile(u, r, output)
	printFits(u, fits)
	if o.Base == nil {
		noteCosts(u, output, o.Processor)
	}
	return nil
}

// noteCosts says how a new cost file comes to be used.
func noteCosts(u *ui, path, processor string) {
	u.notef("a split uses it where the device profile of %s names it, relative to its folder: costs: [%s]", processor, filepath.Base(path))
}

// readCostFile reads a cost file; nil if there is none.
func readCostFile(path string) (*profiles.CostFile, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &diag.Error{File: path, Msg: "cannot be read", Err: err}
	}
	return profiles.ReadCosts(path, data)
}

// writeCostFile replaces a cost file: all of it or nothing.
func writeCostFile(path string, c *profiles.CostFile) error {
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		return &diag.Error{File: path, Msg: "cannot be written", Err: err}
	}
	return writeWhole(path, func(w *bufio.Writer) error { _, err := w.Write(b.Bytes()); return err })
}

// bar draws a share as a bar of 20 cells.
func bar(done float64) string {
	const cells = 20
	n := int(max(0, min(1, done)) * cells)
	return "[" + strings.Repeat("#", n) + strings.Repeat("·", cells-n) + "]"
}

// timeLeft is how long the rest takes at the pace so far, once that says something.
func timeLeft(spent time.Duration, done float64) string {
	if done < 0.02 || spent < time.Second {
		return ""
	}
	left := time.Duration(float64(spent) * (1 - done) / done)
	return left.Round(time.Second).String() + " left  "
}

func printProfile(u *ui, r *measure.Report, output string) {
	rows := make([][]string, 0, len(r.Models))
	for _, m := range r.Models {
		rows = append(rows, []string{
			filepath.Base(m.Model), fmt.Sprint(m.Units), fmt.Sprint(m.Signatures), fmt.Sprintf("%.3f", m.AloneUs/1e3),
			fmt.Sprintf("%.3f", m.MeasuredUs/1e3), fmt.Sprintf("%.3f", m.PredictedUs/1e3), percent(m.Error),
		})
	}
	u.table([]string{"model", "units", "signatures", "alone ms", "measured ms", "predicted ms", "error"}, rows)
	p := r.File.Parameters
	u.printf("\nlaunch      %.3g us", *p.LaunchUs)
	if p.LaunchSpreadUs != nil {
		u.printf(" ± %.2g us after another sub-model, %.3g us at once again", *p.LaunchSpreadUs, *p.WarmLaunchUs)
	}
	u.printf("\n")
	printCopy(u, "input", p.Upload)
	printCopy(u, "output", p.Download)
	if a := r.Agreement; a.Stretches > 0 {
		u.printf("stretches   %d, predicted within %.1f%% (median), %.1f%% (worst)\n", a.Stretches, 100*a.StretchMedian, 100*a.StretchWorst)
	}
	if p.Busy != nil {
		u.printf("busy        %.3f times as long while the other processors of the device are busy\n", *p.Busy)
	}
	u.printf("measured    %s now, %d known before; %s in %s\n", diag.Count(r.Measured, "sub-model", "sub-models"), r.Kept, diag.Count(r.Signatures, "signature", "signatures"), output)
}

func printCopy(u *ui, what string, c *profiles.CopyCost) {
	if c == nil {
		u.printf("%-11s nothing for a tensor that crosses the edge of a sub-model\n", what)
		return
	}
	u.printf("%-11s %.3g us and %.3g us/MB for a tensor that crosses the edge of a sub-model\n", what, c.LatencyUs, 1e6/c.BytesPerUs)
}
