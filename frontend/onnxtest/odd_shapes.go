package onnxtest

// oddShapes: sizes that are symbols, computed, or known only at run time.
func oddShapes() []Case {
	return []Case{
		odd("symbolic", "batch and sequence are symbols; the output's shape is in them", 0, func(m *Model, g *Graph) {
			m.Bind("batch", 2)
			m.Bind("seq", 5)
			x := g.Input("x", Float, "batch", "seq", width)
			g.Output(g.layer("b", g.layer("a", x)), Float, "batch", "seq", width)
		}),
		odd("symbolic-sum", "a dimension is the sum of two symbols", 0, func(m *Model, g *Graph) {
			m.Bind("past", 3)
			m.Bind("seq", 2)
			p, x := g.Input("cache", Float, 1, "past", width), g.Input("x", Float, 1, "seq", width)
			c := g.Op("Concat", []string{p, g.layer("a", x)}, Name("concat"), Int("axis", 1))
			g.Output(g.layer("b", c), Float, 1, "past + seq", width)
			g.Output(c, Float, 1, "past + seq", width)
		}),
		odd("symbol-shared", "two inputs share a symbol, an output calls it differently", 0, func(m *Model, g *Graph) {
			m.Bind("N", 4)
			a, b := g.layer("a", g.Input("x", Float, "N", width)), g.layer("b", g.Input("z", Float, "N", width))
			g.Output(g.add("join", a, b), Float, "rows", width)
		}),
		odd("unknown-dims", "dimensions of the input are neither numbers nor symbols", 0, func(m *Model, g *Graph) {
			m.Bind("?", 3)
			x := g.Input("x", Float, nil, width)
			g.Output(g.layer("a", x), Float, nil, width)
		}),
		odd("shape-arithmetic", "a reshape whose target is computed from the input's shape, as exporters write it", 0, func(m *Model, g *Graph) {
			m.Bind("N", 2)
			x := g.layer("a", g.Input("x", Float, "N", 4, width))
			dim := func(i int64, n string) string {
				s := g.Op("Shape", []string{x}, Name(n+".shape"))
				d := g.Op("Gather", []string{s, g.Store(Int64s(n+".at", []int64{i}))}, Name(n+".gather"), Int("axis", 0))
				return d
			}
			n, r := dim(0, "n"), dim(1, "r")
			k := g.Op("Mul", []string{n, r}, Name("mul"))
			t := g.Op("Concat", []string{g.Op("Unsqueeze", []string{k, g.Vec(0)}, Name("us")), g.Vec(2, -1)}, Name("target"), Int("axis", 0))
			y := g.Op("Reshape", []string{x, t}, Name("reshape"))
			y = g.Op("Transpose", []string{y}, Name("perm"), Ints("perm", 0, 2, 1))
			back := g.Op("Concat", []string{g.Op("Shape", []string{x}, Name("all.shape"))}, Name("back"), Int("axis", 0))
			g.Output(g.layer("b", g.Op("Reshape", []string{y, back}, Name("reshape2"))), Float, "N", 4, width)
		}),
		odd("shape-output", "a graph output is a Shape, another the number of elements", 0, func(m *Model, g *Graph) {
			m.Bind("N", 3)
			x := g.layer("a", g.Input("x", Float, "N", width))
			s := g.Op("Shape", []string{x}, Name("shape"))
			g.Output(s, Int64, 2)
			g.Output(x, Float, "N", width)
		}),
		odd("shape-of-far-value", "a shape is taken early and used at the end, where sending it beats sending the tensor", 0, func(m *Model, g *Graph) {
			m.Bind("N", 2)
			x := g.Input("x", Float, "N", 4, 4)
			s := g.Op("Shape", []string{x}, Name("shape"))
			v := g.Op("Flatten", []string{x}, Name("flatten"), Int("axis", 1))
			v = g.dense("b", g.dense("a", v, 16, 16), 16, 16)
			g.Output(g.Op("Reshape", []string{v, s}, Name("reshape")), Float, "N", 4, 4)
		}),
		odd("data-dependent", "NonZero, Compress and Unique: sizes known only when it runs", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			p := g.Op("Greater", []string{x, g.Scalar(0)}, Name("positive"))
			nz := g.Op("NonZero", []string{p}, Name("nonzero"))
			at := g.Op("Transpose", []string{nz}, Name("pairs"))
			v := g.Op("GatherND", []string{x, at}, Name("gather"))
			f := g.Op("Reshape", []string{p, g.Vec(-1)}, Name("flat"))
			c := g.Op("Compress", []string{x, f}, Name("compress"))
			g.Output(g.add("join", v, c), Float, "k")
			u := g.Ops("Unique", 4, []string{g.cast("int", g.Op("Mul", []string{x, g.Scalar(5)}, Name("five")), Int64)}, Name("unique"), Outs("values", "", "inverse", "counts"))
			g.Output(u[0], Int64, nil)
			g.Output(u[3], Int64, nil)
		}),
		odd("computed-k", "TopK whose k is computed from the input's values", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			s := g.cast("count", g.Op("Greater", []string{x, g.Scalar(0)}, Name("positive")), Int64)
			k := g.Op("ReduceMax", []string{g.Op("ReduceSum", []string{s, g.Vec(1)}, Name("per_row"), Int("keepdims", 0))}, Name("k"), Int("keepdims", 1))
			t := g.Ops("TopK", 2, []string{x, k}, Name("topk"), Outs("values", "unused"), Int("axis", 1))
			g.Output(t[0], Float, rows, nil)
		}),
		odd("range-and-expand", "Range up to a dimension, Expand, Tile and ConstantOfShape from shapes", 0, func(m *Model, g *Graph) {
			m.Bind("N", 3)
			x := g.layer("a", g.Input("x", Float, "N", width))
			s := g.Op("Shape", []string{x}, Name("shape"))
			n := g.Op("Gather", []string{s, g.Store(Int64s("zero", []int64{0}))}, Name("n"))
			r := g.Op("Range", []string{g.Store(Int64s("from", []int64{0})), n, g.Store(Int64s("by", []int64{1}))}, Name("range"))
			r = g.Op("Unsqueeze", []string{g.cast("rf", r, Float), g.Vec(1)}, Name("us"))
			e := g.Op("Expand", []string{r, s}, Name("expand"))
			one := Floats("", []float32{1}, 1)
			one.Name = nil
			o := g.Op("ConstantOfShape", []string{s}, Name("ones"), Tensor("value", one))
			t := g.Op("Tile", []string{g.Op("Sum", []string{x, e, o}, Name("sum")), g.Vec(1, 2)}, Name("tile"))
			g.Output(g.dense("b", t, 2*width, 4), Float, "N", 4)
		}),
		odd("negative-axes", "axes and slices count from the end", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			s := g.Op("Slice", []string{x, g.Vec(-1), g.Vec(-100), g.Vec(-1), g.Vec(-1)}, Name("reverse"))
			m := g.Op("ReduceMean", []string{s}, Name("mean"), Ints("axes", -1), Int("keepdims", 1))
			f := g.Op("Softmax", []string{g.Op("Sub", []string{s, m}, Name("sub"))}, Name("softmax"), Int("axis", -2))
			g.y(g.Op("Concat", []string{f}, Name("concat"), Int("axis", -1)))
		}),
	}
}
