package runtime

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// goTensor is a stored or given tensor: floats, or integers that shape something.
type goTensor struct {
	shape    []int64
	floats   []float32
	integers []int64
	isInt    bool
}

// goModel is a model as the pure-Go engine reads it. It does not change.
type goModel struct {
	path    string
	opset   int64
	inputs  []Port
	outputs []Port
	nodes   []*onnxpb.NodeProto // sorted, without Constant nodes
	stored  map[string]*goTensor
}

// maxGoBytes bounds what the engine loads: it holds several copies.
const maxGoBytes = 1 << 30

// readGoModel reads a model with its weights. It refuses what the engine cannot hold.
func readGoModel(m Model) (*goModel, error) {
	fail := func(msg string, err error) (*goModel, error) {
		return nil, &diag.Error{File: m.Path, Msg: msg, Err: err}
	}
	g := &goModel{path: m.Path, stored: map[string]*goTensor{}}
	var pb *onnxpb.ModelProto
	values := rawValues
	if m.Data != nil {
		pb = &onnxpb.ModelProto{}
		if err := proto.Unmarshal(m.Data, pb); err != nil {
			return fail("is no ONNX model", err)
		}
	} else {
		file, err := onnxfile.Open(context.Background(), m.Path, onnxfile.Options{})
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // only read
		pb = file.Proto
		values = func(t *onnxpb.TensorProto) ([]byte, error) { return file.Values(t, maxGoBytes) }
	}
	graph := pb.GetGraph()
	for _, o := range pb.GetOpsetImport() {
		if isStandard(o.GetDomain()) {
			g.opset = o.GetVersion()
		}
	}
	switch {
	case graph == nil:
		return fail("holds no graph", nil)
	case len(pb.GetFunctions()) > 0:
		return fail("the pure-Go engine does not run model-local functions", nil)
	case len(graph.GetSparseInitializer()) > 0:
		return fail("the pure-Go engine does not run sparse weights", nil)
	}
	var total int64
	store := func(name string, t *onnxpb.TensorProto, values func(*onnxpb.TensorProto) ([]byte, error)) error {
		raw, err := values(t)
		if err != nil {
			return &diag.Error{File: m.Path, Value: name, Msg: "the pure-Go engine cannot hold this weight", Err: err}
		}
		total += int64(len(raw))
		if total > maxGoBytes {
			return &diag.Error{File: m.Path, Msg: fmt.Sprintf("has more than %d bytes of weights, which is too much for the pure-Go engine", maxGoBytes)}
		}
		c, err := newGoTensor(ir.ElemType(t.GetDataType()), t.GetDims(), raw)
		if err != nil {
			return &diag.Error{File: m.Path, Value: name, Msg: "the pure-Go engine cannot hold this weight", Err: err}
		}
		g.stored[name] = c
		return nil
	}
	for _, t := range graph.GetInitializer() {
		if err := store(t.GetName(), t, values); err != nil {
			return nil, err
		}
	}
	var nodes []*onnxpb.NodeProto
	for _, n := range graph.GetNode() {
		if n.GetOpType() != "Constant" || !isStandard(n.GetDomain()) || len(n.GetOutput()) != 1 {
			nodes = append(nodes, n)
			continue
		}
		t, from := constantOf(n), values
		if attribute(n, "value") == nil {
			from = rawValues // made here, not part of the file
		}
		if t == nil {
			return nil, &diag.Error{File: m.Path, Node: n.GetName(), Msg: "the pure-Go engine does not run a Constant of this form"}
		}
		if err := store(n.GetOutput()[0], t, from); err != nil {
			return nil, err
		}
	}
	for _, in := range graph.GetInput() {
		if g.stored[in.GetName()] != nil {
			continue // a weight that is listed as an input
		}
		port, err := g.port(in)
		if err != nil {
			return nil, err
		}
		g.inputs = append(g.inputs, port)
	}
	for _, out := range graph.GetOutput() {
		port, err := g.port(out)
		if err != nil {
			return nil, err
		}
		g.outputs = append(g.outputs, port)
	}
	var err error
	if g.nodes, err = g.sorted(nodes); err != nil {
		return nil, err
	}
	return g, nil
}

func isStandard(domain string) bool { return domain == "" || domain == "ai.onnx" }

// constantOf is the tensor that a Constant node holds; nil for forms other than
// tensors, floats and integers.
func constantOf(n *onnxpb.NodeProto) *onnxpb.TensorProto {
	for _, a := range n.GetAttribute() {
		switch a.GetName() {
		case "value":
			return a.GetT()
		case "value_float":
			return &onnxpb.TensorProto{DataType: proto.Int32(int32(ir.Float32)), FloatData: []float32{a.GetF()}}
		case "value_floats":
			return &onnxpb.TensorProto{DataType: proto.Int32(int32(ir.Float32)), Dims: []int64{int64(len(a.GetFloats()))}, FloatData: a.GetFloats()}
		case "value_int":
			return &onnxpb.TensorProto{DataType: proto.Int32(int32(ir.Int64)), Int64Data: []int64{a.GetI()}}
		case "value_ints":
			return &onnxpb.TensorProto{DataType: proto.Int32(int32(ir.Int64)), Dims: []int64{int64(len(a.GetInts()))}, Int64Data: a.GetInts()}
		}
	}
	return nil
}

