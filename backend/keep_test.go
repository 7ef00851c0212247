package backend

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// unknown is an encoded field that the schema does not have.
func unknown(num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), s)
}

// Everything that a sub-model keeps is byte for byte what the source has, fields
// of later ONNX versions included.
func TestKeepsBytes(t *testing.T) {
	m := chain()
	m.ProducerVersion, m.Domain, m.ModelVersion, m.DocString = proto.String("9"), proto.String("org"), proto.Int64(7), proto.String("about")
	m.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String("k"), Value: proto.String("v")}}
	m.TrainingInfo = []*onnxpb.TrainingInfoProto{{Algorithm: &onnxpb.GraphProto{Name: proto.String("secret")}}}
	m.ProtoReflect().SetUnknown(unknown(900, "model"))
	g := m.Graph
	g.DocString = proto.String("graph doc")
	g.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String("gk"), Value: proto.String("gv")}}
	g.ProtoReflect().SetUnknown(unknown(901, "graph"))
	n := g.Node[1]
	n.DocString = proto.String("node doc")
	n.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String("nk"), Value: proto.String("nv")}}
	n.ProtoReflect().SetUnknown(unknown(902, "node"))
	g.Initializer[1].ProtoReflect().SetUnknown(unknown(903, "tensor"))
	g.ValueInfo[0].DocString = proto.String("edge a")
	g.ValueInfo[0].ProtoReflect().SetUnknown(unknown(904, "info"))

	b := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "a"), sub(l, 1, "b"), sub(l, 2, "y")}
	})
	got := decode(t, b, "jetson.gpu")
	want := proto.Clone(m).(*onnxpb.ModelProto)
	want.TrainingInfo = nil
	want.Graph.Node = want.Graph.Node[1:2]
	want.Graph.Initializer = want.Graph.Initializer[1:2]
	want.Graph.Input = want.Graph.ValueInfo[:1]
	want.Graph.Output = want.Graph.ValueInfo[1:]
	want.Graph.ValueInfo = nil
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	found := false
	for _, note := range b.Manifest.Notes {
		found = found || strings.Contains(note, "training_info")
	}
	if !found {
		t.Errorf("no note says that training information is left out: %q", b.Manifest.Notes)
	}
}

// A node's encoding survives even where the encoder would write it otherwise:
// fields out of order, a tag of two bytes where one does.
func TestKeepsOddEncoding(t *testing.T) {
	m := chain()
	odd := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "b") // the output first
	odd = append(odd, 0x8a, 0x00)                                                        // field 1, bytes, in a tag longer than needed
	odd = append(protowire.AppendVarint(odd, 1), 'a')
	odd = append(odd, protowire.AppendString(protowire.AppendTag(nil, 4, protowire.BytesType), "Abs")...)
	odd = append(odd, protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "b")...)
	m.Graph.Node = append(m.Graph.Node[:1:1], m.Graph.Node[2])
	head, err := marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	// A second graph field merges with the first.
	graph := append(protowire.AppendTag(nil, 1, protowire.BytesType), protowire.AppendBytes(nil, odd)...)
	src := slices.Concat(head, protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), graph))
	f := openBytes(t, src)
	l := lowerPlain(t, f)
	threeProcessors(l)
	b := build(t, f, l, placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b"), sub(l, 2, "y")), Options{})
	for i, s := range b.Manifest.Submodels {
		var w writerTo
		if _, err := b.Models[i].WriteTo(&w); err != nil {
			t.Fatal(err)
		}
		if has := bytes.Contains(w, odd); has != (s.ID == "jetson.gpu") {
			t.Errorf("sub-model %s has the node's own bytes: %v", s.ID, has)
		}
	}
}

