package frontend

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// tensorOf is a stored tensor of zeros.
func tensorOf(name string, elem onnxpb.TensorProto_DataType, dims ...int64) *onnxpb.TensorProto {
	n, _ := ir.Elements(dims)
	size, _ := ir.StoredBytes(ir.ElemType(elem), n)
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(elem)), Dims: dims, RawData: make([]byte, size)}
}

func info(name string, dims ...int64) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: shape},
	}}}
}

// model is a float model x[4,4] → outputs with the given initializers and nodes.
func model(outputs string, stored []*onnxpb.TensorProto, nodes ...*onnxpb.NodeProto) *onnxpb.ModelProto {
	g := &onnxpb.GraphProto{Name: proto.String("g"), Node: nodes, Initializer: stored, Input: []*onnxpb.ValueInfoProto{info("x", 4, 4)}}
	for _, o := range strings.Fields(outputs) {
		g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: proto.String(o)})
	}
	return &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}}}
}

func analyzed(t *testing.T, m *onnxpb.ModelProto) *Analysis {
	t.Helper()
	text, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := onnxfile.Open(t.Context(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	a, err := Analyze(t.Context(), f, Options{Inline: InlineNever})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// twoDevices is a fleet of devices a and b; b does not run Tanh.
func twoDevices(t *testing.T) *profiles.Fleet {
	t.Helper()
	files := fstest.MapFS{"fleet.yaml": {Data: []byte("schema: dnnsplit/fleet/v1\ndefault_link: {bandwidth: 1Gbit/s}\n")}}
	for name, more := range map[string]string{"a": "", "b": "    unsupported: [Tanh]\n"} {
		files[name+".yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, `schema: dnnsplit/device/v1
name: %s
memory: 1GiB
processors:
  - name: cpu
    kind: cpu
    peak: {float32: 1GFLOP/s}
    memory_bandwidth: 1GB/s
%ssource: made up
`, name, more)}
	}
	fleet, err := profiles.LoadFS(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	return fleet
}

// dump writes a lowered graph, a line each: node(members): inputs -> outputs | weights.
func dump(l *ir.Lowered) []string {
	g := l.Problem.Graph
	var lines []string
	for n := range ir.NodeID(g.NumNodes()) {
		var in, out, held []string
		for _, v := range g.Inputs(n) {
			in = append(in, g.ValueName(v))
		}
		for _, v := range g.Outputs(n) {
			out = append(out, fmt.Sprintf("%s:%d", g.ValueName(v), g.Bytes(v)))
		}
		for _, w := range g.Weights(n) {
			held = append(held, fmt.Sprintf("%s:%d", g.WeightName(w), g.WeightBytes(w)))
		}
		line := fmt.Sprintf("%s%v: %s -> %s", g.NodeName(n), l.Members[n], strings.Join(in, " "), strings.Join(out, " "))
		if len(held) > 0 {
			line += " | " + strings.Join(held, " ")
		}
		if id := g.Group(n); id != ir.NoGroup {
			line += " (" + g.GroupName(id) + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestLower(t *testing.T) {
	const float, int8s, int64s = onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_INT8, onnxpb.TensorProto_INT64
	w := tensorOf("w", float, 4, 4)
	body := graphOf("| k | t", op("MatMul(x w -> m)"), op("Add(m k -> t)"))
	body.Name = proto.String("then")
	body.Initializer = []*onnxpb.TensorProto{tensorOf("k", float, 4)}
	other := graphOf("| | e", op("MatMul(h w -> e)"))
	other.Name = proto.String("else")
	branch := op("If(c -> y)", body, other)
	branch.Attribute[0].Name, branch.Attribute[1].Name = proto.String("then_branch"), proto.String("else_branch")
	cases := []struct {
		name string
		m    *onnxpb.ModelProto
		want []string
	}{
		{
			"constants are weights of whoever uses them",
			model("y z", []*onnxpb.TensorProto{w},
				op("Transpose(w -> wt)"), op("MatMul(x wt -> y)"), op("MatMul(y w -> h)"), op("MatMul(h wt -> z)")),
			[]string{"MatMul#1[1]: x -> y:64 | wt:64", "MatMul#2[2]: y -> h:64 | w:64", "MatMul#3[3]: h -> z:64 | wt:64"},
		},
		{
			"dequantized weights count as stored",
			model("y", []*onnxpb.TensorProto{tensorOf("q", int8s, 4, 4), tensorOf("s", float)},
				op("DequantizeLinear(q s -> w)"), op("MatMul(x w -> y)")),
			[]string{"MatMul#1[1]: x -> y:64 | q:16"},
		},
		{
			"captured values are inputs, captured weights weights, inner weights too",
			model("y", []*onnxpb.TensorProto{w, tensorOf("zero", float)},
				op("Relu(x -> h)"), op("ReduceMax(x -> r)"), op("Greater(r zero -> b)"), op("Squeeze(b -> c)"), branch),
			[]string{
				"Relu#0[0]: x -> h:64", "ReduceMax#1[1]: x -> r:4", "Greater#2[2]: r -> b:1 | zero:4", "Squeeze#3[3]: b -> c:1",
				"If#4[4]: c x h -> y:64 | w:64 in If#4:16",
			},
		},
		{
			"a sequence keeps its makers and users together, and what lies between",
			model("y", []*onnxpb.TensorProto{tensorOf("i", int64s)},
				op("SplitToSequence(x -> s)"), op("Relu(x -> r)"), op("SequenceAt(s i -> a)"), op("Relu(a -> b)"),
				op("SequenceInsert(s b -> t)"), op("SequenceAt(t i -> u)"), op("Add(u r -> y)")),
			[]string{
				"SplitToSequence#0[0 2 3 4 5]: x -> u:16 | i:8",
				"Relu#1[1]: x -> r:64", "Add#6[6]: u r -> y:64",
			},
		},
		{
			"constant outputs have a carrier; inputs that are outputs need no node",
			model("w k x y", []*onnxpb.TensorProto{w}, op("Relu(w -> k)"), op("Relu(x -> y)")),
			[]string{"Relu#1[1]: x -> y:64", "(constant outputs)[]:  -> w:64 k:64 | w:64 k:64"},
		},
		{
			"names are unique and dead nodes are gone",
			model("y", nil, named("n", op("Relu(x -> a)")), named("n", op("Tanh(a -> y)")), op("Tanh(a -> dead)")),
			[]string{"n[0]: x -> a:64", "n~2[1]: a -> y:64"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l, err := analyzed(t, c.m).Lower(t.Context(), twoDevices(t), LowerOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, dump(l)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func named(name string, n *onnxpb.NodeProto) *onnxpb.NodeProto {
	n.Name = proto.String(name)
	return n
}

func TestRules(t *testing.T) {
	m := model("y", nil, named("a1", op("Relu(x -> a)")), named("a2", op("Tanh(a -> b)")), named("c", op("Relu(b -> y)")))
	re := regexp.MustCompile
	lower := func(o LowerOptions) (*ir.Lowered, error) {
		return analyzed(t, m).Lower(t.Context(), twoDevices(t), o)
	}
	supported := func(l *ir.Lowered) string {
		var s []string
		for n := range ir.NodeID(l.Problem.Graph.NumNodes()) {
			at := ""
			for p, c := range l.Problem.Costs.Row(n) {
				if c != ir.Unsupported {
					at += l.Problem.Platform.Processors[p].Name
				}
			}
			s = append(s, at)
		}
		return strings.Join(s, " ")
	}
	for _, c := range []struct {
		name, want string
		o          LowerOptions
	}{
		{"no rules", "ab a ab", LowerOptions{}},
		{"pin", "a a ab", LowerOptions{Pins: []Rule{{re("^a1"), []ir.ProcID{0}, "a"}}}},
		{"pin to several", "ab a ab", LowerOptions{Pins: []Rule{{re("^a1"), []ir.ProcID{0, 1}, "both"}}}},
		{"forbid", "ab a b", LowerOptions{Forbids: []Rule{{re("c"), []ir.ProcID{0}, "a"}}}},
	} {
		l, err := lower(c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := supported(l); got != c.want {
			t.Errorf("%s: processors %q, want %q", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		want string
		o    LowerOptions
	}{
		{"matches no node", LowerOptions{Pins: []Rule{{re("zzz"), []ir.ProcID{0}, "a"}}}},
		{"matches no node", LowerOptions{Same: []*regexp.Regexp{re("zzz")}}},
		{`node "a2": --only, --pin and --forbid leave no processor`, LowerOptions{Forbids: []Rule{{re("a2"), []ir.ProcID{0}, "a"}}}},
	} {
		if _, err := lower(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one that says %q", err, c.want)
		}
	}
	l, err := lower(LowerOptions{Same: []*regexp.Regexp{re("^a"), re("1|c")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a1[0]: x -> a:64 (same 1)", "a2[1]: a -> b:64 (same 1)", "c[2]: b -> y:64 (same 1)"}, dump(l)); diff != "" {
		t.Error("patterns that share a node tie all that they match", diff)
	}
	unsupported := model("y", nil, op("acme::Thing(x -> y)"))
	only, err := profiles.LoadFS(fstest.MapFS{"a.yaml": {Data: []byte("schema: dnnsplit/device/v1\nname: a\nmemory: 1GiB\nprocessors:\n  - name: cpu\n    kind: cpu\n    peak: {float32: 1GFLOP/s}\n    memory_bandwidth: 1GB/s\n    supported: [Relu]\nsource: made up\n")}}, ".")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := analyzed(t, unsupported).Lower(t.Context(), only, LowerOptions{}); err == nil || !strings.Contains(err.Error(), "supports operator acme::Thing") {
		t.Errorf("error %v, want one that names the operator", err)
	}
}
