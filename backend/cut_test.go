package backend

import (
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// cutBy builds the bundle of a model with the plan that subs makes.
func cutBy(t *testing.T, m *onnxpb.ModelProto, subs func(l *ir.Lowered) []ir.Submodel) *Bundle {
	t.Helper()
	f := open(t, m)
	l := lowerPlain(t, f)
	threeProcessors(l)
	return build(t, f, l, placementOf(t, l, subs(l)...), Options{})
}

func named(name string, n *onnxpb.NodeProto) *onnxpb.NodeProto {
	n.Name = proto.String(name)
	return n
}

func TestCutChain(t *testing.T) {
	b := chainBundle(t)
	wantDump(t, b, "pi.0", `
opset :17
in x float32[N,4]
node Add(x w1) a
weight w1
out a float32[N,4]
`)
	wantDump(t, b, "jetson.gpu", `
opset :17
in a float32[N,4]
node Add(a w2) b
weight w2
out b float32[N,4]
`)
	wantDump(t, b, "pi.1", `
opset :17
in b float32[N,4]
node Add(b w3) y
weight w3
out y float32[N,4]
`)
}

// Inside a sub-model value infos stay; at its boundary they become inputs and
// outputs, and never both.
func TestCutValueInfos(t *testing.T) {
	b := cutBy(t, chain(), func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "a", "b"), sub(l, 1, "y")}
	})
	wantDump(t, b, "pi", `
opset :17
in x float32[N,4]
node Add(x w1) a
node Add(a w2) b
weight w1
weight w2
info a float32[N,4]
out b float32[N,4]
`)
}

func TestCutCopiesConstants(t *testing.T) {
	g := &onnxpb.GraphProto{
		Input:  []*onnxpb.ValueInfoProto{info("x", 4)},
		Output: []*onnxpb.ValueInfoProto{info("y", 4), info("z", 4)},
		Node: []*onnxpb.NodeProto{
			node("Constant", nil, names1("c"), tensorAttr("value", weight("", 4, 1))),
			node("Identity", names1("tied"), names1("behind")),
			node("Add", names1("c", "behind"), names1("folded")),
			node("Neg", names1("folded"), names1("unused")),
			named("first", node("Mul", names1("x", "folded"), names1("m"))),
			named("second", node("Add", names1("m", "folded"), names1("y"))),
			named("third", node("Add", names1("m", "tied"), names1("z"))),
		},
		Initializer: []*onnxpb.TensorProto{weight("unread", 4, 9), weight("tied", 4, 2)},
	}
	b := cutBy(t, modelOf(g), func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "first"), sub(l, 1, "second"), sub(l, 2, "third")}
	})
	wantDump(t, b, "jetson.gpu", `
opset :17
in m float32[...]
node Constant() c
node Identity(tied) behind
node Add(c behind) folded
node Add(m folded) y
weight tied
out y float32[4]
`)
	wantDump(t, b, "jetson.cpu", `
opset :17
in m float32[...]
node Add(m tied) z
weight tied
out z float32[4]
`)
	for _, s := range b.Manifest.Submodels {
		if want := map[string]int{"pi": 3, "jetson.gpu": 3, "jetson.cpu": 0}[s.ID]; s.Constants != want || s.Nodes != 1 {
			t.Errorf("sub-model %s has %d constants and %d nodes of its own, want %d and 1", s.ID, s.Constants, s.Nodes, want)
		}
	}
	if len(b.Manifest.Edges) != 1 || b.Manifest.Edges[0].Tensor != "m" || strings.Join(b.Manifest.Edges[0].To, " ") != "jetson.gpu jetson.cpu" {
		t.Errorf("edges are %+v, want m alone, to both", b.Manifest.Edges)
	}
}

