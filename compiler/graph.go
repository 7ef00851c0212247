package compiler

import (
	"bufio"
	"context"
	"io"
	"os"

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

// Inspection is what Inspect finds: the analysed model and, if there is a fleet,
// the placement problem with the price of every node.
type Inspection struct {
	Analysis *frontend.Analysis
	Fleet    *profiles.Fleet // nil without Options.Devices
	Lowered  *ir.Lowered     // nil without Options.Devices
	Notes    []string
}

// Inspect analyses a model without placing it.
func Inspect(ctx context.Context, o Options) (in *Inspection, err error) {
	defer catch(&err)
	if o.Devices != "" {
		r, err := lower(ctx, o)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return &Inspection{Analysis: r.Analysis, Fleet: r.Fleet, Lowered: r.Lowered, Notes: r.Notes}, nil
	}
	a, err := load(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer a.Model.Close()
	return &Inspection{Analysis: a, Notes: a.Notes}, nil
}

// fileError says what is wrong with a file, without the name of the system call.
func fileError(path string, err error) error {
	if pe, ok := err.(*os.PathError); ok {
		err = pe.Err
	}
	return &diag.Error{File: path, Err: err}
}

// fileExists says whether there is something at a path.
func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
