package runtime

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// openORT is ONNX Runtime, or skips the test where there is none and none is required.
func openORT(t *testing.T) Engine {
	t.Helper()
	eng, err := OpenORT("")
	if err != nil {
		if errors.Is(err, ErrNoLibrary) && os.Getenv("DNNSPLIT_REQUIRE_ORT") == "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return eng
}

// tensorInfo describes a graph input or output; dims are numbers or symbols, nil for no shape.
func tensorInfo(name string, elem ir.ElemType, dims ...any) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(elem)), Shape: shape},
	}}}
}

func node(op string, in, out []string, attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &op, Input: in, Output: out, Attribute: attrs}
}

func attrInt(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

func attrInts(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func initializer(name string, elem ir.ElemType, dims []int64, raw []byte) *onnxpb.TensorProto {
	return &onnxpb.TensorProto{Name: &name, DataType: proto.Int32(int32(elem)), Dims: dims, RawData: raw}
}

func floats(v ...float32) []byte {
	var b []byte
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

func int64s(v ...int64) []byte {
	var b []byte
	for _, n := range v {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func newTensor(t *testing.T, elem ir.ElemType, shape []int64, data []byte) *Value {
	t.Helper()
	v, err := NewTensor(elem, shape, data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type graph struct {
	opset    int64
	in, out  []*onnxpb.ValueInfoProto
	weights  []*onnxpb.TensorProto
	nodes    []*onnxpb.NodeProto
	modifier func(*onnxpb.ModelProto)
}

func (g graph) encode(t *testing.T) []byte {
	t.Helper()
	if g.opset == 0 {
		g.opset = 21
	}
	m := &onnxpb.ModelProto{
		IrVersion:   proto.Int64(10),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(g.opset)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("g"), Node: g.nodes, Input: g.in, Output: g.out,
			Initializer: g.weights,
		},
	}
	if g.modifier != nil {
		g.modifier(m)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (g graph) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, g.encode(t), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, eng Engine, m Model, o Options) Session {
	t.Helper()
	s, err := eng.Load(m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
