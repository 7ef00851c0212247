package onnxtest

import (
	"bytes"
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// DType is the element type of a tensor.
type DType = onnxpb.TensorProto_DataType

// The element types under short names.
const (
	Float    = onnxpb.TensorProto_FLOAT
	Float16  = onnxpb.TensorProto_FLOAT16
	BFloat16 = onnxpb.TensorProto_BFLOAT16
	Double   = onnxpb.TensorProto_DOUBLE
	Int4     = onnxpb.TensorProto_INT4
	Int8     = onnxpb.TensorProto_INT8
	Int16    = onnxpb.TensorProto_INT16
	Int32    = onnxpb.TensorProto_INT32
	Int64    = onnxpb.TensorProto_INT64
	UInt4    = onnxpb.TensorProto_UINT4
	UInt8    = onnxpb.TensorProto_UINT8
	UInt16   = onnxpb.TensorProto_UINT16
	UInt32   = onnxpb.TensorProto_UINT32
	UInt64   = onnxpb.TensorProto_UINT64
	Bool     = onnxpb.TensorProto_BOOL
	String   = onnxpb.TensorProto_STRING
	E4M3     = onnxpb.TensorProto_FLOAT8E4M3FN
)

// Bits is the size of one stored element of type t; 0 for strings and unknown types.
func Bits(t DType) int64 {
	switch t {
	case Int4, UInt4, onnxpb.TensorProto_FLOAT4E2M1:
		return 4
	case Int8, UInt8, Bool, E4M3, onnxpb.TensorProto_FLOAT8E4M3FNUZ, onnxpb.TensorProto_FLOAT8E5M2, onnxpb.TensorProto_FLOAT8E5M2FNUZ:
		return 8
	case Float16, BFloat16, Int16, UInt16:
		return 16
	case Float, Int32, UInt32:
		return 32
	case Double, Int64, UInt64, onnxpb.TensorProto_COMPLEX64:
		return 64
	case onnxpb.TensorProto_COMPLEX128:
		return 128
	}
	return 0
}

// Import is an operator set that a model or function is written against.
type Import struct {
	Domain  string // "" is ai.onnx
	Version int64
}

// Header is what a model says of itself.
type Header struct {
	Name    string
	Seed    uint64   // of every weight; see Fill
	Opset   int64    // of ai.onnx (default 13)
	IR      int64    // default: the IR version of the ONNX release that brought Opset
	Imports []Import // other domains
}

// Model is an ONNX model under construction. Its methods are not safe for
// concurrent use; writing does not change it.
type Model struct {
	pb      *onnxpb.ModelProto
	graph   *Graph
	seed    uint64
	content map[*onnxpb.TensorProto]content // tensors whose elements are not in pb
	files   []externalFile
	serial  int // of automatic names

	params   int64
	macs     int64
	hints    map[string]Hint
	bindings map[string]int64
}

// New starts a model with an empty main graph.
func New(h Header) *Model {
	if h.Opset == 0 {
		h.Opset = 13
	}
	if h.IR == 0 {
		h.IR = irOfOpset(h.Opset)
	}
	m := &Model{
		pb: &onnxpb.ModelProto{
			IrVersion:       proto.Int64(h.IR),
			ProducerName:    proto.String("dnnsplit.onnxtest"),
			ProducerVersion: proto.String("1"),
			DocString:       proto.String(fmt.Sprintf("Weights are random numbers of seed %d, not trained.", h.Seed)),
			Graph:           &onnxpb.GraphProto{Name: proto.String(h.Name)},
		},
		seed:     h.Seed,
		content:  map[*onnxpb.TensorProto]content{},
		hints:    map[string]Hint{},
		bindings: map[string]int64{},
	}
	for _, i := range append([]Import{{"", h.Opset}}, h.Imports...) {
		m.pb.OpsetImport = append(m.pb.OpsetImport, i.proto())
	}
	m.graph = &Graph{m: m, pb: m.pb.Graph}
	return m
}

func (i Import) proto() *onnxpb.OperatorSetIdProto {
	return &onnxpb.OperatorSetIdProto{Domain: proto.String(i.Domain), Version: proto.Int64(i.Version)}
}

// irOfOpset is the IR version of the ONNX release that brought the opset of
// ai.onnx (table "Released Versions" of ONNX's docs/Versioning.md).
func irOfOpset(opset int64) int64 {
	switch {
	case opset <= 8:
		return 3
	case opset <= 10:
		return opset - 5
	case opset == 11:
		return 6
	case opset <= 14:
		return 7
	case opset <= 18:
		return 8
	case opset <= 20:
		return 9
	case opset <= 22:
		return 10
	}
	return opset - 12
}

// Graph is the main graph.
func (m *Model) Graph() *Graph { return m.graph }

// Structure is the model without the contents of its weights: the builder's own
// message, which callers may change to make it odder. Initializers that it
// gains there must bring their contents along.
func (m *Model) Structure() *onnxpb.ModelProto { return m.pb }

// Parameters counts the elements of all weights (see Graph.Weight), tied ones once.
func (m *Model) Parameters() int64 { return m.params }

// MACs counts the multiply-adds of convolutions and matrix products for one item
// of the batch, other symbols bound as Bindings says: an architecture's own sum,
// made while it is built. 0 for models that are no architecture.
func (m *Model) MACs() int64 { return m.macs }

// Bind notes the size that a symbolic dimension has when nothing else is said.
func (m *Model) Bind(symbol string, size int64) { m.bindings[symbol] = size }

// Bindings is a copy of what Bind noted.
func (m *Model) Bindings() map[string]int64 {
	b := make(map[string]int64, len(m.bindings))
	for k, v := range m.bindings {
		b[k] = v
	}
	return b
}

// Bytes is the encoded model. It panics where Write fails.
func (m *Model) Bytes() []byte {
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		diag.Bugf("encode model %s: %v", m.pb.GetGraph().GetName(), err)
	}
	return b.Bytes()
}

