package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// Options say what to verify and how.
type Options struct {
	Bundle  string // the bundle's folder
	Model   string // the source model; "": the manifest's, beside the bundle or in the working directory
	Engine  string // EngineORT, EngineGo, or "": ONNX Runtime, and the pure-Go engine where there is none
	Library string // ONNX Runtime's library; "": see runtime.OpenORT

	Seed   uint64 // of the generated inputs
	Trials int    // sets of inputs; 0 is 2, fewer cannot tell whether outputs depend on inputs

	Dims   map[string]int64   // extents of symbolic dimensions, by symbol
	Shapes map[string][]int64 // shapes of inputs, by input
	Hints  string             // hints file; "": the one beside the model, if there is one
	// The user's own inputs; the others are generated. Inputs wins over InputFiles,
	// InputFiles over InputSet.
	Inputs     map[string]*runtime.Value
	InputFiles map[string]string // by input: a .npy or .pb file
	InputSet   string            // an .npz file or a folder: see ReadInputs

	// Levels are the levels of graph optimisation to compare at besides Disabled.
	// nil is All; an empty list none. The pure-Go engine has none.
	Levels []runtime.Level
	// Tolerance, if positive, is the largest absolute or relative difference that
	// still counts as equal.
	Tolerance float64
	Limits    onnxfile.Options // on the model and the sub-models, where they are read here
	// Progress, if not nil, is told what is being done, a few words each time.
	Progress func(what string)

	openORT func(library string) (runtime.Engine, error) // nil is runtime.OpenORT; tests have another
}

// The engines that Options.Engine can name.
const (
	EngineORT = "onnxruntime"
	EngineGo  = "onnx-go"
)

// verification is one call of Run.
type verification struct {
	Options
	eng      runtime.Engine
	dir      string
	model    string
	manifest *backend.Manifest
	report   *Report

	feeds   []map[string]*runtime.Value
	outputs []string                    // the model's, in its order
	made    []map[string]*runtime.Value // by the sub-models, with optimisation off
}

// Run verifies a bundle. A difference is no error: Report.Equal tells. Errors
// are sentences: files that cannot be read, a model that the engine refuses or
// that does not run on the inputs. The largest memory is that of the whole
// model; it is freed before the first sub-model is loaded.
func Run(ctx context.Context, o Options) (*Report, error) {
	m, err := backend.ReadManifest(o.Bundle)
	if err != nil {
		return nil, err
	}
	v := &verification{Options: o, dir: o.Bundle, manifest: m}
	if v.model, err = backend.FindModel(o.Model, v.dir, m); err != nil {
		return nil, err
	}
	if v.Trials <= 0 {
		v.Trials = 2
	}
	if v.Levels == nil {
		v.Levels = []runtime.Level{runtime.All}
	}
	if v.Progress == nil {
		v.Progress = func(string) {}
	}
	v.report = &Report{
		Bundle: v.dir, Model: v.model, Seed: o.Seed, Tolerance: o.Tolerance,
		Inputs: []InputReport{}, Problems: []string{}, Warnings: []string{},
	}

	v.Progress("checking files")
	if v.report.Problems, err = CheckFiles(ctx, v.dir, m, v.model); err != nil {
		return nil, err
	}
	if v.report.Problems == nil {
		v.report.Problems = []string{}
	}
	if err := v.openEngine(); err != nil {
		return nil, err
	}
	v.report.Engine = v.eng.Name()
	if err := v.compare(ctx); err != nil {
		return nil, err
	}
	return v.report, nil
}

// openEngine chooses the engine.
func (v *verification) openEngine() error {
	var err error
	switch v.Engine {
	case EngineGo:
		v.eng, v.Levels = runtime.OpenGo(), nil
		return nil
	case EngineORT, "":
		open := v.openORT
		if open == nil {
			open = runtime.OpenORT
		}
		if v.eng, err = open(v.Library); err == nil || v.Engine != "" || !errors.Is(err, runtime.ErrNoLibrary) {
			return err
		}
	default:
		return fmt.Errorf("there is no engine %q, there are %s and %s", v.Engine, EngineORT, EngineGo)
	}
	pure := runtime.OpenGo()
	if cannot := pure.Check(runtime.Model{Path: v.model}); cannot != nil {
		return fmt.Errorf("%w; without it only plain models can be run: %w", err, cannot)
	}
	v.eng, v.Levels = pure, nil
	v.warnf("%v: %s was used instead", err, pure.Name())
	return nil
}

