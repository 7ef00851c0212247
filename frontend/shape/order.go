package shape

import (
	"container/heap"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// subgraphs calls f for every graph in an attribute of n.
func subgraphs(n *onnxpb.NodeProto, f func(g *onnxpb.GraphProto)) {
	for _, at := range n.Attribute {
		if at.G != nil {
			f(at.G)
		}
		for _, g := range at.Graphs {
			f(g)
		}
	}
}

// captures is the set of outer names that g and the graphs nested in it read.
func (in *inferrer) captures(g *onnxpb.GraphProto) []string {
	if names, ok := in.captured[g]; ok {
		return names
	}
	defined := map[string]bool{"": true}
	for _, v := range g.Input {
		defined[v.GetName()] = true
	}
	for _, t := range g.Initializer {
		defined[t.GetName()] = true
	}
	for _, t := range g.SparseInitializer {
		defined[t.GetValues().GetName()] = true
	}
	for _, n := range g.Node {
		for _, name := range n.Output {
			defined[name] = true
		}
	}
	var names []string
	use := func(name string) {
		if !defined[name] {
			defined[name] = true
			names = append(names, name)
		}
	}
	for _, n := range g.Node {
		for _, name := range n.Input {
			use(name)
		}
		subgraphs(n, func(g *onnxpb.GraphProto) {
			for _, name := range in.captures(g) {
				use(name)
			}
		})
	}
	for _, v := range g.Output {
		use(v.GetName())
	}
	in.captured[g] = names
	return names
}

// order sorts nodes so that each stands behind those that it reads from, keeping
// the order of the file as far as that allows (Kahn 1962, least index first).
func (in *inferrer) order(nodes []*onnxpb.NodeProto) ([]*onnxpb.NodeProto, error) {
	producer := make(map[string]int32, len(nodes))
	for i, n := range nodes {
		for _, name := range n.Output {
			if _, ok := producer[name]; !ok && name != "" {
				producer[name] = int32(i)
			}
		}
	}
	sorted := true
	reads := func(n *onnxpb.NodeProto, f func(from int32)) {
		for _, name := range n.Input {
			if p, ok := producer[name]; ok {
				f(p)
			}
		}
		subgraphs(n, func(g *onnxpb.GraphProto) {
			for _, name := range in.captures(g) {
				if p, ok := producer[name]; ok {
					f(p)
				}
			}
		})
	}
	for i, n := range nodes {
		reads(n, func(from int32) { sorted = sorted && int(from) < i })
	}
	if sorted {
		return nodes, nil
	}
	missing := make([]int32, len(nodes))
	readers := make([][]int32, len(nodes))
	for i, n := range nodes {
		reads(n, func(from int32) {
			missing[i]++
			readers[from] = append(readers[from], int32(i))
		})
	}
	var ready indexHeap
	for i, m := range missing {
		if m == 0 {
			ready = append(ready, int32(i))
		}
	}
	out := make([]*onnxpb.NodeProto, 0, len(nodes))
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int32)
		out = append(out, nodes[i])
		for _, r := range readers[i] {
			if missing[r]--; missing[r] == 0 {
				heap.Push(&ready, r)
			}
		}
	}
	if len(out) == len(nodes) {
		return out, nil
	}
	for i, m := range missing {
		if m > 0 {
			e := &diag.Error{File: in.m.Path, Node: nodeLabel(nodes[i]), Msg: "the node depends on its own output: the graph has a cycle"}
			for _, name := range nodes[i].Output {
				if name != "" {
					e.Value = name
					break
				}
			}
			return nil, e
		}
	}
	return out, nil
}

type indexHeap []int32

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h indexHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexHeap) Push(x any)        { *h = append(*h, x.(int32)) }
func (h *indexHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// nodeLabel names n in messages: its name, or operator and first output.
func nodeLabel(n *onnxpb.NodeProto) string {
	if n.GetName() != "" {
		return n.GetName()
	}
	for _, name := range n.Output {
		if name != "" {
			return n.GetOpType() + " → " + name
		}
	}
	return n.GetOpType()
}
