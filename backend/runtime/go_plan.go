package runtime

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// goPlan is a model rewritten for onnx-go, for inputs of given shapes.
type goPlan struct {
	g *goModel

	shapes map[string][]int64   // of every value of the model that is computed or given
	stored map[string]*goTensor // the model's, and what folding adds
	at     map[string]string    // by value of the model: its name in the rewritten model

	inputs  []*goTensor
	results map[string]int // by graph output: its place among the rewritten model's outputs

	in, out []*onnxpb.ValueInfoProto
	weights []*onnxpb.TensorProto
	nodes   []*onnxpb.NodeProto
	serial  int
	dry     bool // only shapes count: no contents are made
}

func (g *goModel) newPlan() *goPlan {
	p := &goPlan{g: g, shapes: map[string][]int64{}, stored: map[string]*goTensor{}, at: map[string]string{}, results: map[string]int{}}
	for name, t := range g.stored {
		p.stored[name] = t
	}
	return p
}

// plan rewrites the model for one feed.
func (g *goModel) plan(feed map[string]*Value) (*goPlan, error) {
	p := g.newPlan()
	shapes := make(map[string][]int64, len(feed))
	for _, port := range g.inputs {
		v := feed[port.Name]
		if v == nil {
			return nil, &diag.Error{File: g.path, Value: port.Name, Msg: "input is not given"}
		}
		if err := v.Check(); err != nil {
			return nil, &diag.Error{File: g.path, Value: port.Name, Msg: "input cannot be given", Err: err}
		}
		if v.Kind != ir.Tensor || v.Elem != ir.Float32 {
			return nil, &diag.Error{File: g.path, Value: port.Name, Msg: fmt.Sprintf("input is %s, float32 is expected", v)}
		}
		shapes[port.Name] = v.Shape
	}
	if len(shapes) != len(feed) {
		return nil, p.unknown(feed)
	}
	return p, p.make(shapes, feed)
}

// make rewrites the model for inputs of the given shapes. The contents are in
// feed, which is not read for a dry plan.
func (p *goPlan) make(shapes map[string][]int64, feed map[string]*Value) error {
	read := p.needed()
	for _, port := range p.g.inputs {
		if err := p.takeInput(port, shapes[port.Name], feed[port.Name], read[port.Name]); err != nil {
			return err
		}
	}
	for _, n := range p.g.nodes {
		if !slices.ContainsFunc(n.GetOutput(), func(out string) bool { return read[out] }) {
			continue
		}
		for i, out := range n.GetOutput() {
			if i > 0 && out != "" && read[out] {
				return p.refuse(n, fmt.Errorf("its output %q is used, and only the first of an operator can be", out))
			}
		}
		rule := goRuleOf(n.GetOpType())
		if rule == nil {
			diag.Bugf("%s: a plan is made with %s, which the pure-Go engine does not run", p.g.path, n.GetOpType())
		}
		if err := rule(p, n); err != nil {
			return p.refuse(n, err)
		}
	}
	for _, port := range p.g.outputs {
		if err := p.giveOutput(port.Name); err != nil {
			return err
		}
	}
	return nil
}

func (p *goPlan) refuse(n *onnxpb.NodeProto, err error) error {
	return &diag.Error{File: p.g.path, Node: nodeLabel(n), Msg: "the pure-Go engine does not run this " + n.GetOpType(), Err: err}
}