// port is a graph input or output, which must be a float32 tensor.
func (g *goModel) port(info *onnxpb.ValueInfoProto) (Port, error) {
	p := Port{Name: info.GetName(), Type: ir.Unranked(ir.Float32)}
	t := info.GetType().GetTensorType()
	if t == nil && info.GetType() != nil {
		return p, &diag.Error{File: g.path, Value: p.Name, Msg: "the pure-Go engine takes and gives tensors only"}
	}
	if t != nil && ir.ElemType(t.GetElemType()) != ir.Float32 {
		return p, &diag.Error{File: g.path, Value: p.Name, Msg: fmt.Sprintf("the pure-Go engine takes and gives float32 only, not %s", ir.ElemType(t.GetElemType()))}
	}
	if t.GetShape() == nil {
		return p, nil
	}
	p.Type.Rank, p.Type.Shape = len(t.GetShape().GetDim()), []ir.Dim{}
	for _, d := range t.GetShape().GetDim() {
		dim := ir.Symbol(d.GetDimParam())
		if n, ok := d.GetValue().(*onnxpb.TensorShapeProto_Dimension_DimValue); ok && n.DimValue >= 0 {
			dim = ir.Fixed(n.DimValue)
		}
		p.Type.Shape = append(p.Type.Shape, dim)
	}
	return p, nil
}

// sorted puts every node behind those whose outputs it reads, in the model's
// order where that is possible.
func (g *goModel) sorted(nodes []*onnxpb.NodeProto) ([]*onnxpb.NodeProto, error) {
	known := map[string]bool{"": true}
	for name := range g.stored {
		known[name] = true
	}
	for _, in := range g.inputs {
		known[in.Name] = true
	}
	missing := make([]int, len(nodes)) // inputs that are not there yet
	readers := map[string][]int{}      // of values that are not there yet
	out := make([]*onnxpb.NodeProto, 0, len(nodes))
	ready := func(i int) []int { // appends node i and lists nodes that can follow now
		out = append(out, nodes[i])
		var next []int
		for _, o := range nodes[i].GetOutput() {
			if known[o] {
				continue
			}
			known[o] = true
			for _, r := range readers[o] {
				if missing[r]--; missing[r] == 0 {
					next = append(next, r)
				}
			}
			delete(readers, o)
		}
		return next
	}
	for i, n := range nodes {
		for _, in := range n.GetInput() {
			if !known[in] {
				missing[i]++
				readers[in] = append(readers[in], i)
			}
		}
		for queue := []int{i}; len(queue) > 0; queue = queue[1:] {
			if missing[queue[0]] == 0 {
				queue = append(queue, ready(queue[0])...)
			}
		}
	}
	for i, n := range nodes {
		if missing[i] == 0 {
			continue
		}
		for _, in := range n.GetInput() {
			if !known[in] {
				return nil, &diag.Error{File: g.path, Node: nodeLabel(n), Value: in, Msg: "nothing makes this value, or the nodes form a cycle"}
			}
		}
	}
	return out, nil
}

// newGoTensor decodes raw little-endian elements.
func newGoTensor(elem ir.ElemType, shape []int64, raw []byte) (*goTensor, error) {
	n, ok := ir.Elements(shape)
	size, fits := ir.StoredBytes(elem, n)
	if !ok || !fits || size != int64(len(raw)) {
		return nil, fmt.Errorf("%s%s does not take %d bytes", elem, FormatShape(shape), len(raw))
	}
	t := &goTensor{shape: append([]int64{}, shape...)}
	switch elem {
	case ir.Float32:
		t.floats = make([]float32, n)
		for i := range t.floats {
			t.floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case ir.Int64:
		t.isInt, t.integers = true, make([]int64, n)
		for i := range t.integers {
			t.integers[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
	default:
		return nil, fmt.Errorf("it is %s, float32 and int64 are known", elem)
	}
	return t, nil
}

func encodeFloats(floats []float32) []byte {
	b := make([]byte, 0, 4*len(floats))
	for _, f := range floats {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// rawValues are the elements of a tensor in memory as raw bytes.
func rawValues(t *onnxpb.TensorProto) ([]byte, error) {
	if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		return nil, fmt.Errorf("weight %q is in a file of its own", t.GetName())
	}
	if t.RawData != nil {
		return t.RawData, nil
	}
	switch ir.ElemType(t.GetDataType()) {
	case ir.Float32:
		return encodeFloats(t.FloatData), nil
	case ir.Int64:
		b := make([]byte, 0, 8*len(t.Int64Data))
		for _, n := range t.Int64Data {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		return b, nil
	}
	return nil, fmt.Errorf("weight %q is %s, float32 and int64 are known", t.GetName(), ir.ElemType(t.GetDataType()))
}

// check says what speaks against running the model, as far as that can be known without inputs.
func (g *goModel) check() error {
	for _, n := range g.nodes {
		if goRuleOf(n.GetOpType()) == nil || !isStandard(n.GetDomain()) {
			op := n.GetOpType()
			if !isStandard(n.GetDomain()) {
				op = n.GetDomain() + "::" + op
			}
			return &diag.Error{File: g.path, Node: n.GetName(), Msg: "the pure-Go engine does not run " + op}
		}
	}
	shapes := map[string][]int64{}
	for _, in := range g.inputs {
		shape := make([]int64, len(in.Type.Shape))
		for i, d := range in.Type.Shape {
			if shape[i] = d.N; d.N < 0 {
				return nil // the rest is known when shapes are
			}
		}
		if in.Type.Rank < 0 {
			return nil
		}
		shapes[in.Name] = shape
	}
	p := g.newPlan()
	p.dry = true
	return p.make(shapes, nil)
}

func nodeLabel(n *onnxpb.NodeProto) string {
	if n.GetName() != "" {
		return n.GetName()
	}
	return n.GetOpType() + "(" + strings.Join(n.GetOutput(), ", ") + ")"
}
