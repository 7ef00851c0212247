package onnxtest

import (
	"fmt"
	"math"
	"strings"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// badGraphs: names and edges that make no sense, or look so.
func badGraphs() []BadFile {
	nodes := func(name string, a Answer, says string, build func(g *Graph)) BadFile {
		return badModel(name, a, says, func(_ *Model, g *Graph) { build(g) })
	}
	op := func(g *Graph, op, out string, in ...string) { g.Op(op, in, Name("n_"+out), Outs(out)) }
	opset := func(name string, a Answer, version int64) BadFile {
		return badModel(name, a, "", func(m *Model, g *Graph) {
			threeLayers(g)
			m.pb.OpsetImport[0].Version = proto.Int64(version)
		})
	}
	ir := func(name string, version int64) BadFile {
		return badModel(name, Either, "", func(m *Model, g *Graph) {
			threeLayers(g)
			m.pb.IrVersion = proto.Int64(version)
		})
	}
	return []BadFile{
		opset("opset-0", Refuse, 0), opset("opset-negative", Refuse, -1), opset("opset-9999", Either, 9999),
		ir("ir-0", 0), ir("ir-99", 99), ir("ir-negative", -5),
		badModel("no-opset-import", Either, "", func(m *Model, g *Graph) { threeLayers(g); m.pb.OpsetImport = nil }),
		nodes("unknown-operator", Either, "", func(g *Graph) { g.x(); op(g, "FrobnicateTensor", "y", "x"); g.y("y") }),
		nodes("operator-without-type", Either, "", func(g *Graph) { g.x(); op(g, "", "y", "x"); g.y("y") }),
		nodes("self-loop", Refuse, "in a circle", func(g *Graph) { g.x(); op(g, "Add", "y", "x", "y"); g.y("y") }),
		nodes("cycle-of-two", Refuse, "in a circle", func(g *Graph) {
			g.x()
			op(g, "Add", "a", "x", "b")
			op(g, "Relu", "b", "a")
			g.y("b")
		}),
		nodes("cycle-of-3000", Refuse, "in a circle", func(g *Graph) {
			g.x()
			for i := range 3000 {
				op(g, "Add", fmt.Sprintf("c%d", i), "x", fmt.Sprintf("c%d", (i+2999)%3000))
			}
			g.y("c7")
		}),
		nodes("cycle-through-branch", Refuse, "in a circle", func(g *Graph) {
			x := g.x()
			g.Op("If", []string{g.positive("cond", x)}, Outs("y"),
				Body("then_branch", func(b *Graph) { b.y(b.Op("Relu", []string{"y"})) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Relu", []string{x})) }))
			g.y("y")
		}),
		nodes("made-twice", Refuse, "makes it too", func(g *Graph) { g.x(); op(g, "Relu", "h", "x"); op(g, "Tanh", "h", "x"); g.y("h") }),
		nodes("twice-in-a-node", Refuse, "lists it twice", func(g *Graph) {
			g.Ops("Split", 2, []string{g.x()}, Outs("h", "h"), Int("axis", 1))
			g.y("h")
		}),
		nodes("output-named-like-input", Refuse, "name of a graph input", func(g *Graph) { g.x(); op(g, "Relu", "x", "x"); g.y("x") }),
		nodes("output-named-like-weight", Refuse, "name of a graph input or initializer", func(g *Graph) {
			g.x()
			g.Buffer("w", Float, Uniform(0, 1), rows, width)
			op(g, "Relu", "w", "x")
			g.y("w")
		}),
		nodes("weight-twice", Either, "", func(g *Graph) {
			g.x()
			g.Store(Floats("w", []float32{1}, 1))
			g.Store(Floats("w", []float32{2}, 1))
			op(g, "Add", "y", "x", "w")
			g.y("y")
		}),
		nodes("input-twice", Refuse, "listed twice", func(g *Graph) { g.x(); g.x(); op(g, "Relu", "y", "x"); g.y("y") }),
		nodes("reads-nothing-known", Refuse, `"nowhere"`, func(g *Graph) { g.x(); op(g, "Add", "y", "x", "nowhere"); g.y("y") }),
		nodes("output-nobody-makes", Refuse, `"y"`, func(g *Graph) { g.x(); op(g, "Relu", "h", "x"); g.y("y") }),
		nodes("branch-reads-nothing-known", Refuse, `"nowhere"`, func(g *Graph) {
			x := g.x()
			g.y(g.Op("If", []string{g.positive("cond", x)},
				Body("then_branch", func(b *Graph) { b.y(b.Op("Relu", []string{"nowhere"})) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Relu", []string{x})) })))
		}),
		nodes("branch-redefines", Refuse, "has already", func(g *Graph) {
			x := g.x()
			op(g, "Relu", "h", x)
			g.y(g.Op("If", []string{g.positive("cond", x)},
				Body("then_branch", func(b *Graph) { b.y(b.Op("Tanh", []string{x}, Outs("h"))) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Relu", []string{"h"})) })))
		}),
		nodes("required-input-left-out", Refuse, "left out", func(g *Graph) { g.x(); op(g, "Relu", "y", ""); g.y("y") }),
		nodes("second-input-missing", Refuse, "left out", func(g *Graph) { g.x(); op(g, "Add", "y", "x"); g.y("y") }),
		nodes("input-without-name", Refuse, "no name", func(g *Graph) { g.x(); g.Input("", Float, 1); op(g, "Relu", "y", "x"); g.y("y") }),
		nodes("output-without-name", Refuse, "no name", func(g *Graph) { g.x(); op(g, "Relu", "y", "x"); g.y("y"); g.y("") }),
		nodes("no-io", Either, "", func(*Graph) {}),
		nodes("node-without-outputs", Either, "", func(g *Graph) {
			g.x()
			g.Op("Relu", []string{"x"}, Custom(func(n *onnxpb.NodeProto) { n.Output = []string{""} }))
			g.pb.Node[0].Output = nil
			op(g, "Relu", "y", "x")
			g.y("y")
		}),
		nodes("attribute-of-wrong-type", Either, "", func(g *Graph) { g.y(g.Op("Softmax", []string{g.x()}, Flt("axis", 1.5))) }),
		nodes("attribute-twice", Either, "", func(g *Graph) { g.y(g.Op("Softmax", []string{g.x()}, Int("axis", 1), Int("axis", 0))) }),
	}
}

// badShapes: extents that overflow, lie or cannot be.
func badShapes() []BadFile {
	relu := func(name string, a Answer, dims ...any) BadFile {
		return badModel(name, a, "", func(_ *Model, g *Graph) {
			g.Output(g.Op("Relu", []string{g.Input("x", Float, dims...)}), Float, dims...)
		})
	}
	// weight is a product with a weight that is stored in a bad way.
	weight := func(name string, a Answer, says string, t *onnxpb.TensorProto) BadFile {
		return badModel(name, a, says, func(_ *Model, g *Graph) {
			t.Name = proto.String("w")
			x := g.Input("x", Float, 1, 4)
			g.pb.Initializer = append(g.pb.Initializer, t)
			g.OutputOf(g.Op("MatMul", []string{x, "w"}), NoShape(Float))
		})
	}
	tensor := func(raw int, dims ...int64) *onnxpb.TensorProto {
		return &onnxpb.TensorProto{Dims: dims, DataType: proto.Int32(int32(Float)), RawData: make([]byte, raw)}
	}
	open := func(name string, a Answer, says string, build func(g *Graph) string) BadFile {
		return badModel(name, a, says, func(_ *Model, g *Graph) { g.OutputOf(build(g), NoShape(Float)) })
	}
	ones := make([]any, 200)
	for i := range ones {
		ones[i] = 1
	}
	unknownType := tensor(64, 4, 4)
	unknownType.DataType = proto.Int32(99)
	return []BadFile{
		relu("extents-of-2^93", Either, int64(1)<<31, int64(1)<<31, int64(1)<<31),
		relu("extent-of-int64-max", Either, int64(math.MaxInt64), 2),
		relu("extent-negative", Either, -1, 4),
		relu("extent-zero", Accept, 0, 4),
		relu("rank-200", Either, ones...),
		weight("weight-too-short", Refuse, `"w"`, tensor(16, 4, 4)),
		weight("weight-claims-16-tib", Refuse, `"w"`, tensor(64, 1<<40, 4)),
		weight("weight-claims-2^126", Refuse, `"w"`, tensor(64, math.MaxInt64, math.MaxInt64)),
		weight("weight-negative-extent", Refuse, `"w"`, tensor(64, -4, 4)),
		weight("weight-without-data", Refuse, `"w"`, tensor(0, 4, 4)),
		weight("weight-of-unknown-type", Either, "", unknownType),
		open("expand-to-16-tib", Either, "", func(g *Graph) string {
			return g.Op("Expand", []string{g.x(), g.Vec(1<<20, 1<<20, rows, width)})
		}),
		open("constant-of-256-gib", Either, "", func(g *Graph) string {
			return g.Op("Add", []string{g.Scalar(1), g.Op("ConstantOfShape", []string{g.Vec(1<<18, 1<<18)})})
		}),
		open("range-of-2^60", Either, "", func(g *Graph) string {
			n := func(name string, v int64) string { return g.Store(Int64s(name, []int64{v})) }
			return g.Op("Range", []string{n("a", 0), n("b", 1<<60), n("c", 1)})
		}),
		open("tile-of-tiles", Either, "", func(g *Graph) string {
			s := g.Op("Shape", []string{g.x()})
			for range 40 {
				s = g.Op("Concat", []string{s, s}, Int("axis", 0)) // 2^41 numbers, were they followed
			}
			return g.Op("Reshape", []string{"x", s})
		}),
		open("extents-squared", Either, "", func(g *Graph) string {
			s := g.Op("Shape", []string{g.Input("v", Float, "N", "M")})
			for range 60 {
				s = g.Op("Mul", []string{s, g.Op("Add", []string{s, g.Op("Gather", []string{s, g.Vec(1, 0)})})})
			}
			return g.Op("ConstantOfShape", []string{s})
		}),
		open("stride-zero", Refuse, "", func(g *Graph) string {
			x := g.Input("x", Float, 1, 4, 8, 8)
			return g.Op("Conv", []string{x, g.Weight("w", Float, Scaled(1, 36), 4, 4, 3, 3)}, Ints("strides", 0, 0))
		}),
		open("kernel-larger-than-image", Either, "", func(g *Graph) string {
			x := g.Input("x", Float, 1, 4, 2, 2)
			return g.Op("Conv", []string{x, g.Weight("w", Float, Scaled(1, 36), 4, 4, 3, 3)})
		}),
		open("perm-out-of-range", Refuse, "", func(g *Graph) string { return g.Op("Transpose", []string{g.x()}, Ints("perm", 7, -9)) }),
		open("axis-out-of-range", Refuse, "axis 99", func(g *Graph) string {
			x := g.x()
			return g.Op("Concat", []string{x, x}, Int("axis", 99))
		}),
		open("factors-do-not-fit", Either, "", func(g *Graph) string {
			return g.Op("MatMul", []string{g.x(), g.Weight("w", Float, Scaled(1, 4), width+1, 4)})
		}),
	}
}

// badNames: names that are no trouble to a reader that takes them as they are.
func badNames() []BadFile {
	var l []BadFile
	for _, c := range []struct{ title, name string }{
		{"path", "../../../etc/passwd"},
		{"dot", "."},
		{"dot-dot", ".."},
		{"newline-and-nul", "a\nb\tc\x00d"},
		{"quotes", `a"b'c\d<e>&{f}%s$(id)` + "`"},
		{"blank", " "},
		{"json", `{"a":[1]}`},
		{"windows", `CON:\x|y*?`},
		{"right-to-left", "\u202egnp.exe"},
		{"very-long", strings.Repeat("n", 100_000)},
	} {
		l = append(l, badModel("name-"+c.title, Accept, "", func(_ *Model, g *Graph) {
			g.Op("Relu", []string{g.x()}, Name(c.name), Outs(c.name))
			g.y(g.Op("Tanh", []string{c.name}, Name("y")))
		}))
	}
	return append(l, badModel("name-invalid-utf8", Either, "", func(_ *Model, g *Graph) {
		g.Op("Relu", []string{g.x()}, Name("A\xff\xfe"), Outs("A\xff\xfe\xc0\xaf"))
		g.y(g.Op("Tanh", []string{"A\xff\xfe\xc0\xaf"}))
	}))
}
