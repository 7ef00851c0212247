package work

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

func inferred(t testing.TB, m *onnxtest.Model, o shape.Options) *shape.Result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return inferredFile(t, path, o)
}

func inferredFile(t testing.TB, path string, o shape.Options) *shape.Result {
	t.Helper()
	f, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	r, err := shape.Infer(context.Background(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	f32 = onnxtest.Float
	f16 = onnxtest.Float16
	i64 = onnxtest.Int64
	i8  = onnxtest.Int8
	u8  = onnxtest.UInt8
)

func zeros(g *onnxtest.Graph, name string, t onnxtest.DType, dims ...int64) string {
	n := onnxtest.Bits(t)
	for _, d := range dims {
		n *= d
	}
	return g.Store(onnxtest.Raw(name, t, make([]byte, (n+7)/8), dims...))
}

func in(list ...string) []string { return list }

// Each case builds a graph whose last node is counted; the numbers are worked out by hand.
var workCases = []struct {
	name  string
	opset int64
	build func(g *onnxtest.Graph)
	want  Work
}{
	{"convolution with bias", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", f32, 2, 3, 8, 8)
		g.Op("Conv", in(x, zeros(g, "w", f32, 4, 3, 3, 3), zeros(g, "b", f32, 4)))
		// 2·4·6·6 outputs, each 3·9 multiply-adds and a bias
	}, Work{FLOPs: 288*54 + 288, ReadBytes: 1536 + 432 + 16, WriteBytes: 1152, WeightBytes: 448, Elem: ir.Float32, Kernel: "few channels", Known: true}},
	{"depthwise convolution", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", f32, 1, 8, 4, 4)
		g.Op("Conv", in(x, zeros(g, "w", f32, 8, 1, 3, 3)), onnxtest.Int("group", 8), onnxtest.Ints("pads", 1, 1, 1, 1))
	}, Work{FLOPs: 128 * 18, ReadBytes: 512 + 288, WriteBytes: 512, WeightBytes: 288, Elem: ir.Float32, Kernel: "depthwise", Known: true}},
	{"transposed convolution", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", f32, 1, 8, 4, 4)
		g.Op("ConvTranspose", in(x, zeros(g, "w", f32, 8, 2, 2, 2)), onnxtest.Ints("strides", 2, 2))
		// 128 inputs, each times 2·2·2 weights
	}, Work{FLOPs: 128 * 16, ReadBytes: 512 + 256, WriteBytes: 512, WeightBytes: 256, Elem: ir.Float32, Known: true}},
	{"quantized convolution", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", u8, 1, 3, 4, 4)
		s, z, wz := zeros(g, "s", f32), zeros(g, "z", u8), zeros(g, "wz", i8)
		g.Op("QLinearConv", in(x, s, z, zeros(g, "w", i8, 2, 3, 1, 1), s, wz, s, z))
	}, Work{FLOPs: 32 * 6, ReadBytes: 48 + 4 + 1 + 6 + 1, WriteBytes: 32, WeightBytes: 12, Elem: ir.Int8, Kernel: "1x1", Known: true}},
	{"half precision product", 13, func(g *onnxtest.Graph) {
		g.Op("MatMul", in(g.Input("x", f16, 5, 2, 3), zeros(g, "w", f16, 3, 4)))
	}, Work{FLOPs: 40 * 6, ReadBytes: 60 + 24, WriteBytes: 80, WeightBytes: 24, Elem: ir.Float16, Known: true}},
	{"general product", 13, func(g *onnxtest.Graph) {
		g.Op("Gemm", in(g.Input("x", f32, 3, 5), zeros(g, "w", f32, 3, 4), zeros(g, "c", f32, 4)), onnxtest.Int("transA", 1))
	}, Work{FLOPs: 20*6 + 20, ReadBytes: 60 + 48 + 16, WriteBytes: 80, WeightBytes: 64, Elem: ir.Float32, Known: true}},
	{"a value times itself", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", f32, 3, 3)
		g.Op("MatMul", in(x, x))
	}, Work{FLOPs: 9 * 6, ReadBytes: 36, WriteBytes: 36, Elem: ir.Float32, Known: true}},
	{"einsum", 13, func(g *onnxtest.Graph) {
		g.Op("Einsum", in(g.Input("x", f32, 2, 3, 4), g.Input("y", f32, 2, 4, 5)), onnxtest.Str("equation", "bij,bjk->bik"))
	}, Work{FLOPs: 2 * 2 * 3 * 4 * 5, ReadBytes: 96 + 160, WriteBytes: 120, Elem: ir.Float32, Known: true}},
	{"packed weights of 4 bits", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", f16, 1, 64)
		g.Op("MatMulNBits", in(x, zeros(g, "w", u8, 32, 2, 16), zeros(g, "s", f16, 64)), onnxtest.Domain("com.microsoft"),
			onnxtest.Int("K", 64), onnxtest.Int("N", 32), onnxtest.Int("bits", 4), onnxtest.Int("block_size", 32))
	}, Work{FLOPs: 2*32*64 + 2*64*32, ReadBytes: 128 + 1024 + 128, WriteBytes: 64, WeightBytes: 1152, Elem: ir.Float16, Known: true}},
	{"attention", 23, func(g *onnxtest.Graph) {
		q := g.Input("q", f32, 1, 2, 3, 4)
		g.Op("Attention", in(q, g.Input("k", f32, 1, 2, 5, 4), g.Input("v", f32, 1, 2, 5, 6)))
		// 30 scores: 2·(4+6) for the products, softmax 4 and an exponential, scale and mask 2
	}, Work{FLOPs: 30*20 + 30*(6+transcendental), ReadBytes: 96 + 160 + 240, WriteBytes: 144, Elem: ir.Float32, Known: true}},
	{"recurrent", 14, func(g *onnxtest.Graph) {
		x := g.Input("x", f32, 3, 2, 4)
		g.Ops("LSTM", 3, in(x, zeros(g, "w", f32, 1, 20, 4), zeros(g, "r", f32, 1, 20, 5)), onnxtest.Int("hidden_size", 5))
		// 6 steps: 4 gates of 5 units with 4+5 inputs, and point operations
	}, Work{FLOPs: 6 * (2*4*5*9 + 5*(8+5*transcendental+8)), ReadBytes: 96 + 320 + 400, WriteBytes: 120 + 40 + 40, WeightBytes: 720, Elem: ir.Float32, Known: true}},
	{"pooling", 13, func(g *onnxtest.Graph) {
		g.Op("MaxPool", in(g.Input("x", f32, 1, 2, 8, 8)), onnxtest.Ints("kernel_shape", 2, 2), onnxtest.Ints("strides", 2, 2))
	}, Work{FLOPs: 32 * 4, ReadBytes: 512, WriteBytes: 128, Elem: ir.Float32, Known: true}},
	{"reduction", 13, func(g *onnxtest.Graph) {
		g.Op("ReduceMean", in(g.Input("x", f32, 4, 8)), onnxtest.Ints("axes", 1))
	}, Work{FLOPs: 32, ReadBytes: 128, WriteBytes: 16, Elem: ir.Float32, Known: true}},
	{"a view", 13, func(g *onnxtest.Graph) {
		g.Op("Reshape", in(g.Input("x", f32, 4, 8), g.Vec(8, 4)))
	}, Work{WeightBytes: 16, Elem: ir.Float32, Known: true}},
	{"data movement", 13, func(g *onnxtest.Graph) {
		g.Op("Transpose", in(g.Input("x", f32, 4, 8)))
	}, Work{ReadBytes: 128, WriteBytes: 128, Elem: ir.Float32, Known: true}},
	{"rows of a table", 13, func(g *onnxtest.Graph) {
		g.Op("Gather", in(zeros(g, "table", f32, 1000, 4), g.Input("i", i64, 3)))
	}, Work{ReadBytes: 48 + 24, WriteBytes: 48, WeightBytes: 16000, Elem: ir.Float32, Known: true}},
	{"dequantized weights", 13, func(g *onnxtest.Graph) {
		g.Op("DequantizeLinear", in(g.Input("x", i8, 4, 8), zeros(g, "s", f32)))
	}, Work{FLOPs: 64, ReadBytes: 32 + 4, WriteBytes: 128, WeightBytes: 4, Elem: ir.Float32, Known: true}},
	{"interpolation", 13, func(g *onnxtest.Graph) {
		s := g.Store(onnxtest.Floats("s", []float32{1, 1, 2, 2}, 4))
		g.Op("Resize", in(g.Input("x", f32, 1, 1, 4, 4), "", s), onnxtest.Str("mode", "linear"))
	}, Work{FLOPs: 64 * 8, ReadBytes: 64 + 16, WriteBytes: 256, WeightBytes: 16, Elem: ir.Float32, Known: true}},
	{"loop", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", f32, 4, 8)
		n := g.Store(onnxtest.Int64s("n", []int64{5}))
		w := zeros(g, "w", f32, 8, 8)
		g.Op("Loop", in(n, "", x), onnxtest.Body("body", func(b *onnxtest.Graph) {
			b.Input("i", i64)
			c := b.Input("c", onnxtest.Bool)
			v := b.InputOf("v", nil)
			y := b.Op("MatMul", in(v, w), onnxtest.Name("y"))
			b.OutputOf(b.Op("Identity", in(c), onnxtest.Name("go")), nil)
			b.OutputOf(y, nil)
		}))
	}, Work{FLOPs: 5 * 32 * 16, ReadBytes: 5 * (128 + 256), WriteBytes: 5 * 128, WeightBytes: 8 + 256, Elem: ir.Float32, Known: true}},
	{"the costlier branch", 13, func(g *onnxtest.Graph) {
		x := g.Input("x", f32, 4, 8)
		g.Op("If", in(g.Input("c", onnxtest.Bool)),
			onnxtest.Body("then_branch", func(b *onnxtest.Graph) { b.OutputOf(b.Op("Relu", in(x), onnxtest.Name("a")), nil) }),
			onnxtest.Body("else_branch", func(b *onnxtest.Graph) { b.OutputOf(b.Op("Clip", in(x), onnxtest.Name("b")), nil) }))
	}, Work{FLOPs: 64, ReadBytes: 128, WriteBytes: 128, Elem: ir.Float32, Known: true, Assumed: true}},
	{"nobody knows", 13, func(g *onnxtest.Graph) {
		g.Info("y", f32, 4, 8)
		g.Op("Mystery", in(g.Input("x", f32, 4, 8)), onnxtest.Domain("acme"), onnxtest.Outs("y"))
	}, Work{FLOPs: 32, ReadBytes: 128, WriteBytes: 128, Elem: ir.Float32, Assumed: true}},
}