// A nested graph takes outer values and weights with it, also from two levels
// down; what it defines itself hides an outer name.
func TestCutNestedGraphs(t *testing.T) {
	inner := &onnxpb.GraphProto{
		Name:   proto.String("inner"),
		Node:   []*onnxpb.NodeProto{node("Add", names1("deep", "hidden"), names1("i1")), node("Mul", names1("i1", "outerValue"), names1("i2"))},
		Output: []*onnxpb.ValueInfoProto{info("i2")},
	}
	branch := &onnxpb.GraphProto{
		Name:        proto.String("then"),
		Initializer: []*onnxpb.TensorProto{weight("hidden", 4, 5)}, // also the name of an outer weight
		Node: []*onnxpb.NodeProto{
			node("If", names1("cond"), names1("t"), graphAttr("then_branch", inner), graphAttr("else_branch", proto.Clone(inner).(*onnxpb.GraphProto))),
		},
		Output: []*onnxpb.ValueInfoProto{info("t")},
	}
	g := &onnxpb.GraphProto{
		Input:  []*onnxpb.ValueInfoProto{info("x", 4), info("cond")},
		Output: []*onnxpb.ValueInfoProto{info("y", 4)},
		Node: []*onnxpb.NodeProto{
			named("make", node("Neg", names1("x"), names1("outerValue"))),
			named("if", node("If", names1("cond"), names1("y"), graphAttr("then_branch", branch), graphAttr("else_branch", inner))),
		},
		ValueInfo:   []*onnxpb.ValueInfoProto{info("outerValue", 4)},
		Initializer: []*onnxpb.TensorProto{weight("deep", 4, 1), weight("other", 4, 2), weight("hidden", 4, 3)},
	}
	b := cutBy(t, modelOf(g), func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "make"), sub(l, 1, "if")}
	})
	// else_branch is inner alone, whose "hidden" is the outer weight.
	wantDump(t, b, "jetson.gpu", `
opset :17
in cond float32[]
in outerValue float32[4]
node If(cond) y
  node If(cond) t
    node Add(deep hidden) i1
    node Mul(i1 outerValue) i2
    node Add(deep hidden) i1
    node Mul(i1 outerValue) i2
  node Add(deep hidden) i1
  node Mul(i1 outerValue) i2
weight deep
weight hidden
out y float32[4]
`)
	g.Node[1].Attribute[1].G = branch // now no graph reads the outer one
	b = cutBy(t, modelOf(g), func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "make"), sub(l, 1, "if")}
	})
	for _, w := range decode(t, b, "jetson.gpu").GetGraph().GetInitializer() {
		if w.GetName() != "deep" {
			t.Errorf("weight %q came along", w.GetName())
		}
	}
}

// Before IR version 4 initializers are graph inputs too; they stay such, but are
// no inputs of the bundle.
func TestCutStoredInputs(t *testing.T) {
	m := chain()
	m.IrVersion = proto.Int64(3)
	m.Graph.Input = []*onnxpb.ValueInfoProto{info("w3", 4), info("w1", 4), info("x", "N", 4), info("w2", 4)}
	m.Graph.ValueInfo = append(m.Graph.ValueInfo, info("w1", 4))
	b := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "a", "b"), sub(l, 1, "y")}
	})
	wantDump(t, b, "pi", `
opset :17
in x float32[N,4]
in w1 float32[4]
in w2 float32[4]
node Add(x w1) a
node Add(a w2) b
weight w1
weight w2
info a float32[N,4]
out b float32[N,4]
`)
	if got := b.Manifest.Submodels[0].Inputs; len(got) != 1 || got[0] != "x" {
		t.Errorf("inputs are %q, want x", got)
	}
	if got := b.Manifest.Model.Inputs; len(got) != 1 || got[0].Name != "x" {
		t.Errorf("the model's inputs are %v, want x", got)
	}
}

// An unsorted file gives sorted sub-models, in the file's order where that is possible.
func TestCutUnsorted(t *testing.T) {
	m := chain()
	m.Graph.Node = []*onnxpb.NodeProto{m.Graph.Node[1], m.Graph.Node[0], m.Graph.Node[2]}
	all := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel { return []ir.Submodel{sub(l, 0, "a", "b", "y")} })
	var got []string
	for _, n := range decode(t, all, "pi").GetGraph().GetNode() {
		got = append(got, n.GetName())
	}
	if strings.Join(got, " ") != "a b y" {
		t.Errorf("the order is %q, want a b y", got)
	}
	// Without a the file's order is valid: it stays.
	rest := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel { return []ir.Submodel{sub(l, 1, "a"), sub(l, 0, "b", "y")} })
	got = nil
	for _, n := range decode(t, rest, "pi").GetGraph().GetNode() {
		got = append(got, n.GetName())
	}
	if strings.Join(got, " ") != "b y" {
		t.Errorf("the order is %q, want b y", got)
	}
}

