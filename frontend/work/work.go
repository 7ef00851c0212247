package work

import (
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
)

// Work is what one run of a node does. Counts saturate at math.MaxInt64.
type Work struct {
	FLOPs       int64 // arithmetic operations, a multiply-add counting two
	ReadBytes   int64 // of inputs, weights included, each once
	WriteBytes  int64 // of outputs
	WeightBytes int64 // of distinct inputs that are the same in every run

	// Elem is the type that the arithmetic is done in, for the processor's peak:
	// int8 for quantized operators, the type of the activations for 4-bit weights.
	Elem ir.ElemType

	// Kernel is the kind of a convolution, as far as runtimes compute kinds in ways
	// of different speed: "1x1" (a matrix product), "depthwise", "few channels" (of an
	// input that cannot be laid out in blocks of channels), "3x3" and "large". "" for
	// other operators.
	Kernel string

	Known   bool // false: nobody can size this operator, FLOPs are a stand-in (one an output element)
	Assumed bool // some shape or trip count is an assumption
}

// Of is the work of n, a node of s, nested graphs and function bodies included:
// of an If the costlier branch, of a loop its body as often as it runs.
//
// Views (Reshape, Squeeze, Identity and the like) move nothing: runtimes alias
// their input. Operators that pick rows (Gather, Slice) read what they pick.
func Of(s *shape.Scope, n *onnxpb.NodeProto) Work { return NewCounter().Of(s, n) }

// Counter counts the work of many nodes of one model: it remembers bodies, so that
// the nodes of a body cost nothing after the node around them was counted.
type Counter struct{ c *counter }

// NewCounter is a counter that has counted nothing.
func NewCounter() *Counter {
	return &Counter{&counter{rules: rules(), bodies: map[*shape.Scope]Work{}}}
}

// Of is what the function Of says.
func (c *Counter) Of(s *shape.Scope, n *onnxpb.NodeProto) Work { return c.c.node(s, n) }

// counter counts each body once, however many nodes call it.
type counter struct {
	rules  *ruleIndex
	bodies map[*shape.Scope]Work
}

// node is what rules read of the node to be counted.
type node struct {
	s    *shape.Scope
	n    *onnxpb.NodeProto
	ins  []shape.Value // absent ones are zero
	outs []shape.Value
	c    *counter
}

func (c *counter) node(s *shape.Scope, n *onnxpb.NodeProto) Work {
	x := &node{s: s, n: n, c: c, ins: values(s, n.Input), outs: values(s, n.Output)}
	if body := s.Call(n); body != nil {
		w := c.body(body)
		w.WeightBytes = add(w.WeightBytes, x.weightBytes())
		return w
	}
	rule, known := c.rules.find(n.GetDomain(), n.GetOpType())
	w := Work{Known: known, Elem: x.elem()}
	for _, v := range x.ins {
		w.Assumed = w.Assumed || v.Assumed
	}
	for _, v := range x.outs {
		w.Assumed = w.Assumed || v.Assumed
	}
	w.ReadBytes, w.WeightBytes = x.readBytes(), x.weightBytes()
	for _, v := range x.outs {
		w.WriteBytes = add(w.WriteBytes, v.Bytes)
	}
	if !known {
		w.FLOPs = x.outElements()
		return w
	}
	rule(x, &w)
	return w
}

func values(s *shape.Scope, names []string) []shape.Value {
	out := make([]shape.Value, len(names))
	for i, name := range names {
		out[i], _ = s.Of(name)
	}
	return out
}

// body is the work of all nodes of a graph or function, in one run.
func (c *counter) body(s *shape.Scope) Work {
	if w, ok := c.bodies[s]; ok {
		return w
	}
	sum := Work{Known: true}
	// The type that most operations are done in is that of the whole. Ties go to
	// the type that comes first.
	var flops []int64
	var elems []ir.ElemType
	for _, n := range s.Nodes() {
		w := c.node(s, n)
		sum.FLOPs = add(sum.FLOPs, w.FLOPs)
		sum.ReadBytes = add(sum.ReadBytes, w.ReadBytes)
		sum.WriteBytes = add(sum.WriteBytes, w.WriteBytes)
		sum.WeightBytes = add(sum.WeightBytes, w.WeightBytes)
		sum.Known = sum.Known && w.Known
		sum.Assumed = sum.Assumed || w.Assumed
		at := -1
		for i, e := range elems {
			if e == w.Elem {
				at = i
			}
		}
		if at < 0 {
			at = len(elems)
			elems, flops = append(elems, w.Elem), append(flops, 0)
		}
		flops[at] = add(flops[at], w.FLOPs)
	}
	most := int64(-1)
	for i, f := range flops {
		if f > most {
			most, sum.Elem = f, elems[i]
		}
	}
	c.bodies[s] = sum
	return sum
}

