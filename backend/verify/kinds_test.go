package verify

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// kinds are small models with what is odd about them, and one way to cut each.
var kinds = []struct {
	name  string
	parts [][]int
	build func(g *onnxtest.Graph)
}{
	{"float16", [][]int{{0}, {1}, {2}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float16, 8)
		g.Op("Sigmoid", []string{"x"}, onnxtest.Outs("a"))
		g.Op("Mul", []string{"a", "x"}, onnxtest.Outs("b"))
		g.Op("Sqrt", []string{"b"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Float16, 8)
		g.Info("b", onnxtest.Float16, 8)
		g.Output("y", onnxtest.Float16, 8)
	}},
	{"bfloat16", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 8)
		g.Op("Cast", []string{"x"}, onnxtest.Outs("a"), onnxtest.Int("to", int64(onnxtest.BFloat16)))
		g.Op("Cast", []string{"a"}, onnxtest.Outs("y"), onnxtest.Int("to", int64(onnxtest.Float)))
		g.Info("a", onnxtest.BFloat16, 8)
		g.Output("y", onnxtest.Float, 8)
	}},
	{"float8", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 8)
		g.Op("Cast", []string{"x"}, onnxtest.Outs("a"), onnxtest.Int("to", int64(onnxtest.E4M3)))
		g.Op("Cast", []string{"a"}, onnxtest.Outs("y"), onnxtest.Int("to", int64(onnxtest.Float)))
		g.Info("a", onnxtest.E4M3, 8)
		g.Output("y", onnxtest.Float, 8)
	}},
	{"int4", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 7)
		g.Store(onnxtest.Floats("s", []float32{.1}))
		g.Store(onnxtest.Raw("z", onnxtest.Int4, []byte{1}))
		g.Op("QuantizeLinear", []string{"x", "s", "z"}, onnxtest.Outs("a"))
		g.Op("DequantizeLinear", []string{"a", "s", "z"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Int4, 7)
		g.Output("y", onnxtest.Float, 7)
	}},
	{"int8", [][]int{{0}, {1}, {2}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Int8, 2, 3)
		g.Input("w", onnxtest.UInt8, 3, 2)
		g.Op("Transpose", []string{"x"}, onnxtest.Outs("a"))
		g.Op("Transpose", []string{"w"}, onnxtest.Outs("b"))
		g.Op("MatMulInteger", []string{"b", "a"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Int8, 3, 2)
		g.Info("b", onnxtest.UInt8, 2, 3)
		g.Output("y", onnxtest.Int32, 2, 2)
	}},
	{"bool and rank 0", [][]int{{0}, {1}, {2}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float)
		g.Input("t", onnxtest.Float)
		g.Op("Greater", []string{"x", "t"}, onnxtest.Outs("c"))
		g.Op("Neg", []string{"x"}, onnxtest.Outs("n"))
		g.Op("Where", []string{"c", "x", "n"}, onnxtest.Outs("y"))
		g.Info("c", onnxtest.Bool)
		g.Info("n", onnxtest.Float)
		g.Output("y", onnxtest.Float)
		g.Output("c", onnxtest.Bool)
	}},
	{"strings", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.String, 2, 2)
		g.Op("Transpose", []string{"x"}, onnxtest.Outs("a"))
		g.Op("Identity", []string{"a"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.String, 2, 2)
		g.Output("y", onnxtest.String, 2, 2)
	}},
	{"no elements", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, "n", 3)
		g.Store(onnxtest.Int64s("from", []int64{5}, 1))
		g.Store(onnxtest.Int64s("to", []int64{9}, 1))
		g.Op("Slice", []string{"x", "from", "to"}, onnxtest.Outs("a"))
		g.Op("Concat", []string{"a", "x"}, onnxtest.Outs("y"), onnxtest.Int("axis", 0))
		g.Info("a", onnxtest.Float, "k", 3)
		g.Output("y", onnxtest.Float, "m", 3)
	}},
	{"if", [][]int{{0}, {1, 2}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 3)
		g.Input("c", onnxtest.Bool)
		g.Op("Abs", []string{"x"}, onnxtest.Outs("a"))
		branch := func(op string) func(*onnxtest.Graph) {
			return func(b *onnxtest.Graph) {
				b.Op(op, []string{"a"}, onnxtest.Outs("r"))
				b.Output("r", onnxtest.Float, 3)
			}
		}
		g.Op("If", []string{"c"}, onnxtest.Outs("b"), onnxtest.Body("then_branch", branch("Sin")), onnxtest.Body("else_branch", branch("Cos")))
		g.Op("Add", []string{"b", "x"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Float, 3)
		g.Output("y", onnxtest.Float, 3)
	}},
	{"loop", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 3)
		g.Store(onnxtest.Int64s("n", []int64{4}))
		g.Op("Abs", []string{"x"}, onnxtest.Outs("a"))
		g.Ops("Loop", 2, []string{"n", "", "a"}, onnxtest.Outs("y", "all"), onnxtest.Body("body", func(b *onnxtest.Graph) {
			b.Input("i", onnxtest.Int64)
			b.Input("c", onnxtest.Bool)
			b.Input("v", onnxtest.Float, 3)
			b.Op("Identity", []string{"c"}, onnxtest.Outs("c2"))
			b.Op("Add", []string{"v", "x"}, onnxtest.Outs("v2"))
			b.Op("Identity", []string{"v2"}, onnxtest.Outs("row"))
			b.Output("c2", onnxtest.Bool)
			b.Output("v2", onnxtest.Float, 3)
			b.Output("row", onnxtest.Float, 3)
		}))
		g.Info("a", onnxtest.Float, 3)
		g.Output("y", onnxtest.Float, 3)
		g.Output("all", onnxtest.Float, 4, 3)
	}},
	{"sequence inside one part", [][]int{{0}, {1, 2}, {3}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 4, 2)
		g.Op("Abs", []string{"x"}, onnxtest.Outs("a"))
		g.Op("SplitToSequence", []string{"a"}, onnxtest.Outs("s"))
		g.Op("ConcatFromSequence", []string{"s"}, onnxtest.Outs("b"), onnxtest.Int("axis", 1))
		g.Op("Neg", []string{"b"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Float, 4, 2)
		g.Info("b", onnxtest.Float, 1, 8)
		g.Output("y", onnxtest.Float, 1, 8)
	}},
	{"sequence in and out", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.InputOf("s", onnxtest.SequenceType(onnxtest.TensorType(onnxtest.Float, "n")))
		g.Input("x", onnxtest.Float, "n")
		g.Op("Neg", []string{"x"}, onnxtest.Outs("a"))
		g.Op("SequenceInsert", []string{"s", "a"}, onnxtest.Outs("t"))
		g.Info("a", onnxtest.Float, "n")
		g.OutputOf("t", onnxtest.SequenceType(onnxtest.TensorType(onnxtest.Float, "n")))
	}},
	{"optional in", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.InputOf("o", onnxtest.OptionalType(onnxtest.TensorType(onnxtest.Float, "n")))
		g.Op("OptionalGetElement", []string{"o"}, onnxtest.Outs("a"))
		g.Op("Neg", []string{"a"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Float, "n")
		g.Output("y", onnxtest.Float, "n")
	}},
	{"output that is an input", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 2)
		g.Op("Neg", []string{"x"}, onnxtest.Outs("a"))
		g.Op("Exp", []string{"a"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Float, 2)
		g.Output("y", onnxtest.Float, 2)
		g.Output("x", onnxtest.Float, 2)
		g.Output("a", onnxtest.Float, 2)
	}},
	{"odd names", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input(`{"a":[1]}`, onnxtest.Float, "past + seq", "past", "seq")
		g.Op("Neg", []string{`{"a":[1]}`}, onnxtest.Outs("漢字/層:0"))
		g.Op("Exp", []string{"漢字/層:0"}, onnxtest.Outs("<b> & 'c' \n"))
		g.Info("漢字/層:0", onnxtest.Float, "past + seq", "past", "seq")
		g.Output("<b> & 'c' \n", onnxtest.Float, "past + seq", "past", "seq")
	}},
	{"random", [][]int{{0}, {1}}, func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Double, 5)
		g.Op("Tanh", []string{"x"}, onnxtest.Outs("a"))
		g.Op("Exp", []string{"a"}, onnxtest.Outs("y"))
		g.Info("a", onnxtest.Double, 5)
		g.Output("y", onnxtest.Double, 5)
	}},
}

