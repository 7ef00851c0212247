package report

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/passes/sched"
	"google.golang.org/protobuf/proto"
)

// towers are n chains of the given depth between a first and a last node, on a
// fleet of three devices and four processors, cut by chain.
func towers(t testing.TB, n, depth int) (*ir.Lowered, *ir.Placement) {
	t.Helper()
	b := ir.NewBuilder("towers")
	value := func(name string, v ir.Value) ir.ValueID {
		v.Name, v.Bytes, v.ResidentBytes = name, 400_000, 400_000
		return b.Value(v)
	}
	x := value("x", ir.Value{Input: true})
	stem := value("stem", ir.Value{})
	b.Node(ir.Node{Name: "stem/conv", Op: "Conv", Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{stem}, Weights: []ir.WeightID{b.Weight("stem.w", 9408)}, Replicable: true})
	var ends []ir.ValueID
	chain := make([][]ir.NodeID, n)
	for i := range n {
		at := stem
		for k := range depth {
			name := fmt.Sprintf("tower%d/block%d/conv%d", i, k/4, k%4)
			out := value(name+":0", ir.Value{})
			w := b.Weight(name+".w", 2_000_000)
			chain[i] = append(chain[i], b.Node(ir.Node{Name: name, Op: []string{"Conv", "Relu", "com.microsoft::Gelu"}[k%3], Inputs: []ir.ValueID{at}, Outputs: []ir.ValueID{out}, Weights: []ir.WeightID{w}}))
			at = out
		}
		ends = append(ends, at)
	}
	y := value("y", ir.Value{Output: true})
	last := b.Node(ir.Node{Name: "head/concat", Op: "Concat", Inputs: ends, Outputs: []ir.ValueID{y}})
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	gpu := &ir.Copy{Latency: 10 * ir.Microsecond, BytesPerUs: 12000}
	pf := &ir.Platform{
		Devices: []ir.Device{{Name: "pi", MemoryBytes: 8 << 30}, {Name: "jetson", MemoryBytes: 8 << 30}, {Name: "server", MemoryBytes: ir.UnlimitedBytes}},
		Processors: []ir.Processor{
			{Name: "pi", Device: 0, MemoryBytes: ir.UnlimitedBytes, Launch: 30 * ir.Microsecond, Kind: "cpu", Provider: "CPUExecutionProvider"},
			{Name: "jetson.gpu", Device: 1, MemoryBytes: 4 << 30, Launch: 60 * ir.Microsecond, Kind: "gpu", Provider: "CUDAExecutionProvider", Upload: gpu, Download: gpu},
			{Name: "jetson.cpu", Device: 1, MemoryBytes: ir.UnlimitedBytes, Launch: 30 * ir.Microsecond, Kind: "cpu", Provider: "CPUExecutionProvider"},
			{Name: "server", Device: 2, MemoryBytes: ir.UnlimitedBytes, Launch: 20 * ir.Microsecond, Kind: "cpu", Provider: "CPUExecutionProvider"},
		},
		Links: []ir.Link{
			{From: 0, To: 1, Copy: ir.Copy{Latency: 200 * ir.Microsecond, BytesPerUs: 117.5}},
			{From: 1, To: 0, Copy: ir.Copy{Latency: 200 * ir.Microsecond, BytesPerUs: 117.5}},
			{From: 1, To: 2, Copy: ir.Copy{Latency: 2 * ir.Millisecond, BytesPerUs: 50}, Medium: "wifi-1"},
			{From: 2, To: 1, Copy: ir.Copy{Latency: 2 * ir.Millisecond, BytesPerUs: 50}, Medium: "wifi-1"},
		},
		Source: 0, Sink: 0,
	}
	costs := ir.NewCosts(g.NumNodes(), 4)
	l := &ir.Lowered{
		Problem: &ir.Problem{Graph: g, Platform: pf, Costs: costs},
		Members: make([][]int32, g.NumNodes()), Notes: []string{"the size of \"batch\" is taken for 1", "2 nodes are dead <and gone>"},
	}
	for i := range g.NumNodes() {
		l.Members[i] = []int32{int32(i)}
		for p, us := range []float64{900, 120, 700, 90} {
			costs.Set(ir.NodeID(i), ir.ProcID(p), ir.Micros(us+float64(i%7)*10))
			l.Sources = append(l.Sources, ir.CostSource((i+p)%3))
		}
	}
	for range g.NumValues() {
		l.Types = append(l.Types, ir.TensorOf(ir.Float32, ir.Symbol("N"), ir.Fixed(64), ir.Fixed(40), ir.Fixed(40)))
	}
	plan := &ir.Plan{Submodels: []ir.Submodel{{Processor: 0, Nodes: []ir.NodeID{0}}}}
	for p := range 4 {
		s := ir.Submodel{Processor: ir.ProcID(p)}
		for i := p; i < n; i += 4 {
			s.Nodes = append(s.Nodes, chain[i]...)
		}
		if len(s.Nodes) > 0 {
			plan.Submodels = append(plan.Submodels, s)
		}
	}
	plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: 0, Nodes: []ir.NodeID{last}})
	plan.Submodels[2].Replicas = []ir.NodeID{0}
	s, err := sched.Rate(l.Problem, plan)
	if err != nil {
		t.Fatal(err)
	}
	plan.LowerBound = plan.Latency / 10 * 9
	auto := plan.Clone()
	auto.Latency = plan.Latency / 10 * 9
	return l, &ir.Placement{
		Plan: plan, Schedule: s, Auto: auto,
		Single:    []ir.Baseline{{Feasible: true, Latency: 2 * plan.Latency, Bottleneck: plan.Bottleneck}, {}, {Feasible: true, Latency: 3 * plan.Latency}, {Feasible: true, Latency: 4 * plan.Latency}},
		Baselines: []ir.Baseline{{Name: "heft", Feasible: true, Latency: plan.Latency * 11 / 10}, {Name: "greedy"}},
	}
}