// compare runs everything and fills the report.
func (v *verification) compare(ctx context.Context) error {
	want, err := v.whole(ctx, runtime.Disabled)
	if err != nil {
		return err
	}
	v.made, err = v.split(ctx, runtime.Disabled, v.feeds)
	if err != nil {
		return err
	}
	off, err := v.level(runtime.Disabled, want, v.made)
	if err != nil {
		return err
	}
	v.report.Trials = len(v.feeds)
	if off, err = v.explain(ctx, off); err != nil {
		return err
	}
	v.report.Levels = append(v.report.Levels, *off)
	v.report.Equal = len(v.report.Problems) == 0
	for i := range off.Outputs {
		out := &off.Outputs[i]
		if out.Random {
			continue
		}
		v.report.Conclusive = v.report.Conclusive || out.Varies
		if !out.BitEqual && !(v.Tolerance > 0 && out.Diff.Within(v.Tolerance)) {
			v.report.Equal = false
		}
	}
	v.warnIfConstant(off)
	v.made = nil // memory for what follows
	for _, level := range v.Levels {
		if level == runtime.Disabled {
			continue
		}
		on, err := v.optimised(ctx, level)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			// The verdict stands; an engine can still fail on what its own optimiser
			// makes of a graph. ONNX Runtime 1.30 at level all was seen to give no value
			// for the output of a Range beside an embedding.
			v.warnf("with optimisation %s the engine fails: %v", level, err)
		default:
			v.report.Levels = append(v.report.Levels, *on)
		}
	}
	return nil
}

// optimised compares whole and split at a level of graph optimisation.
func (v *verification) optimised(ctx context.Context, level runtime.Level) (*LevelReport, error) {
	want, err := v.whole(ctx, level)
	if err != nil {
		return nil, err
	}
	made, err := v.split(ctx, level, v.feeds[:1])
	if err != nil {
		return nil, err
	}
	return v.level(level, want, made)
}

func (v *verification) warnf(format string, args ...any) {
	v.report.Warnings = append(v.report.Warnings, fmt.Sprintf(format, args...))
}

// warnIfConstant says what a comparison of constants is worth.
func (v *verification) warnIfConstant(off *LevelReport) {
	switch {
	case v.report.Conclusive || len(off.Outputs) == 0:
	case !slices.ContainsFunc(off.Outputs, func(o OutputReport) bool { return !o.Random }):
		v.warnf("nothing could be compared")
	case len(v.feeds) < 2:
		v.warnf("there was one set of inputs, so it is not known whether the outputs depend on the inputs")
	default:
		v.warnf("no output changes with the inputs, so that their agreement proves little")
	}
}

// whole runs the whole model and returns its outputs: of all feeds with
// optimisation off, of the first with it on. The first call makes the feeds.
func (v *verification) whole(ctx context.Context, level runtime.Level) ([][]*runtime.Value, error) {
	v.Progress("running the whole model, optimisation " + level.String())
	s, err := v.eng.Load(runtime.Model{Path: v.model}, runtime.Options{Optimization: level})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	if v.feeds == nil {
		return v.firstRuns(ctx, s)
	}
	got, err := s.Run(ctx, v.feeds[0])
	if err != nil {
		return nil, err
	}
	return [][]*runtime.Value{got}, nil
}

// firstRuns makes the feeds and runs the model on them.
func (v *verification) firstRuns(ctx context.Context, s runtime.Session) ([][]*runtime.Value, error) {
	for _, port := range s.Outputs() {
		v.outputs = append(v.outputs, port.Name)
	}
	hints, err := readHints(v.Hints, v.model)
	if err != nil {
		return nil, err
	}
	given, err := v.userInputs(v.model, s.Inputs())
	if err != nil {
		return nil, err
	}
	g := &generator{
		model: v.model, seed: v.Seed, ports: s.Inputs(), given: given, shapes: v.Shapes,
		hints: hints, dims: v.Dims, elemOf: v.contained(ctx),
	}
	if err := g.prepare(); err != nil {
		return nil, err
	}
	trials := v.Trials
	if !g.generated() {
		trials = 1
	}
	var want [][]*runtime.Value
	for trial := range trials {
		feed, got, err := v.trial(ctx, s, g, trial)
		if err != nil {
			return nil, err
		}
		v.feeds = append(v.feeds, feed)
		want = append(want, got)
	}
	for i, in := range g.plan {
		r := InputReport{Name: in.port.Name, Source: in.source}
		r.Dtype, r.Shape = describe(v.feeds[0][g.plan[i].port.Name])
		v.report.Inputs = append(v.report.Inputs, r)
	}
	return want, nil
}

// trial makes a set of inputs and runs the model on it. Some models take only
// inputs from [0,1): where the wider range fails, it is not used.
func (v *verification) trial(ctx context.Context, s runtime.Session, g *generator, trial int) (map[string]*runtime.Value, []*runtime.Value, error) {
	feed, err := g.make(trial, wide(trial))
	if err != nil {
		return nil, nil, err
	}
	got, err := s.Run(ctx, feed)
	if err != nil && wide(trial) && ctx.Err() == nil {
		if feed, err = g.make(trial, false); err != nil {
			return nil, nil, err
		}
		got, err = s.Run(ctx, feed)
	}
	if err == nil || ctx.Err() != nil {
		return feed, got, err
	}
	var inputs []string
	for _, in := range g.plan {
		inputs = append(inputs, fmt.Sprintf("%s %s", in.port.Name, feed[in.port.Name]))
	}
	return nil, nil, fmt.Errorf("%w (the whole model on %s inputs: %s; shapes and values can be given with --shape, --input or a file %s.hints.json)",
		err, g.sources(), joinSome(inputs), filepath.Base(v.model))
}