func TestKinds(t *testing.T) {
	runtimetest.ORT(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			m := onnxtest.New(onnxtest.Header{Name: "kind", Opset: 21})
			k.build(m.Graph())
			b := cut(t, m, k.parts, nil)
			r := verify(t, b, Options{Seed: 3})
			if !r.Equal || !r.Levels[0].BitEqual || !r.Conclusive || len(r.Warnings) != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Every kind must also be able to fail: the last part is given another value.
func TestKindsFail(t *testing.T) {
	runtimetest.ORT(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			m := onnxtest.New(onnxtest.Header{Name: "kind", Opset: 21})
			k.build(m.Graph())
			b := cut(t, m, k.parts, func(i int, sub *onnxpb.ModelProto) {
				if i != 0 {
					return
				}
				n := sub.Graph.Node[0]
				switch n.GetOpType() {
				case "Sigmoid", "Abs", "Neg", "Tanh":
					n.OpType = proto.String("Floor")
				case "Greater":
					n.OpType = proto.String("Less")
				case "Transpose":
					n.OpType = proto.String("Identity")
					if sub.Graph.Input[0].GetType().GetTensorType().GetElemType() != int32(onnxtest.String) {
						n.OpType = proto.String("Reshape")
						n.Input = append(n.Input, "shape")
						sub.Graph.Initializer = append(sub.Graph.Initializer, onnxtest.Int64s("shape", []int64{3, 2}, 2))
					}
				case "Cast":
					n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: proto.String("to"), Type: onnxpb.AttributeProto_INT.Enum(), I: n.Attribute[0].I})
					sub.Graph.Node = append([]*onnxpb.NodeProto{{OpType: proto.String("Neg"), Input: []string{"x"}, Output: []string{"-x"}}}, sub.Graph.Node...)
					n.Input = []string{"-x"}
					n.Attribute = n.Attribute[:1]
				case "QuantizeLinear":
					sub.Graph.Initializer[0] = onnxtest.Floats("s", []float32{.2})
				case "Slice":
					sub.Graph.Initializer[0] = onnxtest.Int64s("from", []int64{0}, 1)
				case "OptionalGetElement":
					sub.Graph.Node = append(sub.Graph.Node, &onnxpb.NodeProto{OpType: proto.String("Abs"), Input: []string{"e"}, Output: []string{"a"}},
						&onnxpb.NodeProto{OpType: proto.String("Add"), Input: []string{"e", "e"}, Output: []string{"a"}})
					sub.Graph.Node[0].Output = []string{"e"}
					sub.Graph.Node = append(sub.Graph.Node[:1], sub.Graph.Node[2])
				default:
					t.Fatalf("nothing known to break %s", n.GetOpType())
				}
			})
			r := verify(t, b, Options{Seed: 3, Levels: []runtime.Level{}})
			if r.Equal || r.FirstDifference == nil || r.FirstDifference.Submodel != "p0" {
				t.Errorf("a wrong first part went through: %+v", r)
			}
		})
	}
}

