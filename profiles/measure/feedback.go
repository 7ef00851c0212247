package measure

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/bench"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// LoopOptions say how to split, run and split again. The zero value of a field is
// its default.
type LoopOptions struct {
	Compile compiler.Options
	Bench   bench.Options // Bundle does not count
	Error   float64       // of the latency (or bottleneck) at which prediction and measurement agree; 0: 0.03
	Rounds  int           // most splits; 0: 5
	// Progress is told of each round; may be nil.
	Progress func(Round)
}

// Round is a split, predicted and measured: the latency, or the bottleneck where
// throughput is the objective. Times are microseconds.
type Round struct {
	Submodels   int     `json:"submodels"`
	PredictedUs float64 `json:"predicted_us"`
	MeasuredUs  float64 `json:"measured_us"`
	Error       float64 `json:"error"` // (predicted - measured) / measured
}

// Loop splits a model, runs the split, puts the measured run times of its
// sub-models into the cost files of the processors that they ran on, calibrates
// those, and begins anew, until prediction and measurement agree or nothing
// improves: the same split comes out and is predicted no better. It returns the
// fastest split, not yet written, and what happened. Every processor that has a
// sub-model must name a cost file in its profile; the last one that it names takes
// the runs. Close the result.
func Loop(ctx context.Context, o LoopOptions) (best *compiler.Result, rounds []Round, err error) {
	if o.Error <= 0 {
		o.Error = 0.03
	}
	if o.Rounds <= 0 {
		o.Rounds = 5
	}
	work, err := os.MkdirTemp("", "dnnsplit-calibrate-")
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		_ = os.RemoveAll(work) // only temporary files are left behind
		if err != nil && best != nil {
			_ = best.Close()
			best = nil
		}
	}()
	var last string
	for len(rounds) < o.Rounds {
		r, m, err := splitAndRun(ctx, o, filepath.Join(work, "split"))
		if err != nil {
			return best, rounds, err
		}
		now := roundOf(r, m)
		rounds = append(rounds, now)
		if o.Progress != nil {
			o.Progress(now)
		}
		better := best == nil || now.MeasuredUs <= fastest(rounds[:len(rounds)-1])
		plan := planText(r)
		repeated := plan == last
		last = plan
		if better || repeated && len(rounds) > 1 {
			// Of one split the better prediction is kept, too.
			if best != nil {
				_ = best.Close()
			}
			best = r
		} else {
			defer func() { _ = r.Close() }()
		}
		if math.Abs(now.Error) <= o.Error {
			return best, rounds, nil
		}
		if n := len(rounds); repeated && n > 1 && math.Abs(now.Error) >= 0.9*math.Abs(rounds[n-2].Error) {
			return best, rounds, nil
		}
		if err := Feed(r, m); err != nil {
			return best, rounds, err
		}
	}
	return best, rounds, nil
}

// fastest is the least measured time.
func fastest(rounds []Round) float64 {
	least := math.Inf(1)
	for _, r := range rounds {
		least = min(least, r.MeasuredUs)
	}
	return least
}

func splitAndRun(ctx context.Context, o LoopOptions, dir string) (*compiler.Result, *bench.Measurement, error) {
	output := o.Compile.Output
	o.Compile.Output = dir
	r, err := compiler.Compile(ctx, o.Compile)
	if err != nil {
		return nil, nil, err
	}
	if err = r.Write(ctx); err == nil {
		o.Bench.Bundle = dir
		o.Bench.SkipParallel = true
		o.Bench.SkipPipeline = o.Compile.Objective != ir.Throughput
		o.Bench.Inputs.Model = o.Compile.Model
		var m *bench.Measurement
		if m, err = bench.Run(ctx, o.Bench); err == nil {
			r.Options.Output = output
			if output == "" {
				r.Options.Output = strings.TrimSuffix(o.Compile.Model, ".onnx") + ".split"
			}
			return r, m, nil
		}
	}
	_ = r.Close()
	return nil, nil, err
}

func roundOf(r *compiler.Result, m *bench.Measurement) Round {
	x := m.Report.Latency
	if r.Placement.Plan.Objective == ir.Throughput {
		x = m.Report.Interval
	}
	out := Round{Submodels: len(r.Placement.Plan.Submodels), MeasuredUs: x.MedianUs}
	if x.PredictedUs != nil {
		out.PredictedUs = *x.PredictedUs
	}
	if x.Error != nil {
		out.Error = *x.Error
	}
	return out
}

