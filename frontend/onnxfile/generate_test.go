package onnxfile

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// save writes a file and returns its path.
func save(t testing.TB, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mustOpen opens a model that is closed at the end of the test.
func mustOpen(t testing.TB, path string, o Options) *Model {
	t.Helper()
	m, err := Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// opened saves and opens a model.
func opened(t testing.TB, p *onnxpb.ModelProto, o Options) *Model {
	t.Helper()
	return mustOpen(t, save(t, t.TempDir(), "m.onnx", marshal(t, p)), o)
}

// withInitializers is a model of these tensors.
func withInitializers(ts ...*onnxpb.TensorProto) *onnxpb.ModelProto {
	return &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: &onnxpb.GraphProto{Initializer: ts}}
}

// generator draws random models and remembers what their tensors hold.
type generator struct {
	t       *rapid.T
	n       int // tensors made
	raw     map[string][]byte
	strings map[string][][]byte
}

func newGenerator(t *rapid.T) *generator {
	return &generator{t: t, raw: map[string][]byte{}, strings: map[string][][]byte{}}
}

func (g *generator) int(lo, hi int) int { return rapid.IntRange(lo, hi).Draw(g.t, "int") }
func (g *generator) flip() bool         { return rapid.Bool().Draw(g.t, "flip") }
func (g *generator) bytes(n int) []byte {
	return rapid.SliceOfN(rapid.Byte(), n, n).Draw(g.t, "bytes")
}

func (g *generator) text() *string {
	if g.flip() {
		return nil
	}
	s := string(g.bytes(g.int(0, 12))) // often no UTF-8
	return &s
}

// tensor draws a tensor of a known type, stored in its typed field or raw_data.
func (g *generator) tensor() *onnxpb.TensorProto {
	typ := int32(g.int(1, int(onnxpb.TensorProto_INT2)))
	name := fmt.Sprintf("t%d", g.n)
	g.n++
	p := &onnxpb.TensorProto{Name: &name, DataType: &typ, DocString: g.text()}
	count := 1
	for range g.int(0, 3) {
		d := g.int(0, 5)
		p.Dims = append(p.Dims, int64(d))
		count *= d
	}
	if typ == int32(onnxpb.TensorProto_STRING) {
		for range count {
			p.StringData = append(p.StringData, g.bytes(g.int(0, 9)))
		}
		g.strings[name] = p.StringData
		return p
	}
	bits := map[int32]int{
		1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
		16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
	}[typ]
	raw := g.bytes((count*bits + 7) / 8)
	if typ == int32(onnxpb.TensorProto_BOOL) {
		for i := range raw {
			raw[i] &= 1
		}
	}
	if typ == int32(onnxpb.TensorProto_FLOAT) || typ == int32(onnxpb.TensorProto_COMPLEX64) {
		for i := 0; i < len(raw); i += 4 {
			raw[i+2] |= 0x40 // protoreflect, which scramble uses, changes signalling NaNs
		}
	}
	g.raw[name] = raw
	if g.flip() {
		p.RawData = raw
		if p.RawData == nil {
			p.RawData = []byte{}
		}
		return p
	}
	le := binary.LittleEndian
	switch typ {
	case 1, 14:
		for i := 0; i < len(raw); i += 4 {
			p.FloatData = append(p.FloatData, math.Float32frombits(le.Uint32(raw[i:])))
		}
	case 11, 15:
		for i := 0; i < len(raw); i += 8 {
			p.DoubleData = append(p.DoubleData, math.Float64frombits(le.Uint64(raw[i:])))
		}
	case 7:
		for i := 0; i < len(raw); i += 8 {
			p.Int64Data = append(p.Int64Data, int64(le.Uint64(raw[i:])))
		}
	case 13:
		for i := 0; i < len(raw); i += 8 {
			p.Uint64Data = append(p.Uint64Data, le.Uint64(raw[i:]))
		}
	case 12:
		for i := 0; i < len(raw); i += 4 {
			p.Uint64Data = append(p.Uint64Data, uint64(le.Uint32(raw[i:])))
		}
	case 6:
		for i := 0; i < len(raw); i += 4 {
			p.Int32Data = append(p.Int32Data, int32(le.Uint32(raw[i:])))
		}
	case 4, 5, 10, 16:
		for i := 0; i < len(raw); i += 2 {
			v := int32(le.Uint16(raw[i:]))
			if g.flip() {
				v = int32(int16(v)) // both spellings of a negative number occur
			}
			p.Int32Data = append(p.Int32Data, v)
		}
	case 9:
		for _, b := range raw {
			p.Int32Data = append(p.Int32Data, int32(b)*int32(g.int(1, 1000))) // anything but 0 is true
		}
	default:
		for _, b := range raw {
			v := int32(b)
			if g.flip() {
				v = int32(int8(b))
			}
			p.Int32Data = append(p.Int32Data, v)
		}
	}
	return p
}

func (g *generator) sparse() *onnxpb.SparseTensorProto {
	return &onnxpb.SparseTensorProto{Values: g.tensor(), Indices: g.tensor(), Dims: []int64{int64(g.int(0, 9))}}
}

func (g *generator) attribute(depth int) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: g.text(), DocString: g.text()}
	switch g.int(0, 9) {
	case 0:
		a.T = g.tensor()
	case 1:
		a.Tensors = append(a.Tensors, g.tensor(), g.tensor())
	case 2:
		a.SparseTensor = g.sparse()
	case 3:
		a.SparseTensors = append(a.SparseTensors, g.sparse())
	case 4:
		if depth < 3 {
			a.G = g.graph(depth + 1)
		}
	case 5:
		if depth < 3 {
			a.Graphs = append(a.Graphs, g.graph(depth+1), g.graph(depth+1))
		}
	case 6:
		a.Ints = []int64{int64(g.int(-5, 5)), 1 << 40, -1}
		a.Floats = []float32{1.5, float32(math.Inf(1))}
	case 7:
		a.S = g.bytes(g.int(0, 40))
		a.Strings = [][]byte{a.S, nil}
	case 8:
		a.Tp = &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{
			ElemType: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1)}}},
		}}}
	}
	if g.flip() {
		a.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), uint64(g.int(0, 1<<20))))
	}
	return a
}

