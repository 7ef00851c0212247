package onnxtest

// cast converts to another element type.
func (g *Graph) cast(name, x string, to DType) string {
	return g.Op("Cast", []string{x}, Name(name), Int("to", int64(to)))
}

// oddTypes: element types, ranks and sizes.
func oddTypes() []Case {
	layerOf := func(g *Graph, name, x string, t DType) string {
		w := g.Weight(name+".w", t, Scaled(2, width), width, width)
		return g.tanh(name, g.Op("MatMul", []string{x, w}, Name(name+".mul")))
	}
	inType := func(t DType) func(*Model, *Graph) {
		return func(_ *Model, g *Graph) {
			x := g.cast("in", g.x(), t)
			g.y(g.cast("out", layerOf(g, "b", layerOf(g, "a", x, t), t), Float))
		}
	}
	return []Case{
		odd("float16", "layers in float16 between casts", 0, inType(Float16)),
		odd("float16-io", "input, weights and output are float16", Exotic, func(_ *Model, g *Graph) {
			x := g.Input("x", Float16, rows, width)
			g.Output(layerOf(g, "b", layerOf(g, "a", x, Float16), Float16), Float16, rows, width)
		}),
		odd("bfloat16", "a bfloat16 weight is cast before use", 0, func(_ *Model, g *Graph) {
			w := g.Weight("w", BFloat16, Scaled(2, width), width, width)
			x := g.Op("MatMul", []string{g.layer("a", g.x()), g.cast("cast", w, Float)}, Name("mul"))
			x = g.cast("back", g.cast("there", x, BFloat16), Float)
			g.y(g.tanh("t", x))
		}),
		odd("double", "layers in double", 0, func(_ *Model, g *Graph) {
			x := g.cast("in", g.x(), Double)
			g.Output(layerOf(g, "b", layerOf(g, "a", x, Double), Double), Double, rows, width)
		}),
		oddHeader("int4", "weights in int4 with scales, behind DequantizeLinear", Newer, Header{Opset: 21}, func(_ *Model, g *Graph) {
			x := g.x()
			for _, n := range []string{"a", "b"} {
				w := g.Weight(n+".q", Int4, Uniform(-7, 7), width, width)
				s := g.Weight(n+".scale", Float, Uniform(0.05, 0.15), width)
				d := g.Op("DequantizeLinear", []string{w, s}, Name(n+".dequant"), Int("axis", 1))
				x = g.tanh(n, g.Op("MatMul", []string{x, d}, Name(n+".mul")))
			}
			g.y(x)
		}),
		oddHeader("int4-odd-size", "an int4 weight of an odd number of elements, in typed fields", Newer, Header{Opset: 21}, func(m *Model, g *Graph) {
			w := g.Weight("q", UInt4, Uniform(0, 15), 5)
			d := g.Op("DequantizeLinear", []string{w, g.Scalar(0.1)}, Name("dequant"))
			g.Output(g.Op("Mul", []string{g.dense("a", g.x(), width, 5), d}, Name("mul")), Float, rows, 5)
			m.TypedWeights()
		}),
		oddHeader("float8", "values pass through float8 e4m3", Newer, Header{Opset: 19}, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			q := g.Op("QuantizeLinear", []string{x, g.Scalar(0.01), g.Store(Raw("zero", E4M3, []byte{0}))}, Name("quant"))
			g.y(g.layer("b", g.Op("DequantizeLinear", []string{q, g.Scalar(0.01)}, Name("dequant"))))
		}),
		oddHeader("int4-activations", "values pass between layers as int4 and as uint4", Newer, Header{Opset: 21}, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			for _, c := range []struct {
				name string
				zero DType
			}{{"b", Int4}, {"c", UInt4}} {
				s := g.Scalar(0.11)
				q := g.Op("QuantizeLinear", []string{x, s, g.Store(Raw(c.name+".zero", c.zero, []byte{1}))}, Name(c.name+".quant"))
				x = g.layer(c.name, g.Op("DequantizeLinear", []string{q, s, c.name + ".zero"}, Name(c.name+".dequant")))
			}
			g.y(x)
		}),
		oddHeader("float8-weights", "weights in the four float8 types of IR version 9, cast before use", Newer, Header{Opset: 19}, func(_ *Model, g *Graph) {
			x := g.x()
			for i, t := range []DType{17, 18, 19, 20} { // e4m3fn, e4m3fnuz, e5m2, e5m2fnuz
				n := string(rune('a' + i))
				raw := make([]byte, width*width)
				for k := range raw {
					raw[k] = byte(0x28+(7*k+i)%16) | byte(k%3/2)<<7 // about 0.25 to 1, some negative
				}
				w := g.cast(n+".cast", g.Store(Raw(n+".w", t, raw, width, width)), Float)
				x = g.tanh(n, g.Op("MatMul", []string{x, w}, Name(n+".mul")))
			}
			g.y(x)
		}),
		odd("integers", "int32, int64, uint8 and bool values between layers", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			i := g.cast("i32", g.Op("Mul", []string{x, g.Scalar(100)}, Name("hundred")), Int32)
			j := g.cast("i64", i, Int64)
			u := g.cast("u8", g.Op("Abs", []string{i}, Name("abs")), UInt8)
			b := g.Op("Greater", []string{j, g.Store(Int64s("ten", []int64{10}))}, Name("gt"))
			f := g.Op("Where", []string{b, g.cast("uf", u, Float), g.cast("jf", j, Float)}, Name("where"))
			g.y(g.layer("b", g.Op("Mul", []string{f, g.Scalar(0.01)}, Name("hundredth"))))
			g.Output(b, Bool, rows, width)
			g.Output(j, Int64, rows, width)
		}),
		odd("zero-size", "tensors without elements: a weight, a slice, a concatenation with them", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			none := g.Weight("none", Float, Fill{}, rows, 0)
			e := g.Op("Slice", []string{x, g.Vec(0), g.Vec(0), g.Vec(1)}, Name("empty"))
			g.y(g.layer("b", g.Op("Concat", []string{none, x, e}, Name("concat"), Int("axis", 1))))
			g.Output(g.Op("Neg", []string{e}, Name("neg")), Float, rows, 0)
		}),
		odd("zero-size-input", "a graph input may have no elements: it has, at the default size", Exotic|Fixed, func(m *Model, g *Graph) {
			m.Bind("N", 0)
			x := g.Input("x", Float, "N", width)
			g.Output(g.layer("a", x), Float, "N", width)
		}),
		odd("rank-0", "scalars inside: a sum over everything divides, its square root multiplies", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			s := g.Op("ReduceSum", []string{g.Op("Abs", []string{x}, Name("abs"))}, Name("sum"), Int("keepdims", 0))
			r := g.Op("Sqrt", []string{s}, Name("sqrt"))
			g.y(g.layer("b", g.Op("Mul", []string{g.Op("Div", []string{x, s}, Name("div")), r}, Name("mul"))))
		}),
		odd("rank-0-io", "a graph input and a graph output of rank 0", Exotic, func(_ *Model, g *Graph) {
			s := g.Input("s", Float)
			x := g.Op("Mul", []string{g.layer("a", g.x()), s}, Name("mul"))
			g.y(x)
			g.Output(g.Op("ReduceSum", []string{x}, Name("sum"), Int("keepdims", 0)), Float)
		}),
		odd("rank-7", "values of rank 7", 0, func(_ *Model, g *Graph) {
			x := g.Op("Reshape", []string{g.layer("a", g.x()), g.Vec(1, rows, 1, 2, 1, 3, 1)}, Name("up"))
			x = g.Op("Transpose", []string{x}, Name("perm"), Ints("perm", 6, 5, 1, 4, 3, 2, 0))
			g.y(g.layer("b", g.Op("Reshape", []string{x, g.Vec(rows, width)}, Name("down"))))
		}),
		odd("cast-chain", "a value goes through five element types and back", 0, func(_ *Model, g *Graph) {
			x := g.Op("Mul", []string{g.layer("a", g.x()), g.Scalar(50)}, Name("fifty"))
			for i, t := range []DType{Double, Float16, Int16, Int8, Int64, Float} {
				x = g.cast("cast"+string(rune('0'+i)), x, t)
			}
			g.y(g.layer("b", g.Op("Mul", []string{x, g.Scalar(0.02)}, Name("back"))))
		}),
	}
}
