package shape

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// dice draws decisions from the bytes of a fuzz input.
type dice []byte

func (d *dice) n(n int) int {
	if len(*d) == 0 || n <= 0 {
		return 0
	}
	x := int((*d)[0])
	*d = (*d)[1:]
	return x % n
}

var fuzzExtents = []int64{0, 1, 2, 3, 4, 7, 8, 16, 224, 1 << 20, 1 << 40, math.MaxInt64, -1}

// fuzzNumbers are what attributes and shape tensors hold.
var fuzzNumbers = []int64{0, 1, 2, 3, -1, -2, 4, 5, 8, 100, math.MaxInt64, math.MinInt64, 1 << 31}

// fuzzAttrs are the attributes that rules read, with the kind of their value.
var fuzzAttrs = []struct{ name, kind string }{
	{"axis", "int"},
	{"axes", "ints"},
	{"perm", "ints"},
	{"keepdims", "int"},
	{"kernel_shape", "ints"},
	{"strides", "ints"},
	{"pads", "ints"},
	{"dilations", "ints"},
	{"group", "int"},
	{"auto_pad", "pad"},
	{"ceil_mode", "int"},
	{"to", "int"},
	{"dtype", "int"},
	{"blocksize", "int"},
	{"split", "ints"},
	{"shape", "ints"},
	{"num_outputs", "int"},
	{"starts", "ints"},
	{"ends", "ints"},
	{"hidden_size", "int"},
	{"transA", "int"},
	{"transB", "int"},
	{"equation", "eq"},
	{"output_shape", "ints"},
	{"output_padding", "ints"},
	{"start", "int"},
	{"end", "int"},
	{"batch_dims", "int"},
	{"num_heads", "int"},
	{"kv_num_heads", "int"},
	{"q_num_heads", "int"},
	{"qkv_hidden_sizes", "ints"},
	{"N", "int"},
	{"K", "int"},
	{"bits", "int"},
	{"channels", "int"},
	{"channels_last", "int"},
	{"scales", "ints"},
	{"num_scan_inputs", "int"},
	{"scan_input_axes", "ints"},
	{"value", "tensor"},
	{"allowzero", "int"},
	{"new_axis", "int"},
	{"direction", "dir"},
	{"layout", "int"},
	{"size", "int"},
	{"step", "int"},
	{"dim", "int"},
	{"ngram_indexes", "ints"},
	{"noop_with_empty_axes", "int"},
	{"onesided", "int"},
	{"inverse", "int"},
	{"targets", "int"},
	{"pooled_shape", "ints"},
}

func (d *dice) attr() *onnxpb.AttributeProto {
	a := fuzzAttrs[d.n(len(fuzzAttrs))]
	p := &onnxpb.AttributeProto{Name: proto.String(a.name)}
	switch a.kind {
	case "int":
		p.I = proto.Int64(fuzzNumbers[d.n(len(fuzzNumbers))])
	case "ints":
		for range d.n(6) {
			p.Ints = append(p.Ints, fuzzNumbers[d.n(len(fuzzNumbers))])
		}
	case "pad":
		p.S = []byte([]string{"SAME_UPPER", "SAME_LOWER", "VALID", "x"}[d.n(4)])
	case "dir":
		p.S = []byte([]string{"forward", "bidirectional", "x"}[d.n(3)])
	case "eq":
		p.S = []byte([]string{"ij,jk->ik", "...i,...j->...", "i,i", "ii->i", "a.b->", ",,->", "abc..."}[d.n(7)])
	case "tensor":
		p.T = d.tensor("")
	}
	return p
}

func (d *dice) tensor(name string) *onnxpb.TensorProto {
	n := d.n(6)
	x := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(ir.Int64)), Dims: []int64{int64(n)}}
	if n == 5 {
		x.Dims, n = nil, 1
	}
	for range n {
		x.Int64Data = append(x.Int64Data, fuzzNumbers[d.n(len(fuzzNumbers))])
	}
	return x
}

func (d *dice) valueInfo(name string) *onnxpb.ValueInfoProto {
	elems := []ir.ElemType{ir.Float32, ir.Int64, ir.Bool, ir.String, ir.Int4, ir.UndefinedElem}
	tt := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elems[d.n(len(elems))]))}
	if d.n(8) > 0 {
		tt.Shape = &onnxpb.TensorShapeProto{}
		for range d.n(6) {
			x := &onnxpb.TensorShapeProto_Dimension{}
			switch d.n(3) {
			case 0:
				x.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: []string{"N", "S", "N + S", "2*N", "((((", ""}[d.n(6)]}
			default:
				x.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: fuzzExtents[d.n(len(fuzzExtents))]}
			}
			tt.Shape.Dim = append(tt.Shape.Dim, x)
		}
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tt}}}
}

