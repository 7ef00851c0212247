package compiler_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"google.golang.org/protobuf/proto"
)

// TestDeterminism compiles every small model several times.
//
// The same file gives the same bytes: whatever the number of cores and workers,
// the folder that the model is in and is named from, its time and the order
// of Go's maps, which is another one in every run.
//
// The same model with its nodes in another valid order is another file, and ties
// are broken by position, so its bundle may differ in order. The same nodes are
// fused and it is the same problem: what a single processor takes is the same, a
// lower bound of one holds for the plan of the other, and the objective is the
// same wherever it is proved optimal.
func TestDeterminism(t *testing.T) {
	devices, err := filepath.Abs("../profiles")
	if err != nil {
		t.Fatal(err)
	}
	var tally tally
	t.Cleanup(func() { tally.check(t) })
	for i, c := range onnxtest.All() {
		if race.Skips(i, 4) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "m.onnx")
			if err := c.Build(1).WriteFile(file); err != nil {
				t.Fatal(err)
			}
			options := func(model string, workers int) compiler.Options {
				return compiler.Options{Model: model, Devices: devices, Output: filepath.Join(t.TempDir(), "out"), Workers: workers, SkipAuto: true}
			}
			elsewhere := t.TempDir()
			if err := os.CopyFS(elsewhere, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			old := time.Unix(1e9, 0)
			if err := os.Chtimes(filepath.Join(elsewhere, "m.onnx"), old, old); err != nil {
				t.Fatal(err)
			}
			// These two concern the whole process: until t.Parallel this test runs alone.
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			cores := runtime.GOMAXPROCS(1)
			if err := os.Chdir(elsewhere); err != nil {
				t.Fatal(err)
			}
			got, _, failed := bundleOf(t.Context(), options("m.onnx", 1))
			runtime.GOMAXPROCS(cores)
			if err := os.Chdir(here); err != nil {
				t.Fatal(err)
			}

			t.Parallel() // writing waits for the disk
			want, first, err := bundleOf(t.Context(), options(file, 2))
			if err != nil {
				if failed == nil {
					t.Errorf("elsewhere, on one core, there is no error; here: %v", err)
				}
				t.Skip(err) // what cannot be split, or not on this fleet, is for other tests
			}
			if failed != nil {
				t.Fatalf("in another folder: %v", failed)
			}
			sameFiles(t, "elsewhere, on one core", got, want)

			if !permute(t, file, 7) {
				return
			}
			again, second, err := bundleOf(t.Context(), options(file, 2))
			if err != nil {
				t.Fatalf("with its nodes in another order: %v", err)
			}
			more, _, err := bundleOf(t.Context(), options(file, 1))
			if err != nil {
				t.Fatalf("with its nodes in another order: %v", err)
			}
			sameFiles(t, "in another order", more, again)
			tally.add(sameProblem(t, first, second))
		})
	}
}

// ordered is how the plans for two orders of a model's nodes compare.
type ordered int

const (
	provedBoth ordered = iota
	equalValue
	otherValue
	numOrdered
)

// tally counts models by how their orders compare.
type tally [numOrdered]atomic.Int64

func (c *tally) add(k ordered) { c[k].Add(1) }

func (c *tally) check(t *testing.T) {
	t.Logf("%d models proved optimal in both orders, %d others of equal value, %d of another", c[provedBoth].Load(), c[equalValue].Load(), c[otherValue].Load())
	if c[provedBoth].Load() == 0 && !t.Failed() {
		t.Error("no model was compiled in two orders and proved optimal in both")
	}
}

// sameProblem wants what does not depend on the order of the nodes to be the same
// in two compilations that differ in it only.
func sameProblem(t *testing.T, first, second *compiler.Result) ordered {
	if !maps.Equal(units(first), units(second)) {
		t.Fatal("other nodes are fused with the nodes in another order")
	}
	a, b := first.Placement, second.Placement
	for i := range a.Single {
		// Its memory may differ: the peak depends on the order.
		if x, y := a.Single[i], b.Single[i]; x.Feasible && y.Feasible && x != y {
			t.Errorf("processor %s alone takes another time with the nodes in another order", a.Single[i].Name)
		}
	}
	va, vb := a.Plan.Value(), b.Plan.Value()
	if a.Plan.LowerBound > vb || b.Plan.LowerBound > va {
		t.Errorf("a lower bound does not hold with the nodes in another order: bound %v of %v, bound %v of %v", a.Plan.LowerBound, va, b.Plan.LowerBound, vb)
	}
	switch {
	case a.Plan.ProvenOptimal && b.Plan.ProvenOptimal:
		if va != vb {
			t.Errorf("two optima, %v and %v", va, vb)
		}
		return provedBoth
	case va == vb:
		return equalValue
	}
	t.Logf("not proved, and %v against %v with the nodes in another order", va, vb)
	return otherValue
}

// units are the sets of nodes that are one node of the execution graph each.
func units(r *compiler.Result) map[string]bool {
	out := map[string]bool{}
	for _, names := range r.Lowered.MemberNames {
		out[strings.Join(slices.Sorted(slices.Values(names)), "\n")] = true
	}
	return out
}

// permute puts the nodes of a model file into another topological order, a random
// one. It reports whether there is one: false leaves the file alone.
func permute(t *testing.T, path string, seed uint64) bool {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m onnxpb.ModelProto
	if err := proto.Unmarshal(raw, &m); err != nil {
		return false
	}
	nodes := m.GetGraph().GetNode()
	maker := map[string]int{}
	for i, n := range nodes {
		for _, out := range n.GetOutput() {
			if _, twice := maker[out]; twice && out != "" {
				return false // which one counts depends on the order
			}
			maker[out] = i
		}
	}
	waits := make([]int, len(nodes))
	users := make([][]int, len(nodes))
	for i, n := range nodes {
		seen := map[int]bool{i: true}
		for name := range mentioned([]*onnxpb.NodeProto{n}) {
			if k, ok := maker[name]; ok && name != "" && !seen[k] {
				seen[k] = true
				users[k] = append(users[k], i)
				waits[i]++
			}
		}
	}
	var ready []int
	for i, w := range waits {
		if w == 0 {
			ready = append(ready, i)
		}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	var order []*onnxpb.NodeProto
	changed := false
	for len(ready) > 0 {
		k := r.IntN(len(ready))
		i := ready[k]
		ready = append(ready[:k], ready[k+1:]...)
		changed = changed || i != len(order)
		order = append(order, nodes[i])
		for _, u := range users[i] {
			if waits[u]--; waits[u] == 0 {
				ready = append(ready, u)
			}
		}
	}
	if !changed || len(order) != len(nodes) {
		return false
	}
	m.Graph.Node = order
	raw, err = proto.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	return true
}
