package onnxtest

// oddOptional: absent inputs and outputs, nodes with state or randomness.
func oddOptional() []Case {
	return []Case{
		odd("absent-inputs", "absent optional inputs before present ones, and at the end", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			x = g.Op("Clip", []string{x, "", g.Scalar(0.8)}, Name("clip_max"))
			x = g.Op("Clip", []string{x, g.Scalar(-0.8), ""}, Name("clip_min"))
			u := g.Op("Unsqueeze", []string{x, g.Vec(0, 1)}, Name("us"))
			r := g.Op("Resize", []string{u, "", "", g.Vec(1, 1, 2*rows, width)}, Name("resize"), Str("mode", "nearest"))
			g.Output(r, Float, 1, 1, 2*rows, width)
		}),
		odd("absent-outputs", "an LSTM whose first outputs are absent, and another whose last are", 0, func(_ *Model, g *Graph) {
			x := g.Op("Unsqueeze", []string{g.layer("a", g.x()), g.Vec(1)}, Name("us"))
			lstm := func(name string, outs ...string) []string {
				w := g.Weight(name+".w", Float, Scaled(1, width), 1, 4*width, width)
				r := g.Weight(name+".r", Float, Scaled(1, width), 1, 4*width, width)
				b := g.Weight(name+".b", Float, Uniform(-0.1, 0.1), 1, 8*width)
				return g.Ops("LSTM", len(outs), []string{x, w, r, b, "", "", ""}, Name(name), Outs(outs...), Int("hidden_size", width))
			}
			h := lstm("lstm1", "", "", "cell")[2]
			y := lstm("lstm2", "steps", "", "")[0]
			y = g.Op("Squeeze", []string{y, g.Vec(1, 2)}, Name("sq"))
			h = g.Op("Squeeze", []string{h, g.Vec(0, 1)}, Name("sq2"))
			g.y(g.add("join", y, h))
		}),
		odd("dropout-mask", "Dropout in inference with its mask output used, with it absent, and without it", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			r := g.Store(Floats("ratio", []float32{0.5}))
			d := g.Ops("Dropout", 2, []string{x, r}, Name("drop1"), Outs("d1", "mask"))
			e := g.Ops("Dropout", 2, []string{d[0]}, Name("drop2"), Outs("d2", ""))
			f := g.Op("Where", []string{d[1], e[0], x}, Name("where"))
			g.y(g.layer("b", g.Op("Dropout", []string{f}, Name("drop3"))))
		}),
		odd("pool-indices", "MaxPool with its indices used by MaxUnpool", 0, func(_ *Model, g *Graph) {
			x := g.Input("x", Float, 1, 2, 4, 4)
			p := g.Ops("MaxPool", 2, []string{x}, Name("pool"), Outs("p", "at"), Ints("kernel_shape", 2, 2), Ints("strides", 2, 2))
			t := g.tanh("t", p[0])
			g.Output(g.Op("MaxUnpool", []string{t, p[1]}, Name("unpool"), Ints("kernel_shape", 2, 2), Ints("strides", 2, 2)), Float, 1, 2, 4, 4)
		}),
		oddHeader("norm-outputs", "LayerNormalization with its mean and inverse deviation used", 0, Header{Opset: 17}, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			s := g.Weight("ln.g", Float, Uniform(0.8, 1.2), width)
			n := g.Ops("LayerNormalization", 3, []string{x, s}, Name("ln"), Outs("n", "mean", "inv"))
			g.y(g.add("join", n[0], g.Op("Mul", []string{n[1], n[2]}, Name("mul"))))
		}),
		odd("top-k", "TopK whose values and indices go different ways", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			k := g.Ops("TopK", 2, []string{x, g.Vec(3)}, Name("topk"), Outs("values", "at"), Int("axis", 1))
			v := g.dense("b", k[0], 3, width)
			f := g.Op("Cast", []string{k[1]}, Name("cast"), Int("to", int64(Float)))
			g.y(g.add("join", v, g.dense("c", f, 3, width)))
		}),
		odd("random-ops", "unseeded RandomNormalLike, RandomUniform, Bernoulli-like and Dropout in training: different in each run", Unrepeatable, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			n := g.Op("RandomNormalLike", []string{x}, Name("normal"), Flt("scale", 0.1))
			u := g.Op("RandomUniform", nil, Name("uniform"), Ints("shape", rows, width))
			yes := g.Store(Raw("training", Bool, []byte{1}))
			d := g.Op("Dropout", []string{g.add("noisy", x, n), g.Store(Floats("ratio", []float32{0.5})), yes}, Name("drop"))
			g.y(g.Op("Sum", []string{d, u}, Name("sum")))
			g.y(g.layer("b", x))
		}),
		odd("random-shared", "one random value is used on two sides of the graph, so it must be drawn once", Unrepeatable, func(_ *Model, g *Graph) {
			x := g.x()
			n := g.Op("RandomNormalLike", []string{x}, Name("normal"))
			a := g.layer("a2", g.layer("a", g.add("plus", x, n)))
			b := g.layer("b2", g.layer("b", g.Op("Sub", []string{x, n}, Name("minus"))))
			g.y(g.add("join", a, b))
			g.y(n)
		}),
		odd("recurrent", "GRU with an initial state that is an input of the graph, and the state an output", 0, func(_ *Model, g *Graph) {
			x := g.Input("x", Float, 5, 2, width)
			s := g.Input("state", Float, 1, 2, width)
			w := g.Weight("gru.w", Float, Scaled(1, width), 1, 3*width, width)
			r := g.Weight("gru.r", Float, Scaled(1, width), 1, 3*width, width)
			o := g.Ops("GRU", 2, []string{x, w, r, "", "", s}, Name("gru"), Outs("steps", "next_state"), Int("hidden_size", width))
			g.Output(g.tanh("t", o[0]), Float, 5, 1, 2, width)
			g.Output(o[1], Float, 1, 2, width)
		}),
	}
}
