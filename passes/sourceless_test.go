package passes

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bound"
)

// A replicable node that reads nothing, such as a constant that is computed, can be made anew on any processor, and so can
// what replicable nodes make of it: no bound charges for sending it.
func TestBoundsOfNodesWithoutInputs(t *testing.T) {
	b := ir.NewBuilder("constants")
	value := func(name string, bytes int64, output bool) ir.ValueID {
		return b.Value(ir.Value{Name: name, Bytes: bytes, Output: output})
	}
	made, shaped := value("made", 1000, false), value("shaped", 1000, false)
	b.Node(ir.Node{Name: "make", Outputs: []ir.ValueID{made}, Replicable: true})
	b.Node(ir.Node{Name: "shape", Inputs: []ir.ValueID{made}, Outputs: []ir.ValueID{shaped}, Replicable: true})
	b.Node(ir.Node{Name: "left", Inputs: []ir.ValueID{shaped}, Outputs: []ir.ValueID{value("l", 1, true)}})
	b.Node(ir.Node{Name: "right", Inputs: []ir.ValueID{shaped}, Outputs: []ir.ValueID{value("r", 1, true)}})
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	slow := &ir.Copy{Latency: 100 * ir.Microsecond, BytesPerUs: 10}
	p := &ir.Problem{Graph: g, Platform: &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice, Devices: []ir.Device{{Name: "d", MemoryBytes: ir.UnlimitedBytes}}}, Costs: ir.NewCosts(4, 2), Submodels: 1}
	for q, name := range []string{"a", "b"} {
		p.Platform.Processors = append(p.Platform.Processors, ir.Processor{Name: name, MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels, Upload: slow})
		p.Costs.Set(0, ir.ProcID(q), ir.Microsecond)
		p.Costs.Set(1, ir.ProcID(q), ir.Microsecond)
		p.Costs.Set(ir.NodeID(2+q), ir.ProcID(q), 50*ir.Microsecond)
		p.Costs.Set(ir.NodeID(3-q), ir.ProcID(q), ir.Unsupported)
	}
	for _, o := range []ir.Objective{ir.Latency, ir.Throughput} {
		got, err := Place(t.Context(), p, Options{Objective: o, Check: true})
		if err != nil {
			t.Fatal(err)
		}
		if want := 52 * ir.Microsecond; got.Plan.Value() != want || !got.Plan.ProvenOptimal {
			t.Errorf("%v is %v (proved: %v), want %v", o, got.Plan.Value(), got.Plan.ProvenOptimal, want)
		}
	}
	if labels := bound.Labels(t.Context(), p, 0, ir.MaxTime); labels > 52*ir.Microsecond {
		t.Errorf("labels bound the bottleneck by %v, a plan takes 52us", labels)
	}
}
