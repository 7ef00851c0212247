package ir

import (
	"fmt"
	"slices"
)

// Builder makes a Graph. Values and weights come first, then nodes in
// topological order; Build checks what is left to check and freezes.
// A misuse is kept and returned by Build as its first error.
type Builder struct {
	g        Graph
	nodes    map[string]NodeID
	values   map[string]ValueID
	weights  map[string]WeightID
	groups   map[string]GroupID
	produced []bool   // by ValueID: some node or the caller has made it
	reader   []NodeID // by ValueID: the last node that listed it as an input
	holder   []NodeID // by WeightID: the last node that listed it
	unique   bool     // names are known to be unique: do not keep the maps
	err      error
}

// Grow makes room for that many nodes, values and weights.
func (b *Builder) Grow(nodes, values, weights int) {
	g := &b.g
	g.nodeName, g.nodeOp = slices.Grow(g.nodeName, nodes), slices.Grow(g.nodeOp, nodes)
	g.group, g.replicable = slices.Grow(g.group, nodes), slices.Grow(g.replicable, nodes)
	for _, t := range []*[]int32{&g.inputs.start, &g.outputs.start, &g.weights.start} {
		*t = slices.Grow(*t, nodes)
	}
	g.valueName, g.producer = slices.Grow(g.valueName, values), slices.Grow(g.producer, values)
	g.bytes, g.resident = slices.Grow(g.bytes, values), slices.Grow(g.resident, values)
	g.graphInput, g.graphOutput = slices.Grow(g.graphInput, values), slices.Grow(g.graphOutput, values)
	b.produced, b.reader = slices.Grow(b.produced, values), slices.Grow(b.reader, values)
	g.weightName, g.weightBytes = slices.Grow(g.weightName, weights), slices.Grow(g.weightBytes, weights)
	b.holder = slices.Grow(b.holder, weights)
	if len(b.nodes)+len(b.values)+len(b.weights) == 0 && !b.unique {
		b.nodes, b.values = make(map[string]NodeID, nodes), make(map[string]ValueID, values)
		b.weights = make(map[string]WeightID, weights)
	}
}

// NewBuilder starts an empty graph.
func NewBuilder(name string) *Builder {
	b := &Builder{
		nodes: map[string]NodeID{}, values: map[string]ValueID{},
		weights: map[string]WeightID{}, groups: map[string]GroupID{},
	}
	b.g.Name = name
	b.g.inputs.start, b.g.outputs.start, b.g.weights.start = []int32{0}, []int32{0}, []int32{0}
	return b
}

// Value describes a value for Builder.Value.
type Value struct {
	Name          string
	Bytes         int64
	ResidentBytes int64 // what it occupies in memory; usually Bytes
	Input, Output bool  // of the graph
}

// Node describes a node for Builder.Node.
type Node struct {
	Name       string
	Op         string
	Group      string // "" if none
	Replicable bool
	Inputs     []ValueID // repeats are dropped
	Outputs    []ValueID
	Weights    []WeightID // repeats are dropped
}