func (g *generator) node(depth int) *onnxpb.NodeProto {
	n := &onnxpb.NodeProto{Name: g.text(), OpType: g.text(), Domain: g.text()}
	for range g.int(0, 3) {
		n.Input = append(n.Input, string(g.bytes(g.int(0, 5))))
		n.Output = append(n.Output, string(g.bytes(g.int(0, 5))))
	}
	for range g.int(0, 2) {
		n.Attribute = append(n.Attribute, g.attribute(depth))
	}
	return n
}

func (g *generator) graph(depth int) *onnxpb.GraphProto {
	p := &onnxpb.GraphProto{Name: g.text(), DocString: g.text()}
	for range g.int(0, 3) {
		p.Node = append(p.Node, g.node(depth))
	}
	for range g.int(0, 2) {
		p.Initializer = append(p.Initializer, g.tensor())
	}
	if g.int(0, 5) == 0 {
		p.SparseInitializer = append(p.SparseInitializer, g.sparse())
	}
	p.Input = append(p.Input, &onnxpb.ValueInfoProto{Name: g.text(), Type: &onnxpb.TypeProto{Denotation: g.text()}})
	if g.flip() {
		p.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), g.bytes(g.int(0, 64))))
	}
	return p
}

func (g *generator) model() *onnxpb.ModelProto {
	p := &onnxpb.ModelProto{IrVersion: proto.Int64(int64(g.int(0, 13))), ProducerName: g.text(), Graph: g.graph(0)}
	p.OpsetImport = append(p.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: g.text(), Version: proto.Int64(17)})
	if g.int(0, 3) == 0 {
		p.TrainingInfo = append(p.TrainingInfo, &onnxpb.TrainingInfoProto{Initialization: g.graph(2), Algorithm: g.graph(2)})
	}
	for range g.int(0, 2) {
		p.Functions = append(p.Functions, &onnxpb.FunctionProto{
			Name: g.text(), Node: []*onnxpb.NodeProto{g.node(1)}, AttributeProto: []*onnxpb.AttributeProto{g.attribute(2)},
		})
	}
	return p
}

