package frontend

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// inlineCase is a model by hand: every value is a float tensor of 4 elements.
type inlineCase struct {
	nodes     []*onnxpb.NodeProto
	inputs    string // of the main graph, beside x
	functions []*onnxpb.FunctionProto
	outputs   string
	opsets    map[string]int64 // beside ai.onnx 17 and f 1
}

// fn is "Name(a b -> c)" with a body; its operator sets are ai.onnx 17 and f 1.
func fn(head string, body ...*onnxpb.NodeProto) *onnxpb.FunctionProto {
	h := op("f::" + head)
	return &onnxpb.FunctionProto{
		Domain: proto.String("f"), Name: h.OpType, Input: h.Input, Output: h.Output, Node: body,
		OpsetImport: []*onnxpb.OperatorSetIdProto{opset("", 17), opset("f", 1)},
	}
}

func opset(domain string, version int64) *onnxpb.OperatorSetIdProto {
	return &onnxpb.OperatorSetIdProto{Domain: proto.String(domain), Version: proto.Int64(version)}
}

func with(n *onnxpb.NodeProto, attributes ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	n.Attribute = append(n.Attribute, attributes...)
	return n
}

func flt(name string, v float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32(v)}
}

func ref(name, of string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_FLOAT.Enum(), RefAttrName: proto.String(of)}
}

func body(name string, g *onnxpb.GraphProto) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g}
}

// vector is the type of every value.
func vector(name string) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
		ElemType: proto.Int32(1), Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 4}}}},
	}}}}
}