func (b *Builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// Value adds a value and returns its ID.
func (b *Builder) Value(v Value) ValueID {
	id := ValueID(len(b.g.valueName))
	switch _, dup := b.values[v.Name]; {
	case v.Name == "":
		b.fail("value %d has no name", id)
	case dup:
		b.fail("value %q: its name is used twice", v.Name)
	case v.Bytes < 0 || v.ResidentBytes < 0:
		b.fail("value %q: its size is negative", v.Name)
	}
	if !b.unique {
		b.values[v.Name] = id
	}
	g := &b.g
	g.valueName = append(g.valueName, v.Name)
	g.bytes = append(g.bytes, v.Bytes)
	g.resident = append(g.resident, v.ResidentBytes)
	g.graphInput = append(g.graphInput, v.Input)
	g.graphOutput = append(g.graphOutput, v.Output)
	g.producer = append(g.producer, NoNode)
	b.produced = append(b.produced, v.Input)
	b.reader = append(b.reader, NoNode)
	return id
}

// ValueNamed looks a value up.
func (b *Builder) ValueNamed(name string) (ValueID, bool) {
	id, ok := b.values[name]
	return id, ok
}

// Weight adds a weight and returns its ID.
func (b *Builder) Weight(name string, bytes int64) WeightID {
	id := WeightID(len(b.g.weightName))
	switch _, dup := b.weights[name]; {
	case name == "":
		b.fail("weight %d has no name", id)
	case dup:
		b.fail("weight %q: its name is used twice", name)
	case bytes < 0:
		b.fail("weight %q: its size is negative", name)
	}
	if !b.unique {
		b.weights[name] = id
	}
	b.g.weightName = append(b.g.weightName, name)
	b.g.weightBytes = append(b.g.weightBytes, bytes)
	b.holder = append(b.holder, NoNode)
	return id
}

// WeightNamed looks a weight up.
func (b *Builder) WeightNamed(name string) (WeightID, bool) {
	id, ok := b.weights[name]
	return id, ok
}

// Node adds a node behind all that make its inputs and returns its ID.
func (b *Builder) Node(n Node) NodeID {
	g := &b.g
	id := NodeID(len(g.nodeName))
	switch _, dup := b.nodes[n.Name]; {
	case n.Name == "":
		b.fail("node %d has no name", id)
	case dup:
		b.fail("node %q: its name is used twice", n.Name)
	}
	if !b.unique {
		b.nodes[n.Name] = id
	}
	g.nodeName = append(g.nodeName, n.Name)
	g.nodeOp = append(g.nodeOp, n.Op)
	g.replicable = append(g.replicable, n.Replicable)
	group := NoGroup
	if n.Group != "" {
		var ok bool
		if group, ok = b.groups[n.Group]; !ok {
			group = GroupID(len(g.groupName))
			b.groups[n.Group] = group
			g.groupName = append(g.groupName, n.Group)
		}
	}
	g.group = append(g.group, group)
	for _, v := range n.Inputs {
		if !b.produced[v] {
			b.fail("node %q: its input %q is produced by no earlier node and is no graph input", n.Name, g.valueName[v])
		}
		if b.reader[v] != id {
			b.reader[v] = id
			g.inputs.data = append(g.inputs.data, v)
		}
	}
	for _, v := range n.Outputs {
		if b.produced[v] {
			b.fail("node %q: its output %q is a graph input or has another producer", n.Name, g.valueName[v])
		}
		b.produced[v] = true
		g.producer[v] = id
		g.outputs.data = append(g.outputs.data, v)
	}
	for _, w := range n.Weights {
		if b.holder[w] != id {
			b.holder[w] = id
			g.weights.data = append(g.weights.data, w)
		}
	}
	g.inputs.start = append(g.inputs.start, int32(len(g.inputs.data)))
	g.outputs.start = append(g.outputs.start, int32(len(g.outputs.data)))
	g.weights.start = append(g.weights.start, int32(len(g.weights.data)))
	return id
}

// Build freezes the graph. The Builder must not be used afterwards.
func (b *Builder) Build() (*Graph, error) {
	g := &b.g
	for v, ok := range b.produced {
		if !ok {
			b.fail("value %q: no node produces it and it is no graph input", g.valueName[v])
			break
		}
	}
	if b.err != nil {
		return nil, b.err
	}
	g.consumers = invert[NodeID](&g.inputs, len(g.valueName))
	g.members.start = make([]int32, len(g.groupName)+1)
	for _, id := range g.group {
		if id != NoGroup {
			g.members.start[id+1]++
		}
	}
	for i := range g.groupName {
		g.members.start[i+1] += g.members.start[i]
	}
	next := slices.Clone(g.members.start)
	g.members.data = make([]NodeID, g.members.start[len(g.groupName)])
	for n, id := range g.group {
		if id != NoGroup {
			g.members.data[next[id]] = NodeID(n)
			next[id]++
		}
	}
	frozen := b.g
	*b = Builder{}
	return &frozen, nil
}

// invert turns "row i lists keys" into "key lists rows", rows ascending.
func invert[R, K ~int32](t *table[K], keys int) table[R] {
	out := table[R]{start: make([]int32, keys+1), data: make([]R, len(t.data))}
	for _, k := range t.data {
		out.start[k+1]++
	}
	for k := range keys {
		out.start[k+1] += out.start[k]
	}
	next := slices.Clone(out.start)
	for r := range len(t.start) - 1 {
		for _, k := range t.row(r) {
			out.data[next[k]] = R(r)
			next[k]++
		}
	}
	return out
}