// An output that the model computes from constants only is compared too.
func TestNoInputsAtAll(t *testing.T) {
	runtimetest.ORT(t)
	m := onnxtest.New(onnxtest.Header{Name: "none", Opset: 21})
	g := m.Graph()
	g.Store(onnxtest.Floats("w", []float32{1, 2, 3}, 3))
	g.Op("Sin", []string{"w"}, onnxtest.Outs("a"))
	g.Op("Neg", []string{"a"}, onnxtest.Outs("y"))
	g.Info("a", onnxtest.Float, 3)
	g.Output("y", onnxtest.Float, 3)
	r := verify(t, cut(t, m, [][]int{{0}, {1}}, nil), Options{})
	if !r.Equal || r.Conclusive || len(r.Warnings) != 1 {
		t.Errorf("%+v", r)
	}
}

// External data is found beside the model and beside each sub-model.
func TestExternalData(t *testing.T) {
	runtimetest.ORT(t)
	outside := func(m *onnxpb.ModelProto) []byte {
		w := m.Graph.Initializer[0]
		m.Graph.Initializer[0] = &onnxpb.TensorProto{
			Name: w.Name, Dims: w.Dims, DataType: w.DataType, DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
			ExternalData: []*onnxpb.StringStringEntryProto{{Key: proto.String("location"), Value: proto.String("w.bin")}},
		}
		return w.RawData
	}
	var data []byte
	b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, func(i int, sub *onnxpb.ModelProto) {
		if i == 0 {
			data = outside(sub)
		}
	})
	whole := diamond().Proto()
	outside(whole)
	body, err := proto.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path string, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(b.model, body)
	write(filepath.Join(filepath.Dir(b.model), "w.bin"), data)
	write(filepath.Join(b.dir, "w.bin"), data)
	b.manifest.Model.SHA256 = fileSHA(t, b.model)
	b.writeManifest(t)
	if r := verify(t, b, Options{}); !r.Equal || !r.Conclusive {
		t.Errorf("%+v", r)
	}
	other := append([]byte{}, data...)
	other[3] ^= 1
	write(filepath.Join(b.dir, "w.bin"), other)
	if r := verify(t, b, Options{}); r.Equal || r.FirstDifference == nil || r.FirstDifference.Submodel != "p0" {
		t.Errorf("changed data: %+v", r)
	}
}