func (c inlineCase) analyze(t *testing.T, o Options) (*Analysis, error) {
	t.Helper()
	g := &onnxpb.GraphProto{Name: proto.String("g"), Node: c.nodes}
	for _, v := range fields("x " + c.inputs) {
		g.Input = append(g.Input, vector(v))
	}
	for _, v := range fields(c.outputs) {
		g.Output = append(g.Output, vector(v))
	}
	m := &onnxpb.ModelProto{
		IrVersion: proto.Int64(10), Graph: g, Functions: c.functions,
		OpsetImport: []*onnxpb.OperatorSetIdProto{opset("", 17), opset("f", 1)},
	}
	for _, d := range []string{"g", "h"} {
		if v := c.opsets[d]; v > 0 {
			m.OpsetImport = append(m.OpsetImport, opset(d, v))
		}
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return Analyze(t.Context(), f, o)
}

// render writes the node list, one line a node, nested graphs indented.
func render(nodes []*onnxpb.NodeProto, indent string) string {
	var b strings.Builder
	show := func(names []string) string {
		out := append([]string(nil), names...)
		for i := range out {
			if out[i] == "" {
				out[i] = "_"
			}
		}
		return strings.Join(out, " ")
	}
	for _, n := range nodes {
		b.WriteString(indent + n.GetName() + ": " + keyOf(n).String() + "(" + show(n.GetInput()) + " -> " + show(n.GetOutput()) + ")")
		for _, at := range n.GetAttribute() {
			switch {
			case at.G != nil:
				var out []string
				for _, v := range at.G.GetOutput() {
					out = append(out, v.GetName())
				}
				b.WriteString("\n" + indent + "  " + at.GetName() + " -> " + show(out) + "\n" + strings.TrimSuffix(render(at.G.GetNode(), indent+"    "), "\n"))
			case at.F != nil:
				b.WriteString(" " + at.GetName() + "=" + fmt.Sprint(at.GetF()))
			case at.GetRefAttrName() != "":
				b.WriteString(" " + at.GetName() + "=@" + at.GetRefAttrName())
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestInline(t *testing.T) {
	relu2 := fn("F(a -> b)", named("one", op("Relu(a -> t)")), named("two", op("Tanh(t -> b)")))
	cases := []struct {
		name string
		inlineCase
		want  string
		notes string // part of the notes; "": none speak of functions
	}{
		{
			name:       "twice",
			inlineCase: inlineCase{nodes: []*onnxpb.NodeProto{named("p", op("f::F(x -> h)")), named("q", op("f::F(h -> y)"))}, functions: []*onnxpb.FunctionProto{relu2}, outputs: "y"},
			want:       "p/one: Relu(x -> p/t)\np/two: Tanh(p/t -> h)\nq/one: Relu(h -> q/t)\nq/two: Tanh(q/t -> y)\n",
		},
		{
			name: "nested, without names",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{op("f::G(x -> y)")}, outputs: "y",
				functions: []*onnxpb.FunctionProto{relu2, fn("G(a -> b)", op("f::F(a -> t)"), op("Neg(t -> u)"), op("f::F(u -> b)"))},
			},
			want: "G#0/F/one: Relu(x -> G#0/F/t)\nG#0/F/two: Tanh(G#0/F/t -> G#0/t)\nG#0/Neg: Neg(G#0/t -> G#0/u)\n" +
				"G#0/F~2/one: Relu(G#0/u -> G#0/F~2/t)\nG#0/F~2/two: Tanh(G#0/F~2/t -> y)\n",
		},
		{
			name: "overloads",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{
					named("p", &onnxpb.NodeProto{Domain: proto.String("f"), OpType: proto.String("F"), Overload: proto.String("v2"), Input: []string{"x"}, Output: []string{"h"}}),
					named("q", op("f::F(h -> y)")),
				},
				functions: []*onnxpb.FunctionProto{relu2, func() *onnxpb.FunctionProto {
					f := fn("F(a -> b)", op("Neg(a -> t)"), op("Exp(t -> b)"))
					f.Overload = proto.String("v2")
					return f
				}()},
				outputs: "y",
			},
			want: "p/Neg: Neg(x -> p/t)\np/Exp: Exp(p/t -> h)\nq/one: Relu(h -> q/t)\nq/two: Tanh(q/t -> y)\n",
		},
		{
			name: "attribute references, with and without default, handed on to a call",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", with(op("f::G(x -> y)"), flt("slope", 0.5)))}, outputs: "y",
				functions: []*onnxpb.FunctionProto{
					func() *onnxpb.FunctionProto {
						f := fn("F(a -> b)", with(op("LeakyRelu(a -> t)"), ref("alpha", "slope")), with(op("Elu(t -> u)"), ref("alpha", "gain")), with(op("Celu(u -> b)"), ref("alpha", "other")))
						f.Attribute = []string{"slope", "other"}
						f.AttributeProto = []*onnxpb.AttributeProto{flt("gain", 0.25)}
						return f
					}(),
					fn("G(a -> b)", named("in", with(op("f::F(a -> t)"), ref("slope", "slope"), ref("gain", "none"))), op("Neg(t -> b)")),
				},
			},
			want: "p/in/LeakyRelu: LeakyRelu(x -> p/in/t) alpha=0.5\np/in/Elu: Elu(p/in/t -> p/in/u) alpha=0.25\np/in/Celu: Celu(p/in/u -> p/t)\np/Neg: Neg(p/t -> y)\n",
		},
		{
			name: "a value handed on, one value twice, an output that nobody wants",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", op("f::F(x -> y z u _)"))}, outputs: "y z u",
				functions: []*onnxpb.FunctionProto{fn("F(a -> a b b c)", op("Relu(a -> b)"), op("Tanh(a -> c)"))},
			},
			want: "p/Relu: Relu(x -> z)\np/Tanh: Tanh(x -> p/c)\np/Identity: Identity(x -> y)\np/Identity~2: Identity(z -> u)\n",
		},
		{
			name: "optional inputs left out",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", op("f::F(x _ x -> h)")), named("q", op("f::F(h -> y)"))}, outputs: "y",
				functions: []*onnxpb.FunctionProto{fn("F(a lo hi -> b)", op("Clip(a lo hi -> t)"), op("Neg(t -> b)"))},
			},
			want: "p/Clip: Clip(x _ x -> p/t)\np/Neg: Neg(p/t -> h)\nq/Clip: Clip(h _ _ -> q/t)\nq/Neg: Neg(q/t -> y)\n",
		},
		{
			name: "an input left out is handed on",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", op("f::F(x -> y)"))}, outputs: "y",
				functions: []*onnxpb.FunctionProto{fn("F(a lo -> b)", op("Relu(a -> t)"), with(op("If(t -> b)"), body("then_branch", graphOf("| | lo")), body("else_branch", graphOf("| | t"))))},
			},
			want:  "p: f::F(x -> y)\n",
			notes: `it hands on its input "lo", which the call leaves out`,
		},
		{
			name: "nested graphs: captured values, initializers, shadowing",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", op("f::F(x -> y)"))}, outputs: "y",
				functions: []*onnxpb.FunctionProto{fn("F(a -> b)", op("Tanh(a -> t)"),
					with(op("If(t -> b)"), body("then_branch", graphOf("| w | o", op("Mul(t w -> o)"))), body("else_branch", graphOf("| | o", op("Add(a t -> o)")))))},
			},
			want: "p/Tanh: Tanh(x -> p/t)\np/If: If(p/t -> y)\n" +
				"  then_branch -> p/o\n    p/w: Constant( -> p/w)\n    p/Mul: Mul(p/t p/w -> p/o)\n" +
				"  else_branch -> p/o~2\n    p/Add: Add(x p/t -> p/o~2)\n",
		},
		{
			name: "names that are taken",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{
					named("p/one", op("Abs(x -> p/t)")), named("p", op("f::F(p/t -> h)")), named("p", op("f::F(h -> y)")),
				},
				functions: []*onnxpb.FunctionProto{relu2}, outputs: "y",
			},
			want: "p/one: Abs(x -> p/t)\np/one~2: Relu(p/t -> p/t~2)\np/two: Tanh(p/t~2 -> h)\np/one~3: Relu(h -> p/t~3)\np/two~2: Tanh(p/t~3 -> y)\n",
		},
		{
			name: "written for another version of the operator set",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", op("f::F(x -> h)")), op("Neg(h -> y)")}, outputs: "y",
				functions: []*onnxpb.FunctionProto{func() *onnxpb.FunctionProto {
					f := fn("F(a -> b)", op("Relu(a -> t)"), op("Tanh(t -> b)"))
					f.OpsetImport[0].Version = proto.Int64(13)
					return f
				}()},
			},
			want:  "p: f::F(x -> h)\n: Neg(h -> y)\n",
			notes: "function f::F stays one node: it is written for version 13 of operator set ai.onnx, the model for version 17",
		},
		{
			name: "reads what only the main graph has",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", op("f::F(x -> y)"))}, inputs: "other", outputs: "y",
				functions: []*onnxpb.FunctionProto{fn("F(a -> b)", op("Add(a other -> t)"), op("Neg(t -> b)"))},
			},
			want:  "p: f::F(x -> y)\n",
			notes: `its body reads "other", which nothing in it defines`,
		},
		{
			name: "more values than the function takes",
			inlineCase: inlineCase{
				nodes: []*onnxpb.NodeProto{named("p", op("f::F(x x -> y)"))}, outputs: "y",
				functions: []*onnxpb.FunctionProto{relu2},
			},
			want:  "p: f::F(x x -> y)\n",
			notes: "the call passes more values than the function takes",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, err := c.analyze(t, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, render(a.Model.Proto.GetGraph().GetNode(), "")); diff != "" {
				t.Error(diff)
			}
			notes := strings.Join(a.Notes, "\n")
			if !strings.Contains(notes, c.notes) || c.notes == "" && strings.Contains(notes, "stays one node") {
				t.Errorf("notes %q, want %q in them", notes, c.notes)
			}
			if c.notes == "" {
				never, err := c.analyze(t, Options{Inline: InlineNever})
				if err != nil {
					t.Fatal(err)
				}
				if got := never.Model.Proto.GetGraph().GetNode(); len(got) != len(c.nodes) {
					t.Errorf("%d nodes where nothing is inlined, want %d", len(got), len(c.nodes))
				}
			}
		})
	}
}

