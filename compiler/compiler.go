// Package compiler is the API of dnnsplit: it runs the stages in order.
//
//	load → lower → place → emit
//
// Compile splits a model; Inspect stops before placement; PlaceGraph places an
// execution graph that is not ONNX. Everything else of this module may change freely.
package compiler

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/report"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// Result is a compiled model. Close it when done with it.
type Result struct {
	Options   Options
	Fleet     *profiles.Fleet
	Analysis  *frontend.Analysis
	Lowered   *ir.Lowered
	Placement *ir.Placement
	Bundle    *backend.Bundle
	Notes     []string // what the user should know: assumptions, dead nodes, what was kept

	kept bool // the context ended during the search, and Options.KeepBest asks to go on
}

// Close releases the model's files and ends what still reads them.
func (r *Result) Close() error { return r.Analysis.Model.Close() }

// Compile reads the model and the fleet, places the model and describes the
// bundle. It writes nothing: Result.Write does. Beside all of that it reads the
// model's file for the digest in the manifest, which Write waits for and Close ends;
// Options.NoWrite spares that.
func Compile(ctx context.Context, o Options) (r *Result, err error) {
	defer catch(&err)
	c, err := lower(ctx, o, !o.NoWrite)
	if err != nil {
		return nil, err
	}
	if err = c.place(ctx); err == nil {
		if c.kept = ctx.Err() != nil; c.kept {
			c.Notes = append(c.Notes, "the search was interrupted: this is the best plan so far")
			ctx = context.WithoutCancel(ctx)
		}
		err = c.emit(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Write writes the bundle to the output folder: all of it or nothing.
func (r *Result) Write(ctx context.Context) (err error) {
	defer catch(&err)
	if r.kept {
		ctx = context.WithoutCancel(ctx) // what ended the search is not to end this too
	}
	r.Options.progress("write", 0, "")
	return r.Bundle.Write(ctx, r.Options.Output, backend.WriteOptions{
		Force:    r.Options.Force,
		Progress: func(done float64, note string) { r.Options.progress("write", done, note) },
	})
}

// lower loads and lowers: everything before placement. digest says whether the
// model's digest will be wanted.
func lower(ctx context.Context, o Options, digest bool) (r *Result, err error) {
	if o.Output == "" {
		o.Output = strings.TrimSuffix(o.Model, ".onnx") + ".split"
	}
	o.progress("profiles", -1, "")
	fleet, err := loadFleet(&o)
	if err != nil {
		return nil, err
	}
	return lowerFor(ctx, o, fleet, digest)
}

// lowerFor is lower for a fleet that is loaded.
func lowerFor(ctx context.Context, o Options, fleet *profiles.Fleet, digest bool) (r *Result, err error) {
	a, err := load(ctx, &o, digest)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.Model.Close()
		}
	}()
	o.progress("lower", -1, "")
	if o.Objective == ir.Throughput {
		fleet = fleet.Busy()
	}
	return lowerOn(ctx, o, a, fleet)
}

// lowerOn lowers an analysed model for a fleet.
func lowerOn(ctx context.Context, o Options, a *frontend.Analysis, fleet *profiles.Fleet) (*Result, error) {
	lo, err := o.lowerOptions(fleet)
	if err != nil {
		return nil, err
	}
	l, err := a.Lower(ctx, fleet, lo)
	if err != nil {
		return nil, err
	}
	r := &Result{Options: o, Fleet: fleet, Analysis: a, Lowered: l, Notes: l.Notes}
	if len(o.Place) > 0 {
		if err := r.pinPlaced(); err != nil {
			return nil, err
		}
	}
	if o.Reuse != "" {
		if err := r.reuse(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// load opens the model and analyses it.
func load(ctx context.Context, o *Options, digest bool) (*frontend.Analysis, error) {
	o.progress("read", -1, "")
	m, err := onnxfile.Open(ctx, o.Model, onnxfile.Options{MaxDepth: o.MaxDepth, MaxNodes: o.MaxNodes, MaxBytes: o.MaxStructureBytes})
	if err != nil {
		return nil, err
	}
	if digest {
		m.StartDigest()
	}
	o.progress("shapes", -1, "")
	fo := frontend.Options{Shape: o.bindings(m), MaxNodes: o.MaxNodes}
	if o.KeepFunctions {
		fo.Inline = frontend.InlineNever
	}
	a, err := frontend.Analyze(ctx, m, fo)
	if err != nil {
		m.Close()
		return nil, err
	}
	return a, nil
}

// bindings sorts --shape NAME=N out: NAME is a symbolic dimension, or else an
// input of one dimension.
func (o *Options) bindings(m *onnxfile.Model) shape.Options {
	so := shape.Options{Dims: map[string]int64{}, Inputs: map[string][]int64{}}
	symbols := map[string]bool{}
	inputs := map[string]bool{}
	for _, v := range m.Proto.GetGraph().GetInput() {
		inputs[v.GetName()] = true
		for _, d := range v.GetType().GetTensorType().GetShape().GetDim() {
			symbols[d.GetDimParam()] = true
		}
	}
	for name, extents := range o.Inputs {
		so.Inputs[name] = extents
	}
	for name, extent := range o.Dims {
		if inputs[name] && !symbols[name] {
			so.Inputs[name] = []int64{extent}
		} else {
			so.Dims[name] = extent
		}
	}
	return so
}

func loadFleet(o *Options) (*profiles.Fleet, error) {
	fleet, err := profiles.Load(o.Devices)
	if err != nil {
		return nil, err
	}
	if o.Source != "" {
		if fleet, err = fleet.WithSource(o.Source); err != nil {
			return nil, fmt.Errorf("--source: %w", err)
		}
	}
	if o.Sink != "" {
		if fleet, err = fleet.WithSink(o.Sink); err != nil {
			return nil, fmt.Errorf("--sink: %w", err)
		}
	}
	return fleet, nil
}

func (o *Options) lowerOptions(fleet *profiles.Fleet) (frontend.LowerOptions, error) {
	lo := frontend.LowerOptions{Submodels: o.submodels(), Group: passes.Groups}
	if o.KeepNodes {
		lo.Group = nil
	}
	rules := func(flag string, in []Rule) ([]frontend.Rule, error) {
		var out []frontend.Rule
		for _, r := range in {
			re, err := regexp.Compile(r.Pattern)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", flag, err)
			}
			on, err := fleet.Target(r.Processor)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", flag, err)
			}
			out = append(out, frontend.Rule{Pattern: re, On: on, Name: r.Processor})
		}
		return out, nil
	}
	var err error
	if lo.Pins, err = rules("--pin", o.Pins); err != nil {
		return lo, err
	}
	if lo.Forbids, err = rules("--forbid", o.Forbids); err != nil {
		return lo, err
	}
	if len(o.Only) > 0 {
		off := frontend.Rule{Pattern: regexp.MustCompile(""), Name: "any other"}
		kept := make([]bool, len(fleet.Processors))
		for _, name := range o.Only {
			on, err := fleet.Target(name)
			if err != nil {
				return lo, fmt.Errorf("--only: %w", err)
			}
			for _, p := range on {
				kept[p] = true
			}
		}
		for p, keep := range kept {
			if !keep {
				off.On = append(off.On, ir.ProcID(p))
			}
		}
		lo.Forbids = append(lo.Forbids, off)
	}
	for _, text := range o.Same {
		re, err := regexp.Compile(text)
		if err != nil {
			return lo, fmt.Errorf("--same: %w", err)
		}
		lo.Same = append(lo.Same, re)
	}
	return lo, nil
}

// place solves the placement problem.
func (r *Result) place(ctx context.Context) error {
	r.Options.progress("place", -1, "")
	po := r.Options.passes()
	po.LeastGain = r.Fleet.Error()
	if r.Options.LeastGain != nil {
		po.LeastGain = *r.Options.LeastGain
	}
	p, err := passes.Place(ctx, r.Lowered.Problem, po)
	if err != nil {
		return placeError(r.Options.Model, err)
	}
	r.Placement = p
	if p.Passed != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("a split into %d sub-models is predicted to gain %.1f%%, less than %.1f%%, the error of the measured costs or what was asked for: the model stays whole (--least-gain 0 splits it all the same)",
			len(p.Passed.Submodels), 100*(1-float64(p.Passed.Value())/float64(p.Plan.Value())), 100*po.LeastGain))
	}
	return nil
}