// graph draws a graph of a few nodes that reads the names visible outside.
func (d *dice) graph(ops []fuzzOp, visible []string, deep int) *onnxpb.GraphProto {
	g := &onnxpb.GraphProto{Name: proto.String("g")}
	visible = slices.Clone(visible)
	fresh := func(kind string) string {
		name := fmt.Sprint(kind, deep, "_", len(visible))
		visible = append(visible, name)
		return name
	}
	for range 1 + d.n(4) {
		g.Input = append(g.Input, d.valueInfo(fresh("x")))
	}
	for range d.n(4) {
		g.Initializer = append(g.Initializer, d.tensor(fresh("w")))
	}
	for range 1 + d.n(8) {
		o := ops[(d.n(256)*256+d.n(256))%len(ops)]
		n := &onnxpb.NodeProto{OpType: proto.String(o.name), Domain: proto.String(o.domain)}
		for range d.n(6) {
			name := visible[d.n(len(visible))]
			if d.n(7) == 0 {
				name = ""
			}
			n.Input = append(n.Input, name)
		}
		for range d.n(4) {
			n.Attribute = append(n.Attribute, d.attr())
		}
		if deep < 3 && (o.name == "If" || o.name == "Loop" || o.name == "Scan" || o.name == "SequenceMap") {
			for _, attr := range []string{"then_branch", "else_branch", "body"} {
				n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: proto.String(attr), G: d.graph(ops, visible, deep+1)})
			}
		}
		for range 1 + d.n(3) {
			n.Output = append(n.Output, fresh("y"))
		}
		g.Node = append(g.Node, n)
	}
	for range 1 + d.n(3) {
		v := d.valueInfo(visible[d.n(len(visible))])
		if d.n(2) == 0 {
			v.Type = nil
		}
		g.Output = append(g.Output, v)
	}
	return g
}

type fuzzOp struct{ domain, name string }

func fuzzOps() []fuzzOp {
	var out []fuzzOp
	for domain, byName := range standardOps().byName {
		for name := range byName {
			out = append(out, fuzzOp{domain, name})
		}
	}
	out = append(out, fuzzOp{"local", "F"})
	slices.SortFunc(out, func(x, y fuzzOp) int {
		if x.domain != y.domain {
			return len(x.domain) - len(y.domain)
		}
		if x.name < y.name {
			return -1
		}
		return 1
	})
	return out
}

// Small models of any operators, however little their inputs fit, are inferred or
// refused, in bounded time and alike each time.
func FuzzInfer(f *testing.F) {
	ops := fuzzOps()
	for i := range 64 {
		seed := make([]byte, 96)
		for j := range seed {
			seed[j] = byte((i*131 + j*j*31 + j*7) % 251)
		}
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 {
			return
		}
		d := dice(data)
		opset := int64(1 + d.n(28))
		m := &onnxpb.ModelProto{IrVersion: proto.Int64(int64(3 + d.n(8)))}
		for _, domain := range []string{"", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "local"} {
			v := opset
			if domain != "" {
				v = 1 + opset%5
			}
			m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: proto.String(domain), Version: proto.Int64(v)})
		}
		m.Graph = d.graph(ops, nil, 0)
		body := d.graph(ops, nil, 2)
		fn := &onnxpb.FunctionProto{Name: proto.String("F"), Domain: proto.String("local"), Node: body.Node, OpsetImport: m.OpsetImport}
		for _, v := range body.Input {
			fn.Input = append(fn.Input, v.GetName())
		}
		for _, v := range body.Output {
			fn.Output = append(fn.Output, v.GetName())
		}
		m.Functions = []*onnxpb.FunctionProto{fn}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Skip()
		}
		path := filepath.Join(dir, "m.onnx")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
		if err != nil {
			return
		}
		defer func() { _ = file.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stuck := time.AfterFunc(30*time.Second, func() { panic("inference does not end") })
		defer stuck.Stop()
		one, err1 := Infer(ctx, file, Options{})
		two, err2 := Infer(ctx, file, Options{})
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("once %v, then %v", err1, err2)
		}
		if ctx.Err() != nil {
			t.Fatal("inference does not end")
		}
		if err1 != nil {
			return
		}
		checkScopes(t, one.Main(), map[*Scope]bool{})
		for _, n := range m.Graph.Node {
			for _, name := range n.Output {
				x, ok := one.Of(name)
				y, _ := two.Of(name)
				if !ok {
					t.Fatalf("%s has no value", name)
				}
				if x.Type.String() != y.Type.String() || fmt.Sprint(x.Dims) != fmt.Sprint(y.Dims) {
					t.Fatalf("%s is %s %v, then %s %v", name, x.Type, x.Dims, y.Type, y.Dims)
				}
				check(t, name, x)
			}
		}
	})
}

// checkScopes checks all that the scopes below s show.
func checkScopes(t *testing.T, s *Scope, seen map[*Scope]bool) {
	if s == nil || seen[s] {
		return
	}
	seen[s] = true
	for _, n := range s.Nodes() {
		for _, name := range slices.Concat(n.Input, n.Output) {
			if v, ok := s.Of(name); ok {
				check(t, name, v)
			}
			s.Stored(name)
		}
		s.Since(n)
		if trips, _ := s.Trips(n); trips < 0 {
			t.Fatalf("%d iterations", trips)
		}
		for _, a := range n.Attribute {
			s.Attr(n, a.GetName())
			checkScopes(t, s.Body(n, a.GetName()), seen)
		}
		checkScopes(t, s.Call(n), seen)
	}
}

// check are the invariants of a Value.
func check(t *testing.T, name string, v Value) {
	t.Helper()
	if v.Bytes < 0 || v.Type.Rank >= 0 && (len(v.Type.Shape) != v.Type.Rank || len(v.Dims) != v.Type.Rank) {
		t.Fatalf("%s: %+v", name, v)
	}
	for i, n := range v.Dims {
		if n < 0 {
			t.Fatalf("%s: extent %d is %d", name, i, n)
		}
		if v.Type.Rank >= 0 && v.Type.Shape[i].N >= 0 && v.Type.Shape[i].N != n {
			t.Fatalf("%s: %s counts as %v", name, v.Type, v.Dims)
		}
	}
	if v.Ints != nil && int64(len(v.Ints)) != v.Elements() {
		t.Fatalf("%s: %d contents of %v", name, len(v.Ints), v.Dims)
	}
	if v.Const && v.Ints == nil {
		t.Fatalf("%s: constant without contents", name)
	}
}
