package compiler

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// PlaceGraph places the execution graph in o.Model, a dnnsplit/graph/v1 file, or
// standard input for "-".
func PlaceGraph(ctx context.Context, o Options) (problem *ir.Problem, placement *ir.Placement, err error) {
	defer catch(&err)
	o.progress("read", -1, "")
	in, name := io.Reader(os.Stdin), "standard input"
	if o.Model != "-" {
		f, err := os.Open(o.Model)
		if err != nil {
			return nil, nil, fileError(o.Model, err)
		}
		defer f.Close()
		in, name = bufio.NewReaderSize(f, 1<<20), o.Model
	}
	problem, err = ir.ReadProblem(in, name)
	if err != nil {
		return nil, nil, err
	}
	problem.Submodels = o.submodels()
	placement, err = passes.Place(ctx, problem, o.passes())
	if err != nil {
		return nil, nil, placeError(name, err)
	}
	return problem, placement, nil
}

// Inspection is what Inspect finds: the analysed model, the graph that it is placed
// as and, if there is a fleet, the placement problem with the price of every node.
type Inspection struct {
	Analysis *frontend.Analysis
	Fleet    *profiles.Fleet // nil without Options.Devices
	Lowered  *ir.Lowered     // without Options.Devices: the graph only, no platform and no costs
	// LiveBytes is, by node of the graph, what the activations take while it runs, with
	// the whole model as one sub-model.
	LiveBytes []int64
	Notes     []string
}

// PeakActivationBytes is the largest of LiveBytes.
func (in *Inspection) PeakActivationBytes() int64 {
	return slices.Max(append([]int64{0}, in.LiveBytes...))
}

// WeightBytes are those of the model's distinct weights.
func (in *Inspection) WeightBytes() int64 {
	var sum int64
	g := in.Lowered.Problem.Graph
	for w := range ir.WeightID(g.NumWeights()) {
		sum += g.WeightBytes(w)
	}
	return sum
}

// Inspect analyses a model without placing it.
func Inspect(ctx context.Context, o Options) (in *Inspection, err error) {
	defer catch(&err)
	in = &Inspection{}
	if o.Devices != "" {
		r, err := lower(ctx, o, false)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		in.Analysis, in.Fleet, in.Lowered, in.Notes = r.Analysis, r.Fleet, r.Lowered, r.Notes
	} else {
		a, err := load(ctx, &o, false)
		if err != nil {
			return nil, err
		}
		defer a.Model.Close()
		in.Analysis, in.Notes = a, a.Notes
		if in.Lowered, err = a.Graph(ctx, frontend.LowerOptions{Group: passes.Groups}); err != nil {
			return nil, err
		}
	}
	in.LiveBytes = ir.LiveBytes(in.Lowered.Problem.Graph)
	return in, nil
}

// Lower reads and lowers a model on a fleet that is at hand instead of in a
// folder: what Compile does before placement. o.Devices does not count. The
// result has neither placement nor bundle; close it.
func Lower(ctx context.Context, o Options, fleet *profiles.Fleet) (r *Result, err error) {
	defer catch(&err)
	return lowerFor(ctx, o, fleet, false)
}

// fileError says what is wrong with a file, without the name of the system call.
func fileError(path string, err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	return &diag.Error{File: path, Err: err}
}

// fileExists says whether there is something at a path.
func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
