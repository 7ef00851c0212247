package shape

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// inferrer is the state of one inference.
type inferrer struct {
	ctx context.Context
	m   *onnxfile.Model
	o   Options
	al  *algebra
	ops *opIndex

	opsets    map[string]int64 // that the model imports
	symbols   map[string]*expr // declared by name
	bound     map[string]int64 // symbol → extent, from both kinds of binding
	usedDims  map[string]bool  // bindings of o.Dims that a symbol took
	functions map[functionKey]*onnxpb.FunctionProto
	captured  map[*onnxpb.GraphProto][]string
	memo      map[string]*calledFunction
	calling   map[*onnxpb.FunctionProto]bool
	depth     int   // of function calls and nested graphs in progress
	quiet     bool  // declarations are claims: they make no new symbols
	side      int64 // what open axes of inputs count as, but for the first axis
	empty     int   // tensors of the main graph that are empty by assumption

	notes []Note
	noted map[Note]bool
	errs  diag.List
	stop  error // ends the inference: the caller gave up, or a nested graph is cyclic

	runs     int // node inferences left beside one a node of the main graph
	reruns   int // of them, those in repeated attempts at loops
	repeated int // repeated attempts in progress
	contents int // elements of contents that may still be followed
	ticks    int
}

const (
	maxExtraRuns    = 1_000_000 // node inferences in nested graphs and function bodies
	maxReruns       = 50_000    // of these, in loops that take more than one attempt
	maxAllContents  = 8_000_000 // elements of contents over the whole model
	maxDepth        = 500       // of calls in calls
	maxErrors       = 100
	cancelCheckEach = 256 // nodes
)

func newInferrer(ctx context.Context, m *onnxfile.Model, o Options) *inferrer {
	in := &inferrer{
		ctx: ctx, m: m, o: o, al: newAlgebra(), ops: standardOps(),
		symbols: map[string]*expr{}, bound: map[string]int64{}, usedDims: map[string]bool{},
		functions: map[functionKey]*onnxpb.FunctionProto{},
		captured:  map[*onnxpb.GraphProto][]string{},
		memo:      map[string]*calledFunction{}, calling: map[*onnxpb.FunctionProto]bool{},
		noted: map[Note]bool{},
		runs:  maxExtraRuns, reruns: maxReruns, contents: maxAllContents,
	}
	for _, f := range m.Proto.Functions {
		key := functionKey{canonicalDomain(f.GetDomain()), f.GetName(), f.GetOverload()}
		if in.functions[key] == nil {
			in.functions[key] = f
		}
	}
	return in
}

func (in *inferrer) note(kind NoteKind, node *onnxpb.NodeProto, value, format string, args ...any) {
	n := Note{Kind: kind, Value: value, Text: fmt.Sprintf(format, args...)}
	if node != nil {
		n.Node = nodeLabel(node)
	}
	if !in.noted[n] {
		in.noted[n] = true
		in.notes = append(in.notes, n)
	}
}

// forget drops the notes from mark on: they came from an attempt that is repeated.
func (in *inferrer) forget(mark int) {
	for _, n := range in.notes[mark:] {
		delete(in.noted, n)
	}
	in.notes = in.notes[:mark]
}

func opsetsOf(imports []*onnxpb.OperatorSetIdProto) map[string]int64 {
	opsets := make(map[string]int64, len(imports)+1)
	for _, o := range imports {
		opsets[canonicalDomain(o.GetDomain())] = o.GetVersion()
	}
	return opsets
}

func (in *inferrer) mainGraph() (*Scope, error) {
	opsets := opsetsOf(in.m.Proto.OpsetImport)
	if len(opsets) == 0 {
		opsets[""] = 1 // models older than IR version 3 name none
	}
	in.opsets = opsets
	s := in.newScope(nil, opsets, len(in.m.Proto.Graph.Node)+len(in.m.Proto.Graph.Initializer))
	g := in.m.Proto.Graph
	in.addInputs(s, g)
	in.addInitializers(s, g, in.m.Proto.GetIrVersion() >= 4)
	return s, in.runGraph(s, g, true)
}

// newScope makes room for that many values.
func (in *inferrer) newScope(parent *Scope, opsets map[string]int64, room int) *Scope {
	return &Scope{
		parent: parent, opsets: opsets, ops: in.ops,
		values: make(map[string]*value, room), stored: map[string]bool{},
		bodies: map[bodyKey]*Scope{}, calls: map[*onnxpb.NodeProto]*Scope{}, trips: map[*onnxpb.NodeProto]*expr{},
	}
}