// TestInlineImports: the model gains the operator sets that only functions use,
// and the types that functions declare for what nobody can infer.
func TestInlineImports(t *testing.T) {
	f := fn("F(a -> b)", op("g::Custom(a -> t)"), op("Neg(t -> b)"))
	f.OpsetImport = append(f.OpsetImport, opset("g", 3), opset("unused", 9))
	f.ValueInfo = []*onnxpb.ValueInfoProto{vector("t"), vector("a"), vector("nowhere")}
	c := inlineCase{nodes: []*onnxpb.NodeProto{named("p", op("f::F(x -> y)"))}, functions: []*onnxpb.FunctionProto{f}, outputs: "y"}
	a, err := c.analyze(t, Options{})
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]int64{}
	for _, o := range a.Model.Proto.GetOpsetImport() {
		imports[o.GetDomain()] = o.GetVersion()
	}
	if diff := cmp.Diff(map[string]int64{"": 17, "f": 1, "g": 3}, imports); diff != "" {
		t.Error("operator sets", diff)
	}
	var infos []string
	for _, v := range a.Model.Proto.GetGraph().GetValueInfo() {
		infos = append(infos, v.GetName())
	}
	if diff := cmp.Diff([]string{"p/t"}, infos); diff != "" {
		t.Error("value infos", diff)
	}
	if v := a.value("p/t"); len(v.Dims) != 1 || v.Dims[0] != 4 {
		t.Errorf("the inner value counts as %v", v.Dims)
	}

	// Another version than the model's bars it.
	c.opsets = map[string]int64{"g": 2}
	if a, err = c.analyze(t, Options{}); err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(a.Notes, "\n"); !strings.Contains(notes, "version 3 of operator set g, the model for version 2") {
		t.Errorf("notes %q", notes)
	}
}