func header(opset int64) onnxtest.Header {
	return onnxtest.Header{Name: "g", Opset: opset, Imports: []onnxtest.Import{{Domain: "com.microsoft", Version: 1}, {Domain: "acme", Version: 1}}}
}

func lastNode(r *shape.Result) *onnxpb.NodeProto {
	nodes := r.Main().Nodes()
	return nodes[len(nodes)-1]
}

func TestWork(t *testing.T) {
	for _, c := range workCases {
		t.Run(c.name, func(t *testing.T) {
			m := onnxtest.New(header(c.opset))
			c.build(m.Graph())
			r := inferred(t, m, shape.Options{})
			if diff := cmp.Diff(c.want, Of(r.Main(), lastNode(r))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// withoutWeights writes the structure of m with its weights as graph inputs, so
// that networks of half a gigabyte need no more than their nodes.
func withoutWeights(t testing.TB, m *onnxtest.Model) string {
	t.Helper()
	p := proto.Clone(m.Structure()).(*onnxpb.ModelProto)
	kept := p.Graph.Initializer[:0]
	for _, w := range p.Graph.Initializer {
		if len(w.RawData) > 0 || len(w.Int64Data) > 0 || len(w.FloatData) > 0 {
			kept = append(kept, w)
			continue
		}
		tt := &onnxpb.TypeProto_Tensor{ElemType: w.DataType, Shape: &onnxpb.TensorShapeProto{}}
		for _, d := range w.Dims {
			tt.Shape.Dim = append(tt.Shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}})
		}
		p.Graph.Input = append(p.Graph.Input, &onnxpb.ValueInfoProto{Name: w.Name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tt}}})
	}
	p.Graph.Initializer = kept
	return writeProto(t, p)
}

// Multiply-adds of whole networks are those that were published.
func TestPublishedTotals(t *testing.T) {
	for _, a := range onnxtest.Architectures() {
		if a.GMACs == 0 {
			continue
		}
		t.Run(a.Name, func(t *testing.T) {
			m := a.Build(1)
			r := inferredFile(t, withoutWeights(t, m), shape.Options{Dims: m.Bindings()})
			products, all := int64(0), int64(0)
			for _, n := range r.Main().Nodes() {
				w := Of(r.Main(), n)
				if !w.Known {
					t.Errorf("%s %s is not known", n.GetOpType(), n.GetName())
				}
				all += w.FLOPs
				switch n.GetOpType() {
				case "Conv", "MatMul":
					if n.GetOpType() == "Conv" && len(n.Input) > 2 {
						out, _ := r.Of(n.Output[0])
						w.FLOPs -= out.Elements() // the bias
					}
					products += w.FLOPs
				case "Gemm":
					out, _ := r.Of(n.Output[0])
					products += w.FLOPs - out.Elements()
				}
			}
			gmacs := float64(products) / 2e9
			// Published with two decimals: half a unit of the last, and 1 %.
			if diff := math.Abs(gmacs - a.GMACs); diff > 0.005+0.01*a.GMACs {
				t.Errorf("%.3f billions of multiply-adds, published are %.2f", gmacs, a.GMACs)
			}
			if all < products || float64(all) > 1.25*float64(products) {
				t.Errorf("%d operations in all, %d of them in products", all, products)
			}
		})
	}
}

func writeProto(t testing.TB, p *onnxpb.ModelProto) string {
	t.Helper()
	b, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := writeFile(path, b); err != nil {
		t.Fatal(err)
	}
	return path
}

// Every operator that inference knows has a rule, but for those that nobody can size.
func TestEveryOperatorHasARule(t *testing.T) {
	free := map[string]bool{"com.microsoft::BeamSearch": true, "com.microsoft::GreedySearch": true, "com.microsoft::Sampling": true, "com.microsoft::WhisperBeamSearch": true, "ai.onnx.preview.training::Gradient": true, "ai.onnx.training::Gradient": true}
	for _, op := range shape.Operators() {
		domain, name, ok := strings.Cut(op, "::")
		if !ok {
			domain, name = "", op
		}
		if _, known := rules().find(domain, name); !known && !free[op] {
			t.Errorf("%s has no rule", op)
		}
	}
}

func TestSaturation(t *testing.T) {
	m := onnxtest.New(header(13))
	g := m.Graph()
	g.Op("MatMul", in(g.Input("x", f32, int64(1)<<40, int64(1)<<40), g.Input("y", f32, int64(1)<<40, int64(1)<<40)))
	r := inferred(t, m, shape.Options{})
	w := Of(r.Main(), lastNode(r))
	if w.FLOPs != math.MaxInt64 || w.ReadBytes != math.MaxInt64 || w.WriteBytes != math.MaxInt64 {
		t.Errorf("got %+v", w)
	}
}

func TestKernelKind(t *testing.T) {
	for _, c := range []struct {
		x, w []int64
		want string
	}{
		{[]int64{1, 64, 8, 8}, []int64{32, 64, 1, 1}, "1x1"},
		{[]int64{1, 64, 8, 8}, []int64{64, 1, 3, 3}, "depthwise"},
		{[]int64{1, 3, 8, 8}, []int64{64, 3, 7, 7}, "few channels"},
		{[]int64{1, 64, 8, 8}, []int64{32, 64, 3, 1}, "3x3"},
		{[]int64{1, 64, 8, 8}, []int64{32, 64, 5, 5}, "large"},
		{[]int64{1, 64, 8}, []int64{32, 64, 3}, "3x3"},
		{nil, []int64{32, 64, 3, 3}, ""},
		{nil, nil, ""},
	} {
		if got := kernelKind(c.x, c.w); got != c.want {
			t.Errorf("kernel of %v on %v is %q, want %q", c.w, c.x, got, c.want)
		}
	}
}
