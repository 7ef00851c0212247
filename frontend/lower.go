package frontend

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// LowerOptions steer a lowering.
type LowerOptions struct {
	Submodels int    // as ir.Problem.Submodels
	Pins      []Rule // nodes that match run on the processor only
	Forbids   []Rule // nodes that match do not run on the processor
	Same      []*regexp.Regexp
	// Group finds the sets of nodes that runtimes fuse, disjoint and acyclic
	// together; each becomes one node of the graph. nil: none.
	Group func(*ir.Graph) []ir.Fusion
}

// Rule binds the nodes whose name matches to processors.
type Rule struct {
	Pattern *regexp.Regexp
	On      []ir.ProcID
	Name    string // of the processor or device that was meant, for errors
}

// Lower makes the placement problem of an analysed model on a fleet.
func (a *Analysis) Lower(ctx context.Context, fleet *profiles.Fleet, o LowerOptions) (*ir.Lowered, error) {
	lw := &lowering{a: a}
	if err := lw.graph(ctx, o); err != nil {
		return nil, err
	}
	l := lw.lowered
	l.Problem.Platform = fleet.Platform
	l.Problem.Submodels = o.Submodels
	if err := lw.price(ctx, fleet, o); err != nil {
		return nil, err
	}
	if err := l.Problem.Validate(); err != nil {
		return nil, &diag.Error{File: a.File, Msg: err.Error()}
	}
	l.Notes = append(l.Notes, a.Notes...)
	return l, nil
}

// Graph is Lower without a fleet: the graph and the units that its nodes stand for,
// but no platform, no costs and no sources.
func (a *Analysis) Graph(ctx context.Context, o LowerOptions) (*ir.Lowered, error) {
	lw := &lowering{a: a}
	if err := lw.graph(ctx, o); err != nil {
		return nil, err
	}
	return lw.lowered, nil
}