// TestInlineLimit: expansion stops at the limit, whatever the functions would make.
func TestInlineLimit(t *testing.T) {
	functions := []*onnxpb.FunctionProto{fn("F0(a -> b)", op("Relu(a -> t)"), op("Tanh(t -> b)"))}
	for k := 1; k <= 200; k++ {
		inner := "f::F" + itoa(k-1)
		functions = append(functions, fn("F"+itoa(k)+"(a -> b)", op(inner+"(a -> t)"), op(inner+"(t -> b)")))
	}
	c := inlineCase{nodes: []*onnxpb.NodeProto{op("f::F200(x -> y)")}, functions: functions, outputs: "y"}
	_, err := c.analyze(t, Options{MaxNodes: 5000})
	if err == nil || !strings.Contains(err.Error(), "its functions expand to more than 5000 nodes: keep them with --inline never, or raise --max-nodes") {
		t.Errorf("error %v", err)
	}
	if _, err := c.analyze(t, Options{MaxNodes: 5000, Inline: InlineNever}); err != nil {
		t.Error(err)
	}
}

// TestSmallCallsStay: calls that hold little of the work stay calls.
func TestSmallCallsStay(t *testing.T) {
	c := inlineCase{functions: []*onnxpb.FunctionProto{fn("F(a -> b)", op("Relu(a -> t)"), op("Tanh(t -> b)"))}, outputs: "y"}
	in := "x"
	for i := range 40 {
		out := "h" + itoa(i)
		if i == 39 {
			out = "y"
		}
		c.nodes = append(c.nodes, op("f::F("+in+" -> "+out+")"))
		in = out
	}
	a, err := c.analyze(t, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(a.Model.Proto.GetGraph().GetNode()); got != 40 {
		t.Errorf("%d nodes, want the 40 calls", got)
	}
}
