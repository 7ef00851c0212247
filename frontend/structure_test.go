package frontend

import (
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// op is a node "Op(in in -> out out)"; bodies become its attributes.
func op(text string, bodies ...*onnxpb.GraphProto) *onnxpb.NodeProto {
	kind, rest, _ := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	in, out, _ := strings.Cut(rest, "->")
	domain, name, ok := strings.Cut(kind, "::")
	if !ok {
		domain, name = "", kind
	}
	n := &onnxpb.NodeProto{OpType: proto.String(name), Input: fields(in), Output: fields(out)}
	if domain != "" {
		n.Domain = proto.String(domain)
	}
	for i, b := range bodies {
		n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: proto.String("body" + itoa(i)), G: b})
	}
	return n
}

// fields splits at blanks; "_" is an absent (empty) name.
func fields(s string) []string {
	f := strings.Fields(s)
	for i := range f {
		if f[i] == "_" {
			f[i] = ""
		}
	}
	return f
}

// graphOf is a graph "inputs | stored | outputs" of nodes.
func graphOf(io string, nodes ...*onnxpb.NodeProto) *onnxpb.GraphProto {
	parts := strings.Split(io, "|")
	g := &onnxpb.GraphProto{Node: nodes}
	for _, v := range fields(parts[0]) {
		g.Input = append(g.Input, &onnxpb.ValueInfoProto{Name: proto.String(v)})
	}
	for _, v := range fields(parts[1]) {
		g.Initializer = append(g.Initializer, &onnxpb.TensorProto{Name: proto.String(v)})
	}
	for _, v := range fields(parts[2]) {
		g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: proto.String(v)})
	}
	return g
}

func modelOf(g *onnxpb.GraphProto, functions ...*onnxpb.FunctionProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{Graph: g, Functions: functions}
}

func function(name, body string) *onnxpb.FunctionProto {
	return &onnxpb.FunctionProto{Domain: proto.String("f"), Name: proto.String(name), Node: []*onnxpb.NodeProto{op(body)}}
}

func TestResolveRefuses(t *testing.T) {
	cases := []struct {
		name  string
		model *onnxpb.ModelProto
		want  string
	}{
		{"undefined input", modelOf(graphOf("x | | y", op("Add(x nowhere -> y)"))), `value "nowhere": the node reads it, but no node makes it and it is no graph input or initializer`},
		{"undefined output", modelOf(graphOf("x | | y", op("Relu(x -> h)"))), `value "y": it is a graph output, but no node makes it and it is no graph input or initializer`},
		{"made twice", modelOf(graphOf("x | | h", op("Relu(x -> h)"), op("Tanh(x -> h)"))), `value "h": node "Relu#0" makes it too, each value must have one producer`},
		{"twice in one node", modelOf(graphOf("x | | h", op("Split(x -> h h)"))), "lists it twice as an output"},
		{"shadows an input", modelOf(graphOf("x | | x", op("Relu(x -> x)"))), "has the name of a graph input or initializer"},
		{"shadows an initializer", modelOf(graphOf("x | w | w", op("Relu(x -> w)"))), "has the name of a graph input or initializer"},
		{"input twice", modelOf(graphOf("x x | | y", op("Relu(x -> y)"))), "listed twice as a graph input"},
		{"input without a name", modelOf(graphOf("x _ | | y", op("Relu(x -> y)"))), "graph input 1 has no name"},
		{"initializer without a name", modelOf(graphOf("x | _ | y", op("Relu(x -> y)"))), "an initializer has no name"},
		{"output without a name", modelOf(graphOf("x | | y _", op("Relu(x -> y)"))), "graph output 1 has no name"},
		{"operator set 0", &onnxpb.ModelProto{Graph: graphOf("x | | y", op("Relu(x -> y)")), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(0)}}}, "it imports version 0 of operator set ai.onnx, versions start at 1"},
		{"self loop", modelOf(graphOf("x | | y", op("Add(x y -> y)"))), "its nodes depend on one another in a circle: Add#0 -> Add#0"},
		{"cycle", modelOf(graphOf("x | | c", op("Add(x b -> a)"), op("Relu(a -> b)"), op("Relu(b -> c)"))), "in a circle: "},
		{
			"capture of its own output",
			modelOf(graphOf("x | | y", op("If(x -> y)", graphOf("| | t", op("Relu(y -> t)"))))), "in a circle: If#0 -> If#0",
		},
		{
			"undefined capture",
			modelOf(graphOf("x | | y", op("If(x -> y)", graphOf("| | t", op("Relu(nowhere -> t)"))))), `value "nowhere": a nested graph reads it`,
		},
		{
			"nested graph redefines",
			modelOf(graphOf("x | | y", op("Relu(x -> h)"), op("If(x -> y)", graphOf("| | h", op("Relu(x -> h)"))))), `value "h": a nested graph makes a value of that name`,
		},
		{"function calls itself", modelOf(graphOf("x | | y", op("f::F(x -> y)")), function("F", "f::F(a -> b)")), "function f::F calls itself: f::F -> f::F"},
		{
			"functions in a circle",
			modelOf(graphOf("x | | y", op("f::F(x -> y)")), function("F", "f::G(a -> b)"), function("G", "f::F(a -> b)")),
			"f::F -> f::G -> f::F",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := resolve(t.Context(), "m.onnx", c.model)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), "m.onnx: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not hold %q", err, c.want)
			}
		})
	}
}

