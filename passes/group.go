package passes

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Runtimes run some sets of nodes as one kernel. A cut inside such a set loses the
// fusion, so it is one unit for cost and for cut. What is recognised is what ONNX
// Runtime (graph optimisation level "all"), TensorRT and OpenVINO document as
// fused: ONNX Runtime, "Graph optimizations"; TensorRT, "Types of fusions";
// OpenVINO, "Low precision transformations" and the common optimisations of its
// CPU plugin.
//
// A set is a group only if exactly one of its nodes is seen from outside: no other
// makes a value that is a graph output or that a node outside reads. So groups
// stay acyclic together: whoever depends on a group depends on that node, which
// depends on all the others, and a cycle of groups would be a cycle of nodes.
//
// The graph knows operators, operands and which operands are stored, not
// attributes: a pattern is recognised by its structure, and constants are taken
// to be what the structure has them for. What is grouped wrongly costs a little
// freedom, never correctness.

// Groups are the sets of nodes of g that runtimes fuse, disjoint, each with at
// least two nodes, ascending by first node.
func Groups(g *ir.Graph) []ir.Fusion {
	r := newGrouper(g)
	r.each(r.attention, "Softmax")
	r.each(r.norm, "Sqrt")
	r.each(r.skipNorm, "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "com.microsoft::SimplifiedLayerNormalization")
	r.each(r.gate, "Erf", "Tanh", "Sigmoid", "HardSigmoid", "Clip")
	r.deepestFirst(r.conv, "Conv", "ConvTranspose")
	r.each(r.matrix, "MatMul", "Gemm", "com.microsoft::FusedMatMul", "com.microsoft::MatMulNBits", "com.microsoft::GemmFloat8")
	r.each(r.integer, "ConvInteger", "MatMulInteger")
	r.each(r.normAct, "BatchNormalization", "InstanceNormalization")
	r.each(r.softmax, "Softmax", "LogSoftmax")
	r.quantized()
	r.layout()
	return r.result()
}

// grouper finds groups; patterns see it through the predicates below.
type grouper struct {
	g    *ir.Graph
	of   []int32 // by NodeID: index into found, -1 if in none
	mark []int32 // by NodeID: the number of the set that held it last
	gen  int32
	at   map[string][]ir.NodeID // nodes by operator

	found []found
}

// found is a group, or what is left of one that another took in: without nodes.
type found struct {
	kind  string
	nodes []ir.NodeID
	root  ir.ValueID // the one operand of a pointwise group, else NoValue
}

func newGrouper(g *ir.Graph) *grouper {
	n := g.NumNodes()
	r := &grouper{g: g, of: make([]int32, n), mark: make([]int32, n), at: map[string][]ir.NodeID{}}
	for i := range n {
		r.of[i] = -1
		op := g.Op(ir.NodeID(i))
		r.at[op] = append(r.at[op], ir.NodeID(i))
	}
	return r
}

// each calls f for the nodes of the operators, one operator after the other.
func (r *grouper) each(f func(ir.NodeID), ops ...string) {
	for _, op := range ops {
		for _, n := range r.at[op] {
			f(n)
		}
	}
}

// deepestFirst is each from the nodes with the longest path of nodes before them
// to those with the shortest: of two convolutions that an Add joins the one that
// ends the longer branch takes it, in whatever order the nodes stand.
func (r *grouper) deepestFirst(f func(ir.NodeID), ops ...string) {
	depth := make([]int32, r.g.NumNodes())
	for i := range depth {
		for _, v := range r.g.Inputs(ir.NodeID(i)) {
			if p := r.g.Producer(v); p != ir.NoNode {
				depth[i] = max(depth[i], depth[p]+1)
			}
		}
	}
	var nodes []ir.NodeID
	for _, op := range ops {
		nodes = append(nodes, r.at[op]...)
	}
	slices.SortFunc(nodes, func(a, b ir.NodeID) int {
		return cmp.Or(cmp.Compare(depth[b], depth[a]), cmp.Compare(r.g.NodeName(a), r.g.NodeName(b)))
	})
	for _, n := range nodes {
		f(n)
	}
}

func (r *grouper) result() []ir.Fusion {
	var out []ir.Fusion
	for _, f := range r.found {
		if len(f.nodes) > 0 {
			out = append(out, ir.Fusion{Kind: f.kind, Nodes: f.nodes})
		}
	}
	slices.SortFunc(out, func(a, b ir.Fusion) int { return int(a.Nodes[0]) - int(b.Nodes[0]) })
	return out
}

func (r *grouper) op(n ir.NodeID) string { return r.g.Op(n) }

func (r *grouper) is(n ir.NodeID, ops ...string) bool {
	return n != ir.NoNode && slices.Contains(ops, r.g.Op(n))
}

// free says whether n is a node that is in no group.
func (r *grouper) free(n ir.NodeID) bool { return n != ir.NoNode && r.of[n] < 0 }

// out is the value that n makes, NoValue unless it is exactly one.
func (r *grouper) out(n ir.NodeID) ir.ValueID {
	if o := r.g.Outputs(n); len(o) == 1 {
		return o[0]
	}
	return ir.NoValue
}

// in is the one value that n reads beside stored ones, NoValue if there are more or none.
func (r *grouper) in(n ir.NodeID) ir.ValueID {
	if i := r.g.Inputs(n); len(i) == 1 {
		return i[0]
	}
	return ir.NoValue
}

// stored says whether n reads one value and something stored.
func (r *grouper) stored(n ir.NodeID) bool {
	return len(r.g.Inputs(n)) == 1 && len(r.g.Weights(n)) > 0
}

// other is what a node of two operands reads beside v; NoValue if it does not.
func (r *grouper) other(n ir.NodeID, v ir.ValueID) ir.ValueID {
	switch i := r.g.Inputs(n); {
	case len(i) != 2:
	case i[0] == v:
		return i[1]
	case i[1] == v:
		return i[0]
	}
	return ir.NoValue
}

// maker is the node that makes v, NoNode for a graph input or NoValue.
func (r *grouper) maker(v ir.ValueID) ir.NodeID {
	if v == ir.NoValue {
		return ir.NoNode
	}
	return r.g.Producer(v)
}

// next is the only reader of the only value that n makes, if that value is no
// graph output; else NoNode.
func (r *grouper) next(n ir.NodeID) ir.NodeID {
	v := r.out(n)
	if v == ir.NoValue || r.g.IsOutput(v) {
		return ir.NoNode
	}
	if c := r.g.Consumers(v); len(c) == 1 {
		return c[0]
	}
	return ir.NoNode
}

// only says whether everything that n makes is read by nodes of the set alone.
func (r *grouper) only(n ir.NodeID, set []ir.NodeID) bool {
	for _, v := range r.g.Outputs(n) {
		if r.g.IsOutput(v) {
			return false
		}
		for _, c := range r.g.Consumers(v) {
			if !slices.Contains(set, c) {
				return false
			}
		}
	}
	return true
}

// scalar says whether v is a number rather than a tensor.
func (r *grouper) scalar(v ir.ValueID) bool { return r.g.Bytes(v) <= 8 }

// take makes a group of the set and the groups that nodes of it are in. It
// refuses a set of which more than one node is seen from outside.
func (r *grouper) take(kind string, set ...ir.NodeID) bool {
	var nodes []ir.NodeID
	r.gen++
	add := func(n ir.NodeID) {
		if r.mark[n] != r.gen {
			r.mark[n] = r.gen
			nodes = append(nodes, n)
		}
	}
	for _, n := range set {
		if k := r.of[n]; k >= 0 {
			for _, m := range r.found[k].nodes {
				add(m)
			}
		} else {
			add(n)
		}
	}
	exits := 0
	for _, n := range nodes {
		if r.seen(n) {
			exits++
		}
	}
	if len(nodes) < 2 || exits != 1 {
		return false
	}
	for _, n := range nodes {
		if k := r.of[n]; k >= 0 {
			r.found[k].nodes = nil
		}
		r.of[n] = int32(len(r.found))
	}
	slices.Sort(nodes)
	r.found = append(r.found, found{kind, nodes, ir.NoValue})
	return true
}

// seen says whether a node of the marked set makes what is used outside it.
func (r *grouper) seen(n ir.NodeID) bool {
	for _, v := range r.g.Outputs(n) {
		if r.g.IsOutput(v) {
			return true
		}
		for _, c := range r.g.Consumers(v) {
			if r.mark[c] != r.gen {
				return true
			}
		}
	}
	return false
}

// unit is the nodes of n's group, or n alone.
func (r *grouper) unit(n ir.NodeID) []ir.NodeID {
	if k := r.of[n]; k >= 0 {
		return r.found[k].nodes
	}
	return []ir.NodeID{n}
}

// kindOf is the kind of n's group, or n's operator.
func (r *grouper) kindOf(n ir.NodeID) string {
	if k := r.of[n]; k >= 0 {
		return r.found[k].kind
	}
	return r.op(n)
}

// joined is a kind made of the kinds of its parts.
func joined(parts ...string) string { return strings.Join(parts, "+") }