// planText tells plans apart.
func planText(r *compiler.Result) string {
	var b strings.Builder
	for _, s := range r.Placement.Plan.Submodels {
		fmt.Fprintln(&b, s.Processor, s.Nodes, s.Replicas)
	}
	return b.String()
}

// Feed puts the measured run times of a split's sub-models into the cost files of
// their processors and calibrates those.
func Feed(r *compiler.Result, m *bench.Measurement) error {
	files := map[string]*profiles.CostFile{}
	var names []string
	for k, i := range r.Bundle.Plan {
		s := r.Placement.Plan.Submodels[i]
		list := r.Fleet.CostFiles(s.Processor)
		if len(list) == 0 {
			return fmt.Errorf("processor %s has no cost file to learn from runs: make one with dnnsplit profile and name it under costs in its device profile", r.Fleet.Processors[s.Processor].Name)
		}
		name := list[len(list)-1]
		c := files[name]
		if c == nil {
			data, err := os.ReadFile(name)
			if err != nil {
				return &diag.Error{File: name, Msg: "cannot be read", Err: err}
			}
			if c, err = profiles.ReadCosts(name, data); err != nil {
				return err
			}
			files[name] = c
			names = append(names, name)
		}
		took := m.Report.Submodels[k]
		if r.Options.Objective == ir.Throughput && took.PipelineSamples > 0 {
			// In a full pipeline all processors are busy, which predictions multiply with.
			took.MedianUs, took.Samples = took.PipelineUs/max(busyFactor(c), 1), took.PipelineSamples
		}
		if took.Samples > 0 {
			feedOne(c, r, i, took)
		}
	}
	for _, name := range names {
		Calibrate(files[name])
		if err := writeFile(name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

func busyFactor(c *profiles.CostFile) float64 {
	if c.Parameters.Busy == nil {
		return 1
	}
	return *c.Parameters.Busy
}

// feedOne adds the run of sub-model i, with the copies that the execution model
// counts, and entries for what it holds and the file lacks.
func feedOne(c *profiles.CostFile, r *compiler.Result, i int, took bench.Submodel) {
	s, planned := r.Placement.Plan.Submodels[i], r.Placement.Schedule.Runs[i]
	g := r.Lowered.Problem.Graph
	run := profiles.SubmodelRun{
		Inputs: int64(len(planned.Uploads)), Outputs: int64(len(planned.Downloads)), Model: filepath.Base(r.Options.Model), Shared: true,
		MedianUs: round(took.MedianUs), SpreadUs: round(took.MADUs), Runs: int64(took.Samples),
	}
	for _, v := range planned.Uploads {
		run.InputBytes += g.Bytes(v)
	}
	for _, v := range planned.Downloads {
		run.OutputBytes += g.Bytes(v)
	}
	known := map[string]bool{}
	for _, e := range c.Entries {
		known[e.Signature] = true
	}
	counts := map[string]int64{}
	for _, n := range slices.Concat(s.Nodes, s.Replicas) {
		op := r.Analysis.UnitOp(r.Lowered, n)
		if op.Signature == "" {
			continue
		}
		counts[op.Signature]++
		if !known[op.Signature] {
			known[op.Signature] = true
			c.Entries = append(c.Entries, profiles.CostEntry{
				Signature: op.Signature, Op: op.Type, Domain: op.Domain, Kernel: op.Kernel, Elem: op.Elem, FLOPs: max(op.FLOPs, 0), Bytes: max(op.Bytes, 0),
				MedianUs: r.Lowered.Problem.Costs.Of(n, s.Processor).Us(), Runs: run.Runs,
			})
		}
	}
	for signature, count := range counts {
		run.Units = append(run.Units, profiles.UnitCount{Signature: signature, Count: count})
	}
	if len(run.Units) == 0 {
		return
	}
	slices.SortFunc(run.Units, func(a, b profiles.UnitCount) int { return strings.Compare(a.Signature, b.Signature) })
	key := run.Key()
	for k := range c.SubmodelRuns {
		if c.SubmodelRuns[k].Key() == key {
			c.SubmodelRuns[k] = run
			return
		}
	}
	c.SubmodelRuns = append(c.SubmodelRuns, run)
}

// writeFile replaces a cost file: all of it or nothing.
func writeFile(path string, c *profiles.CostFile) error {
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		return &diag.Error{File: path, Msg: "cannot be written", Err: err}
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return &diag.Error{File: path, Msg: "cannot be written", Err: err}
	}
	defer os.Remove(f.Name()) // gone already where all went well
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return &diag.Error{File: path, Msg: "cannot be written", Err: err}
	}
	return nil
}
