package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Attribution ties the layers of a trace to nodes of the model.
//
//  1. By what a layer is called, or what the runtime lists.
//  2. Layers that only move data go to the layer beside them: the one that reads
//     what they make.
//  3. Other layers without a name are matched with nodes that no layer names: the
//     connected parts of the graph that are left over, where the layer runs after all
//     that the part reads and before all that reads the part.
//  4. Nodes that still have no layer were fused into one: that of their group, else
//     the one beside them that the runtime rewrote most. Nodes that move nothing, and
//     shape arithmetic, were dropped.
type attribution struct {
	t     *trace
	m     *Model
	names *names

	of    [][]int // by layer: nodes
	how   []how   // by layer
	why   []string
	taken [][]int // by node: layers that were tied to it by 1 to 3

	fused []int // by node without a layer of its own: the layer that it is part of; -1
	state []nodeState
	reads [][]int // by node: nodes that make what it reads
	users [][]int // by node: nodes that read what it makes

	ended     []bool // by layer: it is named after its last node, so it holds nothing below that
	notes     []string
	constUser []int // by constant: the first running node that needs it; -1
}

// nodeState says where the time of a node comes from.
type nodeState uint8

const (
	noTime    nodeState = iota
	hasOwn              // layers are tied to it
	inFused             // it is part of another node's layer
	dropped             // the runtime ran the model without it
	elsewhere           // it ran on another processor
)

func attribute(t *trace, m *Model, n *names) *attribution {
	a := &attribution{
		t: t, m: m, names: n,
		of: make([][]int, len(t.layers)), how: make([]how, len(t.layers)), why: make([]string, len(t.layers)), ended: make([]bool, len(t.layers)),
		taken: make([][]int, len(m.Nodes)), fused: make([]int, len(m.Nodes)), state: make([]nodeState, len(m.Nodes)),
	}
	for i := range a.fused {
		a.fused[i] = -1
	}
	a.connect()
	a.resolve()
	a.reachUp()
	a.placeCopies()
	a.matchParts()
	a.absorb()
	return a
}

func (a *attribution) connect() {
	a.reads, a.users = make([][]int, len(a.m.Nodes)), make([][]int, len(a.m.Nodes))
	maker := make(map[string]int, len(a.m.Nodes))
	reader := map[string]int{} // the first to read a value
	for i := range a.m.Nodes {
		for _, v := range a.m.Nodes[i].Outputs {
			maker[v] = i
		}
	}
	seen := make([]int, len(a.m.Nodes)) // 1 + the last user that was joined to the node
	for i := range a.m.Nodes {
		for _, v := range a.m.Nodes[i].Inputs {
			if _, ok := reader[v]; !ok {
				reader[v] = i
			}
			if p, ok := maker[v]; ok && p != i && seen[p] != i+1 {
				seen[p] = i + 1
				a.reads[i] = append(a.reads[i], p)
				a.users[p] = append(a.users[p], i)
			}
		}
	}
	a.constUser = make([]int, len(a.m.Constants))
	for k := len(a.m.Constants) - 1; k >= 0; k-- {
		a.constUser[k] = -1
		c := &a.m.Constants[k]
		for _, v := range c.Outputs {
			if u, ok := reader[v]; ok && (a.constUser[k] < 0 || u < a.constUser[k]) {
				a.constUser[k] = u
			}
		}
		for _, v := range c.Inputs {
			if u, ok := reader[v]; a.constUser[k] >= 0 && (!ok || u > a.constUser[k]) {
				reader[v] = a.constUser[k]
			}
		}
	}
}

func (a *attribution) tie(l int, nodes []int, h how) {
	a.of[l], a.how[l] = nodes, h
	for _, i := range nodes {
		a.taken[i] = append(a.taken[i], l)
		if h != byNeighbour {
			a.state[i] = hasOwn
		}
	}
}