// unknown names an input that was given and that the model does not have.
func (p *goPlan) unknown(feed map[string]*Value) error {
	var names []string
	for name := range feed {
		if !slices.ContainsFunc(p.g.inputs, func(port Port) bool { return port.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return &diag.Error{File: p.g.path, Value: names[0], Msg: "the model needs no such input"}
}

// needed are the values that outputs depend on.
func (p *goPlan) needed() map[string]bool {
	read := map[string]bool{}
	for _, out := range p.g.outputs {
		read[out.Name] = true
	}
	for i := len(p.g.nodes) - 1; i >= 0; i-- {
		n := p.g.nodes[i]
		if slices.ContainsFunc(n.GetOutput(), func(out string) bool { return read[out] }) {
			for _, in := range n.GetInput() {
				read[in] = true
			}
		}
	}
	return read
}

func (p *goPlan) takeInput(port Port, shape []int64, v *Value, read bool) error {
	fail := func(msg string) error { return &diag.Error{File: p.g.path, Value: port.Name, Msg: msg} }
	if port.Type.Rank >= 0 {
		ok := port.Type.Rank == len(shape)
		for i := 0; ok && i < len(shape); i++ {
			ok = port.Type.Shape[i].N < 0 || port.Type.Shape[i].N == shape[i]
		}
		if !ok {
			return fail(fmt.Sprintf("input has shape %s, the model has %s", FormatShape(shape), port.Type))
		}
	}
	switch n, ok := ir.Elements(shape); {
	case ok && n == 0 || len(shape) == 0:
		return fail("the pure-Go engine takes no scalars and nothing without elements")
	case !ok || n > maxGoBytes/4:
		return fail(fmt.Sprintf("an input of shape %s is too large for the pure-Go engine", FormatShape(shape)))
	}
	p.shapes[port.Name] = shape
	if !read {
		return nil // an input that nothing reads would be an output for onnx-go
	}
	name := p.fresh()
	p.at[port.Name] = name
	if p.dry {
		return nil
	}
	t, err := newGoTensor(ir.Float32, shape, v.Data)
	if err != nil {
		return fail(err.Error())
	}
	p.inputs = append(p.inputs, t)
	p.in = append(p.in, goInfo(name, shape))
	return nil
}

// giveOutput exports a value through a multiplication by one, which changes
// nothing and gives it memory of its own that nothing else reads.
func (p *goPlan) giveOutput(name string) error {
	if p.stored[name] != nil {
		if p.stored[name].isInt {
			return &diag.Error{File: p.g.path, Value: name, Msg: "the pure-Go engine gives float32 only"}
		}
		return nil // see constant
	}
	if _, ok := p.results[name]; ok {
		return nil
	}
	shape, ok := p.shapes[name]
	if !ok {
		return &diag.Error{File: p.g.path, Value: name, Msg: "nothing makes this output"}
	}
	out := p.emit("Mul", []string{p.at[name], p.filled(shape, 1)})
	p.results[name] = len(p.out)
	p.out = append(p.out, goInfo(out, shape))
	return nil
}

// constant is an output that is stored, or follows from what is stored.
func (p *goPlan) constant(name string) *Value {
	t := p.stored[name]
	return &Value{Kind: ir.Tensor, Elem: ir.Float32, Shape: append([]int64{}, t.shape...), Data: encodeFloats(t.floats)}
}

func (p *goPlan) fresh() string {
	p.serial++
	return "v" + strconv.Itoa(p.serial)
}

func goInfo(name string, shape []int64) *onnxpb.ValueInfoProto {
	s := &onnxpb.TensorShapeProto{}
	for _, n := range shape {
		s.Dim = append(s.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}})
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(ir.Float32)), Shape: s},
	}}}
}

// emit adds a node to the rewritten model and returns its output. Inputs are
// names there. A value that stands twice among them goes through an Identity.
func (p *goPlan) emit(op string, in []string, attrs ...*onnxpb.AttributeProto) string {
	for i, name := range in {
		if slices.Contains(in[:i], name) {
			in[i] = p.emit("Identity", []string{name})
		}
	}
	out := p.fresh()
	p.nodes = append(p.nodes, &onnxpb.NodeProto{Name: proto.String("n" + out), OpType: &op, Input: in, Output: []string{out}, Attribute: attrs})
	return out
}

// weight adds a stored tensor to the rewritten model and returns its name.
func (p *goPlan) weight(t *goTensor) string {
	name := p.fresh()
	if p.dry {
		return name
	}
	w := &onnxpb.TensorProto{Name: &name, Dims: t.shape}
	if t.isInt {
		w.DataType, w.Int64Data = proto.Int32(int32(ir.Int64)), t.integers
	} else {
		w.DataType, w.FloatData = proto.Int32(int32(ir.Float32)), t.floats
	}
	p.weights = append(p.weights, w)
	return name
}

// filled is a stored tensor of one number.
func (p *goPlan) filled(shape []int64, x float32) string {
	t := p.zeros(shape)
	for i := range t.floats {
		t.floats[i] = x
	}
	return p.weight(t)
}

// zeros is a tensor of zeros; it has no contents in a dry plan.
func (p *goPlan) zeros(shape []int64) *goTensor {
	t := &goTensor{shape: shape}
	if !p.dry {
		t.floats = make([]float32, product(shape))
	}
	return t
}

// reshaped is value v of the rewritten model in another shape.
func (p *goPlan) reshaped(v string, shape []int64) string {
	return p.emit("Reshape", []string{v, p.weight(&goTensor{shape: []int64{int64(len(shape))}, integers: shape, isInt: true})})
}

// model is the rewritten model.
func (p *goPlan) model() *onnxpb.ModelProto {
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(4),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(9)}},
		Graph:       &onnxpb.GraphProto{Name: proto.String("g"), Node: p.nodes, Input: p.in, Output: p.out, Initializer: p.weights},
	}
}
