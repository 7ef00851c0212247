package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/backend/bench"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/measure"
)

// outcome is what is known of a model.
type outcome struct {
	Name   string  `json:"name"`
	Target float64 `json:"-"`
	Cases  []trial `json:"cases"`
}

// trial is one way to split a model, predicted and measured.
type trial struct {
	Name       string        `json:"name"` // one, auto, calibrated, throughput
	Submodels  int           `json:"submodels"`
	Processors int           `json:"processors"` // that have any
	Bench      *bench.Report `json:"bench"`
	// AtMost is how many times as fast as one core any split can be by the costs that
	// it was predicted with; 0 if no bound is known.
	AtMost float64 `json:"at_most"`
}

// host is the fleet: one device whose two processors are two cores.
const host = `schema: dnnsplit/device/v1
name: host
memory: 1024GiB
processors:
  - name: cpu0
    kind: cpu
    provider: CPUExecutionProvider
    peak: {float32: 80GFLOP/s}
    memory_bandwidth: 10GB/s
    op_overhead: 1us
    costs: [host.costs.json]
  - name: cpu1
    kind: cpu
    provider: CPUExecutionProvider
    peak: {float32: 80GFLOP/s}
    memory_bandwidth: 10GB/s
    op_overhead: 1us
    costs: [host.costs.json]
source: two cores of this machine
`

// measure profiles a model, splits it in all ways and runs the splits.
func (j *job) measure(ctx context.Context, name string, built bool) (*outcome, error) {
	model, err := j.model(ctx, name, built)
	if err != nil {
		return nil, err
	}
	fleet := filepath.Join(j.work, name+".fleet")
	if err := os.MkdirAll(fleet, 0o755); err != nil {
		return nil, err
	}
	costs := filepath.Join(fleet, "host.costs.json")
	if _, err := j.profile(ctx, costs, false, model); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(fleet, "host.yaml"), []byte(host), 0o644); err != nil {
		return nil, err
	}
	o := &outcome{Name: name}
	for _, way := range []struct {
		name      string
		submodels int
		objective ir.Objective
	}{{"one", 1, ir.Latency}, {"auto", compiler.Auto, ir.Latency}, {"throughput", compiler.Auto, ir.Throughput}} {
		t, err := j.try(ctx, model, fleet, way.name, way.submodels, way.objective)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		o.Cases = append(o.Cases, *t)
		if way.name == "auto" && j.calibrate > 0 {
			if t, err = j.learn(ctx, name, model, fleet); err != nil {
				return nil, fmt.Errorf("calibrated: %w", err)
			}
			o.Cases = append(o.Cases, *t)
		}
	}
	text, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		return nil, err
	}
	return o, os.WriteFile(j.result(name), text, 0o644)
}