// graph decides on units and builds the graph of them.
func (lw *lowering) graph(ctx context.Context, o LowerOptions) error {
	lw.connect()
	lw.cluster()
	if err := lw.build(ctx, o); err != nil {
		return err
	}
	if o.Group != nil && lw.fuse(o.Group(lw.lowered.Problem.Graph)) {
		if err := lw.build(ctx, o); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// lowering is the state of one Lower call.
type lowering struct {
	a *Analysis

	readers map[string][]int32 // value → placed nodes that read it: indices into a.Nodes, ascending
	maker   map[string]int32   // value → placed node that makes it
	units   [][]int32          // nodes that are one node of the graph: indices into a.Nodes, ascending
	unitOf  []int32            // by index into a.Nodes: its unit
	kinds   []string           // by unit: the kind of fused ones, else ""

	b       *ir.Builder
	weights map[string]ir.WeightID      // by the value that is stored
	bodies  map[functionKey]ir.WeightID // what functions store, -1 for nothing
	values  map[string]ir.ValueID
	same    []int // by index into a.Nodes: the --same pattern that it matches, -1 if none
	lowered *ir.Lowered
}

// build makes the graph: values, weights and one node for each unit.
func (lw *lowering) build(ctx context.Context, o LowerOptions) error {
	a, s := lw.a, lw.a.s
	lw.b = ir.NewBuilder(s.graph.GetName())
	lw.b.Grow(len(lw.units), len(lw.maker), len(s.stored))
	lw.values, lw.weights = make(map[string]ir.ValueID, len(lw.maker)), make(map[string]ir.WeightID, len(s.stored))
	lw.bodies = map[functionKey]ir.WeightID{}
	l := &ir.Lowered{}
	lw.lowered = l
	if err := lw.matchSame(o.Same); err != nil {
		return err
	}
	isOutput := map[string]bool{}
	for _, v := range s.outputs {
		isOutput[v] = true
	}
	value := func(name string, input bool) ir.ValueID {
		if id, ok := lw.values[name]; ok {
			return id
		}
		v := a.value(name)
		id := lw.b.Value(ir.Value{
			Name: name, Bytes: v.Bytes, ResidentBytes: v.Bytes,
			Input: input, Output: isOutput[name],
		})
		lw.values[name] = id
		l.Types = append(l.Types, v.Type)
		return id
	}
	for _, v := range s.graph.GetInput() {
		if s.inputs[v.GetName()] {
			value(v.GetName(), true)
		}
	}
	pure := &purity{s: s, functions: map[functionKey]bool{}}
	for u, unit := range lw.units {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := ir.Node{Name: a.Nodes[unit[0]].Name, Op: lw.kind(int32(u)), Replicable: true}
		if lw.kinds[u] != "" {
			n.Name = a.Nodes[a.lead(unit)].Name
		}
		var members []int32
		for _, k := range unit {
			info := &a.Nodes[k]
			members = append(members, info.Index)
			n.Replicable = n.Replicable && pure.node(info.proto)
			for _, in := range s.reads[info.Index] {
				switch {
				case lw.madeIn(in, int32(u)):
				case s.isConstant(in, a.roles):
					n.Weights = append(n.Weights, lw.weight(in))
				default:
					n.Inputs = append(n.Inputs, value(in, s.inputs[in]))
				}
			}
			n.Weights = append(n.Weights, lw.ownWeights(info)...)
			if lw.same[k] >= 0 {
				n.Group = fmt.Sprintf("same %d", lw.same[k]+1)
			}
		}
		for _, k := range unit {
			for _, out := range a.Nodes[k].proto.GetOutput() {
				if out == "" || (len(unit) > 1 && !isOutput[out] && !lw.leaves(out, int32(u))) {
					continue
				}
				n.Outputs = append(n.Outputs, value(out, false))
			}
		}
		slices.Sort(members)
		names := make([]string, len(members))
		for i, index := range members {
			names[i] = a.Nodes[a.at[index]].Name
		}
		l.MemberNames = append(l.MemberNames, names)
		lw.b.Node(n)
		l.Members = append(l.Members, members)
		l.Fused = append(l.Fused, lw.kinds[u] != "")
	}
	lw.carryConstants(isOutput)
	g, err := lw.b.Build()
	if err != nil {
		diag.Bugf("lowering made an invalid graph: %v", err)
	}
	l.Problem = &ir.Problem{Graph: g}
	return nil
}

// madeIn says whether a node of the unit makes the value.
func (lw *lowering) madeIn(value string, unit int32) bool {
	k, ok := lw.maker[value]
	return ok && lw.unitOf[k] == unit
}

// leaves says whether a node outside the unit reads the value.
func (lw *lowering) leaves(value string, unit int32) bool {
	for _, reader := range lw.readers[value] {
		if lw.unitOf[reader] != unit {
			return true
		}
	}
	return false
}

// carryConstants adds a node without members that carries the graph outputs that
// are stored or computed from stored values only.
func (lw *lowering) carryConstants(isOutput map[string]bool) {
	a, s := lw.a, lw.a.s
	n := ir.Node{Name: "(constant outputs)", Op: "(constants)"}
	for _, info := range a.Nodes {
		for info.Name == n.Name {
			n.Name += "'"
		}
	}
	for _, v := range s.outputs {
		if _, seen := lw.values[v]; seen || !s.isConstant(v, a.roles) {
			continue
		}
		size := a.value(v)
		id := lw.b.Value(ir.Value{Name: v, Bytes: size.Bytes, ResidentBytes: size.Bytes, Output: isOutput[v]})
		lw.values[v] = id
		lw.lowered.Types = append(lw.lowered.Types, size.Type)
		n.Outputs = append(n.Outputs, id)
		n.Weights = append(n.Weights, lw.weight(v))
	}
	if len(n.Outputs) > 0 {
		lw.b.Node(n)
		lw.lowered.Members = append(lw.lowered.Members, nil)
		lw.lowered.MemberNames = append(lw.lowered.MemberNames, nil)
		lw.lowered.Fused = append(lw.lowered.Fused, false)
		lw.lowered.Notes = append(lw.lowered.Notes, diag.Count(len(n.Outputs), "graph output depends", "graph outputs depend")+" on stored values only; one sub-model carries them")
	}
}

// weight is the weight that a constant value is. Dequantized weights count in
// their stored form: runtimes keep them so and fuse the dequantization.
func (lw *lowering) weight(name string) ir.WeightID {
	s, at := lw.a.s, name
	for {
		p, ok := s.producer[at]
		if !ok {
			break
		}
		n := s.graph.GetNode()[p]
		if n.GetOpType() != "DequantizeLinear" || len(n.GetInput()) == 0 {
			break
		}
		at = n.GetInput()[0]
	}
	if id, ok := lw.weights[at]; ok {
		return id
	}
	id := lw.b.Weight(lw.weightName(at), lw.a.value(at).Bytes)
	lw.weights[at] = id
	return id
}

// ownWeights are the weights inside a node's attributes and inside the functions it calls.
func (lw *lowering) ownWeights(info *NodeInfo) []ir.WeightID {
	if !info.Atomic {
		return nil
	}
	var ids []ir.WeightID
	if size := nestedBytes(lw.a.Model, info.proto); size > 0 {
		ids = append(ids, lw.b.Weight(lw.weightName("in "+info.Name), size))
	}
	s := lw.a.s
	done := map[functionKey]bool{}
	todo := s.calls([]*onnxpb.NodeProto{info.proto})
	for len(todo) > 0 {
		k := todo[0]
		todo = todo[1:]
		if done[k] {
			continue
		}
		done[k] = true
		id, ok := lw.bodies[k]
		if !ok {
			var size int64
			for _, n := range s.functions[k].GetNode() {
				size = saturate(size, nestedBytes(lw.a.Model, n))
			}
			id = -1
			if size > 0 {
				id = lw.b.Weight(lw.weightName("in function "+k.String()), size)
			}
			lw.bodies[k] = id
		}
		if id >= 0 {
			ids = append(ids, id)
		}
		todo = append(todo, s.calls(s.functions[k].GetNode())...)
	}
	return ids
}

func (lw *lowering) weightName(want string) string {
	for i := 1; ; i++ {
		name := want
		if i > 1 || name == "" {
			name = fmt.Sprintf("%s~%d", want, i)
		}
		if _, taken := lw.b.WeightNamed(name); !taken {
			return name
		}
	}
}

// matchSame gives every node that a --same pattern matches the pattern's number.
// A node that several patterns match ties those patterns together.
func (lw *lowering) matchSame(patterns []*regexp.Regexp) error {
	lw.same = make([]int, len(lw.a.Nodes))
	root := make([]int, len(patterns))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			i = root[i]
		}
		return i
	}
	hits := make([]int, len(patterns))
	for k := range lw.a.Nodes {
		lw.same[k] = -1
		for i, p := range patterns {
			if !p.MatchString(lw.a.Nodes[k].Name) {
				continue
			}
			hits[i]++
			if lw.same[k] < 0 {
				lw.same[k] = i
			} else if a, b := find(lw.same[k]), find(i); a != b {
				root[max(a, b)] = min(a, b)
			}
		}
	}
	for k, i := range lw.same {
		if i >= 0 {
			lw.same[k] = find(i)
		}
	}
	for i, p := range patterns {
		if hits[i] == 0 {
			return &diag.Error{File: lw.a.File, Msg: fmt.Sprintf("--same %q matches no node; `dnnsplit inspect` lists the names", p)}
		}
	}
	return nil
}
