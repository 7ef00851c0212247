package backend

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/passes/sched"
	"google.golang.org/protobuf/proto"
)

// The helpers below write models message by message, so that tests say exactly
// what stands in the source.

func node(op string, in, out []string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(op), Input: in, Output: out, Attribute: attrs}
}

func names1(s ...string) []string { return s }

func dims(ds ...any) *onnxpb.TensorShapeProto {
	s := &onnxpb.TensorShapeProto{}
	for _, d := range ds {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		s.Dim = append(s.Dim, dim)
	}
	return s
}

// info is a value of float32 with the given extents: an int, a symbol, or nil.
func info(name string, ds ...any) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: dims(ds...)},
	}}}
}

// weight is a float32 tensor of n elements, all of value v/4.
func weight(name string, n int, v byte) *onnxpb.TensorProto {
	raw := make([]byte, 4*n)
	for i := range n {
		raw[4*i+2], raw[4*i+3] = v, 0x3e
	}
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(1), Dims: []int64{int64(n)}, RawData: raw}
}

func graphAttr(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g}
}

func tensorAttr(name string, t *onnxpb.TensorProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: t}
}

func modelOf(g *onnxpb.GraphProto) *onnxpb.ModelProto {
	if g.Name == nil {
		g.Name = proto.String("g")
	}
	return &onnxpb.ModelProto{
		IrVersion: proto.Int64(8), ProducerName: proto.String("test"), Graph: g,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}},
	}
}

// open writes a model to a fresh folder and opens it.
func open(t testing.TB, m *onnxpb.ModelProto) *onnxfile.Model {
	t.Helper()
	b, err := marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return openBytes(t, b)
}

func openBytes(t testing.TB, b []byte) *onnxfile.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return openFile(t, path)
}

func openFile(t testing.TB, path string) *onnxfile.Model {
	t.Helper()
	m, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// lowerPlain lowers a model as the front end does, but without inference: a
// value has its declared type, or is a float32 of unknown rank. Every node that
// an input reaches is a node of the graph; a group joins some of them.
func lowerPlain(t testing.TB, m *onnxfile.Model, groups ...[]int32) *ir.Lowered {
	t.Helper()
	x, err := newIndex(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	n := len(x.reads)
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return int(x.position(a)) - int(x.position(b)) })
	placed, live := make([]bool, n), make([]bool, n)
	for _, i := range order {
		for _, v := range x.reads[i] {
			placed[i] = placed[i] || x.kind[v] == fromInput || x.kind[v] == fromNode && placed[x.at[v]]
		}
	}
	var keep func(v valueID)
	keep = func(v valueID) {
		if x.kind[v] == fromNode && !live[x.at[v]] {
			live[x.at[v]] = true
			for _, u := range x.reads[x.at[v]] {
				keep(u)
			}
		}
	}
	for _, o := range x.graph.GetOutput() {
		keep(x.ids[o.GetName()])
	}
	first := map[int32][]int32{}
	joined := map[int32]bool{}
	for _, g := range groups {
		first[g[0]] = g
		for _, i := range g[1:] {
			joined[i] = true
		}
	}
	l := &ir.Lowered{}
	b := ir.NewBuilder("g")
	value := func(v valueID) ir.ValueID {
		if id, ok := b.ValueNamed(x.names[v]); ok {
			return id
		}
		typ := typeFrom(x.declared(v).info.GetType())
		if typ.Kind == ir.UnknownKind {
			typ = ir.Unranked(ir.Float32)
		}
		l.Types = append(l.Types, typ)
		return b.Value(ir.Value{Name: x.names[v], Bytes: 1000, ResidentBytes: 1000, Input: x.kind[v] == fromInput, Output: x.outputAt[v] >= 0})
	}
	weight := func(v valueID) ir.WeightID {
		if id, ok := b.WeightNamed(x.names[v]); ok {
			return id
		}
		return b.Weight(x.names[v], 100)
	}
	constant := func(v valueID) bool {
		return x.kind[v] == fromDense || x.kind[v] == fromSparse || x.kind[v] == fromNode && !placed[x.at[v]]
	}
	taken := map[string]bool{}
	for i := range x.graph.GetInput() {
		if v := x.ids[x.graph.GetInput()[i].GetName()]; x.kind[v] == fromInput {
			value(v)
		}
	}
	for _, i := range order {
		if !placed[i] || !live[i] || joined[i] {
			continue
		}
		members := []int32{i}
		if g, ok := first[i]; ok {
			members = g
		}
		nd := ir.Node{Name: x.nodeLabel(i), Op: x.graph.GetNode()[i].GetOpType(), Replicable: true}
		for taken[nd.Name] {
			nd.Name += "'"
		}
		taken[nd.Name] = true
		for _, j := range members {
			for _, v := range x.reads[j] {
				switch {
				case constant(v):
					nd.Weights = append(nd.Weights, weight(v))
				case x.kind[v] == fromNode && slices.Contains(members, x.at[v]):
				default:
					nd.Inputs = append(nd.Inputs, value(v))
				}
			}
		}
		for _, j := range members {
			for _, v := range x.writes[j] {
				nd.Outputs = append(nd.Outputs, value(v))
			}
		}
		b.Node(nd)
		l.Members = append(l.Members, members)
	}
	carrier := ir.Node{Name: "(constants)"}
	for _, o := range x.graph.GetOutput() {
		if v := x.ids[o.GetName()]; constant(v) {
			if _, seen := b.ValueNamed(x.names[v]); !seen {
				carrier.Outputs = append(carrier.Outputs, value(v))
				carrier.Weights = append(carrier.Weights, weight(v))
			}
		}
	}
	if len(carrier.Outputs) > 0 {
		b.Node(carrier)
		l.Members = append(l.Members, nil)
	}
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	l.Problem = &ir.Problem{Graph: g}
	return l
}