// resolve ties layers by what they are called.
func (a *attribution) resolve() {
	// Nodes that share a name are told apart by operator and order.
	shared := map[string][]int{}
	ranges := []int{}
	for l := range a.t.layers {
		x := &a.t.layers[l]
		if x.own {
			a.why[l] = "of the runtime itself"
			continue
		}
		var nodes []int
		var h how
		switch {
		case a.t.format == ORTProfile:
			nodes, h = a.names.ort(x)
		case slices.ContainsFunc(x.claims, func(c claim) bool { return c.to != "" }):
			ranges = append(ranges, l) // after the layers that name nodes one by one
			continue
		case len(x.claims) > 0:
			nodes, h = a.names.claimed(x, nil)
		default:
			nodes, h = a.openVINO(x)
		}
		if h == unresolved {
			continue
		}
		if h == byName && len(nodes) > 1 && len(x.claims) < 2 {
			shared[x.name] = append(shared[x.name], l)
			continue
		}
		a.check(l, nodes, h)
	}
	for _, l := range ranges {
		nodes, h := a.names.claimed(&a.t.layers[l], func(i int) bool { return len(a.taken[i]) > 0 })
		if h != unresolved {
			a.check(l, nodes, h)
		}
	}
	for l := range a.t.layers {
		if layers := shared[a.t.layers[l].name]; len(layers) > 0 && layers[0] == l {
			a.tellApart(layers)
		}
	}
}

// tellApart ties layers to nodes of one name, in the order of both: nodes of the
// layer's operator first.
func (a *attribution) tellApart(layers []int) {
	slices.SortStableFunc(layers, func(x, y int) int {
		return cmp.Or(cmp.Compare(a.t.layers[x].index, a.t.layers[y].index), cmp.Compare(a.t.layers[x].order, a.t.layers[y].order))
	})
	nodes := a.names.byName[a.t.layers[layers[0]].name]
	byOp := map[string][]int{}
	for _, i := range nodes {
		op := a.names.node(i).Op
		byOp[op] = append(byOp[op], i)
	}
	used := map[int]bool{}
	rest := layers[:0:0]
	for _, l := range layers {
		op := a.t.layers[l].op
		if same := byOp[op]; len(same) > 0 {
			byOp[op] = same[1:]
			used[same[0]] = true
			a.check(l, same[:1], byName)
		} else {
			rest = append(rest, l)
		}
	}
	free := slices.DeleteFunc(slices.Clone(nodes), func(i int) bool { return used[i] })
	for k, l := range rest {
		pick := nodes[len(nodes)-1]
		if k < len(free) {
			pick = free[k]
		}
		a.check(l, []int{pick}, byName)
	}
}

// check ties a layer to nodes unless it ran with other shapes than the model's, and
// sends the work of constant nodes on to who uses them.
func (a *attribution) check(l int, nodes []int, h how) {
	x := &a.t.layers[l]
	if len(nodes) == 1 && x.outputs != "" {
		n := a.names.node(nodes[0])
		if types := strings.Join(n.Types, " "); n.Op == x.op && len(n.Types) > 0 && !slices.Contains(n.Types, "") && !sameShapes(types, x.outputs, strings.Contains(x.name, "_nchwc")) {
			a.why[l] = otherShapes
			if len(a.notes) == 0 {
				a.notes = append(a.notes, fmt.Sprintf("node %q made %s in the profile, and makes %s with the shapes that costs are for", n.Label, plain(x.outputs), plain(types)))
			}
			return
		}
	}
	var running []int
	for _, i := range nodes {
		for _, u := range a.usersOf(i) {
			if !slices.Contains(running, u) {
				running = append(running, u)
			}
		}
	}
	if len(running) == 0 {
		a.why[l] = "of constants and other nodes that nothing depends on that is placed"
		return
	}
	slices.Sort(running)
	a.tie(l, running, h)
}

// sameShapes compares types such as "float32[1,61,7,7] float32[1,61]" by their
// extents. Runtimes change element types and the order of axes around a kernel. In
// ONNX Runtime's layout NCHWc (blocked) the order stays, but the channels are
// rounded up to the width of a vector.
func sameShapes(want, got string, blocked bool) bool {
	w, g := strings.Fields(want), strings.Fields(got)
	if len(w) != len(g) {
		return false
	}
	for i := range w {
		x, y := extents(w[i]), extents(g[i])
		if len(x) != len(y) {
			return false
		}
		if blocked {
			if len(x) > 1 && x[1] <= y[1] && y[1]-x[1] < widestVector {
				y[1] = x[1]
			}
		} else {
			slices.Sort(x)
			slices.Sort(y)
		}
		if !slices.Equal(x, y) {
			return false
		}
	}
	return true
}

// extents are the extents in a type.
func extents(typ string) []int64 {
	_, list, _ := strings.Cut(strings.TrimSuffix(typ, "]"), "[")
	if list == "" {
		return nil
	}
	var out []int64
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	return out
}

const otherShapes = "ran with other shapes than the model's here; bind them with --shape"

const widestVector = 16 // channels in a block of NCHWc

