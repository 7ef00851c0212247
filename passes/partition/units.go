package partition

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

func popcount(x uint64) int { return bits.OnesCount64(x) }

// Units is the graph of the units of a Model as search moves see it: who feeds
// whom, an order of the units, and which units must share a processor.
type Units struct {
	M     *sched.Model
	succ  rows
	pred  rows
	order []int32 // topological
	place []int32 // by unit: its position in order
	ties  [][]int32
	tie   []int32 // by unit: index in ties, -1: none
	arcs  int
}

type rows struct{ start, data []int32 }

func (r *rows) of(u int32) []int32 { return r.data[r.start[u]:r.start[u+1]] }

// NewUnits derives the graph of units. It fails if the units wait for each other.
func NewUnits(m *sched.Model) (*Units, bool) {
	n := m.Units
	x := &Units{M: m}
	x.succ.start = make([]int32, 1, n+1)
	seen := make([]int32, n)
	in := make([]int32, n)
	for u := range int32(n) {
		for _, v := range m.Outs(u) {
			for _, r := range m.Readers(v) {
				if seen[r] != u+1 {
					seen[r] = u + 1
					x.succ.data = append(x.succ.data, r)
					in[r]++
				}
			}
		}
		slices.Sort(x.succ.data[x.succ.start[u]:])
		x.succ.start = append(x.succ.start, int32(len(x.succ.data)))
	}
	x.pred.start = make([]int32, n+1)
	for u, k := range in {
		x.pred.start[u+1] = x.pred.start[u] + k
	}
	x.pred.data = make([]int32, len(x.succ.data))
	next := slices.Clone(x.pred.start)
	for u := range int32(n) {
		for _, r := range x.succ.of(u) {
			x.pred.data[next[r]] = u
			next[r]++
		}
	}
	x.order = topological(x, in)
	if len(x.order) < n {
		return nil, false
	}
	x.place = make([]int32, n)
	for i, u := range x.order {
		x.place[u] = int32(i)
	}
	x.findTies()
	for u := range int32(n) {
		x.arcs += len(m.Ins(u)) + len(m.Outs(u))
	}
	x.arcs = max(1, x.arcs/max(n, 1))
	return x, true
}

// topological lists units so that each stands behind those that feed it; of those that can come next, the one
// with the least first node comes first, so units that are nodes keep the graph's order. in is used up.
func topological(x *Units, in []int32) []int32 {
	first := func(u int32) int32 { return x.M.Nodes(u)[0] }
	var heap []int32
	less := func(a, b int32) bool { return first(a) < first(b) }
	push := func(u int32) {
		heap = append(heap, u)
		for i := len(heap) - 1; i > 0 && less(heap[i], heap[(i-1)/2]); i = (i - 1) / 2 {
			heap[i], heap[(i-1)/2] = heap[(i-1)/2], heap[i]
		}
	}
	pop := func() int32 {
		top := heap[0]
		last := len(heap) - 1
		heap[0] = heap[last]
		heap = heap[:last]
		for i := 0; ; {
			k := 2*i + 1
			if k >= last {
				break
			}
			if k+1 < last && less(heap[k+1], heap[k]) {
				k++
			}
			if !less(heap[k], heap[i]) {
				break
			}
			heap[i], heap[k] = heap[k], heap[i]
			i = k
		}
		return top
	}
	for u, k := range in {
		if k == 0 {
			push(int32(u))
		}
	}
	order := make([]int32, 0, len(in))
	for len(heap) > 0 {
		u := pop()
		order = append(order, u)
		for _, r := range x.succ.of(u) {
			if in[r]--; in[r] == 0 {
				push(r)
			}
		}
	}
	return order
}

// findTies joins units that share a group.
func (x *Units) findTies() {
	g := x.M.Problem.Graph
	x.tie = make([]int32, x.M.Units)
	for u := range x.tie {
		x.tie[u] = -1
	}
	if g.NumGroups() == 0 {
		return
	}
	root := make([]int32, x.M.Units)
	for u := range root {
		root[u] = int32(u)
	}
	find := func(u int32) int32 {
		for root[u] != u {
			root[u] = root[root[u]]
			u = root[u]
		}
		return u
	}
	for id := range ir.GroupID(g.NumGroups()) {
		members := g.Members(id)
		for _, n := range members {
			a, b := find(x.M.UnitOf[members[0]]), find(x.M.UnitOf[n])
			root[max(a, b)] = min(a, b)
		}
	}
	size := make([]int32, x.M.Units)
	for u := range size {
		size[find(int32(u))]++
	}
	for u := range int32(x.M.Units) {
		if r := find(u); size[r] > 1 {
			if r == u {
				x.tie[u] = int32(len(x.ties))
				x.ties = append(x.ties, nil)
			}
			x.tie[u] = x.tie[r]
			x.ties[x.tie[u]] = append(x.ties[x.tie[u]], u)
		}
	}
}

// Tied are the units that must share u's processor, u included; nil if there are none.
func (x *Units) Tied(u int32) []int32 {
	if x.tie[u] < 0 {
		return nil
	}
	return x.ties[x.tie[u]]
}

// Together says whether an assignment of units to slots keeps tied units on one processor.
func (x *Units) Together(at []int32) bool {
	for _, class := range x.ties {
		for _, u := range class {
			if x.M.Proc(int(at[u])) != x.M.Proc(int(at[class[0]])) {
				return false
			}
		}
	}
	return true
}

// Arcs is how many values a unit reads and makes on average, at least 1: what a move of it takes grows with that.
func (x *Units) Arcs() int { return x.arcs }

// Deep is a topological order of the units that follows a path as far as it goes: the branches of a fork stand one
// after the other in it.
func (x *Units) Deep() []int32 {
	in := make([]int32, x.M.Units)
	for _, u := range x.succ.data {
		in[u]++
	}
	var stack []int32
	for i := len(x.order) - 1; i >= 0; i-- {
		if u := x.order[i]; in[u] == 0 {
			stack = append(stack, u)
		}
	}
	order := make([]int32, 0, len(in))
	for len(stack) > 0 {
		u := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		order = append(order, u)
		next := x.Succ(u)
		for i := len(next) - 1; i >= 0; i-- {
			if in[next[i]]--; in[next[i]] == 0 {
				stack = append(stack, next[i])
			}
		}
	}
	return order
}

// Order is a topological order of the units.
func (x *Units) Order() []int32 { return x.order }

// Succ are the units that read what u makes, ascending.
func (x *Units) Succ(u int32) []int32 { return x.succ.of(u) }

// Pred are the units that u reads from, ascending.
func (x *Units) Pred(u int32) []int32 { return x.pred.of(u) }
