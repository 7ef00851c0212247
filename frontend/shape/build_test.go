package shape

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Models of tests are written as text, one node a line:
//
//	y, z = Split@13 axis=1 (x, n)
//
// Attributes are name=1, name=[1,2], name=1.5 or name='text', and name=&other
// refers to an attribute of the function; the version behind
// the operator is the opset of the whole model, an operator of another domain is
// written domain::Op. Lines that start with "in" declare graph inputs, those with
// "out" graph outputs, those with "info" value infos, "let" initializers:
//
//	in x float32[N,3,?,224]
//	let n int64[2] 1 2
//	out y float32[N,1]
//
// "graph NAME" … "end" is a graph that attributes name as @NAME, and
// "function NAME (inputs) (outputs)" … "end" a function of domain local.

var (
	nodeLine = regexp.MustCompile(`^(.*?)= ([\w.:]+)(@\d+)?(.*)\((.*)\)$`)
	attrText = regexp.MustCompile(`(\w+)=('[^']*'|\[[^\]]*\]|\S+)`)
	typeText = regexp.MustCompile(`^(seq |opt )?(\w+)(\[.*\])?$`)
)

// builder reads the text of one model.
type builder struct {
	t      testing.TB
	opset  int64
	graphs map[string]*onnxpb.GraphProto
}

func parseModel(t testing.TB, text string) *onnxpb.ModelProto {
	t.Helper()
	p := &builder{t: t, opset: 17, graphs: map[string]*onnxpb.GraphProto{}}
	main, name := "", ""
	var body []string
	var functions []*onnxpb.FunctionProto
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		word, _, _ := strings.Cut(line, " ")
		switch {
		case word == "graph" || word == "function":
			name, body = line, nil
		case word == "end" && strings.HasPrefix(name, "graph "):
			p.graphs[strings.TrimPrefix(name, "graph ")] = p.graph(strings.Join(body, "\n"))
			name = ""
		case word == "end":
			functions = append(functions, p.function(strings.TrimPrefix(name, "function "), strings.Join(body, "\n")))
			name = ""
		case name != "":
			body = append(body, line)
		default:
			main += line + "\n"
		}
	}
	g := p.graph(main)
	imports := func() []*onnxpb.OperatorSetIdProto {
		return []*onnxpb.OperatorSetIdProto{
			{Domain: proto.String(""), Version: proto.Int64(p.opset)},
			{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)},
			{Domain: proto.String("com.microsoft.nchwc"), Version: proto.Int64(1)},
			{Domain: proto.String("ai.onnx.ml"), Version: proto.Int64(3)},
			{Domain: proto.String("local"), Version: proto.Int64(1)},
		}
	}
	for _, f := range functions {
		f.OpsetImport = imports()
	}
	return &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: g, Functions: functions, OpsetImport: imports()}
}

// function reads "NAME (inputs) (outputs)" and the nodes of a body.
func (p *builder) function(head, body string) *onnxpb.FunctionProto {
	p.t.Helper()
	m := regexp.MustCompile(`^(\S+) \((.*)\) \((.*)\)$`).FindStringSubmatch(head)
	if m == nil {
		p.t.Fatalf("cannot read function %q", head)
	}
	return &onnxpb.FunctionProto{
		Domain: proto.String("local"), Name: proto.String(m[1]), Input: names(m[2]), Output: names(m[3]), Node: p.graph(body).Node,
	}
}

func (p *builder) graph(text string) *onnxpb.GraphProto {
	t := p.t
	t.Helper()
	g := &onnxpb.GraphProto{Name: proto.String("g")}
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "":
			continue
		case "in", "out", "info":
			name, typ, _ := strings.Cut(strings.TrimSpace(rest), " ")
			v := &onnxpb.ValueInfoProto{Name: proto.String(name), Type: parseType(t, typ)}
			switch word {
			case "in":
				g.Input = append(g.Input, v)
			case "out":
				g.Output = append(g.Output, v)
			default:
				g.ValueInfo = append(g.ValueInfo, v)
			}
			continue
		case "let":
			f := strings.Fields(rest)
			g.Initializer = append(g.Initializer, parseTensor(t, f[0], f[1], f[2:]))
			continue
		}
		g.Node = append(g.Node, p.node(line))
	}
	return g
}

func (p *builder) node(line string) *onnxpb.NodeProto {
	t := p.t
	t.Helper()
	m := nodeLine.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("cannot read %q", line)
	}
	n := &onnxpb.NodeProto{Input: names(m[5]), Output: names(m[1])}
	domain, op := "", m[2]
	if i := strings.LastIndex(op, "::"); i >= 0 {
		domain, op = op[:i], op[i+2:]
	}
	n.OpType, n.Domain = proto.String(op), proto.String(domain)
	for _, a := range attrText.FindAllStringSubmatch(m[4], -1) {
		if name, ok := strings.CutPrefix(a[2], "@"); ok {
			k := onnxpb.AttributeProto_GRAPH
			n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: proto.String(a[1]), G: p.graphs[name], Type: &k})
			continue
		}
		if name, ok := strings.CutPrefix(a[2], "&"); ok {
			n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: proto.String(a[1]), RefAttrName: proto.String(name)})
			continue
		}
		n.Attribute = append(n.Attribute, parseAttr(t, a[1], a[2]))
	}
	if v, err := strconv.ParseInt(strings.TrimPrefix(m[3], "@"), 10, 64); err == nil {
		p.opset = v
	}
	return n
}

