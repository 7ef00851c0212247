package partition

import (
	"slices"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Units never wait for each other, each level is made of whole units of the one before, and somebody supports each.
func TestCoarsen(t *testing.T) {
	for _, shape := range gen.Shapes() {
		for _, nodes := range []int{30, 2000} {
			p, err := gen.Make(shape, nodes, 5, 3, false)
			if err != nil {
				t.Fatal(err)
			}
			n := p.Graph.NumNodes()
			levels, sizes := Coarsen(p, ir.Latency, identity(n), n, []int{n / 3, n / 12})
			if len(levels) == 0 {
				t.Errorf("%s: %d nodes were not coarsened", shape, n)
			}
			finer := make([]int32, n)
			for i := range finer {
				finer[i] = int32(i)
			}
			for i, unitOf := range levels {
				m := sched.NewModel(p, unitOf, sizes[i], sched.Layout(p, 1))
				if _, ok := NewUnits(m); !ok {
					t.Fatalf("%s: units of level %d wait for each other", shape, i)
				}
				into := map[int32]int32{}
				for k, u := range unitOf {
					if at, ok := into[finer[k]]; ok && at != u {
						t.Fatalf("%s: level %d tears unit %d apart", shape, i, finer[k])
					}
					into[finer[k]] = u
				}
				for u := range int32(sizes[i]) {
					able := len(m.Nodes(u)) == 0
					for q := range m.Procs {
						able = able || m.Cost(u, q) != ir.Unsupported
					}
					if !able {
						t.Fatalf("%s: nobody supports unit %d of level %d", shape, u, i)
					}
				}
				finer = unitOf
			}
		}
	}
}

// Both orders of units are topological, and the deep one keeps branches together.
func TestOrders(t *testing.T) {
	for _, shape := range gen.Shapes() {
		p, err := gen.Make(shape, 120, 4, 5, false)
		if err != nil {
			t.Fatal(err)
		}
		n := p.Graph.NumNodes()
		unitOf := make([]int32, n)
		for i := range unitOf {
			unitOf[i] = int32(i)
		}
		x, ok := NewUnits(sched.NewModel(p, unitOf, n, sched.Layout(p, 1)))
		if !ok {
			t.Fatalf("%s: nodes wait for each other", shape)
		}
		var jumps [2]int // neighbours in the order that are none in the graph
		for k, order := range [][]int32{x.Order(), x.Deep()} {
			place := make([]int, n)
			for i, u := range order {
				place[u] = i
			}
			for u := range int32(n) {
				for _, w := range x.Succ(u) {
					if place[w] <= place[u] {
						t.Fatalf("%s, order %d: unit %d stands behind %d, which reads from it", shape, k, u, w)
					}
				}
			}
			for i := range n - 1 {
				if !slices.Contains(x.Succ(order[i]), order[i+1]) {
					jumps[k]++
				}
			}
		}
		if jumps[1] > jumps[0] {
			t.Errorf("%s: the deep order leaves its path %d times, the other %d times", shape, jumps[1], jumps[0])
		}
	}
}

func identity(n int) []int32 {
	unitOf := make([]int32, n)
	for i := range unitOf {
		unitOf[i] = int32(i)
	}
	return unitOf
}
