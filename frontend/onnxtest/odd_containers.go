package onnxtest

// oddContainers: sequences, optionals and maps.
func oddContainers() []Case {
	rowsOf := func(g *Graph, name, x string) string {
		return g.Op("SplitToSequence", []string{x}, Name(name), Int("axis", 0), Int("keepdims", 1))
	}
	return []Case{
		odd("sequence", "a tensor is split to a sequence, two elements are taken out again", 0, func(_ *Model, g *Graph) {
			s := rowsOf(g, "split", g.layer("a", g.x()))
			first := g.Op("SequenceAt", []string{s, g.Store(Int64s("first", []int64{0}))}, Name("at0"))
			last := g.Op("SequenceAt", []string{s, g.Store(Int64s("last", []int64{-1}))}, Name("at2"))
			g.Output(g.layer("b", g.add("join", first, last)), Float, 1, width)
		}),
		odd("sequence-edit", "a sequence is built, inserted into, erased from, measured and concatenated", 0, func(_ *Model, g *Graph) {
			x := g.x()
			a, b := g.layer("a", x), g.layer("b", x)
			s := g.Op("SequenceConstruct", []string{a, b, x}, Name("construct"))
			s = g.Op("SequenceInsert", []string{s, g.layer("c", a)}, Name("insert"))
			s = g.Op("SequenceErase", []string{s, g.Store(Int64s("at", []int64{2}))}, Name("erase"))
			n := g.Op("Cast", []string{g.Op("SequenceLength", []string{s}, Name("length"))}, Name("cast"), Int("to", int64(Float)))
			y := g.Op("ConcatFromSequence", []string{s}, Name("concat"), Int("axis", 0))
			g.Output(g.layer("d", g.Op("Div", []string{y, n}, Name("div"))), Float, 3*rows, width)
		}),
		odd("sequence-in-loop", "a loop carries a sequence and appends to it", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			empty := g.Op("SequenceEmpty", nil, Name("empty"), Int("dtype", int64(Float)))
			n := g.Store(Int64s("trips", []int64{3}))
			t := SequenceType(NoShape(Float))
			s := g.Op("Loop", []string{n, "", empty}, Name("loop"), Body("body", func(b *Graph) {
				i, c := b.Input("i", Int64), b.Input("c", Bool)
				s := b.InputOf("s", t)
				f := b.Op("Cast", []string{i}, Name("cast"), Int("to", int64(Float)))
				v := b.add("step", x, f)
				b.Output(b.identity(c, "c_out"), Bool)
				b.OutputOf(b.Op("SequenceInsert", []string{s, v}, Name("append")), t)
			}))
			y := g.Op("ConcatFromSequence", []string{s}, Name("concat"), Int("axis", 1))
			g.Output(g.dense("b", y, 3*width, 4), Float, rows, 4)
		}),
		odd("sequence-io", "a graph input and a graph output are sequences", Exotic, func(_ *Model, g *Graph) {
			t := SequenceType(TensorType(Float, rows, width))
			s := g.InputOf("s", t)
			x := g.Op("SequenceAt", []string{s, g.Store(Int64s("second", []int64{1}))}, Name("at"))
			g.OutputOf(g.Op("SequenceInsert", []string{s, g.layer("a", x)}, Name("insert")), SequenceType(NoShape(Float)))
		}),
		oddHeader("sequence-map", "SequenceMap applies a body that uses a weight of the main graph", 0, Header{Opset: 17}, func(_ *Model, g *Graph) {
			s := rowsOf(g, "split", g.layer("a", g.x()))
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			m := g.Op("SequenceMap", []string{s}, Name("map"), Body("body", func(b *Graph) {
				v := b.Input("v", Float, 1, width)
				b.Output(b.tanh("t", b.Op("MatMul", []string{v, w}, Name("mul"))), Float, 1, width)
			}))
			g.y(g.Op("ConcatFromSequence", []string{m}, Name("concat"), Int("axis", 0)))
		}),
		oddHeader("optional", "a tensor is wrapped into an optional and taken out again", 0, Header{Opset: 16}, func(_ *Model, g *Graph) {
			o := g.Op("Optional", []string{g.layer("a", g.x())}, Name("wrap"))
			h := g.Op("OptionalHasElement", []string{o}, Name("has"))
			v := g.Op("OptionalGetElement", []string{o}, Name("get"))
			g.y(g.layer("b", g.Op("Where", []string{h, v, g.Scalar(0)}, Name("where"))))
		}),
		oddHeader("optional-input", "a graph input is an optional tensor", Exotic, Header{Opset: 16}, func(_ *Model, g *Graph) {
			o := g.InputOf("o", OptionalType(TensorType(Float, rows, width)))
			g.y(g.layer("a", g.Op("OptionalGetElement", []string{o}, Name("get"))))
		}),
		oddHeader("map", "ZipMap: a graph output is a sequence of maps beside a tensor", Exotic|Unchecked, Header{Imports: []Import{{"ai.onnx.ml", 1}}}, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			p := g.Op("Softmax", []string{x}, Name("prob"), Int("axis", 1))
			z := g.Op("ZipMap", []string{p}, Name("zip"), Domain("ai.onnx.ml"), Strs("classlabels_strings", "a", "b", "c", "d", "e", "f"))
			g.OutputOf(z, SequenceType(mapType(String, TensorType(Float))))
			g.y(g.layer("b", p))
		}),
		odd("strings", "a string input is normalised; a constant of strings is joined with it", Exotic, func(_ *Model, g *Graph) {
			s := g.Input("s", String, 4)
			n := g.Op("StringNormalizer", []string{s}, Name("upper"), Str("case_change_action", "UPPER"), Str("locale", "C"))
			c := g.Store(Texts("more", []string{"x y", "日本", ""}, 3))
			g.Output(g.Op("Concat", []string{n, c}, Name("concat"), Int("axis", 0)), String, 7)
			g.y(g.layer("a", g.x()))
		}),
		oddHeader("label-encoder", "strings become numbers and feed a layer", 0, Header{Imports: []Import{{"ai.onnx.ml", 2}}}, func(_ *Model, g *Graph) {
			s := g.Input("s", String, rows, width)
			n := g.Op("LabelEncoder", []string{s}, Name("encode"), Domain("ai.onnx.ml"), Strs("keys_strings", "a", "b", "ab"), Flts("values_floats", 0.3, -0.7, 1.1), Flt("default_float", -0.2))
			g.y(g.layer("b", g.add("join", g.layer("a", n), g.x())))
		}),
	}
}
