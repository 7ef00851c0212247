package passes

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/assign"
)

// randomProblem is a random DAG with weights on a platform of procs unlimited processors.
func randomProblem(t *testing.T, rng *rand.Rand, nodes, procs int) *ir.Problem {
	t.Helper()
	b := ir.NewBuilder("random")
	values := []ir.ValueID{b.Value(ir.Value{Name: "x", Bytes: 100, ResidentBytes: 100, Input: true})}
	for n := range nodes {
		node := ir.Node{Name: fmt.Sprint("n", n)}
		for range 1 + rng.IntN(3) {
			node.Inputs = append(node.Inputs, values[max(0, len(values)-1-rng.IntN(6))])
		}
		for range rng.IntN(3) {
			name := fmt.Sprint("w", rng.IntN(nodes))
			w, ok := b.WeightNamed(name)
			if !ok {
				w = b.Weight(name, int64(rng.IntN(1000)))
			}
			node.Weights = append(node.Weights, w)
		}
		for k := range 1 + rng.IntN(2) {
			size := int64(rng.IntN(500))
			v := b.Value(ir.Value{Name: fmt.Sprint("v", n, ".", k), Bytes: size, ResidentBytes: size, Output: n == nodes-1 || rng.IntN(20) == 0})
			node.Outputs = append(node.Outputs, v)
		}
		b.Node(node)
		values = append(values, node.Outputs...)
	}
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := &ir.Problem{Graph: g, Platform: &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}, Costs: ir.NewCosts(nodes, procs), Submodels: 1}
	for q := range procs {
		p.Platform.Devices = append(p.Platform.Devices, ir.Device{Name: fmt.Sprint("d", q), MemoryBytes: ir.UnlimitedBytes})
		p.Platform.Processors = append(p.Platform.Processors, ir.Processor{Name: fmt.Sprint("p", q), Device: ir.DeviceID(q), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels})
		for r := range procs {
			if r != q {
				p.Platform.Links = append(p.Platform.Links, ir.Link{From: ir.DeviceID(q), To: ir.DeviceID(r), Copy: ir.Copy{BytesPerUs: 100}})
			}
		}
		for n := range nodes {
			p.Costs.Set(ir.NodeID(n), ir.ProcID(q), ir.Time(1+rng.IntN(100))*ir.Microsecond)
		}
	}
	return p
}

// segments is the plan of consecutive segments that end at the given nodes.
func segments(ends ...int) *ir.Plan {
	plan := &ir.Plan{}
	from := 0
	for q, end := range ends {
		s := ir.Submodel{Processor: ir.ProcID(q)}
		for ; from < end; from++ {
			s.Nodes = append(s.Nodes, ir.NodeID(from))
		}
		plan.Submodels = append(plan.Submodels, s)
	}
	return plan
}

// What fit measures for a segment is what the execution model says it needs.
func TestFitMeasuresSegments(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		p := randomProblem(t, rng, 30, 3)
		a := 1 + rng.IntN(28)
		b := a + 1 + rng.IntN(30-a-1)
		plan := segments(a, b, 30)
		want := ir.MeasureMemory(p, plan, ir.Connect(p.Graph, plan))
		f := assign.NewSegments(p)
		for q, s := range [][2]int{{0, a}, {a, b}, {b, 30}} {
			if got := f.Measure(ir.NodeID(s[0]), ir.NodeID(s[1])); got != want.Processors[q] {
				t.Fatalf("segment %v of cuts at %d and %d: %d bytes, the model says %d", s, a, b, got, want.Processors[q])
			}
		}
	}
}

// Problems whose memory holds a known cut and little more are placed.
func TestTightMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range race.Of(5, 1) {
		p := randomProblem(t, rng, 60, 4)
		plan := segments(15, 30, 45, 60)
		need := ir.MeasureMemory(p, plan, ir.Connect(p.Graph, plan))
		for q := range p.Platform.Processors {
			p.Platform.Processors[q].MemoryBytes = need.Processors[q] + need.Processors[q]/20
		}
		placed, err := Place(t.Context(), p, Options{Workers: 1})
		if err != nil {
			t.Errorf("problem %d: %v", i, err)
			continue
		}
		if err := ir.CheckPlan(p, placed.Plan); err != nil {
			t.Errorf("problem %d: %v", i, err)
		}
	}
}
