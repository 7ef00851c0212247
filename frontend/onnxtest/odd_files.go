package onnxtest

import (
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// oddFiles: what stands in the file besides the graph, and outside it.
func oddFiles() []Case {
	net := func(g *Graph) { g.y(g.layer("c", g.layer("b", g.layer("a", g.x())))) }
	external := func(o External) func(*Model, *Graph) {
		return func(m *Model, g *Graph) { net(g); m.External(o) }
	}
	unknown := func(p interface{ proto.Message }, num protowire.Number) {
		b := protowire.AppendTag(nil, num, protowire.BytesType)
		b = protowire.AppendBytes(b, []byte("from a later version"))
		p.ProtoReflect().SetUnknown(b)
	}
	return []Case{
		odd("external-one-file", "all weights in one file beside the model", ExternalData, external(External{Location: "weights.bin"})),
		odd("external-aligned", "weights at page boundaries, small ones in the model", ExternalData, external(External{Location: "weights.bin", Align: 4096, MinBytes: 100})),
		odd("external-folder", "each weight is a file of its own in a folder, without offset and length", ExternalData, external(External{Location: "weights/w", PerTensor: true, NoOffset: true})),
		odd("external-odd-name", "the file's name has spaces and letters of other scripts", ExternalData, external(External{Location: "the weights 重み.bin"})),
		odd("external-shared", "two weights share one range of the file", ExternalData, func(m *Model, g *Graph) {
			x := g.x()
			for _, n := range []string{"a", "b"} {
				w := g.Weight(n+".w", Float, Scaled(2, width).As("same"), width, width)
				x = g.tanh(n, g.Op("MatMul", []string{x, w}, Name(n+".mul")))
			}
			g.y(x)
			m.External(External{Location: "weights.bin", Share: true})
		}),
		odd("external-two-files", "weights in two files; the first has an unused part", ExternalData, func(m *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.Weight("unused", Float, Uniform(-1, 1), 1000)
			m.External(External{Location: "first.bin"})
			g.y(g.layer("b", x))
			m.External(External{Location: "second.bin"})
		}),
		odd("external-in-body", "weights of branches are external too", ExternalData, func(m *Model, g *Graph) {
			x := g.layer("a", g.x())
			branch := func(b *Graph) {
				b.y(b.Op("MatMul", []string{x, b.Weight("branch.w", Float, Scaled(2, width), width, width)}))
			}
			g.y(g.layer("b", g.Op("If", []string{g.positive("cond", x)}, Name("if"), Body("then_branch", branch), Body("else_branch", branch))))
			m.External(External{Location: "weights.bin"})
		}),
		odd("external-in-constant", "the tensors of Constant nodes are external", ExternalData|Unchecked, func(m *Model, g *Graph) {
			x := g.x()
			for _, n := range []string{"a", "b"} {
				w := g.Const(g.Generated(n+".w", Float, Scaled(1, width), width, width))
				x = g.tanh(n, g.Op("MatMul", []string{x, w}, Name(n+".mul")))
			}
			g.y(x)
			m.External(External{Location: "weights.bin"})
		}),
		odd("metadata", "metadata and doc strings on the model, graph, nodes, values and weights", 0, func(m *Model, g *Graph) {
			net(g)
			m.Metadata("author", "ünknown <a@b>")
			m.Metadata("notes", "line 1\nline 2")
			m.Metadata("", "empty key")
			m.pb.DocString, m.pb.Domain, m.pb.ModelVersion = proto.String("a model\n"), proto.String("example.models"), proto.Int64(42)
			g.pb.DocString = proto.String("a graph")
			for _, n := range g.pb.Node {
				n.DocString = proto.String("a node\nof " + n.GetName())
			}
			for _, t := range g.pb.Initializer {
				t.DocString = proto.String("a weight")
			}
			g.pb.Input[0].DocString = proto.String("an input")
			g.pb.Output[0].DocString = proto.String("an output")
		}),
		oddHeader("node-metadata", "metadata on nodes, weights, values and the graph (IR version 10)", Newer, Header{Opset: 21, IR: 10}, func(_ *Model, g *Graph) {
			net(g)
			g.Info("a", Float, rows, width)
			e := []*onnxpb.StringStringEntryProto{entry("pkg.torch.onnx.name_scopes", "['', 'a']")}
			g.pb.MetadataProps, g.pb.Node[0].MetadataProps, g.pb.Initializer[0].MetadataProps, g.pb.ValueInfo[0].MetadataProps, g.pb.Input[0].MetadataProps = e, e, e, e, e
		}),
		oddHeader("device-configuration", "nodes are annotated with devices and pipeline stages (IR version 11)", Newer, Header{Opset: 23, IR: 11}, func(m *Model, g *Graph) {
			net(g)
			m.pb.Configuration = []*onnxpb.DeviceConfigurationProto{{Name: proto.String("two"), NumDevices: proto.Int32(2), Device: []string{"cpu0", "cpu1"}}}
			for i, n := range g.pb.Node {
				n.DeviceConfigurations = []*onnxpb.NodeDeviceConfigurationProto{{ConfigurationId: proto.String("two"), PipelineStage: proto.Int32(int32(i / 3))}}
			}
		}),
		odd("unknown-fields", "every kind of message has a field of a later version", 0, func(m *Model, g *Graph) {
			net(g)
			unknown(m.pb, 900)
			unknown(g.pb, 901)
			unknown(g.pb.Node[0], 902)
			unknown(g.pb.Node[0].ProtoReflect().Interface(), 902)
			unknown(g.pb.Initializer[0], 903)
			unknown(g.pb.Input[0], 904)
			unknown(g.pb.Input[0].Type, 905)
			unknown(m.pb.OpsetImport[0], 906)
		}),
		odd("denotation", "types and dimensions carry denotations", 0, func(m *Model, g *Graph) {
			net(g)
			m.Metadata("Image.BitmapPixelFormat", "Gray8")
			t := g.pb.Input[0].Type
			t.Denotation = proto.String("TENSOR")
			t.GetTensorType().Shape.Dim[0].Denotation = proto.String("DATA_BATCH")
		}),
		odd("value-infos", "every value inside has a value info, in reverse order, and one that does not exist", 0, func(_ *Model, g *Graph) {
			net(g)
			g.Info("nowhere", Float, 1)
			for i := len(g.pb.Node) - 2; i >= 0; i-- {
				g.Info(g.pb.Node[i].Output[0], Float, rows, width)
			}
		}),
		odd("large-attribute", "a node holds 200 KB of data in a list attribute", 0, func(_ *Model, g *Graph) {
			v := make([]float32, 50000)
			for i := range v {
				v[i] = unit(uint32(random(7, uint64(i))))
			}
			c := g.Op("Constant", nil, Name("table"), Flts("value_floats", v...))
			x := g.layer("a", g.x())
			at := g.cast("at", g.Op("Mul", []string{g.Op("Abs", []string{x}, Name("abs")), g.Scalar(49999)}, Name("mul")), Int64)
			g.y(g.layer("b", g.Op("Gather", []string{c, at}, Name("gather"))))
		}),
	}
}
