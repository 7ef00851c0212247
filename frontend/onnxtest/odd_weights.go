package onnxtest

import (
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// oddWeights: where weights come from and who shares them.
func oddWeights() []Case {
	three := func(g *Graph) string { return g.layer("c", g.layer("b", g.layer("a", g.x()))) }
	return []Case{
		oddHeader("weights-as-inputs", "IR version 3: every weight is listed among the inputs", 0, Header{Opset: 8, IR: 3}, func(m *Model, g *Graph) {
			g.y(three(g))
			m.WeightsAsInputs()
		}),
		odd("overridable-weights", "some weights are listed among the inputs, before and after the real one, so callers may replace them", 0, func(m *Model, g *Graph) {
			g.Input("a.w", Float, width, width)
			g.y(three(g))
			g.Input("c.b", Float, width)
		}),
		odd("weight-order", "weights stand in another order than their users, one is unused", 0, func(_ *Model, g *Graph) {
			g.Weight("unused", Float, Uniform(-1, 1), 100)
			g.y(three(g))
			l := g.pb.Initializer
			l[0], l[len(l)-1] = l[len(l)-1], l[0]
		}),
		odd("tied-weights", "one matrix is table of a Gather at the start and, transposed, factor of a MatMul at the end", 0, func(m *Model, g *Graph) {
			ids := g.Input("ids", Int64, 1, 4)
			m.Hint("ids", Hint{0, 9})
			w := g.Weight("embedding", Float, Uniform(-1, 1), 10, width)
			x := g.layer("b", g.layer("a", g.Op("Gather", []string{w, ids}, Name("lookup"))))
			t := g.Op("Transpose", []string{w}, Name("transpose"), Ints("perm", 1, 0))
			g.Output(g.Op("MatMul", []string{x, t}, Name("logits")), Float, 1, 4, 10)
		}),
		odd("shared-layer", "one pair of weights serves four layers", 0, func(_ *Model, g *Graph) {
			x := g.x()
			w, b := g.Weight("w", Float, Scaled(2, width), width, width), g.Weight("bias", Float, Uniform(-0.2, 0.2), width)
			for _, n := range []string{"a", "b", "c", "d"} {
				x = g.tanh(n, g.add(n+".add", g.Op("MatMul", []string{x, w}, Name(n+".mul")), b))
			}
			g.y(x)
		}),
		odd("equal-weights", "two weights of different names have equal bytes", 0, func(_ *Model, g *Graph) {
			x := g.x()
			for _, n := range []string{"a", "b"} {
				w := g.Weight(n+".w", Float, Scaled(2, width).As("same"), width, width)
				x = g.tanh(n, g.Op("MatMul", []string{x, w}, Name(n+".mul")))
			}
			g.y(x)
		}),
		odd("weights-behind-identity", "weights reach their users through Identity, one of them twice", 0, func(_ *Model, g *Graph) {
			x := g.x()
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			w1 := g.identity(w, "w1")
			w2 := g.identity(w1, "w2")
			x = g.tanh("a", g.Op("MatMul", []string{x, w1}, Name("mul1")))
			g.y(g.tanh("b", g.Op("MatMul", []string{x, w2}, Name("mul2"))))
		}),
		odd("weights-behind-ops", "weights are transposed, reshaped, cast and multiplied by constants before use", 0, func(_ *Model, g *Graph) {
			x := g.x()
			w := g.Weight("w", Float16, Scaled(2, width), width*width)
			v := g.Op("Cast", []string{w}, Name("cast"), Int("to", int64(Float)))
			v = g.Op("Reshape", []string{v, g.Vec(width, width)}, Name("reshape"))
			v = g.Op("Transpose", []string{v}, Name("transpose"), Ints("perm", 1, 0))
			v = g.Op("Mul", []string{v, g.Scalar(1.25)}, Name("scale"))
			x = g.tanh("a", g.Op("MatMul", []string{x, v}, Name("mul1")))
			g.y(g.tanh("b", g.Op("MatMul", []string{x, v}, Name("mul2"))))
		}),
		odd("constant-nodes", "all weights are Constant nodes before all others", 0, func(m *Model, g *Graph) {
			g.y(three(g))
			m.WeightsAsConstants()
		}),
		odd("constant-forms", "Constant nodes with value_float, value_floats, value_int, value_ints, each beside its user", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			x = g.Op("Mul", []string{x, g.Op("Constant", nil, Name("f"), Flt("value_float", 1.5))}, Name("mul"))
			x = g.add("plus", x, g.Op("Constant", nil, Name("fs"), Flts("value_floats", 1, -2, 3, -4, 5, -6)))
			i := g.Op("Constant", nil, Name("i"), Int("value_int", 0))
			x = g.add("gathered", x, g.Op("Gather", []string{x, i}, Name("gather"), Int("axis", 0)))
			g.y(g.Op("Reshape", []string{x, g.Op("Constant", nil, Name("is"), Ints("value_ints", rows, -1))}, Name("reshape")))
		}),
		odd("duplicate-constants", "every user has a Constant node of its own with the same contents", 0, func(_ *Model, g *Graph) {
			x := g.x()
			for _, n := range []string{"a", "b", "c"} {
				w := g.Const(g.Generated(n+".w", Float, Scaled(2, width).As("same"), width, width))
				x = g.tanh(n, g.Op("MatMul", []string{x, w}, Name(n+".mul")))
			}
			g.y(x)
		}),
		odd("constant-sparse", "a Constant node holds a sparse tensor", 0, func(_ *Model, g *Graph) {
			w := g.Op("Constant", nil, Name("w"), Custom(func(n *onnxpb.NodeProto) {
				n.Attribute = []*onnxpb.AttributeProto{{
					Name: proto.String("sparse_value"), Type: onnxpb.AttributeProto_SPARSE_TENSOR.Enum(),
					SparseTensor: &onnxpb.SparseTensorProto{
						Values:  Floats("", []float32{1, -2, 0.5, 3}, 4),
						Indices: Int64s("", []int64{0, 8, 17, 29}, 4),
						Dims:    []int64{width, width},
					},
				}}
			}))
			g.y(g.layer("b", g.Op("MatMul", []string{g.layer("a", g.x()), w}, Name("mul"))))
		}),
		odd("constant-defined-twice", "two Constant nodes define the same value, with the same contents", Unchecked, func(_ *Model, g *Graph) {
			x := g.x()
			for _, n := range []string{"a", "b"} {
				w := g.Const(g.Generated("w", Float, Scaled(2, width), width, width))
				x = g.tanh(n, g.Op("MatMul", []string{x, w}, Name(n+".mul")))
			}
			g.y(x)
		}),
		odd("constant-of-shape", "weights are ConstantOfShape and EyeLike nodes", 0, func(_ *Model, g *Graph) {
			x := g.x()
			half := Floats("", []float32{0.5}, 1)
			half.Name = nil
			c := g.Op("ConstantOfShape", []string{g.Vec(width, width)}, Name("half"), Tensor("value", half))
			e := g.Op("EyeLike", []string{c}, Name("eye"), Int("dtype", int64(Float)))
			w := g.Op("Sub", []string{e, g.Op("Mul", []string{c, g.Scalar(0.2)}, Name("tenth"))}, Name("w"))
			g.y(g.tanh("b", g.Op("MatMul", []string{g.layer("a", x), w}, Name("mul"))))
		}),
		odd("typed-weights", "weights stand in float_data and int64_data instead of raw_data", 0, func(m *Model, g *Graph) {
			x := g.Op("Reshape", []string{three(g), g.Vec(rows, width)}, Name("reshape"))
			g.y(x)
			m.TypedWeights()
		}),
		oddHeader("sparse-weight", "a weight is stored as a sparse initializer", Unchecked, Header{Opset: 13}, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.pb.SparseInitializer = []*onnxpb.SparseTensorProto{{
				Values:  Floats("sparse", []float32{1, -2, 0.5, 3}, 4),
				Indices: Int64s("sparse_indices", []int64{0, 8, 17, 29}, 4),
				Dims:    []int64{width, width},
			}}
			g.y(g.layer("b", g.Op("MatMul", []string{x, "sparse"}, Name("mul"))))
		}),
		odd("quantized", "QuantizeLinear and DequantizeLinear around every layer, weights in int8 with scales per channel", 0, func(m *Model, g *Graph) {
			x := g.x()
			scale, zero := g.Store(Floats("act.scale", []float32{0.01})), g.Store(Raw("act.zero", Int8, []byte{0}))
			for _, n := range []string{"a", "b"} {
				w := g.Weight(n+".q", Int8, Uniform(-100, 100), width, width)
				s := g.Weight(n+".scale", Float, Uniform(0.004, 0.008), width)
				z := g.Buffer(n+".zero", Int8, Fill{}, width)
				qx := g.Op("QuantizeLinear", []string{x, scale, zero}, Name(n+".quant"))
				dx := g.Op("DequantizeLinear", []string{qx, scale, zero}, Name(n+".dequant"))
				dw := g.Op("DequantizeLinear", []string{w, s, z}, Name(n+".weight"), Int("axis", 1))
				x = g.tanh(n, g.Op("MatMul", []string{dx, dw}, Name(n+".mul")))
			}
			g.y(x)
		}),
		odd("integer-matmul", "dynamic quantization: MatMulInteger, a node of three outputs before it", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			q := g.Ops("DynamicQuantizeLinear", 3, []string{x}, Name("quant"), Outs("q", "q_scale", "q_zero"))
			w := g.Weight("w", Int8, Uniform(-9, 9), width, width)
			i := g.Op("MatMulInteger", []string{q[0], w, q[2]}, Name("mul"))
			f := g.Op("Mul", []string{g.Op("Cast", []string{i}, Name("cast"), Int("to", int64(Float))), q[1]}, Name("scale"))
			g.y(g.tanh("t", f))
		}),
		odd("quantization-annotation", "graph and weights carry quantization annotations", 0, func(_ *Model, g *Graph) {
			g.y(three(g))
			for _, n := range []string{"a", "b.w"} {
				s, z := g.Store(Floats(n+"_scale", []float32{0.1})), g.Store(Raw(n+"_zero", UInt8, []byte{128}))
				g.pb.QuantizationAnnotation = append(g.pb.QuantizationAnnotation, &onnxpb.TensorAnnotation{
					TensorName:                proto.String(n),
					QuantParameterTensorNames: []*onnxpb.StringStringEntryProto{entry("SCALE_TENSOR", s), entry("ZERO_POINT_TENSOR", z)},
				})
			}
		}),
	}
}
