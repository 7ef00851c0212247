package shape

import (
	"context"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
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
func Infer(ctx context.Context, m *onnxfile.Model, o Options) (*Result, error) {
	panic("skeleton")
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
	// packed. A string counts StringBytes an element; a sequence or optional the
	// sum over its assumed elements.
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

// Elements is the number of elements with Dims, saturating.
func (v Value) Elements() int64 {
	panic("skeleton")
}

// Scope is one graph: the main graph, a graph in an attribute of a node, or the
// body of a function as one node calls it.
type Scope struct {
	nodes []*onnxpb.NodeProto
}

// Of is the value called name as nodes of this scope see it: captured values of
// outer graphs included. It is false for names that are not visible.
func (s *Scope) Of(name string) (Value, bool) { panic("skeleton") }

// Nodes are the nodes in an order in which they can run. Read-only.
func (s *Scope) Nodes() []*onnxpb.NodeProto { return s.nodes }

// Opset is the version of an operator set that the scope imports; 0 if it does
// not. "ai.onnx" and "" are the same.
func (s *Scope) Opset(domain string) int64 { panic("skeleton") }

// Since is the version in which the operator of n got the meaning that it has in
// this scope (at most Opset of its domain); 0 for an operator that is not known,
// and for a call of a function.
func (s *Scope) Since(n *onnxpb.NodeProto) int64 { panic("skeleton") }

// Attr is the attribute of n called name: inside a function a reference is
// resolved to the caller's attribute or the function's default. It is nil if absent.
func (s *Scope) Attr(n *onnxpb.NodeProto, name string) *onnxpb.AttributeProto { panic("skeleton") }

// Body is the graph in the attribute attr of n, a node of this scope; nil if n
// has no such graph.
func (s *Scope) Body(n *onnxpb.NodeProto, attr string) *Scope { panic("skeleton") }

// Call is the body of the function that n, a node of this scope, calls; nil if
// n is an operator.
func (s *Scope) Call(n *onnxpb.NodeProto) *Scope { panic("skeleton") }

// Trips is how often the body of n, a Loop or Scan of this scope, runs, with
// bindings and assumptions applied. exact is false if the count is an assumption.
func (s *Scope) Trips(n *onnxpb.NodeProto) (trips int64, exact bool) { panic("skeleton") }

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

func (n Note) String() string { panic("skeleton") }
