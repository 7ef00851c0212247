package shape

import (
	"math"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// Scope is one graph: the main graph, a graph in an attribute of a node, or the
// body of a function as one node calls it.
type Scope struct {
	parent  *Scope // whose values are visible too; nil for the main graph and functions
	nodes   []*onnxpb.NodeProto
	values  map[string]*value
	stored  map[string]bool // names of values of this graph that no input changes
	opsets  map[string]int64
	attrs   map[string]*onnxpb.AttributeProto // of a function: its attributes as called; nil elsewhere
	bodies  map[bodyKey]*Scope
	calls   map[*onnxpb.NodeProto]*Scope
	trips   map[*onnxpb.NodeProto]*expr
	ops     *opIndex
	dead    bool // some runs, or all, never reach this graph
	outputs []string
	absent  map[string]bool // inputs of a function that its caller leaves out
}

type bodyKey struct {
	node *onnxpb.NodeProto
	attr string
}

// lookup is the value called name, nil if it is not visible or not inferred yet.
func (s *Scope) lookup(name string) *value {
	for ; s != nil; s = s.parent {
		if v := s.values[name]; v != nil {
			return v
		}
	}
	return nil
}

// isAbsent says whether name is a parameter that the caller of the function leaves out.
func (s *Scope) isAbsent(name string) bool {
	for ; s != nil; s = s.parent {
		if s.absent[name] {
			return true
		}
	}
	return false
}

// Of is the value called name as nodes of this scope see it: captured values of
// outer graphs included. It is false for names that are not visible.
func (s *Scope) Of(name string) (Value, bool) {
	if s == nil || name == "" {
		return Value{}, false
	}
	v := s.lookup(name)
	if v == nil {
		return Value{}, false
	}
	return *v.public, true
}

// Stored says whether name is the same in every run: an initializer, a constant,
// or computed from such alone. Defaults of inputs count as stored.
func (s *Scope) Stored(name string) bool {
	for ; s != nil; s = s.parent {
		if s.values[name] != nil {
			return s.stored[name]
		}
	}
	return false
}

// Nodes are the nodes in an order in which they can run. Read-only.
func (s *Scope) Nodes() []*onnxpb.NodeProto { return s.nodes }

// Outputs are the names of the graph's or function's outputs. Read-only.
func (s *Scope) Outputs() []string { return s.outputs }

// Opset is the version of an operator set that the scope imports; 0 if it does
// not. "ai.onnx" and "" are the same.
func (s *Scope) Opset(domain string) int64 { return s.opsets[canonicalDomain(domain)] }

// Since is the version in which the operator of n got the meaning that it has in
// this scope (at most Opset of its domain); 0 for an operator that is not known,
// and for a call of a function.
func (s *Scope) Since(n *onnxpb.NodeProto) int64 {
	if s.calls[n] != nil {
		return 0
	}
	if entry := s.ops.find(n.GetDomain(), n.GetOpType()); entry != nil {
		return entry.sinceAt(s.Opset(n.GetDomain()))
	}
	return 0
}

// Attr is the attribute of n called name: inside a function a reference is
// resolved to the caller's attribute or the function's default. It is nil if absent.
func (s *Scope) Attr(n *onnxpb.NodeProto, name string) *onnxpb.AttributeProto {
	for _, at := range n.Attribute {
		if at.GetName() != name {
			continue
		}
		if ref := at.GetRefAttrName(); ref != "" {
			for t := s; t != nil; t = t.parent {
				if t.attrs != nil {
					return t.attrs[ref]
				}
			}
			return nil
		}
		return at
	}
	return nil
}

// Body is the graph in the attribute attr of n, a node of this scope; nil if n
// has no such graph, or if it was not inferred (see Truncated).
func (s *Scope) Body(n *onnxpb.NodeProto, attr string) *Scope { return s.bodies[bodyKey{n, attr}] }

// Call is the body of the function that n, a node of this scope, calls; nil if
// n is an operator.
func (s *Scope) Call(n *onnxpb.NodeProto) *Scope { return s.calls[n] }

// Trips is how often the body of n, a Loop or Scan of this scope, runs, with
// bindings and assumptions applied. exact is false if the count is an assumption.
func (s *Scope) Trips(n *onnxpb.NodeProto) (trips int64, exact bool) {
	e := s.trips[n]
	if e == nil {
		return assumedTrips, false
	}
	return max(e.val, 0), !e.assumed
}

// assumedTrips is how often a loop of unknown trip count runs.
const assumedTrips = 1

func canonicalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// Elements is the number of elements with Dims, saturating.
func (v Value) Elements() int64 {
	if v.Dims == nil {
		return 0
	}
	return saturatedProduct(v.Dims)
}

// clampInt32 keeps counts that become slice lengths sane.
func clampInt(n int64) int {
	return int(min(max(n, 0), math.MaxInt32))
}