// threeProcessors are on two devices that a link joins; every node takes 10 us on each.
func threeProcessors(l *ir.Lowered, names ...string) {
	if names == nil {
		names = []string{"pi", "jetson.gpu", "jetson.cpu"}
	}
	copies := &ir.Copy{Latency: ir.Microsecond, BytesPerUs: 1000}
	l.Problem.Platform = &ir.Platform{
		Devices: []ir.Device{{Name: "pi", MemoryBytes: ir.UnlimitedBytes}, {Name: "jetson", MemoryBytes: 1 << 30}},
		Processors: []ir.Processor{
			{Name: names[0], Device: 0, MemoryBytes: ir.UnlimitedBytes, Launch: ir.Microsecond, Kind: "cpu", Provider: "CPUExecutionProvider"},
			{Name: names[1], Device: 1, MemoryBytes: 1 << 29, Launch: ir.Microsecond, Kind: "gpu", Provider: "CUDAExecutionProvider", Upload: copies, Download: copies},
			{Name: names[2], Device: 1, MemoryBytes: ir.UnlimitedBytes, Launch: ir.Microsecond, Kind: "cpu", Provider: "CPUExecutionProvider"},
		},
		Links: []ir.Link{
			{From: 0, To: 1, Copy: ir.Copy{Latency: 2 * ir.Microsecond, BytesPerUs: 100}},
			{From: 1, To: 0, Copy: ir.Copy{Latency: 2 * ir.Microsecond, BytesPerUs: 100}},
		},
		Source: 0, Sink: 0,
	}
	g := l.Problem.Graph
	l.Problem.Costs = ir.NewCosts(g.NumNodes(), 3)
	for n := range g.NumNodes() {
		for p := range 3 {
			l.Problem.Costs.Set(ir.NodeID(n), ir.ProcID(p), 10*ir.Microsecond)
			l.Sources = append(l.Sources, ir.CostSource(n%3))
		}
	}
}

// placementOf schedules a plan and gives it invented baselines.
func placementOf(t testing.TB, l *ir.Lowered, subs ...ir.Submodel) *ir.Placement {
	t.Helper()
	plan := &ir.Plan{Submodels: subs}
	s, err := sched.Rate(l.Problem, plan)
	if err != nil {
		t.Fatal(err)
	}
	plan.LowerBound = plan.Latency / 2
	return &ir.Placement{
		Plan: plan, Schedule: s,
		Single:    []ir.Baseline{{Name: "pi", Feasible: true, Latency: 70 * ir.Microsecond, Bottleneck: 60 * ir.Microsecond}, {}, {Feasible: true, Latency: 80 * ir.Microsecond}},
		Baselines: []ir.Baseline{{Name: "heft", Feasible: true, Latency: 65 * ir.Microsecond}, {Name: "greedy"}},
		Auto:      plan,
	}
}

// sub is a sub-model of the nodes with the given names.
func sub(l *ir.Lowered, p ir.ProcID, nodes ...string) ir.Submodel {
	s := ir.Submodel{Processor: p}
	for n := range l.Problem.Graph.NumNodes() {
		if slices.Contains(nodes, l.Problem.Graph.NodeName(ir.NodeID(n))) {
			s.Nodes = append(s.Nodes, ir.NodeID(n))
		}
	}
	return s
}

func build(t testing.TB, m *onnxfile.Model, l *ir.Lowered, p *ir.Placement, o Options) *Bundle {
	t.Helper()
	b, err := Build(t.Context(), m, l, p, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decode parses the sub-model with the given id.
func decode(t testing.TB, b *Bundle, id string) *onnxpb.ModelProto {
	t.Helper()
	for i, s := range b.Manifest.Submodels {
		if s.ID == id {
			var w writerTo
			if _, err := b.Models[i].WriteTo(&w); err != nil {
				t.Fatal(err)
			}
			m := &onnxpb.ModelProto{}
			if err := proto.Unmarshal(w, m); err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	t.Fatalf("there is no sub-model %q", id)
	return nil
}

type writerTo []byte

func (w *writerTo) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}
