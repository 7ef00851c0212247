package compiler_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
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
	same, other, proved := 0, 0, 0
	for _, c := range onnxtest.All() {
		dir := t.TempDir()
		file := filepath.Join(dir, "m.onnx")
		m := c.Build(1)
		if err := m.WriteFile(file); err != nil {
			t.Fatal(err)
		}
		options := func(model string, workers int) compiler.Options {
			return compiler.Options{Model: model, Devices: devices, Output: filepath.Join(t.TempDir(), "out"), Workers: workers, SkipAuto: true}
		}
		want, first, err := bundleOf(t.Context(), options(file, 2))
		if err != nil {
			continue // what cannot be split, or not on this fleet, is for other tests
		}

		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		old := time.Unix(1e9, 0)
		if err := os.Chtimes(filepath.Join(copied, "m.onnx"), old, old); err != nil {
			t.Fatal(err)
		}
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			t.Chdir(copied)
			got, _, err := bundleOf(t.Context(), options("m.onnx", 1))
			if err != nil {
				t.Errorf("%s: in another folder: %v", c.Name, err)
				return
			}
			sameFiles(t, c.Name+" elsewhere, on one core", got, want)
		}()

		if !permute(t, file, 7) {
			continue
		}
		again, second, err := bundleOf(t.Context(), options(file, 2))
		if err != nil {
			t.Errorf("%s: with its nodes in another order: %v", c.Name, err)
			continue
		}
		more, _, err := bundleOf(t.Context(), options(file, 1))
		if err != nil {
			t.Errorf("%s: with its nodes in another order: %v", c.Name, err)
			continue
		}
		sameFiles(t, c.Name+" in another order", more, again)
		if !maps.Equal(units(first), units(second)) {
			t.Errorf("%s: other nodes are fused with the nodes in another order", c.Name)
			continue
		}
		a, b := first.Placement, second.Placement
		for i := range a.Single {
			// Its memory may differ: the peak depends on the order.
			if x, y := a.Single[i], b.Single[i]; x.Feasible && y.Feasible && x != y {
				t.Errorf("%s: processor %s alone takes another time with the nodes in another order", c.Name, a.Single[i].Name)
			}
		}
		va, vb := a.Plan.Value(), b.Plan.Value()
		if a.Plan.LowerBound > vb || b.Plan.LowerBound > va {
			t.Errorf("%s: a lower bound does not hold with the nodes in another order: bound %v of %v, bound %v of %v", c.Name, a.Plan.LowerBound, va, b.Plan.LowerBound, vb)
		}
		switch {
		case a.Plan.ProvenOptimal && b.Plan.ProvenOptimal:
			proved++
			if va != vb {
				t.Errorf("%s: two optima, %v and %v", c.Name, va, vb)
			}
		case va == vb:
			same++
		default:
			other++
			t.Logf("%s: not proved, and %v against %v with the nodes in another order", c.Name, va, vb)
		}
	}
	t.Logf("%d models proved optimal in both orders, %d others of equal value, %d of another", proved, same, other)
	if proved == 0 {
		t.Error("no model was compiled in two orders")
	}
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