// elem is the type of the first input that is a tensor, of the first output if there is none.
func (x *node) elem() ir.ElemType {
	for _, v := range x.ins {
		if v.Type.Elem != ir.UndefinedElem {
			return v.Type.Elem
		}
	}
	for _, v := range x.outs {
		if v.Type.Elem != ir.UndefinedElem {
			return v.Type.Elem
		}
	}
	return ir.UndefinedElem
}

// readBytes counts each distinct input once.
func (x *node) readBytes() int64 {
	return x.inputBytes(func(string) bool { return true })
}

func (x *node) weightBytes() int64 {
	return x.inputBytes(x.s.Stored)
}

func (x *node) inputBytes(counts func(name string) bool) int64 {
	sum := int64(0)
	var seen map[string]bool
	if len(x.ins) > smallList {
		seen = make(map[string]bool, len(x.ins))
	}
	for i, name := range x.n.Input {
		if name == "" || !counts(name) {
			continue
		}
		if seen != nil {
			if seen[name] {
				continue
			}
			seen[name] = true
		} else if contains(x.n.Input[:i], name) {
			continue
		}
		sum = add(sum, x.ins[i].Bytes)
	}
	return sum
}

// smallList is up to how many names are compared one by one.
const smallList = 8

func contains(list []string, name string) bool {
	for _, s := range list {
		if s == name {
			return true
		}
	}
	return false
}

// in is input i; the zero Value if it is absent.
func (x *node) in(i int) shape.Value {
	if i < len(x.ins) {
		return x.ins[i]
	}
	return shape.Value{}
}

// has says whether input i is there.
func (x *node) has(i int) bool { return i < len(x.n.Input) && x.n.Input[i] != "" }

// out is output i; the zero Value if it is absent.
func (x *node) out(i int) shape.Value {
	if i < len(x.outs) {
		return x.outs[i]
	}
	return shape.Value{}
}

// outElements are the elements of the first output that is there.
func (x *node) outElements() int64 {
	for i, v := range x.outs {
		if x.n.Output[i] != "" {
			return v.Elements()
		}
	}
	return 0
}

// dim is extent i of v, counting from the end if negative; 1 if there is none.
func dim(v shape.Value, i int) int64 {
	if i < 0 {
		i += len(v.Dims)
	}
	if i < 0 || i >= len(v.Dims) {
		return 1
	}
	return v.Dims[i]
}

// product of extents, saturating; 1 of none.
func product(dims []int64) int64 {
	p := int64(1)
	for _, d := range dims {
		p = mul(p, d)
	}
	return p
}

func (x *node) attrInt(name string, def int64) int64 {
	if at := x.s.Attr(x.n, name); at != nil && at.I != nil {
		return at.GetI()
	}
	return def
}

func (x *node) attrInts(name string) []int64 {
	if at := x.s.Attr(x.n, name); at != nil {
		return at.Ints
	}
	return nil
}

func (x *node) attrString(name, def string) string {
	if at := x.s.Attr(x.n, name); at != nil && at.S != nil {
		return string(at.GetS())
	}
	return def
}

// add and mul are saturating; operands are not negative.
func add(x, y int64) int64 {
	if s := x + y; s >= x {
		return s
	}
	return math.MaxInt64
}

func mul(xs ...int64) int64 {
	p := int64(1)
	for _, x := range xs {
		if x <= 0 {
			return 0
		}
	}
	for _, x := range xs {
		if p > math.MaxInt64/x {
			return math.MaxInt64
		}
		p *= x
	}
	return p
}
