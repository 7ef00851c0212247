package shape

import (
	"context"
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// Options bind what a model leaves open. Names that the model does not have are errors.
type Options struct {
	Dims   map[string]int64   // symbol → extent, ≥ 0
	Inputs map[string][]int64 // graph input → shape; must agree with what the model declares
}

// Result is what is known of the values of a model. It is immutable and safe
// for concurrent use.
type Result struct {
	main  *Scope
	notes []Note
}

// Infer works on the main graph, the graphs nested in it and the functions that it
// calls. Nodes may stand in any order. What ONNX forbids (an axis out of range, a
// stride of zero, a cycle) is an error, a *diag.Error or diag.List of them naming
// node and value; what merely cannot be known, and what contradicts a declared
// type, is a Note.
//
// Symbols that o does not bind count as 1. If that makes tensors empty, as the
// windows of a convolution do that do not fit an image of one pixel, those other
// than batches count as 224, the side of the images that most networks take.
func Infer(ctx context.Context, m *onnxfile.Model, o Options) (*Result, error) {
	r, empty, err := inferWith(ctx, m, o, assumedExtent)
	if err != nil || empty == 0 {
		return r, err
	}
	wide, stillEmpty, err := inferWith(ctx, m, o, assumedSide)
	if err != nil || stillEmpty < empty {
		return wide, err
	}
	return r, nil
}

// inferWith infers with the given extent for open axes of inputs. empty is how
// many tensors have no elements for no other reason than what was assumed.
func inferWith(ctx context.Context, m *onnxfile.Model, o Options, side int64) (r *Result, empty int, err error) {
	in := newInferrer(ctx, m, o)
	in.side = side
	if m.Proto.GetGraph() == nil {
		return nil, 0, &diag.Error{File: m.Path, Msg: "the model has no graph"}
	}
	if err := in.bindInputs(m.Proto.Graph); err != nil {
		return nil, 0, err
	}
	main, err := in.mainGraph()
	if err != nil {
		return nil, 0, err
	}
	if err := in.errs.Err(); err != nil {
		return nil, 0, err
	}
	if err := in.checkOptions(); err != nil {
		return nil, 0, err
	}
	in.publish(main)
	return &Result{main: main, notes: in.notes}, in.empty, nil
}

// Main is the scope of the main graph.
func (r *Result) Main() *Scope { return r.main }

// Of is the value of the main graph called name, initializers included. It is
// false for names that the graph does not define.
func (r *Result) Of(name string) (Value, bool) { return r.main.Of(name) }

// Notes are diagnostics and stated assumptions, in the order in which they arose;
// each assumption and each finding stands once.
func (r *Result) Notes() []Note { return r.notes }

// Value is what is known of a value.
type Value struct {
	// Type holds for every run: extents that depend on inputs are symbols or
	// expressions, bindings are not applied, and what cannot be known is unknown.
	Type ir.Type

	// Dims are the extents of a tensor with the bindings and assumptions applied;
	// nil for anything that is not a tensor. A tensor of unknown rank counts as
	// one of shape [1], Assumed.
	Dims []int64

	// Bytes is the size with Dims, saturating at math.MaxInt64, sub-byte types
	// packed. A string counts StringBytes an element; a sequence the sum over its
	// elements, one if their number is unknown; an optional or map what it holds.
	Bytes int64

	// Assumed says that Dims or Bytes rest on an assumption (see Result.Notes).
	Assumed bool

	// Const says that Ints are the same in every run.
	Const bool

	// Ints are the contents in row-major order, bindings and assumptions applied,
	// of a small integer or bool tensor all of whose elements are known; else nil.
	// Read-only.
	Ints []int64
}

// StringBytes is the assumed size of an element of a string tensor.
const StringBytes = 16

// Note is something that the user should know about what was inferred.
type Note struct {
	Kind  NoteKind
	Node  string // the node's name, or its operator and first output; "" if it concerns no node
	Value string // the value or symbol; "" if it concerns none
	Text  string // one sentence; lower case, no full stop
}

// NoteKind names a kind of note.
type NoteKind string

const (
	// AssumedSymbol: a symbol is not bound and counts as the stated extent.
	AssumedSymbol NoteKind = "assumed-symbol"
	// DataDependent: an extent depends on contents and counts as stated.
	DataDependent NoteKind = "data-dependent"
	// UnknownType: type or rank of a value cannot be inferred.
	UnknownType NoteKind = "unknown-type"
	// UnknownOp: an operator that this package does not know.
	UnknownOp NoteKind = "unknown-op"
	// Contradiction: what the model declares or requires differs from what was inferred.
	Contradiction NoteKind = "contradiction"
	// Truncated: work was cut short by a limit that protects against hostile models.
	Truncated NoteKind = "truncated"
)

func (n Note) String() string {
	s := string(n.Kind) + ": "
	if n.Node != "" {
		s += fmt.Sprintf("node %q: ", n.Node)
	}
	if n.Value != "" {
		s += fmt.Sprintf("%q: ", n.Value)
	}
	return s + n.Text
}