// addInitializers defines the stored values of g. From IR version 4 on, those that
// are inputs too are defaults that a run may replace: their contents are not known.
func (in *inferrer) addInitializers(s *Scope, g *onnxpb.GraphProto, replaceable bool) {
	for _, t := range g.Initializer {
		name := t.GetName()
		v := in.storedTensor(t)
		if declared := s.values[name]; declared != nil && replaceable {
			s.values[name] = in.withDefault(declared, v)
		} else {
			s.values[name] = v
		}
		s.stored[name] = true
	}
	for _, t := range g.SparseInitializer {
		name := t.GetValues().GetName()
		v := tensor(ir.ElemType(t.GetValues().GetDataType()), in.numbers(t.Dims)...)
		s.values[name] = v
		s.stored[name] = true
	}
}

// withDefault is a replaceable input with the extents and contents of its default
// where the declaration leaves them open: they count for sizes, but no type may
// rest on them.
func (in *inferrer) withDefault(declared, stored *value) *value {
	v := *declared
	switch {
	case declared.kind == ir.UnknownKind, !declared.ranked:
		v = *stored.withoutData()
		v.open = true
	case len(declared.dims) != len(stored.dims):
		return declared
	}
	v.dims = slices.Clone(v.dims)
	for i, d := range v.dims {
		if d.op == opSymbol && d.text == "" {
			v.dims[i] = in.al.symbol("", 0, maxExtent, stored.dims[i].val, false)
		}
	}
	if n, ok := in.followed(&v); ok && isIntegral(v.elem) {
		data := in.contentsOf(stored)
		if len(data) == n {
			v.data = make([]*expr, n)
			for i, e := range data {
				if e != nil {
					v.data[i] = in.al.symbol("", noLo, noHi, e.val, false)
				}
			}
		}
	}
	return &v
}

func (in *inferrer) numbers(ns []int64) []*expr {
	out := make([]*expr, len(ns))
	for i, n := range ns {
		out[i] = in.al.n(n)
	}
	return out
}

// runGraph infers the nodes of g in s, whose inputs are there already.
func (in *inferrer) runGraph(s *Scope, g *onnxpb.GraphProto, main bool) error {
	declared := make(map[string]*onnxpb.TypeProto, len(g.ValueInfo)+len(g.Output))
	for _, v := range g.ValueInfo {
		declared[v.GetName()] = v.Type
	}
	for _, v := range g.Output {
		declared[v.GetName()] = v.Type
		s.outputs = append(s.outputs, v.GetName())
	}
	return in.runNodes(s, g.Node, declared, main)
}

func (in *inferrer) runNodes(s *Scope, nodes []*onnxpb.NodeProto, declared map[string]*onnxpb.TypeProto, main bool) error {
	nodes, err := in.order(nodes)
	if err != nil {
		return err
	}
	s.nodes = nodes
	for _, n := range nodes {
		if err := in.step(main); err != nil {
			return err
		}
		in.node(s, n, declared)
		if in.stop != nil {
			return in.stop
		}
	}
	return nil
}

// step accounts for one node; it fails when the caller gave up.
func (in *inferrer) step(main bool) error {
	if !main {
		in.runs--
	}
	if in.repeated > 0 {
		in.reruns--
	}
	if in.ticks++; in.ticks%cancelCheckEach == 0 && in.stop == nil {
		in.stop = in.ctx.Err()
	}
	return in.stop
}

// node infers the outputs of n.
func (in *inferrer) node(s *Scope, n *onnxpb.NodeProto, declared map[string]*onnxpb.TypeProto) {
	mark := len(in.notes)
	c := &call{in: in, s: s, n: n, al: in.al, ins: make([]*value, len(n.Input)), outs: make([]*value, len(n.Output))}
	for i, name := range n.Input {
		if name == "" {
			continue
		}
		if v := s.lookup(name); v != nil {
			c.ins[i] = v
		} else if !s.isAbsent(name) {
			c.ins[i] = unknown()
		}
	}
	if f := in.functions[functionKey{canonicalDomain(n.GetDomain()), n.GetOpType(), n.GetOverload()}]; f != nil {
		c.callFunction(f)
	} else if entry := in.ops.find(n.GetDomain(), n.GetOpType()); entry != nil {
		c.since = entry.sinceAt(s.Opset(n.GetDomain()))
		c.opset = s.Opset(n.GetDomain())
		c.checkRequired()
		entry.infer(c)
	} else {
		first := ""
		if len(n.Output) > 0 {
			first = n.Output[0]
		}
		in.note(UnknownOp, n, first, "operator %s is not known: its outputs have the types that the model declares for them, if any", opName(n))
	}
	// Graphs and functions hand on what their inner nodes found.
	inherit := len(s.bodies) == 0 || s.bodies[bodyKey{n, "body"}] == nil && s.bodies[bodyKey{n, "then_branch"}] == nil
	inherit = inherit && s.calls[n] == nil
	fixed := inherit && c.fixed()
	for i, name := range n.Output {
		if name == "" {
			continue
		}
		if fixed {
			s.stored[name] = true
		}
		v := c.outs[i]
		if v == nil {
			v = unknown()
		}
		v = c.limit(v)
		if inherit && v.isTensor() {
			v = c.inherited(v)
		}
		if t := declared[name]; t != nil {
			v = in.reconcile(n, name, v, t, mark)
		}
		in.checkExtents(s, n, name, v)
		if v.kind == ir.UnknownKind || v.isTensor() && (v.elem == ir.UndefinedElem || !v.ranked) {
			c.noteUnknown(name, v)
		}
		s.values[name] = v
	}
}