func TestCutOddOutputs(t *testing.T) {
	g := &onnxpb.GraphProto{
		Input: []*onnxpb.ValueInfoProto{info("x", 4), info("unused", 4)},
		Output: []*onnxpb.ValueInfoProto{
			info("b", 4), info("x", 4), info("w", 4), info("a", 4), info("b", 4), info("c", 4),
		},
		Node: []*onnxpb.NodeProto{
			named("a", node("Add", names1("x", "w"), names1("a"))),
			named("b", node("Neg", names1("a"), names1("b"))),
			node("Neg", names1("w"), names1("c")),
		},
		Initializer: []*onnxpb.TensorProto{weight("w", 4, 1)},
	}
	b := cutBy(t, modelOf(g), func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "a"), sub(l, 1, "b"), sub(l, 2, "(constants)")}
	})
	wantDump(t, b, "pi", `
opset :17
in x float32[4]
node Add(x w) a
weight w
out a float32[4]
`)
	wantDump(t, b, "jetson.gpu", `
opset :17
in a float32[4]
node Neg(a) b
out b float32[4]
`)
	wantDump(t, b, "jetson.cpu", `
opset :17
node Neg(w) c
weight w
out w float32[4]
out c float32[4]
`)
	var got []string
	for _, o := range b.Manifest.Outputs {
		from := "-"
		if o.From != nil {
			from = *o.From
		}
		got = append(got, o.Tensor+" "+from+" "+strings.Join(o.Kept, ","))
	}
	want := "b jetson.gpu |x - input|w jetson.cpu constant|a pi |b jetson.gpu repeated|c jetson.cpu constant"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("outputs are %s, want %s", s, want)
	}
	if len(b.Manifest.Inputs) != 2 || len(b.Manifest.Inputs[1].To) != 0 {
		t.Errorf("inputs are %+v, want x and an unused one", b.Manifest.Inputs)
	}
	notes := []string{
		`output "x" is the graph input of that name: no sub-model makes it`,
		`output "w" is constant: sub-model "jetson.cpu" puts it out from a copy`,
		`output "b" is listed more than once: a sub-model puts it out once`,
		`output "c" is constant: sub-model "jetson.cpu" puts it out from a copy`,
	}
	if !slices.Equal(b.Manifest.Notes, notes) {
		t.Errorf("notes are %q, want %q", b.Manifest.Notes, notes)
	}
}

func TestCutNoNodes(t *testing.T) {
	g := &onnxpb.GraphProto{Input: []*onnxpb.ValueInfoProto{info("x", 4)}, Output: []*onnxpb.ValueInfoProto{info("x", 4)}}
	b := cutBy(t, modelOf(g), func(l *ir.Lowered) []ir.Submodel { return nil })
	if len(b.Models) != 0 || b.Manifest.Outputs[0].From != nil {
		t.Errorf("there are %d sub-models and outputs %+v", len(b.Models), b.Manifest.Outputs)
	}
}

// A replica computes for its own sub-model only; the owner sends to all others.
func TestCutReplicas(t *testing.T) {
	g := &onnxpb.GraphProto{
		Input:  []*onnxpb.ValueInfoProto{info("x", 4)},
		Output: []*onnxpb.ValueInfoProto{info("p", 4), info("q", 4), info("r", 4)},
		Node: []*onnxpb.NodeProto{
			named("mask", node("Neg", names1("x"), names1("m"))),
			named("p", node("Abs", names1("m"), names1("p"))),
			named("q", node("Abs", names1("m"), names1("q"))),
			named("r", node("Abs", names1("m"), names1("r"))),
		},
		ValueInfo: []*onnxpb.ValueInfoProto{info("m", 4)},
	}
	b := cutBy(t, modelOf(g), func(l *ir.Lowered) []ir.Submodel {
		q := sub(l, 1, "q")
		q.Replicas = []ir.NodeID{0}
		return []ir.Submodel{sub(l, 0, "mask", "p"), q, sub(l, 2, "r")}
	})
	wantDump(t, b, "jetson.gpu", `
opset :17
in x float32[4]
node Neg(x) m
node Abs(m) q
info m float32[4]
out q float32[4]
`)
	if len(b.Manifest.Edges) != 1 || strings.Join(b.Manifest.Edges[0].To, " ") != "jetson.cpu" {
		t.Errorf("edges are %+v, want m to jetson.cpu alone", b.Manifest.Edges)
	}
	if s := b.Manifest.Submodels[1]; s.ID != "jetson.gpu" || s.Replicas != 1 || s.Nodes != 1 || s.ReplicaNames[0] != "mask" {
		t.Errorf("the sub-model is %+v, want one replica", s)
	}
}