// reachUp mends what is named after the result of a fused kernel: where the layer
// has another operator than the node that makes the value, the node of that
// operator stands above it, and those between belong to the layer too.
func (a *attribution) reachUp() {
	if a.t.format != ORTProfile {
		return
	}
	const farthest = 8
	for l := range a.t.layers {
		x := &a.t.layers[l]
		if len(a.of[l]) != 1 || a.how[l] != byValue && a.how[l] != byPart {
			continue
		}
		op := plainOp(x.op)
		path := []int{a.of[l][0]}
		for i := path[0]; len(path) <= farthest && a.m.Nodes[i].Op != op; {
			next := -1
			for _, p := range a.reads[i] {
				if a.state[p] == noTime && (next < 0 || a.m.Nodes[p].Op == op) {
					next = p
				}
			}
			if next < 0 {
				break
			}
			path = append(path, next)
			i = next
		}
		last := path[len(path)-1]
		if len(path) == 1 || a.m.Nodes[last].Op != op {
			continue
		}
		for _, i := range path[1:] {
			a.taken[i] = append(a.taken[i], l)
			a.state[i] = hasOwn
		}
		slices.Sort(path)
		a.of[l], a.ended[l] = path, true
	}
}

// plainOp is the operator that an operator of ONNX Runtime does with others or in
// another form.
func plainOp(op string) string {
	for _, prefix := range [...]string{"Nhwc", "Fused", "QLinear", "Quick", "Bias", "Skip"} {
		op = strings.TrimPrefix(op, prefix)
	}
	return op
}

// usersOf is node i itself, or for a constant the first running node that uses it,
// if there is one.
func (a *attribution) usersOf(i int) []int {
	if i < len(a.m.Nodes) {
		return []int{i}
	}
	if u := a.constUser[i-len(a.m.Nodes)]; u >= 0 {
		return []int{u}
	}
	return nil
}

// openVINO finds the node of a layer by its friendly name.
func (a *attribution) openVINO(x *layer) ([]int, how) {
	if nodes, h := a.names.exact(x.name); h != unresolved {
		return nodes, h
	}
	if x.copies {
		// parent_format_format_child: the child reads what the copy makes.
		if nodes, h := a.names.ending(x.name); h != unresolved {
			return nodes, byNeighbour
		}
	}
	nodes, h := a.names.part(x.name)
	if h != unresolved && x.copies {
		h = byNeighbour
	}
	return nodes, h
}

// placeCopies ties layers that move data to the node of the next layer that runs,
// or, where they bring a result back into the usual layout, to that of the layer
// before them that made it.
func (a *attribution) placeCopies() {
	for _, l := range a.copies(func(x *layer) bool { return x.copies }) {
		a.tie(l.layer, []int{l.node}, byNeighbour)
	}
}

// beside is a layer and the node that it is to be tied to.
type beside struct{ layer, node int }

// copies finds the neighbours of layers without a node that want says to place.
func (a *attribution) copies(want func(x *layer) bool) []beside {
	byOrder := a.inOrder()
	open := func(l int) bool { return a.how[l] == unresolved && a.why[l] == "" && want(&a.t.layers[l]) }
	named := func(l int) bool { return a.how[l] != unresolved && a.how[l] != byNeighbour && len(a.of[l]) > 0 }

	node := make([]int, len(a.t.layers))
	last := -1
	made := map[string]int{} // by type
	for _, l := range byOrder {
		node[l] = -1
		x := &a.t.layers[l]
		switch {
		case named(l):
			last = a.of[l][len(a.of[l])-1]
			made[x.outputs] = last
		case open(l) && (x.op == "ReorderOutput" || x.op == "MemcpyToHost"):
			node[l] = last
			if same, ok := made[x.outputs]; ok {
				node[l] = same
			}
		}
	}
	next := -1
	for k := len(byOrder) - 1; k >= 0; k-- {
		if l := byOrder[k]; named(l) {
			next = a.of[l][0]
		} else if node[l] < 0 && open(l) {
			node[l] = next
		}
	}
	var out []beside
	for _, l := range byOrder {
		if !open(l) {
			continue
		}
		if node[l] < 0 {
			node[l] = last
		}
		if node[l] >= 0 {
			out = append(out, beside{l, node[l]})
		}
	}
	return out
}

func (a *attribution) inOrder() []int {
	byOrder := make([]int, len(a.t.layers))
	for l := range byOrder {
		byOrder[l] = l
	}
	slices.SortStableFunc(byOrder, func(x, y int) int { return cmp.Compare(a.t.layers[x].order, a.t.layers[y].order) })
	return byOrder
}
