package ir_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"pgregory.net/rapid"
)

// TestLiveBytesPeak holds the largest of LiveBytes against the peak that the
// memory rules give for the whole graph as one sub-model.
func TestLiveBytesPeak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := ir.NewBuilder("random")
		values := []ir.ValueID{
			b.Value(ir.Value{Name: "x", Bytes: 7, ResidentBytes: 7, Input: true}),
			b.Value(ir.Value{Name: "y", Bytes: 5, ResidentBytes: 11, Input: true}),
		}
		for n := range rapid.IntRange(1, 12).Draw(t, "nodes") {
			node := ir.Node{Name: fmt.Sprint("n", n), Op: "Op"}
			for range rapid.IntRange(0, 3).Draw(t, "inputs") {
				v := rapid.SampledFrom(values).Draw(t, "input")
				if !slices.Contains(node.Inputs, v) {
					node.Inputs = append(node.Inputs, v)
				}
			}
			for k := range rapid.IntRange(1, 2).Draw(t, "outputs") {
				size := rapid.Int64Range(0, 20).Draw(t, "bytes")
				v := b.Value(ir.Value{Name: fmt.Sprintf("v%d.%d", n, k), Bytes: size, ResidentBytes: size, Output: rapid.Bool().Draw(t, "output")})
				node.Outputs = append(node.Outputs, v)
				values = append(values, v)
			}
			b.Node(node)
		}
		g, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		p := &ir.Problem{Graph: g, Platform: &ir.Platform{
			Devices: []ir.Device{{Name: "d"}}, Processors: []ir.Processor{{Name: "d"}}, Source: ir.NoDevice, Sink: ir.NoDevice,
		}}
		plan := &ir.Plan{Submodels: []ir.Submodel{{}}}
		for n := range g.NumNodes() {
			plan.Submodels[0].Nodes = append(plan.Submodels[0].Nodes, ir.NodeID(n))
		}
		want := ir.MeasureMemory(p, plan, ir.Connect(g, plan)).Peak[0]
		if got := slices.Max(ir.LiveBytes(g)); got != want {
			t.Fatalf("the largest is %d, the peak is %d", got, want)
		}
	})
}
