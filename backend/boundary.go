package backend

import (
	"cmp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// nodeRole says why a sub-model holds a node.
type nodeRole uint8

const (
	owned    nodeRole = iota // the plan gives it to this sub-model
	replica                  // a copy of a node that another sub-model owns
	constant                 // depends on stored values only; every user has a copy
)

// part is one sub-model of the plan in terms of the model.
type part struct {
	plan  int // index in Plan.Submodels
	nodes []int32
	roles []nodeRole // by position in nodes

	inputs  []valueID // what it needs from outside: graph inputs, then the outputs of other parts
	outputs []valueID // what others need or the graph puts out
	dense   []int32   // initializers, ascending
	sparse  []int32   // sparse initializers, ascending
	values  []valueID // everything in it, ascending
	notes   []int32   // quantization annotations, ascending
}

// count is the number of nodes of one role.
func (p *part) count(r nodeRole) int {
	n := 0
	for _, q := range p.roles {
		if q == r {
			n++
		}
	}
	return n
}

// cut is a model cut by a plan: who holds what, and what travels.
type cut struct {
	x         *index
	l         *ir.Lowered
	plan      *ir.Plan
	parts     []*part             // by index in Plan.Submodels
	owner     []ir.NodeID         // by model node; ir.NoNode if it is constant or dead
	partOf    []int32             // by ir.NodeID: the part that owns it
	carrier   map[valueID]int32   // constants that are graph outputs: the part that puts them out
	consumers map[valueID][]int32 // values that leave their part: the parts that need them, ascending
	values    []ir.ValueID        // by valueID; noValue if the graph has no such value
}

const noValue ir.ValueID = -1

// newCut works out the boundary of every sub-model. The plan must be feasible and
// belong to l, and l to the model: anything else is a fault of the compiler.
func newCut(x *index, l *ir.Lowered, plan *ir.Plan) *cut {
	c := &cut{x: x, l: l, plan: plan, carrier: map[valueID]int32{}, consumers: map[valueID][]int32{}}
	c.assign()
	nodeIn := make([]int32, len(x.reads))  // by node: 1 + the last part that took it in
	valueIn := make([]int32, len(x.names)) // by valueID, likewise
	for i := range plan.Submodels {
		g := gatherer{c: c, p: &part{plan: i}, stamp: int32(i) + 1, nodeIn: nodeIn, valueIn: valueIn}
		g.gather(plan.Submodels[i])
		c.parts = append(c.parts, g.p)
	}
	c.connect()
	return c
}

// assign maps model nodes to plan nodes, plan nodes to parts and values to those of the graph.
func (c *cut) assign() {
	g := c.l.Problem.Graph
	if len(c.l.Members) != g.NumNodes() || len(c.l.Types) != g.NumValues() {
		diag.Bugf("the lowered graph has %d nodes and %d values, but members of %d and types of %d", g.NumNodes(), g.NumValues(), len(c.l.Members), len(c.l.Types))
	}
	c.owner = make([]ir.NodeID, len(c.x.reads))
	for i := range c.owner {
		c.owner[i] = ir.NoNode
	}
	for n, members := range c.l.Members {
		for _, i := range members {
			if i < 0 || int(i) >= len(c.owner) || c.owner[i] != ir.NoNode {
				diag.Bugf("node %q stands for node %d of the model, which does not exist or belongs to another", g.NodeName(ir.NodeID(n)), i)
			}
			c.owner[i] = ir.NodeID(n)
		}
	}
	c.partOf = make([]int32, g.NumNodes())
	for i := range c.partOf {
		c.partOf[i] = -1
	}
	for i, s := range c.plan.Submodels {
		for _, n := range s.Nodes {
			if c.partOf[n] >= 0 {
				diag.Bugf("the plan has node %q in two sub-models", g.NodeName(n))
			}
			c.partOf[n] = int32(i)
		}
	}
	for n, i := range c.partOf {
		if i < 0 {
			diag.Bugf("the plan has node %q in no sub-model", g.NodeName(ir.NodeID(n)))
		}
	}
	c.values = make([]ir.ValueID, len(c.x.names))
	for i := range c.values {
		c.values[i] = noValue
	}
	for v := range g.NumValues() {
		if id, ok := c.x.ids[g.ValueName(ir.ValueID(v))]; ok {
			c.values[id] = ir.ValueID(v)
		}
	}
}

// gatherer collects what one sub-model holds.
type gatherer struct {
	c       *cut
	p       *part
	stamp   int32
	nodeIn  []int32
	valueIn []int32
	queue   []valueID // values to look at: what defines them comes in, or they are inputs
}

func (g *gatherer) gather(s ir.Submodel) {
	c, x := g.c, g.c.x
	var carried []valueID
	for _, n := range s.Nodes {
		for _, i := range c.l.Members[n] {
			g.hold(i, owned)
		}
		if len(c.l.Members[n]) > 0 {
			continue
		}
		for _, v := range c.l.Problem.Graph.Outputs(n) {
			id, ok := x.ids[c.l.Problem.Graph.ValueName(v)]
			if !ok {
				diag.Bugf("node %q carries %q, which the model does not have", c.l.Problem.Graph.NodeName(n), c.l.Problem.Graph.ValueName(v))
			}
			c.carrier[id] = int32(g.p.plan)
			carried = append(carried, id)
		}
	}
	for _, n := range s.Replicas {
		for _, i := range c.l.Members[n] {
			g.hold(i, replica)
		}
	}
	for _, i := range g.p.nodes[:len(g.p.nodes):len(g.p.nodes)] {
		for _, v := range x.reads[i] {
			g.need(v)
		}
	}
	for _, v := range carried {
		if !c.isConstant(v) {
			diag.Bugf("value %q is carried as a constant, but it is none", x.names[v])
		}
		g.need(v)
	}
	g.follow()
	g.sort()
}

// hold takes a node in, and its outputs with it.
func (g *gatherer) hold(node int32, r nodeRole) {
	if g.nodeIn[node] == g.stamp {
		return
	}
	g.nodeIn[node] = g.stamp
	g.p.nodes = append(g.p.nodes, node)
	g.p.roles = append(g.p.roles, r)
	for _, v := range g.c.x.writes[node] {
		g.enter(v)
	}
}

// enter lists a value as one of the part and says whether it is new.
func (g *gatherer) enter(v valueID) bool {
	if g.valueIn[v] == g.stamp {
		return false
	}
	g.valueIn[v] = g.stamp
	g.p.values = append(g.p.values, v)
	g.queue = append(g.queue, v)
	return true
}

// need makes sure that the part has a value: as a copy if it is constant, else as an input.
func (g *gatherer) need(v valueID) {
	if !g.enter(v) {
		return
	}
	c, x := g.c, g.c.x
	switch x.kind[v] {
	case fromDense:
		g.p.dense = append(g.p.dense, x.at[v])
	case fromSparse:
		g.p.sparse = append(g.p.sparse, x.at[v])
	case fromInput:
		g.p.inputs = append(g.p.inputs, v)
	case fromNode:
		i := x.at[v]
		if c.owner[i] != ir.NoNode {
			g.p.inputs = append(g.p.inputs, v)
			return
		}
		g.hold(i, constant)
		for _, u := range x.reads[i] {
			if !c.isConstant(u) {
				diag.Bugf("node %q counts as constant, but reads %q, which is not", x.nodeLabel(i), x.names[u])
			}
			g.need(u)
		}
	}
}

// isConstant says whether a value is stored or made by a node that is copied to its users.
func (c *cut) isConstant(v valueID) bool {
	switch c.x.kind[v] {
	case fromDense, fromSparse:
		return true
	case fromNode:
		return c.owner[c.x.at[v]] == ir.NoNode
	}
	return false
}

// follow brings in what the quantization annotations of the part's values name.
// An annotation that names an activation of another part stays behind.
func (g *gatherer) follow() {
	x := g.c.x
	for len(g.queue) > 0 {
		v := g.queue[0]
		g.queue = g.queue[1:]
		a := x.annotation[v]
		if a < 0 {
			continue
		}
		keep := true
		for _, q := range x.graph.GetQuantizationAnnotation()[a].GetQuantParameterTensorNames() {
			id, ok := x.ids[q.GetValue()]
			switch {
			case !ok:
			case g.c.isConstant(id):
				g.need(id)
			default:
				keep = keep && g.valueIn[id] == g.stamp
			}
		}
		if keep {
			g.p.notes = append(g.p.notes, a)
		}
	}
}

// sort puts everything into the order in which it is written.
func (g *gatherer) sort() {
	p, x := g.p, g.c.x
	slices.Sort(p.dense)
	slices.Sort(p.sparse)
	slices.Sort(p.values)
	slices.Sort(p.notes)
	slices.SortFunc(p.inputs, x.byPlace(x.inputAt))

	roleOf := make(map[int32]nodeRole, len(p.nodes))
	for k, i := range p.nodes {
		roleOf[i] = p.roles[k]
	}
	slices.Sort(p.nodes)
	if x.rank != nil && !g.sorted() {
		slices.SortFunc(p.nodes, func(a, b int32) int { return cmp.Compare(x.rank[a], x.rank[b]) })
	}
	for k, i := range p.nodes {
		p.roles[k] = roleOf[i]
	}
}

// sorted says whether the part's nodes are in a valid order as the file has them.
func (g *gatherer) sorted() bool {
	x := g.c.x
	for _, i := range g.p.nodes {
		for _, v := range x.reads[i] {
			if x.kind[v] == fromNode && g.nodeIn[x.at[v]] == g.stamp && x.at[v] > i {
				return false
			}
		}
	}
	return true
}

// byPlace orders values: first those that the graph lists (as inputs or outputs),
// in its order, then the rest by producer and the producer's order.
func (x *index) byPlace(listed []int32) func(a, b valueID) int {
	return func(a, b valueID) int {
		switch {
		case listed[a] >= 0 && listed[b] >= 0:
			return cmp.Compare(listed[a], listed[b])
		case listed[a] >= 0:
			return -1
		case listed[b] >= 0:
			return 1
		}
		return cmp.Or(cmp.Compare(x.position(x.at[a]), x.position(x.at[b])), cmp.Compare(x.slot[a], x.slot[b]))
	}
}

// position is a node's place in a valid order.
func (x *index) position(node int32) int32 {
	if x.rank != nil {
		return x.rank[node]
	}
	return node
}

// connect finds the outputs of every part: what others need, and graph outputs.
func (c *cut) connect() {
	x := c.x
	leaves := make([]bool, len(x.names))
	put := func(v valueID, part int32) {
		if !leaves[v] {
			leaves[v] = true
			c.parts[part].outputs = append(c.parts[part].outputs, v)
		}
	}
	for i, p := range c.parts {
		for _, v := range p.inputs {
			if x.kind[v] == fromNode {
				c.consumers[v] = append(c.consumers[v], int32(i))
				put(v, c.partOf[c.owner[x.at[v]]])
			}
		}
	}
	for _, o := range x.graph.GetOutput() {
		v := x.ids[o.GetName()]
		switch from := c.maker(v); {
		case from >= 0:
			put(v, from)
		case x.kind[v] != fromInput:
			diag.Bugf("graph output %q is constant, and no node carries it", x.names[v])
		}
	}
	for _, p := range c.parts {
		slices.SortFunc(p.outputs, x.byPlace(x.outputAt))
	}
}

// maker is the part that puts a value out: its producer's, or of a constant the
// one that carries it; -1 if there is none.
func (c *cut) maker(v valueID) int32 {
	if c.x.kind[v] == fromNode {
		if n := c.owner[c.x.at[v]]; n != ir.NoNode {
			return c.partOf[n]
		}
	}
	if i, ok := c.carrier[v]; ok {
		return i
	}
	return -1
}