// fixed says whether the outputs are the same in every run.
func (c *call) fixed() bool {
	switch c.n.GetOpType() {
	case "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout":
		return false
	}
	for _, name := range c.n.Input {
		if name != "" && !c.s.Stored(name) {
			return false
		}
	}
	return c.s.ops.find(c.n.GetDomain(), c.n.GetOpType()) != nil
}

// inherited is the output v of a node some of whose inputs rest on assumptions:
// so does v.
func (c *call) inherited(v *value) *value {
	open, assumed := v.open, v.assumed
	for _, x := range c.ins {
		if x != nil {
			open, assumed = open || x.open, assumed || x.assumed
		}
	}
	if open == v.open && assumed == v.assumed {
		return v
	}
	w := *v
	w.open, w.assumed, w.public = open, assumed, nil
	return &w
}

// checkExtents notes extents that come out negative with the bound shapes, and
// counts tensors that only assumptions make empty.
func (in *inferrer) checkExtents(s *Scope, n *onnxpb.NodeProto, name string, v *value) {
	for i, d := range v.dims {
		if d.isConst() || d.val > 0 || s.dead {
			continue
		}
		if d.val < 0 {
			in.note(Contradiction, n, name, "with the bound and assumed shapes extent %d would be %d: it counts as 0; bind larger shapes", i, d.val)
		}
		if d.assumed && d.op != opSymbol {
			in.empty++
		}
		return
	}
}

func opName(n *onnxpb.NodeProto) string {
	if d := canonicalDomain(n.GetDomain()); d != "" {
		return d + "::" + n.GetOpType()
	}
	return n.GetOpType()
}

// noteUnknown reports an output that could not be inferred, unless that only
// follows from an input that could not.
func (c *call) noteUnknown(name string, v *value) {
	for _, x := range c.ins {
		if x != nil && (x.kind == ir.UnknownKind || x.isTensor() && (!x.ranked || x.elem == ir.UndefinedElem)) {
			return
		}
	}
	switch {
	case v.kind == ir.UnknownKind || v.elem == ir.UndefinedElem:
		c.in.note(UnknownType, c.n, name, "type and shape cannot be inferred: it counts as one element of %d bytes", unknownElemBytes)
	default:
		c.in.note(UnknownType, c.n, name, "the rank cannot be inferred: it counts as one element")
	}
}

// limit drops what hostile models could blow up.
func (c *call) limit(v *value) *value {
	if v.ranked && len(v.dims) > maxRank {
		c.in.note(Truncated, c.n, "", "a tensor of rank %d is more than is followed: its shape counts as unknown", len(v.dims))
		return unranked(v.elem)
	}
	if len(v.data) > 0 {
		if len(v.data) > maxContents {
			return v.withoutData()
		}
		if c.in.contents -= len(v.data); c.in.contents < 0 {
			return v.withoutData()
		}
	}
	return v
}

// steering says whether contents of stored tensors of type e are worth publishing:
// axes, shapes, counts and conditions have these types.
func steering(e ir.ElemType) bool { return e == ir.Int64 || e == ir.Int32 || e == ir.Bool }

// publish makes the public face of every value, once each.
func (in *inferrer) publish(s *Scope) {
	in.contents = math.MaxInt // what is decoded now is no more than the file holds
	seen := map[*Scope]bool{}
	stack := []*Scope{s}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		for _, v := range s.values {
			if v.public != nil {
				continue
			}
			if v.tensor != nil && steering(v.elem) {
				v.data = in.contentsOf(v)
			}
			v.publish()
		}
		for _, b := range s.bodies {
			stack = append(stack, b)
		}
		for _, b := range s.calls {
			stack = append(stack, b)
		}
	}
}