// split runs the sub-models.
func (v *verification) split(ctx context.Context, level runtime.Level, feeds []map[string]*runtime.Value) ([]map[string]*runtime.Value, error) {
	parts := NewParts(v.eng, v.dir, v.manifest, runtime.Options{Optimization: level})
	parts.Loading = func(i int) {
		v.Progress(fmt.Sprintf("running sub-model %s (%d of %d), optimisation %s", parts.label(i), i+1, len(v.manifest.Submodels), level))
	}
	return parts.Run(ctx, feeds)
}

// explain looks into a difference: it rounds where the split does, and finds the
// sub-model that differs.
func (v *verification) explain(ctx context.Context, off *LevelReport) (*LevelReport, error) {
	if off.BitEqual {
		return off, nil
	}
	if settled, err := v.repeat(ctx, off); err != nil || settled {
		return off, err
	}
	half, err := v.halfTensors(ctx)
	if err != nil {
		return nil, err
	}
	var culprit *Culprit
	var why string
	if len(half) > 0 {
		var want [][]*runtime.Value
		if want, culprit, why, err = v.recut(ctx); err != nil {
			return nil, err
		}
		if why != "" {
			v.warnf("float16 tensors are cut, which ONNX Runtime does not round inside a model, and the model could not be run with the same rounding: %s", why)
		} else {
			unrounded := off.Worst()
			if off, err = v.level(runtime.Disabled, want, v.made); err != nil {
				return nil, err
			}
			off.Rounded, off.Unrounded = half, &unrounded
			v.warnf("%d float16 tensors are cut, which ONNX Runtime does not round inside a model: the model was run with the same rounding (as it stands it differs by up to %.3g)", len(half), unrounded.MaxAbs)
		}
	} else {
		v.Progress("looking for the sub-model that differs")
		for _, feed := range v.feeds { // the difference may show on one of them only
			if culprit, why, err = v.locate(ctx, feed); err != nil {
				return nil, err
			}
			if culprit != nil {
				break
			}
		}
		if why != "" {
			v.warnf("the sub-model that differs could not be found: %s", why)
		}
	}
	v.report.FirstDifference = culprit
	return off, nil
}

// repeat runs the model twice on equal inputs: outputs that it does not repeat
// itself, because nodes draw random numbers, cannot be compared. settled says
// that they explain all differences.
func (v *verification) repeat(ctx context.Context, off *LevelReport) (settled bool, err error) {
	s, err := v.eng.Load(runtime.Model{Path: v.model}, runtime.Options{})
	if err != nil {
		return false, err
	}
	defer func() { _ = s.Close() }()
	var runs [2][]*runtime.Value
	for i := range runs {
		if runs[i], err = s.Run(ctx, v.feeds[0]); err != nil {
			return false, err
		}
	}
	settled = true
	var random []string
	for j := range off.Outputs {
		out := &off.Outputs[j]
		if out.Random = !Compare(runs[0][j], runs[1][j]).Equal(); out.Random {
			random = append(random, out.Tensor)
		}
		settled = settled && (out.Random || out.BitEqual)
	}
	if len(random) > 0 {
		v.warnf("the model does not repeat its own results on equal inputs, it draws random numbers: not compared are %s", joinSome(random))
	}
	return settled, nil
}

// level compares the sub-models' outputs with those of the whole model, which
// may be of the first feeds only.
func (v *verification) level(level runtime.Level, want [][]*runtime.Value, got []map[string]*runtime.Value) (*LevelReport, error) {
	from := map[string]string{}
	for _, out := range v.manifest.Outputs {
		if out.From != nil {
			from[out.Tensor] = *out.From
		}
	}
	r := &LevelReport{Level: level.String(), BitEqual: true, Outputs: []OutputReport{}, Rounded: []string{}}
	for j, name := range v.outputs {
		out := OutputReport{Tensor: name, From: from[listed(name)], Diff: Difference{First: -1}}
		out.Dtype, out.Shape = describe(want[0][j])
		for k := range got {
			made, ok := got[k][name]
			if !ok {
				return nil, &diag.Error{
					File: filepath.Join(v.dir, backend.ManifestFile), Value: name,
					Msg: "no sub-model makes this output of the model, and it is no graph input",
				}
			}
			out.Diff.merge(Compare(want[k][j], made))
			if k > 0 && !out.Varies {
				out.Varies = !Compare(want[0][j], want[k][j]).Equal()
			}
		}
		out.BitEqual = out.Diff.Equal()
		r.BitEqual = r.BitEqual && out.BitEqual
		r.Outputs = append(r.Outputs, out)
	}
	return r, nil
}

// describe is a value's type for a report.
func describe(v *runtime.Value) (dtype string, shape []int64) {
	if v.Kind != ir.Tensor {
		return v.Kind.String(), nil
	}
	return v.Elem.String(), append([]int64{}, v.Shape...)
}