// scramble encodes a message in one of the many ways that protobuf allows:
// fields in any order, numbers packed, unpacked or packed in pieces, messages
// below the top in several parts.
func (g *generator) scramble(m protoreflect.Message, top bool) []byte {
	var queues [][][]byte // by field: encoded occurrences, in order
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		var q [][]byte
		switch {
		case f.IsList():
			q = g.scrambleList(f, v.List())
		case f.Kind() == protoreflect.MessageKind:
			b := g.scramble(v.Message(), top && f.Number() == modelGraph)
			if !top && g.flip() {
				// In two parts: the cut falls between two fields.
				cut := 0
				for cut < len(b) && g.flip() {
					_, _, n := protowire.ConsumeField(b[cut:])
					cut += n
				}
				q = append(q, lengthDelimited(f.Number(), b[:cut]))
				b = b[cut:]
			}
			q = append(q, lengthDelimited(f.Number(), b))
		default:
			q = append(q, encodeOne(m, f, v))
		}
		queues = append(queues, q)
		return true
	})
	if u := m.GetUnknown(); len(u) > 0 {
		queues = append(queues, [][]byte{u})
	}
	var out []byte
	for len(queues) > 0 {
		i := g.int(0, len(queues)-1)
		out = append(out, queues[i][0]...)
		if queues[i] = queues[i][1:]; len(queues[i]) == 0 {
			queues = append(queues[:i], queues[i+1:]...)
		}
	}
	return out
}

func (g *generator) scrambleList(f protoreflect.FieldDescriptor, l protoreflect.List) (q [][]byte) {
	switch f.Kind() {
	case protoreflect.MessageKind:
		for i := range l.Len() {
			q = append(q, lengthDelimited(f.Number(), g.scramble(l.Get(i).Message(), false)))
		}
		return q
	case protoreflect.StringKind:
		for i := range l.Len() {
			q = append(q, lengthDelimited(f.Number(), []byte(l.Get(i).String())))
		}
		return q
	case protoreflect.BytesKind:
		for i := range l.Len() {
			q = append(q, lengthDelimited(f.Number(), l.Get(i).Bytes()))
		}
		return q
	}
	way := g.int(0, 2)
	var packed []byte
	for i := range l.Len() {
		typ, b := scalar(f, l.Get(i))
		if way == 0 || way == 2 && g.flip() {
			q = append(q, append(protowire.AppendTag(nil, f.Number(), typ), b...))
			continue
		}
		packed = append(packed, b...)
		if way == 2 {
			q = append(q, lengthDelimited(f.Number(), packed))
			packed = nil
		}
	}
	if len(packed) > 0 {
		q = append(q, lengthDelimited(f.Number(), packed))
	}
	return q
}

func lengthDelimited(num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
}

func scalar(f protoreflect.FieldDescriptor, v protoreflect.Value) (protowire.Type, []byte) {
	switch f.Kind() {
	case protoreflect.FloatKind:
		return protowire.Fixed32Type, protowire.AppendFixed32(nil, math.Float32bits(float32(v.Float())))
	case protoreflect.DoubleKind:
		return protowire.Fixed64Type, protowire.AppendFixed64(nil, math.Float64bits(v.Float()))
	case protoreflect.Uint64Kind:
		return protowire.VarintType, protowire.AppendVarint(nil, v.Uint())
	case protoreflect.EnumKind:
		return protowire.VarintType, protowire.AppendVarint(nil, uint64(v.Enum()))
	}
	return protowire.VarintType, protowire.AppendVarint(nil, uint64(v.Int()))
}

func encodeOne(m protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.StringKind:
		return lengthDelimited(f.Number(), []byte(v.String()))
	case protoreflect.BytesKind:
		return lengthDelimited(f.Number(), v.Bytes())
	}
	typ, b := scalar(f, v)
	return append(protowire.AppendTag(nil, f.Number(), typ), b...)
}