// Proto is the model with all contents in memory, for small models: a copy.
func (m *Model) Proto() *onnxpb.ModelProto {
	var p onnxpb.ModelProto
	if err := proto.Unmarshal(m.Bytes(), &p); err != nil {
		diag.Bugf("decode model %s: %v", m.pb.GetGraph().GetName(), err)
	}
	return &p
}

// Metadata adds an entry to the model's metadata.
func (m *Model) Metadata(key, value string) {
	m.pb.MetadataProps = append(m.pb.MetadataProps, entry(key, value))
}

func entry(key, value string) *onnxpb.StringStringEntryProto {
	return &onnxpb.StringStringEntryProto{Key: proto.String(key), Value: proto.String(value)}
}

// Function adds a model-local function (IR version 8 or later) whose body f
// builds. Attributes are the names of those that a call may give.
func (m *Model) Function(fn FunctionHeader, f func(g *Graph)) {
	p := &onnxpb.FunctionProto{
		Name: proto.String(fn.Name), Domain: proto.String(fn.Domain),
		Input: fn.Inputs, Output: fn.Outputs, Attribute: fn.Attributes,
	}
	if fn.Overload != "" {
		p.Overload = proto.String(fn.Overload)
	}
	for _, i := range fn.Imports {
		p.OpsetImport = append(p.OpsetImport, i.proto())
	}
	if len(fn.Imports) == 0 {
		p.OpsetImport = append(p.OpsetImport, proto.Clone(m.pb.OpsetImport[0]).(*onnxpb.OperatorSetIdProto))
	}
	f(&Graph{m: m, fn: p, path: fn.Domain + "::" + fn.Name + "/"})
	m.pb.Functions = append(m.pb.Functions, p)
}

// FunctionHeader is the signature of a model-local function.
type FunctionHeader struct {
	Domain, Name, Overload      string
	Inputs, Outputs, Attributes []string
	Imports                     []Import // default: the model's ai.onnx
}

func (m *Model) fresh(stem string) string {
	m.serial++
	return fmt.Sprintf("%s_%d", stem, m.serial)
}