// profile measures models on the first core into a cost file.
func (j *job) profile(ctx context.Context, costs string, probes bool, models ...string) (*measure.Report, error) {
	o := measure.Options{
		Models: models, Processor: "host", CPUs: j.cpus[:1], Beside: j.cpus[1:], Optimization: runtime.All, Again: j.again, Probes: probes,
		Save: func(c *profiles.CostFile) error {
			var b bytes.Buffer
			if err := c.Encode(&b); err != nil {
				return err
			}
			if err := os.WriteFile(costs+".part", b.Bytes(), 0o644); err != nil {
				return err
			}
			return os.Rename(costs+".part", costs)
		},
	}
	text, err := os.ReadFile(costs)
	if err == nil {
		o.Base, err = profiles.ReadCosts(costs, text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(models) == 1 {
		if o.Compile.Inputs, err = shapes(models[0]); err != nil {
			return nil, err
		}
	}
	return measure.Run(ctx, o)
}

// try splits the model in one way and runs the split.
func (j *job) try(ctx context.Context, model, fleet, name string, submodels int, objective ir.Objective) (*trial, error) {
	inputs, err := shapes(model)
	if err != nil {
		return nil, err
	}
	r, err := compiler.Compile(ctx, compiler.Options{
		Model: model, Devices: fleet, Output: filepath.Join(fleet, name), Submodels: submodels,
		Objective: objective, SkipAuto: true, Inputs: inputs, Force: true,
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := j.bench(model, inputs, objective)
	b.SkipParallel, b.SkipPipeline = name != "auto", objective != ir.Throughput
	return j.run(ctx, r, name, b)
}

// bench says how splits are run.
func (j *job) bench(model string, inputs map[string][]int64, objective ir.Objective) bench.Options {
	return bench.Options{
		Optimization: runtime.All, Time: j.budget,
		Map:          []bench.Mapping{{Processor: "host.cpu0", CPUs: j.cpus[:1]}, {Processor: "host.cpu1", CPUs: j.cpus[1:]}},
		Inputs:       verify.Options{Model: model, Shapes: inputs},
		SkipParallel: objective == ir.Throughput,
	}
}

// run writes a split and runs it.
func (j *job) run(ctx context.Context, r *compiler.Result, name string, o bench.Options) (*trial, error) {
	if err := r.Write(ctx); err != nil {
		return nil, err
	}
	t := &trial{Name: name, Submodels: len(r.Placement.Plan.Submodels)}
	used := map[ir.ProcID]bool{}
	for _, s := range r.Placement.Plan.Submodels {
		used[s.Processor] = true
	}
	t.Processors = len(used)
	if bound, best := r.Placement.Plan.LowerBound, bestSingle(r.Placement); bound > 0 && best > 0 {
		t.AtMost = float64(best) / float64(bound)
	}
	o.Bundle = r.Options.Output
	m, err := bench.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	t.Bench = m.Report
	if !m.Report.Agree {
		return nil, errors.New("the split computes something else than the model")
	}
	return t, nil
}

// bestSingle is the value of the whole model on the best processor, 0 if none can run it.
func bestSingle(p *ir.Placement) ir.Time {
	var best ir.Time
	for _, s := range p.Single {
		v := s.Latency
		if p.Plan.Objective == ir.Throughput {
			v = s.Bottleneck
		}
		if s.Feasible && (best == 0 || v < best) {
			best = v
		}
	}
	return best
}

// learn splits and runs several times, on a copy of the fleet that learns from it.
func (j *job) learn(ctx context.Context, name, model, fleet string) (*trial, error) {
	inputs, err := shapes(model)
	if err != nil {
		return nil, err
	}
	own := filepath.Join(j.work, name+".calibrated.fleet")
	if err := os.MkdirAll(own, 0o755); err != nil {
		return nil, err
	}
	for _, file := range []string{"host.yaml", "host.costs.json"} {
		text, err := os.ReadFile(filepath.Join(fleet, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(own, file), text, 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	o := j.bench(model, inputs, ir.Latency)
	r, _, err := measure.Loop(ctx, measure.LoopOptions{
		Compile: compiler.Options{Model: model, Devices: own, Output: filepath.Join(own, "split"), Submodels: compiler.Auto, SkipAuto: true, Inputs: inputs, Force: true},
		Bench:   o, Rounds: j.calibrate,
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return j.run(ctx, r, "calibrated", o)
}

// transfer profiles some models and predicts others.
func (j *job) transfer(ctx context.Context, reportOnly bool) error {
	fleet := filepath.Join(j.work, "transfer.fleet")
	if err := os.MkdirAll(fleet, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(fleet, "host.yaml"), []byte(host), 0o644); err != nil {
		return err
	}
	costs := filepath.Join(fleet, "host.costs.json")
	if !reportOnly {
		for _, name := range []string{"light_vgg19", "light_resnet50", "light_densenet121"} {
			model, err := j.model(ctx, name, false)
			if err != nil {
				return err
			}
			if _, err := j.profile(ctx, costs, true, model); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%-20s %12s %12s %8s  costs\n", "model", "predicted ms", "measured ms", "error")
	for _, name := range []string{"light_inception_v1", "light_squeezenet"} {
		model, err := j.model(ctx, name, false)
		if err != nil {
			return err
		}
		own := filepath.Join(j.work, name+".own.costs.json")
		rep, err := j.profile(ctx, own, false, model)
		if err != nil {
			return err
		}
		r, err := compiler.Compile(ctx, compiler.Options{Model: model, Devices: fleet, SkipAuto: true, Pins: []compiler.Rule{{Pattern: ".", Processor: "host.cpu0"}}})
		if err != nil {
			return err
		}
		predicted, measured := r.Placement.Plan.Latency.Us(), rep.Models[0].MeasuredUs
		s := r.Bundle.Manifest.Prediction.CostSources
		_ = r.Close()
		fmt.Printf("%-20s %12.3f %12.3f %+7.1f%%  measured %.0f%%, fitted %.0f%%, roofline %.0f%%\n",
			name, predicted/1e3, measured/1e3, 100*(predicted/measured-1), 100*s.Measured, 100*s.Fitted, 100*s.Roofline)
	}
	return nil
}