// Annotations follow their tensors and bring the tensors that they name.
func TestCutAnnotations(t *testing.T) {
	m := chain()
	g := m.Graph
	annotate := func(tensor string, params ...string) {
		a := &onnxpb.TensorAnnotation{TensorName: proto.String(tensor)}
		for _, p := range params {
			a.QuantParameterTensorNames = append(a.QuantParameterTensorNames, &onnxpb.StringStringEntryProto{Key: proto.String("SCALE_TENSOR"), Value: proto.String(p)})
		}
		g.QuantizationAnnotation = append(g.QuantizationAnnotation, a)
	}
	annotate("y", "ys")
	annotate("a", "as", "ac")
	annotate("b", "x") // names an activation that only the first sub-model has
	annotate("w2")
	g.Initializer = append(g.Initializer, weight("as", 1, 1), weight("ys", 1, 1), weight("acw", 1, 1))
	g.Node = append([]*onnxpb.NodeProto{node("Neg", names1("acw"), names1("ac"))}, g.Node...)
	b := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "a"), sub(l, 1, "b", "y")}
	})
	wantDump(t, b, "pi", `
opset :17
in x float32[N,4]
node Neg(acw) ac
node Add(x w1) a
weight w1
weight as
weight acw
annotation a
out a float32[N,4]
`)
	wantDump(t, b, "jetson.gpu", `
opset :17
in a float32[N,4]
node Neg(acw) ac
node Add(a w2) b
node Add(b w3) y
weight w2
weight w3
weight as
weight ys
weight acw
info b float32[N,4]
annotation y
annotation a
annotation w2
out y float32[N,4]
`)
}

func TestCutFunctionsAndImports(t *testing.T) {
	function := func(domain, name, overload string, nodes ...*onnxpb.NodeProto) *onnxpb.FunctionProto {
		return &onnxpb.FunctionProto{Domain: proto.String(domain), Name: proto.String(name), Overload: proto.String(overload), Node: nodes}
	}
	call := func(domain, name, overload string, n *onnxpb.NodeProto) *onnxpb.NodeProto {
		n.Domain, n.OpType, n.Overload = proto.String(domain), proto.String(name), proto.String(overload)
		return n
	}
	m := chain()
	m.IrVersion = proto.Int64(10)
	for _, d := range []string{"f", "unused", "g", "ai.onnx.ml", "com.microsoft"} {
		m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String(d), Version: proto.Int64(1)})
	}
	body := &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{call("g", "inner", "", node("", nil, names1("o")))}}
	m.Functions = []*onnxpb.FunctionProto{
		function("f", "outer", "1", node("If", nil, names1("o"), graphAttr("then_branch", body))),
		function("f", "outer", "2"),
		function("g", "inner", "", call("ai.onnx.ml", "Scaler", "", node("", nil, nil))),
		function("g", "lonely", ""),
	}
	call("f", "outer", "1", m.Graph.Node[0])
	call("com.microsoft", "Gelu", "", m.Graph.Node[1])
	call("not.imported", "Op", "", m.Graph.Node[2])
	m.Configuration = []*onnxpb.DeviceConfigurationProto{{Name: proto.String("used")}, {Name: proto.String("unused")}}
	m.Graph.Node[1].DeviceConfigurations = []*onnxpb.NodeDeviceConfigurationProto{{ConfigurationId: proto.String("used")}}
	b := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "a"), sub(l, 1, "b"), sub(l, 2, "y")}
	})
	wantDump(t, b, "pi", `
opset :17 f:1 g:1 ai.onnx.ml:1
in x float32[N,4]
node outer(x w1) a
weight w1
out a float32[N,4]
function f::outer:1
function g::inner:
`)
	wantDump(t, b, "jetson.gpu", `
opset com.microsoft:1
in a float32[N,4]
node Gelu(a w2) b
weight w2
out b float32[N,4]
configuration used
`)
	// Nothing that it uses is imported: the default domain stays.
	wantDump(t, b, "jetson.cpu", `
opset :17
in b float32[N,4]
node Op(b w3) y
weight w3
out y float32[N,4]
`)
}