// TestBoundaryTypes says how a value is declared that is cut or put out.
func TestBoundaryTypes(t *testing.T) {
	f, n := ir.Fixed, ir.Symbol
	text := func(s string) *string { return &s }
	doc := func(v *onnxpb.ValueInfoProto) *onnxpb.ValueInfoProto {
		v.DocString = text("doc")
		return v
	}
	tests := []struct {
		name     string
		declared *onnxpb.ValueInfoProto // in value_info; of the graph's outputs if out
		out      bool
		known    ir.Type
		want     string // of the value; "" if the cut is refused
		verbatim bool
	}{
		{"as inferred", doc(info("a", "N", 4)), false, ir.TensorOf(ir.Float32, n("N"), f(4)), "float32[N,4]", true},
		{"other symbol", doc(info("a", "M", 4)), false, ir.TensorOf(ir.Float32, n("N"), f(4)), "float32[M,4]", true},
		{"vaguer inside", doc(info("a", "N", nil)), false, ir.TensorOf(ir.Float32, n("N"), f(4)), "float32[N,4]", false},
		{"vaguer output", doc(info("a", "N", nil)), true, ir.TensorOf(ir.Float32, n("N"), f(4)), "float32[N,?]", true},
		{"bolder inside", doc(info("a", 7, 4)), false, ir.TensorOf(ir.Float32, n("N"), f(4)), "float32[N,4]", false},
		{"bolder output that others take", doc(info("a", 7, 4)), true, ir.TensorOf(ir.Float32, n("N"), f(4)), "float32[N,4]", false},
		{"other extent", doc(info("a", 7, 4)), false, ir.TensorOf(ir.Float32, f(8), f(4)), "float32[8,4]", false},
		{"other rank", doc(info("a", 4)), false, ir.TensorOf(ir.Float32, n("N"), f(4)), "float32[N,4]", false},
		{"other element", doc(info("a", 4)), false, ir.TensorOf(ir.Int64, f(4)), "int64[4]", false},
		{"rank not known", doc(info("a", 4)), false, ir.Unranked(ir.Float32), "float32[...]", false},
		{"nothing known", doc(info("a", "N", 4)), false, ir.Type{Rank: -1}, "float32[N,?]", false},
		{"not declared", nil, false, ir.TensorOf(ir.Float16, n("past + seq"), n("")), "float16[past + seq,?]", false},
		{"scalar", nil, false, ir.TensorOf(ir.Float32), "float32[]", false},
		{"not known at all", nil, false, ir.Type{Rank: -1}, "", false},
		{"no element type", nil, false, ir.Unranked(ir.UndefinedElem), "", false},
		{"sequence", &onnxpb.ValueInfoProto{Name: text("a"), DocString: text("doc"), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{
			SequenceType: &onnxpb.TypeProto_Sequence{ElemType: info("", 4).Type},
		}}}, false, ir.Type{Kind: ir.Sequence, Rank: -1}, "sequence", true},
		{"sequence not declared", nil, false, ir.Type{Kind: ir.Sequence, Rank: -1}, "", false},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			m := chain()
			m.Graph.ValueInfo = nil
			switch {
			case c.out:
				m.Graph.Output = append(m.Graph.Output, c.declared)
			case c.declared != nil:
				m.Graph.ValueInfo = append(m.Graph.ValueInfo, c.declared)
			}
			file := open(t, m)
			l := lowerPlain(t, file)
			threeProcessors(l)
			for v := range l.Types {
				if l.Problem.Graph.ValueName(ir.ValueID(v)) == "a" {
					l.Types[v] = c.known
				}
			}
			b, err := Build(t.Context(), file, l, placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b", "y")), Options{})
			if err != nil {
				if c.want != "" || !strings.Contains(err.Error(), `value "a"`) {
					t.Fatal(err)
				}
				return
			}
			out, in := decode(t, b, "pi").Graph.Output[0], decode(t, b, "jetson.gpu").Graph.Input[0]
			if !proto.Equal(out, in) {
				t.Errorf("the output is %v, the input %v", out, in)
			}
			if got := typeFrom(in.Type).String(); got != c.want || in.GetName() != "a" {
				t.Errorf("it is %s %s, want a %s", in.GetName(), got, c.want)
			}
			if c.declared != nil {
				if in.GetDocString() != "doc" {
					t.Errorf("its doc is gone: %v", in)
				}
				if proto.Equal(in, c.declared) != c.verbatim {
					t.Errorf("it is %v, declared was %v", in, c.declared)
				}
			}
		})
	}
}

// A model's own input is declared as the source has it, whatever inference says.
func TestInputsStay(t *testing.T) {
	m := chain()
	m.Graph.Input[0] = info("x", -1, "M")
	m.Graph.Input[0].Type.GetTensorType().Shape.Dim[1].Denotation = proto.String("DATA_FEATURE")
	b := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel {
		return []ir.Submodel{sub(l, 0, "a", "b", "y")}
	})
	if got := decode(t, b, "pi").Graph.Input[0]; !proto.Equal(got, m.Graph.Input[0]) {
		t.Errorf("it is %v, want %v", got, m.Graph.Input[0])
	}
	if s := b.Manifest.Model.Inputs[0].Shape; len(s) != 2 || ir.Dim(s[0]).String() != "?" || ir.Dim(s[1]).String() != "M" {
		t.Errorf("the manifest says %v", s)
	}
}

func TestNamesThatJSONCannotHold(t *testing.T) {
	m := chain()
	bad := "a\xff"
	m.Graph.Node[0].Output[0], m.Graph.Node[1].Input[0] = bad, bad
	inside := cutBy(t, m, func(l *ir.Lowered) []ir.Submodel { return []ir.Submodel{sub(l, 0, "a", "b"), sub(l, 1, "y")} })
	if got := decode(t, inside, "pi").Graph.Node[0].Output[0]; got != bad {
		t.Errorf("inside a sub-model the name becomes %q", got)
	}
	f := open(t, m)
	l := lowerPlain(t, f)
	threeProcessors(l)
	_, err := Build(t.Context(), f, l, placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b", "y")), Options{})
	if err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("the error is %v", err)
	}
}

func TestFileStems(t *testing.T) {
	tests := []struct {
		procs  []string
		counts []int
		want   string
	}{
		{[]string{"pi", "jetson.gpu"}, []int{1, 1}, "pi jetson.gpu"},
		{[]string{"pi", "jetson.gpu"}, []int{0, 3}, "jetson.gpu.0 jetson.gpu.1 jetson.gpu.2"},
		{[]string{"a", "a.0"}, []int{2, 1}, "a.0 a.1 a.0-2"},
		{[]string{"Box", "box", "BOX"}, []int{1, 1, 1}, "Box box-2 BOX-3"},
		{[]string{"a/b", "a_b", "a:b"}, []int{1, 1, 1}, "a_b-2 a_b a_b-3"},
		{[]string{"con", "nul.gpu", "COM1", "lpt", ""}, []int{1, 1, 1, 1, 1}, "_con _nul.gpu _COM1 lpt _"},
		{[]string{"..", ".hidden", "-o", "end."}, []int{1, 1, 1, 1}, "_ hidden o end"},
		{[]string{"処理", "é"}, []int{1, 1}, "______ __"},
		{[]string{strings.Repeat("n", 300)}, []int{1}, strings.Repeat("n", 100)},
	}
	for _, c := range tests {
		var got []string
		for _, list := range fileStems(c.procs, c.counts) {
			got = append(got, list...)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%q gives %q, want %q", c.procs, s, c.want)
		}
	}
}
