package ir

import (
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/iterator"
	"gonum.org/v1/gonum/graph/simple"
)

// View is a read-only directed graph over dense indices for the algorithms of
// gonum.org/v1/gonum/graph. It implements graph.Directed.
type View struct {
	from, to table[int32] // ascending, distinct
}

// NewView makes the view of a graph with n vertices; edges may repeat.
func NewView(n int, edges [][2]int32) *View {
	v := &View{from: table[int32]{start: make([]int32, n+1)}}
	for _, e := range edges {
		v.from.start[e[0]+1]++
	}
	for i := range n {
		v.from.start[i+1] += v.from.start[i]
	}
	v.from.data = make([]int32, len(edges))
	next := append([]int32(nil), v.from.start...)
	for _, e := range edges {
		v.from.data[next[e[0]]] = e[1]
		next[e[0]]++
	}
	v.to = distinct(invert[int32](&v.from, n))
	v.from = invert[int32](&v.to, n)
	return v
}

// distinct drops repeats from ascending rows.
func distinct(t table[int32]) table[int32] {
	out := table[int32]{start: []int32{0}}
	for i := range len(t.start) - 1 {
		row := t.row(i)
		for j, x := range row {
			if j == 0 || row[j-1] != x {
				out.data = append(out.data, x)
			}
		}
		out.start = append(out.start, int32(len(out.data)))
	}
	return out
}

// View is g as nodes and the data edges between them; the IDs are NodeIDs.
func (g *Graph) View() *View {
	var edges [][2]int32
	for v := range ValueID(g.NumValues()) {
		if p := g.Producer(v); p != NoNode {
			for _, c := range g.Consumers(v) {
				edges = append(edges, [2]int32{int32(p), int32(c)})
			}
		}
	}
	return NewView(g.NumNodes(), edges)
}

func (v *View) has(id int64) bool { return id >= 0 && id < int64(len(v.from.start)-1) }

// Node is the vertex with that index, nil if there is none.
func (v *View) Node(id int64) graph.Node {
	if !v.has(id) {
		return nil
	}
	return simple.Node(id)
}

// Nodes are all vertices.
func (v *View) Nodes() graph.Nodes {
	nodes := make([]graph.Node, len(v.from.start)-1)
	for i := range nodes {
		nodes[i] = simple.Node(i)
	}
	return ordered(nodes)
}

func ordered(nodes []graph.Node) graph.Nodes {
	if len(nodes) == 0 {
		return graph.Empty
	}
	return iterator.NewOrderedNodes(nodes)
}

func (t *table[T]) vertices(id int64, ok bool) graph.Nodes {
	if !ok {
		return graph.Empty
	}
	row := t.row(int(id))
	nodes := make([]graph.Node, len(row))
	for i := range row {
		nodes[i] = simple.Node(any(row[i]).(int32))
	}
	return ordered(nodes)
}

// From are the vertices that edges from id lead to.
func (v *View) From(id int64) graph.Nodes { return v.from.vertices(id, v.has(id)) }

// To are the vertices with an edge to id.
func (v *View) To(id int64) graph.Nodes { return v.to.vertices(id, v.has(id)) }

// HasEdgeFromTo says whether an edge leads from u to w.
func (v *View) HasEdgeFromTo(u, w int64) bool {
	if !v.has(u) || !v.has(w) {
		return false
	}
	for _, x := range v.from.row(int(u)) {
		if int64(x) == w {
			return true
		}
	}
	return false
}

// HasEdgeBetween says whether an edge leads from u to w or back.
func (v *View) HasEdgeBetween(u, w int64) bool {
	return v.HasEdgeFromTo(u, w) || v.HasEdgeFromTo(w, u)
}

// Edge is the edge from u to w, nil if there is none.
func (v *View) Edge(u, w int64) graph.Edge {
	if !v.HasEdgeFromTo(u, w) {
		return nil
	}
	return simple.Edge{F: simple.Node(u), T: simple.Node(w)}
}