// What a model draws at random cannot be compared, the rest can.
func TestRandomOutputs(t *testing.T) {
	runtimetest.ORT(t)
	build := func(g *onnxtest.Graph) {
		g.Input("x", onnxtest.Float, 9)
		g.Op("Abs", []string{"x"}, onnxtest.Outs("a"))
		g.Op("RandomNormalLike", []string{"x"}, onnxtest.Outs("r")) // not first: the place of a node seeds it
		g.Op("Add", []string{"x", "r"}, onnxtest.Outs("y"))
		g.Op("Neg", []string{"a"}, onnxtest.Outs("z"))
		g.Info("r", onnxtest.Float, 9)
		g.Info("a", onnxtest.Float, 9)
		g.Output("y", onnxtest.Float, 9)
		g.Output("z", onnxtest.Float, 9)
	}
	m := onnxtest.New(onnxtest.Header{Name: "random", Opset: 21})
	build(m.Graph())
	parts := [][]int{{0}, {1}, {2, 3}}
	r := verify(t, cut(t, m, parts, nil), Options{})
	if out := r.Levels[0].Outputs; !r.Equal || !r.Conclusive || !out[0].Random || out[1].Random || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "the model does not repeat its own results on equal inputs, it draws random numbers: not compared are y") {
		t.Errorf("%+v", r)
	}
	all := onnxtest.New(onnxtest.Header{Name: "random", Opset: 21})
	g := all.Graph()
	g.Input("x", onnxtest.Float, 9)
	g.Op("Abs", []string{"x"}, onnxtest.Outs("a"))
	g.Op("RandomNormalLike", []string{"a"}, onnxtest.Outs("r"))
	g.Info("a", onnxtest.Float, 9)
	g.Output("r", onnxtest.Float, 9)
	if r := verify(t, cut(t, all, [][]int{{0}, {1}}, nil), Options{}); !slices.Contains(r.Warnings, "nothing could be compared") {
		t.Errorf("all outputs are random: %+v", r)
	}
	r = verify(t, cut(t, m, parts, func(i int, sub *onnxpb.ModelProto) {
		if i == 0 {
			sub.Graph.Node[0].OpType = proto.String("Ceil")
		}
	}), Options{})
	if r.Equal || r.FirstDifference == nil {
		t.Errorf("a wrong part beside a random one went through: %+v", r)
	}
}