func names(list string) []string {
	var out []string
	if strings.TrimSpace(list) == "" {
		return nil
	}
	for _, s := range strings.Split(list, ",") {
		s = strings.TrimSpace(s)
		if s == "_" {
			s = ""
		}
		out = append(out, s)
	}
	return out
}

func parseAttr(t testing.TB, name, text string) *onnxpb.AttributeProto {
	t.Helper()
	a := &onnxpb.AttributeProto{Name: proto.String(name)}
	set := func(k onnxpb.AttributeProto_AttributeType) { a.Type = &k }
	switch {
	case text[0] == '\'':
		a.S = []byte(strings.Trim(text, "'"))
		set(onnxpb.AttributeProto_STRING)
	case text[0] == '[' && strings.Contains(text, "."):
		for _, f := range names(strings.Trim(text, "[]")) {
			x, err := strconv.ParseFloat(f, 32)
			if err != nil {
				t.Fatal(err)
			}
			a.Floats = append(a.Floats, float32(x))
		}
		set(onnxpb.AttributeProto_FLOATS)
	case text[0] == '[':
		for _, f := range names(strings.Trim(text, "[]")) {
			if f[0] == '"' {
				a.Strings = append(a.Strings, []byte(strings.Trim(f, `"`)))
				set(onnxpb.AttributeProto_STRINGS)
				continue
			}
			x, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			a.Ints = append(a.Ints, x)
			set(onnxpb.AttributeProto_INTS)
		}
	case strings.Contains(text, "."):
		x, err := strconv.ParseFloat(text, 32)
		if err != nil {
			t.Fatal(err)
		}
		a.F = proto.Float32(float32(x))
		set(onnxpb.AttributeProto_FLOAT)
	default:
		x, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		a.I = proto.Int64(x)
		set(onnxpb.AttributeProto_INT)
	}
	return a
}

func parseType(t testing.TB, text string) *onnxpb.TypeProto {
	t.Helper()
	if text == "" {
		return nil
	}
	m := typeText.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("cannot read type %q", text)
	}
	elem, ok := ir.ParseElemType(m[2])
	if !ok {
		t.Fatalf("no element type %q", m[2])
	}
	tt := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elem))}
	if m[3] != "" {
		tt.Shape = &onnxpb.TensorShapeProto{}
		for _, d := range names(strings.Trim(m[3], "[]")) {
			x := &onnxpb.TensorShapeProto_Dimension{}
			if n, err := strconv.ParseInt(d, 10, 64); err == nil {
				x.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}
			} else if d != "?" {
				x.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
			}
			tt.Shape.Dim = append(tt.Shape.Dim, x)
		}
	}
	out := &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tt}}
	switch m[1] {
	case "seq ":
		return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{ElemType: out}}}
	case "opt ":
		return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_OptionalType{OptionalType: &onnxpb.TypeProto_Optional{ElemType: out}}}
	}
	return out
}

// parseTensor makes a stored tensor; without numbers its contents are zero.
func parseTensor(t testing.TB, name, typ string, numbers []string) *onnxpb.TensorProto {
	t.Helper()
	p := parseType(t, typ).GetTensorType()
	x := &onnxpb.TensorProto{Name: proto.String(name), DataType: p.ElemType, RawData: []byte{}}
	n := int64(1)
	for _, d := range p.GetShape().GetDim() {
		x.Dims = append(x.Dims, d.GetDimValue())
		n *= d.GetDimValue()
	}
	elem := ir.ElemType(p.GetElemType())
	if len(numbers) == 0 {
		size, _ := ir.StoredBytes(elem, n)
		x.RawData = make([]byte, size)
		return x
	}
	for _, s := range numbers {
		if elem == ir.Int64 {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			x.RawData = binary.LittleEndian.AppendUint64(x.RawData, uint64(n))
			continue
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch elem {
		case ir.Float32:
			x.RawData = binary.LittleEndian.AppendUint32(x.RawData, math.Float32bits(float32(f)))
		case ir.Int32:
			x.RawData = binary.LittleEndian.AppendUint32(x.RawData, uint32(int32(f)))
		case ir.Bool, ir.Uint8:
			x.RawData = append(x.RawData, byte(f))
		default:
			t.Fatalf("no numbers of type %s here", elem)
		}
	}
	return x
}

// open writes m to a file and opens it.
func open(t testing.TB, m *onnxpb.ModelProto) *onnxfile.Model {
	t.Helper()
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatalf("%v in\n%v", err, m)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func inferText(t testing.TB, text string, o Options) (*Result, error) {
	t.Helper()
	return Infer(context.Background(), open(t, parseModel(t, text)), o)
}

// typesOf is what r says of names: types, with contents where they are known.
func typesOf(r *Result, names ...string) string {
	var out []string
	for _, n := range names {
		v, ok := r.Of(n)
		if !ok {
			out = append(out, "nothing")
			continue
		}
		s := v.Type.String()
		if v.Type.Kind == ir.Sequence {
			s = fmt.Sprintf("sequence of %d bytes", v.Bytes)
		}
		if v.Const && len(v.Ints) <= 8 {
			s += fmt.Sprint(v.Ints)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}
