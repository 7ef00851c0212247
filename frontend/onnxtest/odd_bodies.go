package onnxtest

import "google.golang.org/protobuf/proto"

// loop adds a Loop of the given trip count that carries x; body returns the next x.
func (g *Graph) loop(name string, trips int64, x string, body func(b *Graph, iter, x string) string) string {
	n := g.Store(Int64s(name+".trips", []int64{trips}))
	return g.Op("Loop", []string{n, "", x}, Name(name), Body("body", func(b *Graph) {
		i, c, v := b.Input(name+".i", Int64), b.Input(name+".c", Bool), b.Input(name+".v", Float, rows, width)
		next := body(b, i, v)
		b.Output(b.identity(c, name+".c_out"), Bool)
		b.y(next)
	}))
}

// oddBodies: If, Loop and Scan, and what their bodies take from around them.
func oddBodies() []Case {
	return []Case{
		odd("if-captures", "branches use values and weights of the main graph", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			side := g.layer("side", x)
			r := g.Op("If", []string{g.positive("cond", x)}, Name("if"),
				Body("then_branch", func(b *Graph) {
					b.y(b.add("then", b.Op("MatMul", []string{x, w}, Name("then.mul")), side))
				}),
				Body("else_branch", func(b *Graph) {
					b.y(b.Op("Sub", []string{side, b.Op("MatMul", []string{side, w}, Name("else.mul"))}, Name("else")))
				}))
			g.y(g.layer("b", r))
		}),
		odd("if-own-weights", "each branch has initializers of its own, of the same names", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			branch := func(b *Graph) {
				b.y(b.Op("MatMul", []string{x, b.Weight("branch.w", Float, Scaled(2, width), width, width)}))
			}
			g.y(g.layer("b", g.Op("If", []string{g.positive("cond", x)}, Name("if"), Body("then_branch", branch), Body("else_branch", branch))))
		}),
		odd("if-captured-only", "a value and a weight are used inside a branch only, nowhere in the main graph", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			hidden := g.layer("hidden", x)
			w := g.Weight("only.w", Float, Scaled(2, width), width, width)
			r := g.Op("If", []string{g.positive("cond", x)}, Name("if"),
				Body("then_branch", func(b *Graph) { b.y(b.Op("MatMul", []string{hidden, w}, Name("then"))) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Neg", []string{hidden}, Name("else"))) }))
			g.y(r)
		}),
		odd("if-constant-branch", "branches of constants alone, one without nodes whose output is its initializer", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			r := g.Op("If", []string{g.positive("cond", x)}, Name("if"),
				Body("then_branch", func(b *Graph) { b.y(b.Buffer("then", Float, Uniform(0, 1), rows, width)) }),
				Body("else_branch", func(b *Graph) {
					b.y(b.Op("Neg", []string{b.Buffer("c", Float, Uniform(0, 1), rows, width)}, Name("else")))
				}))
			g.y(g.add("join", r, g.layer("b", x)))
		}),
		odd("if-constant-condition", "the condition is an initializer", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			c := g.Store(Raw("yes", Bool, []byte{1}))
			g.y(g.Op("If", []string{c}, Name("if"),
				Body("then_branch", func(b *Graph) { b.y(b.layer("then", x)) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Neg", []string{x}, Name("else"))) })))
		}),
		odd("if-several-outputs", "an If of three outputs, one of them unused, whose shapes differ between branches", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			branch := func(n int64) func(b *Graph) {
				return func(b *Graph) {
					s := b.Op("Slice", []string{x, b.Vec(0), b.Vec(n), b.Vec(1)})
					b.Output(s, Float, rows, nil)
					b.y(b.Op("Neg", []string{x}))
					b.y(b.Op("Abs", []string{x}))
				}
			}
			r := g.Ops("If", 3, []string{g.positive("cond", x)}, Name("if"), Outs("some", "none", "all"),
				Body("then_branch", branch(2)), Body("else_branch", branch(4)))
			m := g.Op("ReduceMean", []string{r[0]}, Name("mean"), Ints("axes", 1), Int("keepdims", 1))
			g.y(g.add("join", m, r[2]))
		}),
		odd("loop-captures", "a loop whose body uses a weight and a value of the main graph", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			side := g.layer("side", x)
			l := g.loop("loop", 3, x, func(b *Graph, _, v string) string {
				return b.tanh("step", b.add("step.add", b.Op("MatMul", []string{v, w}, Name("step.mul")), side))
			})
			g.y(g.layer("b", l))
		}),
		odd("loop-scan-output", "a loop that also collects a value of each turn, and stops by its condition", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			n, yes := g.Store(Int64s("trips", []int64{9})), g.Store(Raw("yes", Bool, []byte{1}))
			r := g.Ops("Loop", 2, []string{n, yes, x}, Name("loop"), Outs("last", "all"), Body("body", func(b *Graph) {
				i, _, v := b.Input("i", Int64), b.Input("c", Bool), b.Input("v", Float, rows, width)
				next := b.layer("step", v)
				b.Output(b.Op("Less", []string{i, b.Store(Int64s("limit", []int64{3}))}, Name("again")), Bool)
				b.y(next)
				b.Output(b.Op("ReduceMean", []string{next}, Name("mean"), Ints("axes", 0), Int("keepdims", 0)), Float, width)
			}))
			g.y(r[0])
			g.Output(r[1], Float, nil, width)
		}),
		odd("scan", "a Scan over rows with a state, whose body uses a weight of the main graph", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			w := g.Weight("w", Float, Scaled(1, width), width, width)
			zero := g.Buffer("start", Float, Fill{}, 1, width)
			r := g.Ops("Scan", 2, []string{zero, x}, Name("scan"), Outs("state", "states"), Int("num_scan_inputs", 1), Body("body", func(b *Graph) {
				s, row := b.Input("s", Float, 1, width), b.Input("row", Float, width)
				n := b.tanh("next", b.add("next.add", b.Op("MatMul", []string{s, w}, Name("next.mul")), row))
				b.Output(n, Float, 1, width)
				b.Output(b.Op("Squeeze", []string{n, b.Vec(0)}, Name("flat")), Float, width)
			}))
			g.y(g.layer("b", r[1]))
			g.Output(r[0], Float, 1, width)
		}),
		odd("nested-bodies", "a branch in a loop in a branch, using values and weights of every level", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			deep := g.layer("deep", x)
			r := g.Op("If", []string{g.positive("cond", x)}, Name("outer"),
				Body("then_branch", func(b *Graph) {
					inner := b.Weight("inner.w", Float, Scaled(2, width), width, width)
					mid := b.Op("MatMul", []string{deep, inner}, Name("mid"))
					l := b.loop("loop", 2, mid, func(b *Graph, _, v string) string {
						s := b.Op("MatMul", []string{v, w}, Name("step"))
						return b.Op("If", []string{b.positive("again", s)}, Name("inner"),
							Body("then_branch", func(b *Graph) { b.y(b.tanh("t", b.add("t.add", s, deep))) }),
							Body("else_branch", func(b *Graph) { b.y(b.tanh("e", b.Op("MatMul", []string{mid, inner}, Name("e.mul")))) }))
					})
					b.y(b.add("out", l, x))
				}),
				Body("else_branch", func(b *Graph) {
					b.y(b.loop("loop2", 2, deep, func(b *Graph, _, v string) string {
						return b.tanh("u", b.add("u.add", b.Op("MatMul", []string{v, w}, Name("u.mul")), x))
					}))
				}))
			g.y(r)
			g.y(g.layer("b", deep))
		}),
		odd("whole-net-in-if", "the main graph is one If that holds the whole network in each branch", 0, func(_ *Model, g *Graph) {
			x := g.x()
			branch := func(n string) func(b *Graph) {
				return func(b *Graph) { b.y(b.layer(n+".b", b.layer(n+".a", x))) }
			}
			g.y(g.Op("If", []string{g.positive("cond", x)}, Name("if"), Body("then_branch", branch("then")), Body("else_branch", branch("else"))))
		}),
		odd("shadowed-names", "a loop's body calls its inputs and inner values as the main graph calls other values", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.layer("b", x)
			n := g.Store(Int64s("trips", []int64{2}))
			r := g.Op("Loop", []string{n, "", x}, Name("loop"), Body("body", func(b *Graph) {
				b.Input("trips", Int64)
				c, v := b.Input("cond", Bool), b.Input("a", Float, rows, width)
				w := b.Weight("a.w", Float, Scaled(2, width), width, width)
				b.Output(b.identity(c, "cond_out"), Bool)
				b.y(b.Op("MatMul", []string{v, w}, Name("mul"), Outs("step")))
			}))
			g.y(g.add("join", r, "b"))
		}),
		odd("hidden-names", "a branch makes a value called like its node's output, and one called like what a later node makes", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			r := g.Op("If", []string{g.positive("cond", x)}, Name("if"), Outs("r"),
				Body("then_branch", func(b *Graph) {
					b.y(b.tanh("end", b.Op("Neg", []string{b.Op("Abs", []string{x}, Name("inner"), Outs("later"))}, Name("neg"), Outs("r"))))
				}),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Neg", []string{x}, Name("else"))) }))
			l := g.layer("later", r)
			m := g.layer("b", g.layer("side", x))
			g.y(g.add("y", l, m))
		}),
		odd("siblings-share-names", "two Ifs whose branches use the same inner names for different things", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			for _, n := range []string{"if1", "if2"} {
				op := map[string]string{"if1": "Exp", "if2": "Abs"}[n]
				x = g.Op("If", []string{g.positive(n+".cond", x)}, Name(n),
					Body("then_branch", func(b *Graph) {
						b.y(b.add("inner", x, b.Op(op, []string{x}, Name("inner.op"))))
					}),
					Body("else_branch", func(b *Graph) { b.y(b.layer("inner", x)) }))
			}
			g.y(x)
		}),
		odd("captured-graph-input", "a branch uses a graph input that nobody else uses", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			z := g.Input("z", Float, rows, width)
			g.y(g.Op("If", []string{g.positive("cond", x)}, Name("if"),
				Body("then_branch", func(b *Graph) { b.y(b.Op("Mul", []string{z, x}, Name("then"))) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Sub", []string{z, x}, Name("else"))) })))
		}),
		odd("captured-behind-constant", "a branch uses what the main graph computes from constants alone", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			t := g.Op("Transpose", []string{w}, Name("transpose"))
			g.y(g.Op("If", []string{g.positive("cond", x)}, Name("if"),
				Body("then_branch", func(b *Graph) { b.y(b.Op("MatMul", []string{x, t}, Name("then"))) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("MatMul", []string{x, w}, Name("else"))) })))
			g.y(g.Op("MatMul", []string{g.layer("b", x), t}, Name("mul")))
		}),
		odd("empty-body-names", "graphs in attributes have no names, which ONNX Runtime refuses", NoRun|Unchecked, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.y(g.Op("If", []string{g.positive("cond", x)}, Name("if"),
				Body("then_branch", func(b *Graph) { b.pb.Name = nil; b.y(b.Op("Neg", []string{x}, Name("then"))) }),
				Body("else_branch", func(b *Graph) { b.pb.Name = proto.String(""); b.y(b.Op("Abs", []string{x}, Name("else"))) })))
		}),
	}
}
