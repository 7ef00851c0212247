package frontend

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gonum.org/v1/gonum/graph/topo"
)

// connect finds who makes and who reads each value that is not constant.
func (lw *lowering) connect() {
	a := lw.a
	lw.readers = make(map[string][]int32, len(a.Nodes))
	lw.maker = make(map[string]int32, len(a.Nodes))
	for k := range a.Nodes {
		info := &a.Nodes[k]
		for _, v := range a.s.reads[info.Index] {
			if !a.s.isConstant(v, a.roles) {
				lw.readers[v] = append(lw.readers[v], int32(k))
			}
		}
		for _, v := range info.proto.GetOutput() {
			if v != "" {
				lw.maker[v] = int32(k)
			}
		}
	}
}

// cluster decides which nodes are one unit: those that a value connects which
// cannot travel between sub-models (a sequence, an optional, a map, a sparse
// tensor, a value of unknown type) or one of whose nested graphs hides another's
// value, and whatever lies on a path between them.
func (lw *lowering) cluster() {
	c := &clusters{lw: lw, parent: make([]int32, len(lw.a.Nodes))}
	for i := range c.parent {
		c.parent[i] = int32(i)
	}
	for value, users := range lw.readers {
		if v := lw.a.value(value); v.Type.Kind == ir.Tensor && v.Type.Elem.Known() {
			continue
		}
		for _, r := range users {
			c.union(users[0], r)
		}
		if p, ok := lw.maker[value]; ok {
			c.union(p, users[0])
		}
	}
	c.uniteHidden()
	lw.unitOf = make([]int32, len(lw.a.Nodes))
	lw.kinds = make([]string, len(lw.a.Nodes))
	if !c.merged {
		lw.units = make([][]int32, len(lw.a.Nodes))
		for i := range lw.units {
			lw.units[i] = []int32{int32(i)}
			lw.unitOf[i] = int32(i)
		}
		return
	}
	c.closeConvex()
	c.number()
}

// fuse merges the units of each fusion, given by the nodes of the graph that was
// built last, which are the units; it says whether there was one.
func (lw *lowering) fuse(fusions []ir.Fusion) bool {
	if len(fusions) == 0 {
		return false
	}
	c := &clusters{lw: lw, parent: make([]int32, len(lw.a.Nodes)), merged: true}
	for _, unit := range lw.units {
		for _, k := range unit {
			c.parent[k] = unit[0]
		}
	}
	kindOf := make(map[int32]string, len(fusions)) // by a node of the unit
	for _, f := range fusions {
		for _, n := range f.Nodes {
			c.union(lw.units[f.Nodes[0]][0], lw.units[n][0])
		}
		kindOf[c.find(lw.units[f.Nodes[0]][0])] = f.Kind
	}
	lw.units = nil
	c.number()
	lw.kinds = make([]string, len(lw.units))
	for u, unit := range lw.units {
		lw.kinds[u] = kindOf[unit[0]]
	}
	return true
}

// kind is what the graph calls the operator of a unit: of one node its own, of
// several the kind of their fusion or all of their operators.
func (lw *lowering) kind(u int32) string {
	if lw.kinds[u] != "" {
		return lw.kinds[u]
	}
	return lw.a.unitKind(lw.units[u])
}

// clusters is a union-find over the placed nodes; the root of a cluster is its
// first node, so results do not depend on the order of unions.
type clusters struct {
	lw     *lowering
	parent []int32
	merged bool
}

func (c *clusters) find(i int32) int32 {
	for c.parent[i] != i {
		c.parent[i] = c.parent[c.parent[i]]
		i = c.parent[i]
	}
	return i
}

func (c *clusters) union(i, j int32) {
	if i, j = c.find(i), c.find(j); i != j {
		c.parent[max(i, j)] = min(i, j)
		c.merged = true
	}
}

// uniteHidden keeps nodes together of which one hides a value of the other.
func (c *clusters) uniteHidden() {
	if len(c.lw.a.s.hides) == 0 {
		return
	}
	placed := make(map[int32]int32, len(c.lw.a.Nodes))
	for k := range c.lw.a.Nodes {
		placed[c.lw.a.Nodes[k].Index] = int32(k)
	}
	for _, pair := range c.lw.a.s.hides {
		i, ok1 := placed[pair[0]]
		j, ok2 := placed[pair[1]]
		if ok1 && ok2 {
			c.union(i, j)
		}
	}
}

// eachEdge calls f for each pair of clusters that a value connects.
func (c *clusters) eachEdge(f func(from, to int32)) {
	for value, readers := range c.lw.readers {
		p, ok := c.lw.maker[value]
		if !ok {
			continue
		}
		for _, r := range readers {
			if a, b := c.find(p), c.find(r); a != b {
				f(a, b)
			}
		}
	}
}

// closeConvex merges clusters that lie on a cycle of clusters: each strongly
// connected component (Tarjan's algorithm, in gonum) becomes one cluster, which
// leaves the graph of clusters acyclic.
func (c *clusters) closeConvex() {
	g := simple.NewDirectedGraph()
	for i := range c.parent {
		if c.parent[i] == int32(i) {
			g.AddNode(simple.Node(i))
		}
	}
	c.eachEdge(func(a, b int32) { g.SetEdge(simple.Edge{F: simple.Node(a), T: simple.Node(b)}) })
	for _, component := range topo.TarjanSCC(g) {
		first := slices.MinFunc(component, func(a, b graph.Node) int { return cmp.Compare(a.ID(), b.ID()) })
		for _, n := range component {
			c.union(int32(n.ID()), int32(first.ID()))
		}
	}
}

// number turns clusters into units in a topological order, each as early as its
// first node allows; c.parent of a root is the root itself.
func (c *clusters) number() {
	members := make([][]int32, len(c.parent)) // by root
	for k := range c.parent {
		r := c.find(int32(k))
		members[r] = append(members[r], int32(k))
	}
	after := make([][]int32, len(c.parent))
	waits := make([]int32, len(c.parent))
	c.eachEdge(func(a, b int32) {
		after[a] = append(after[a], b)
		waits[b]++
	})
	ready := &indexHeap{}
	left := 0
	for r, m := range members {
		if len(m) > 0 {
			left++
			if waits[r] == 0 {
				heap.Push(ready, int32(r))
			}
		}
	}
	lw := c.lw
	for ready.Len() > 0 {
		r := heap.Pop(ready).(int32)
		for _, k := range members[r] {
			lw.unitOf[k] = int32(len(lw.units))
		}
		lw.units = append(lw.units, members[r])
		for _, b := range after[r] {
			if waits[b]--; waits[b] == 0 {
				heap.Push(ready, b)
			}
		}
	}
	if len(lw.units) != left {
		diag.Bugf("clusters form a cycle after closing them")
	}
}