func placeError(file string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &diag.Error{File: file, Err: err}
}

func (o *Options) passes() passes.Options {
	return passes.Options{
		Objective: o.Objective, Seed: o.Seed, TimeLimit: o.TimeLimit, Workers: o.Workers,
		Auto:     !o.SkipAuto && o.submodels() != 0,
		KeepBest: o.KeepBest,
		Progress: o.searching,
	}
}

// searching says how far a placement is.
func (o *Options) searching(p passes.Progress) {
	if o.Progress == nil {
		return
	}
	var note []string
	if p.Best != 0 {
		note = append(note, "best "+p.Best.String())
		if p.Bound != 0 {
			note = append(note, fmt.Sprintf("gap %.1f%%", 100*p.Gap()))
		}
	}
	if p.Plans > 0 && p.Elapsed > rateAfter {
		note = append(note, rateText(p.PerSecond())+" plans/s")
	}
	o.Progress(Progress{Stage: "place", Step: p.Pass, Done: -1, Note: strings.Join(note, ", ")})
}

// rateAfter is the time from which on a rate means something.
const rateAfter = 100 * time.Millisecond

// rateText is a rate in SI units: "875", "12.3 k", "1.25 M".
func rateText(n float64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%.0f", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f k", n/1e3)
	}
	return fmt.Sprintf("%.2f M", n/1e6)
}

// emit describes the bundle.
func (r *Result) emit(ctx context.Context) error {
	r.Options.progress("describe", -1, "")
	recorded, err := r.Options.recorded()
	if err != nil {
		return err
	}
	r.Bundle, err = backend.Build(ctx, r.Analysis.Model, r.Lowered, r.Placement, backend.Options{ToolVersion: Version(), Recorded: recorded, Weights: r.Options.Weights})
	if err != nil {
		return err
	}
	r.Bundle.Manifest.Notes = append(r.Bundle.Manifest.Notes, r.Notes...)
	if err := ctx.Err(); err != nil {
		return err
	}
	trace, err := report.Trace(r.Lowered, r.Placement)
	if err != nil {
		return err
	}
	r.Bundle.AddFile(report.TraceFile, trace)
	if err := ctx.Err(); err != nil {
		return err
	}
	page, err := report.HTML(r.Bundle.Manifest, r.Lowered, r.Placement, report.Options{Command: r.Options.command()})
	if err != nil {
		return err
	}
	r.Bundle.AddFile(report.HTMLFile, page)
	return nil
}

// catch turns a broken invariant into an error that asks for a report. It is
// the only place that recovers.
func catch(err *error) {
	switch x := recover().(type) {
	case nil:
	case *diag.Bug:
		*err = fmt.Errorf("internal error: %w; please report it with the model's structure", x)
	default:
		panic(x)
	}
}
