package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/bench"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles/measure"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// calibrateFlags let a split learn from running it.
type calibrateFlags struct {
	on     bool
	within float64
	rounds int
	bench  bench.Options
}

func (f *calibrateFlags) add(fl *pflag.FlagSet) {
	fl.BoolVar(&f.on, "calibrate", false, "run the split on this machine, put what its sub-models take into the cost files, split again, until prediction and measurement agree")
	fl.Float64Var(&f.within, "calibrate-error", 0.03, "error of the prediction at which --calibrate ends")
	fl.IntVar(&f.rounds, "calibrate-rounds", 5, "most splits that --calibrate runs")
	fl.Var((*mapFlag)(&f.bench.Map), "map", "with --calibrate: cores that stand for a processor, as in bench; repeatable")
	fl.BoolVar(&f.bench.EmulateLinks, "emulate-links", false, "with --calibrate: let tensors between devices take as long as the links of the fleet would")
	group(fl, measureGroup, "calibrate", "calibrate-error", "calibrate-rounds", "map", "emulate-links")
}

// compile is compiler.Compile, or the best of several splits that were run.
func (f *calibrateFlags) compile(cmd *cobra.Command, u *ui, o compiler.Options) (*compiler.Result, error) {
	if !f.on {
		for _, name := range []string{"calibrate-error", "calibrate-rounds", "map", "emulate-links"} {
			if cmd.Flags().Changed(name) {
				return nil, usageError{cmd.CommandPath(), fmt.Errorf("--%s does nothing without --calibrate", name)}
			}
		}
		return compiler.Compile(cmd.Context(), o)
	}
	if !(f.within > 0 && f.within < 1) || f.rounds < 1 {
		return nil, usageError{cmd.CommandPath(), errors.New("--calibrate-error wants a share between 0 and 1, --calibrate-rounds a number of at least 1")}
	}
	if cmd.Flags().Changed("dry-run") {
		return nil, usageError{cmd.CommandPath(), errors.New("--calibrate writes cost files, which --dry-run forbids")}
	}
	f.bench.Optimization, f.bench.Time = runtime.All, 5*time.Second
	f.bench.Inputs.Dims, f.bench.Inputs.Shapes = o.Dims, o.Inputs
	f.bench.Progress = func(what string, done float64) {
		u.progress(compiler.Progress{Stage: "bench", Done: done, Note: what})
	}
	what := "one inference"
	if o.Objective == ir.Throughput {
		what = "bottleneck"
	}
	r, rounds, err := measure.Loop(cmd.Context(), measure.LoopOptions{
		Compile: o, Bench: f.bench, Error: f.within, Rounds: f.rounds,
		Progress: func(x measure.Round) {
			u.notef("%s, %s: predicted %.3f ms, measured %.3f ms, error %s", diag.Count(x.Submodels, "sub-model", "sub-models"), what, x.PredictedUs/1e3, x.MeasuredUs/1e3, percent(x.Error))
		},
	})
	if err == nil && len(rounds) > 0 {
		if e := rounds[len(rounds)-1].Error; e > f.within || e < -f.within {
			u.notef("prediction and measurement do not agree within %.0f%%; what was measured is in the cost files", 100*f.within)
		}
	}
	return r, err
}