// manifestOf cuts a model whose nodes are those of the graph.
func manifestOf(t testing.TB, l *ir.Lowered, p *ir.Placement) *backend.Manifest {
	t.Helper()
	g := l.Problem.Graph
	pb := &onnxpb.GraphProto{Name: proto.String("towers")}
	for v := range g.NumValues() {
		info := &onnxpb.ValueInfoProto{Name: proto.String(g.ValueName(ir.ValueID(v)))}
		if g.IsInput(ir.ValueID(v)) {
			pb.Input = append(pb.Input, info)
		}
		if g.IsOutput(ir.ValueID(v)) {
			pb.Output = append(pb.Output, info)
		}
	}
	for n := range g.NumNodes() {
		node := &onnxpb.NodeProto{Name: proto.String(g.NodeName(ir.NodeID(n))), OpType: proto.String(g.Op(ir.NodeID(n)))}
		for _, v := range g.Inputs(ir.NodeID(n)) {
			node.Input = append(node.Input, g.ValueName(v))
		}
		for _, v := range g.Outputs(ir.NodeID(n)) {
			node.Output = append(node.Output, g.ValueName(v))
		}
		pb.Node = append(pb.Node, node)
	}
	b, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: pb, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "towers.onnx")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	bundle, err := backend.Build(t.Context(), m, l, p, backend.Options{ToolVersion: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return bundle.Manifest
}

// placed schedules another plan of the same problem.
func placed(t testing.TB, l *ir.Lowered, like *ir.Placement, subs ...ir.Submodel) *ir.Placement {
	t.Helper()
	q := *like
	q.Plan = &ir.Plan{Submodels: subs}
	q.Single = append([]ir.Baseline(nil), like.Single...)
	s, err := sched.Rate(l.Problem, q.Plan)
	if err != nil {
		t.Fatal(err)
	}
	q.Schedule = s
	return &q
}