func TestResolveOrdersAndCaptures(t *testing.T) {
	inner := graphOf("p | k | t q", op("Add(p x -> t)"), op("If(t -> q)", graphOf("| | r x2", op("Mul(w k -> r)"))))
	g := graphOf("x w | w | y z",
		op("Relu(h -> y)"),
		op("Loop(c _ h -> z)", inner),
		op("Tanh(x -> h)"),
		op("Constant(-> c)"),
		op("Tanh(x -> x2)"))
	s, err := resolve(t.Context(), "m.onnx", modelOf(g))
	if err != nil {
		t.Fatal(err)
	}
	if s.inOrder {
		t.Error("the file's order is not valid, resolve says that it is")
	}
	if diff := cmp.Diff([]int32{2, 0, 3, 4, 1}, s.order); diff != "" {
		t.Error("order", diff)
	}
	if diff := cmp.Diff([]string{"c", "h", "x", "w", "x2"}, s.reads[1]); diff != "" {
		t.Error("reads of the loop", diff)
	}
	if diff := cmp.Diff([]string{"x", "w", "x2"}, s.captures[1]); diff != "" {
		t.Error("captures of the loop", diff)
	}
	if s.inputs["w"] || !s.stored["w"] {
		t.Error("an initializer that is listed as an input counts as an input")
	}
}

// TestResolveHides: a nested graph may use names that the graph around it gives to
// values that come later, or to the node's own outputs, and hides them.
func TestResolveHides(t *testing.T) {
	g := graphOf("x | | y later r",
		op("Relu(x -> a)"),
		op("If(a -> r)", graphOf("| | r", op("Neg(a -> later)"), op("Loop(later -> r)", graphOf("| | q", op("Abs(later -> t)"), op("Neg(t -> q)"))), op("Neg(r -> q)"))),
		op("Tanh(r -> later)"),
		op("Add(later r -> y)"))
	s, err := resolve(t.Context(), "m.onnx", modelOf(g))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][2]int32{{1, 2}}, s.hides); diff != "" {
		t.Error("hidden", diff)
	}
	if diff := cmp.Diff([]string{"a"}, s.reads[1]); diff != "" {
		t.Error("reads", diff)
	}
}

func TestClassify(t *testing.T) {
	g := graphOf("x | w | y z k",
		op("Constant(-> c)"),
		op("Add(c w -> d)"),           // constant
		op("Mul(x d -> y)"),           // placed
		op("RandomNormal(-> r)"),      // random: placed
		op("Add(r w -> z)"),           // placed
		op("acme::Make(-> a)"),        // unknown domain: placed
		op("Add(a w -> unused)"),      // dead, and so is what it reads
		op("Relu(d -> k)"),            // constant graph output
		op("f::Noise(w -> n)"),        // function with randomness: placed
		op("f::Pure(w -> p)"),         // constant
		op("Sum(n p -> s)"),           // dead
		op("Constant(-> also_dead)"),  // dead
		op("Dropout(w c c -> drop)"),  // may be random
		op("Add(drop w -> drop_out)"), // dead
	)
	s, err := resolve(t.Context(), "m.onnx", modelOf(g, function("Noise", "RandomNormalLike(a -> b)"), function("Pure", "Relu(a -> b)")))
	if err != nil {
		t.Fatal(err)
	}
	want := []role{constant, constant, placed, placed, placed, dead, dead, constant, dead, dead, dead, dead, dead, dead}
	if diff := cmp.Diff(want, s.classify()); diff != "" {
		t.Error(diff)
	}
	pure := &purity{s: s, functions: map[functionKey]bool{}}
	for i, n := range g.GetNode() {
		want := i != 3 && i != 5 && i != 8 && i != 12
		if got := pure.node(n); got != want {
			t.Errorf("node %d (%s): deterministic %v, want %v", i, n.GetOpType(), got, want)
		}
	}
}
