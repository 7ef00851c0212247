package onnxtest

import "github.com/dnnsplit/dnnsplit/frontend/onnxpb"

const fnDomain = "example.functions"

var fnHeader = Header{Opset: 15, Imports: []Import{{fnDomain, 1}}}

// call adds a call of a model-local function.
func (g *Graph) call(fn, name string, in []string, with ...With) string {
	return g.Op(fn, in, append([]With{Name(name), Domain(fnDomain)}, with...)...)
}

// oddFunctions: model-local functions.
func oddFunctions() []Case {
	swish := func(m *Model) {
		m.Function(FunctionHeader{Domain: fnDomain, Name: "Swish", Inputs: []string{"x"}, Outputs: []string{"y"}}, func(g *Graph) {
			g.Op("Mul", []string{"x", g.Op("Sigmoid", []string{"x"}, Name("sigmoid"), Outs("s"))}, Name("mul"), Outs("y"))
		})
	}
	return []Case{
		oddHeader("function", "a function is called three times", 0, fnHeader, func(m *Model, g *Graph) {
			swish(m)
			x := g.x()
			for _, n := range []string{"a", "b", "c"} {
				x = g.call("Swish", n+".swish", []string{g.layer(n, x)})
			}
			g.y(x)
		}),
		oddHeader("function-nested", "functions call functions; one is defined and not used", 0, fnHeader, func(m *Model, g *Graph) {
			imports := []Import{{"", 15}, {fnDomain, 1}}
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Layer", Inputs: []string{"x", "w", "b"}, Outputs: []string{"y"}, Imports: imports}, func(g *Graph) {
				v := g.Op("Add", []string{g.Op("MatMul", []string{"x", "w"}, Name("mul"), Outs("v")), "b"}, Name("add"), Outs("v2"))
				g.call("Swish", "swish", []string{v}, Outs("y"))
			})
			swish(m)
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Unused", Inputs: []string{"x"}, Outputs: []string{"y"}}, func(g *Graph) {
				g.Op("Neg", []string{"x"}, Outs("y"))
			})
			x := g.x()
			for _, n := range []string{"a", "b"} {
				w := g.Weight(n+".w", Float, Scaled(2, width), width, width)
				b := g.Weight(n+".b", Float, Uniform(-0.2, 0.2), width)
				x = g.call("Layer", n, []string{x, w, b})
			}
			g.y(x)
		}),
		oddHeader("function-attributes", "a function hands its attributes on to its nodes; calls give different ones", 0, fnHeader, func(m *Model, g *Graph) {
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Leak", Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: []string{"slope", "axis"}}, func(g *Graph) {
				v := g.Op("LeakyRelu", []string{"x"}, Name("leaky"), Outs("v"), Ref("alpha", onnxpb.AttributeProto_FLOAT, "slope"))
				g.Op("Softmax", []string{v}, Name("softmax"), Outs("y"), Ref("axis", onnxpb.AttributeProto_INT, "axis"))
			})
			x := g.call("Leak", "leak1", []string{g.layer("a", g.x())}, Flt("slope", 0.3), Int("axis", 0))
			g.y(g.call("Leak", "leak2", []string{g.layer("b", x)}, Flt("slope", 0.01), Int("axis", 1)))
		}),
		oddHeader("function-holds-all", "the main graph is one call; all layers and weights are in the function", 0, fnHeader, func(m *Model, g *Graph) {
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Net", Inputs: []string{"x"}, Outputs: []string{"y", "z"}}, func(g *Graph) {
				x := g.layer("b", g.layer("a", "x"))
				g.identity(g.layer("c", x), "y")
				g.identity(g.layer("d", x), "z")
			})
			r := g.Ops("Net", 2, []string{g.x()}, Name("net"), Domain(fnDomain), Outs("y", "z"))
			g.y(r[0])
			g.y(r[1])
		}),
		oddHeader("function-holds-layers", "the main graph is one call of calls that are given the weights; every layer is a function of functions", 0, fnHeader, func(m *Model, g *Graph) {
			imports := []Import{{"", 15}, {fnDomain, 1}}
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Dense", Inputs: []string{"x", "w", "b"}, Outputs: []string{"y"}}, func(g *Graph) {
				g.Op("Tanh", []string{g.Op("Add", []string{g.Op("MatMul", []string{"x", "w"}, Outs("p")), "b"}, Outs("s"))}, Outs("y"))
			})
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Twice", Inputs: []string{"x", "w", "b"}, Outputs: []string{"y"}, Imports: imports}, func(g *Graph) {
				x := g.call("Dense", "first", []string{"x", "w", "b"}, Outs("h"))
				g.call("Dense", "second", []string{x, "w", "b"}, Outs("y"))
			})
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Net", Inputs: []string{"x", "w1", "b1", "w2", "b2"}, Outputs: []string{"y"}, Imports: imports}, func(g *Graph) {
				x := g.call("Twice", "low", []string{"x", "w1", "b1"}, Outs("h"))
				g.call("Twice", "high", []string{x, "w2", "b2"}, Outs("y"))
			})
			in := []string{g.x()}
			for _, n := range []string{"1", "2"} {
				in = append(in, g.Weight("w"+n, Float, Scaled(2, width), width, width), g.Weight("b"+n, Float, Uniform(-0.2, 0.2), width))
			}
			g.y(g.call("Net", "net", in))
		}),
		oddHeader("function-inner-names", "values in a function have the names of values in the main graph", 0, fnHeader, func(m *Model, g *Graph) {
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Same", Inputs: []string{"a"}, Outputs: []string{"x"}}, func(g *Graph) {
				g.Op("Tanh", []string{g.Op("Neg", []string{"a"}, Name("a"), Outs("b"))}, Name("b"), Outs("x"))
			})
			a := g.layer("a", g.x())
			b := g.call("Same", "b", []string{a})
			g.y(g.add("c", a, b))
		}),
		oddHeader("function-with-if", "a function has an If whose branches use the function's input", 0, fnHeader, func(m *Model, g *Graph) {
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Choose", Inputs: []string{"x", "zero"}, Outputs: []string{"y"}}, func(g *Graph) {
				s := g.Op("ReduceSum", []string{"x"}, Name("sum"), Outs("s"), Int("keepdims", 0))
				c := g.Op("Greater", []string{s, "zero"}, Name("greater"), Outs("c"))
				g.Op("If", []string{c}, Name("if"), Outs("y"),
					Body("then_branch", func(b *Graph) { b.y(b.Op("Neg", []string{"x"}, Name("then"), Outs("t"))) }),
					Body("else_branch", func(b *Graph) { b.y(b.Op("Exp", []string{"x"}, Name("else"), Outs("e"))) }))
			})
			z := g.Scalar(0)
			g.y(g.layer("b", g.call("Choose", "choose", []string{g.layer("a", g.x()), z})))
		}),
		oddHeader("function-in-body", "a function is called in a loop's body only", 0, fnHeader, func(m *Model, g *Graph) {
			swish(m)
			x := g.layer("a", g.x())
			g.y(g.loop("loop", 2, x, func(b *Graph, _, v string) string {
				return b.call("Swish", "swish", []string{b.add("step", v, x)})
			}))
		}),
		oddHeader("function-optional-input", "a call leaves out an optional input of its function and names an output \"\"", Unchecked, fnHeader, func(m *Model, g *Graph) {
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Bound", Inputs: []string{"x", "lo", "hi"}, Outputs: []string{"y", "z"}}, func(g *Graph) {
				g.Op("Clip", []string{"x", "lo", "hi"}, Name("clip"), Outs("y"))
				g.Op("Neg", []string{"x"}, Name("neg"), Outs("z"))
			})
			x := g.layer("a", g.x())
			g.y(g.Ops("Bound", 2, []string{x, "", g.Scalar(0.5)}, Name("bound"), Domain(fnDomain), Outs("bounded", ""))[0])
		}),
		oddHeader("function-other-opset", "a function is written against another opset of the standard domain than the model", 0, Header{Opset: 15, Imports: fnHeader.Imports}, func(m *Model, g *Graph) {
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Scaled", Inputs: []string{"x"}, Outputs: []string{"y"}, Imports: []Import{{"", 14}}}, func(g *Graph) {
				g.Op("Add", []string{"x", "x"}, Name("add"), Outs("y"))
			})
			g.y(g.call("Scaled", "scaled", []string{g.layer("a", g.x())}))
		}),
		oddHeader("function-overloads", "two functions of one name are told apart by their overload", Newer, Header{Opset: 21, IR: 10, Imports: []Import{{fnDomain, 1}}}, func(m *Model, g *Graph) {
			for _, o := range []struct{ overload, op string }{{"neg", "Neg"}, {"tanh", "Tanh"}} {
				m.Function(FunctionHeader{Domain: fnDomain, Name: "F", Overload: o.overload, Inputs: []string{"x"}, Outputs: []string{"y"}}, func(g *Graph) {
					g.Op(o.op, []string{"x"}, Name("op"), Outs("y"))
				})
			}
			x := g.call("F", "f1", []string{g.layer("a", g.x())}, Overload("neg"))
			g.y(g.call("F", "f2", []string{g.layer("b", x)}, Overload("tanh")))
		}),
		oddHeader("function-default-attribute", "an attribute of a function has a default that the call leaves or replaces", Newer, Header{Opset: 18, IR: 9, Imports: fnHeader.Imports}, func(m *Model, g *Graph) {
			m.Function(FunctionHeader{Domain: fnDomain, Name: "Leak", Inputs: []string{"x"}, Outputs: []string{"y"}}, func(g *Graph) {
				g.Op("LeakyRelu", []string{"x"}, Name("leaky"), Outs("y"), Ref("alpha", onnxpb.AttributeProto_FLOAT, "slope"))
				n := &onnxpb.NodeProto{}
				Flt("slope", 0.25)(g, n)
				g.fn.AttributeProto = n.Attribute
			})
			x := g.call("Leak", "leak1", []string{g.layer("a", g.x())})
			g.y(g.call("Leak", "leak2", []string{g.layer("b", x)}, Flt("slope", 0.7)))
		}),
	}
}
