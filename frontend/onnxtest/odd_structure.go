package onnxtest

import (
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// oddStructure: node lists and graph shapes.
func oddStructure() []Case {
	return []Case{
		odd("unsorted", "nodes stand in reverse order, which the standard forbids and ONNX Runtime accepts", Unchecked, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.y(g.add("join", g.layer("b", x), g.layer("c", x)))
			slices.Reverse(g.pb.Node)
		}),
		odd("empty-node-names", "no node has a name", 0, func(_ *Model, g *Graph) {
			g.y(g.layer("b", g.layer("a", g.x())))
			for _, n := range g.pb.Node {
				n.Name = nil
			}
		}),
		odd("some-empty-node-names", "every second node has an empty name", 0, func(_ *Model, g *Graph) {
			g.y(g.layer("b", g.layer("a", g.x())))
			for i, n := range g.pb.Node {
				if i%2 == 1 {
					n.Name = proto.String("")
				}
			}
		}),
		odd("duplicate-node-names", "all nodes have one name, which ONNX Runtime refuses", NoRun, func(_ *Model, g *Graph) {
			g.y(g.layer("b", g.layer("a", g.x())))
			for _, n := range g.pb.Node {
				n.Name = proto.String("node")
			}
		}),
		odd("duplicate-node-names-nested", "nodes in a branch have the names of nodes outside", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.y(g.Op("If", []string{g.positive("cond", x)}, Name("a"+".if"),
				Body("then_branch", func(b *Graph) {
					b.y(b.Op("Neg", []string{x}, Name("a.mul"), Outs("t")))
				}),
				Body("else_branch", func(b *Graph) {
					b.y(b.Op("Abs", []string{x}, Name("a.mul"), Outs("t")))
				})))
		}),
		odd("dead-nodes", "half of the nodes, and two inputs of the graph, lead to no output", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.Input("unused", Float, 2, 2)
			d := g.Input("dead_in", Float, rows, width)
			g.layer("dead1", g.add("dead0", d, x))
			g.y(g.layer("b", x))
			g.layer("dead2", x)
		}),
		odd("same-value-twice", "nodes use one value for two inputs, and one weight for two", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			w := g.Weight("w", Float, Uniform(0.5, 1), width)
			y := g.Op("Mul", []string{x, x}, Name("square"))
			y = g.Op("Add", []string{y, g.Op("Mul", []string{w, w}, Name("ww"))}, Name("plus"))
			g.y(g.Op("Concat", []string{y, y, y}, Name("three"), Int("axis", 1)))
			g.pb.Output[0].Type = TensorType(Float, rows, 3*width)
		}),
		odd("diamonds", "a chain of forks and joins", 0, func(_ *Model, g *Graph) {
			x := g.x()
			for i := range 5 {
				n := fmt.Sprintf("d%d", i)
				a, b := g.layer(n+"a", x), g.layer(n+"b", g.layer(n+"c", x))
				x = g.add(n, a, b)
			}
			g.y(x)
		}),
		odd("fan-out", "one value has 40 consumers, which one node joins", 0, func(_ *Model, g *Graph) {
			x := g.layer("stem", g.x())
			var all []string
			for i := range 40 {
				all = append(all, g.layer(fmt.Sprintf("f%d", i), x))
			}
			g.y(g.Op("Sum", all, Name("sum")))
		}),
		odd("long-skip", "the first value is used again by the last node", 0, func(_ *Model, g *Graph) {
			first := g.layer("first", g.x())
			x := first
			for i := range 8 {
				x = g.layer(fmt.Sprintf("l%d", i), x)
			}
			g.y(g.add("join", x, first))
		}),
		odd("two-components", "the graph falls into two parts that share nothing", 0, func(_ *Model, g *Graph) {
			g.y(g.layer("b", g.layer("a", g.x())))
			z := g.Input("z", Float, 2, 5)
			g.Output(g.dense("c", z, 5, 4), Float, 2, 4)
		}),
		odd("split-outputs", "a node of several outputs: one unused, one used twice, one a graph output", 0, func(_ *Model, g *Graph) {
			p := g.Ops("Split", 3, []string{g.layer("a", g.x()), g.Vec(2, 2, 2)}, Name("split"), Int("axis", 1))
			s := g.Op("Concat", []string{p[0], p[0], p[2]}, Name("cat"), Int("axis", 1))
			g.y(g.layer("b", s))
			g.Output(p[2], Float, rows, 2)
		}),
		odd("constants-only-part", "shapes and masks are computed from constants alone, by several nodes", 0, func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			r := g.Op("Range", []string{g.Store(Int64s("from", []int64{0})), g.Store(Int64s("to", []int64{width})), g.Store(Int64s("step", []int64{1}))}, Name("range"))
			f := g.Op("Cast", []string{r}, Name("cast"), Int("to", int64(Float)))
			m := g.Op("Sigmoid", []string{g.Op("Sub", []string{f, g.Scalar(2.5)}, Name("sub"))}, Name("mask"))
			g.y(g.layer("b", g.Op("Mul", []string{x, m}, Name("masked"))))
			g.y(g.Op("Mul", []string{g.layer("c", x), m}, Name("masked2")))
		}),
		odd("unused-imports", "operator sets are imported that no node uses, one of them unknown", 0, func(m *Model, g *Graph) {
			for _, i := range []Import{{"com.microsoft", 1}, {"ai.onnx.ml", 2}, {"example.unknown", 7}} {
				m.pb.OpsetImport = append(m.pb.OpsetImport, i.proto())
			}
			g.y(g.layer("a", g.x()))
		}),
		odd("ai.onnx-alias", "nodes name the standard domain ai.onnx where it is usually empty", Unchecked, func(_ *Model, g *Graph) {
			g.y(g.layer("b", g.layer("a", g.x())))
			for i, n := range g.pb.Node {
				if i%2 == 0 {
					n.Domain = proto.String("ai.onnx")
				}
			}
		}),
		odd("no-domain-field", "the operator set import of the standard domain has no domain field", 0, func(m *Model, g *Graph) {
			m.pb.OpsetImport[0].Domain = nil
			g.y(g.layer("a", g.x()))
		}),
		oddHeader("microsoft-ops", "operators of com.microsoft", 0, Header{Imports: []Import{{"com.microsoft", 1}}}, func(_ *Model, g *Graph) {
			const ms = "com.microsoft"
			x := g.layer("a", g.x())
			x = g.Op("BiasGelu", []string{x, g.Weight("gelu.b", Float, Uniform(-1, 1), width)}, Name("gelu"), Domain(ms))
			x = g.Op("FusedMatMul", []string{x, g.Weight("fm.w", Float, Scaled(1, width), width, width)}, Name("fm"), Domain(ms), Int("transB", 1), Flt("alpha", 0.5))
			s := g.Op("SkipLayerNormalization", []string{g.Op("Unsqueeze", []string{x, g.Vec(0)}, Name("us")), g.Op("Unsqueeze", []string{g.layer("b", x), g.Vec(0)}, Name("us2")), g.Weight("ln.g", Float, Uniform(0.5, 1), width)}, Name("skip"), Domain(ms))
			g.y(g.Op("Squeeze", []string{s, g.Vec(0)}, Name("sq")))
		}),
		odd("unknown-domain-op", "an operator of a domain that nobody knows, imported", NoRun, func(m *Model, g *Graph) {
			m.pb.OpsetImport = append(m.pb.OpsetImport, Import{"example.custom", 1}.proto())
			x := g.layer("a", g.x())
			x = g.Op("Mystery", []string{x}, Name("mystery"), Domain("example.custom"), Str("mode", "fast"))
			g.y(g.layer("b", x))
		}),
		odd("domain-not-imported", "an operator of com.microsoft, whose operator set is not imported", Unchecked, func(m *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.y(g.layer("b", g.Op("Gelu", []string{x}, Name("gelu"), Domain("com.microsoft"))))
		}),
		oddHeader("opset7", "opset 7 and IR version 3 of 2018: axes, slices and paddings as attributes", 0, Header{Opset: 7, IR: 3}, func(m *Model, g *Graph) {
			x := g.layer("a", g.x())
			s := g.Op("Slice", []string{x}, Name("slice"), Ints("axes", 1), Ints("starts", 1), Ints("ends", 5))
			s = g.Op("Pad", []string{s}, Name("pad"), Ints("pads", 0, 1, 0, 1), Flt("value", 0.5), Str("mode", "constant"))
			u := g.Op("Unsqueeze", []string{s}, Name("us"), Ints("axes", 0, 1))
			u = g.Op("Upsample", []string{u}, Name("up"), Flts("scales", 1, 1, 2, 1), Str("mode", "nearest"))
			u = g.Op("ReduceSum", []string{u}, Name("rs"), Ints("axes", 0, 1), Int("keepdims", 0))
			u = g.Op("Dropout", []string{u}, Name("drop"), Flt("ratio", 0.3))
			g.Output(g.Op("Clip", []string{g.layer("b", u)}, Name("clip"), Flt("min", -0.9), Flt("max", 0.9)), Float, 2*rows, width)
			m.WeightsAsInputs()
		}),
		oddHeader("training-info", "the model carries training graphs beside its own", 0, Header{Opset: 14}, func(m *Model, g *Graph) {
			g.y(g.layer("a", g.x()))
			t := &Graph{m: m, pb: &onnxpb.GraphProto{Name: proto.String("init")}, path: "train/"}
			t.Output(t.Op("ConstantOfShape", []string{t.Vec(width)}, Name("zero")), Float, width)
			m.pb.TrainingInfo = []*onnxpb.TrainingInfoProto{{
				Initialization:        t.pb,
				InitializationBinding: []*onnxpb.StringStringEntryProto{entry("a.b", t.pb.Output[0].GetName())},
			}}
		}),
	}
}
