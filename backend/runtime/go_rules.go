package runtime

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// goRule rewrites a node: it works out the shape of the node's first output and
// emits nodes for it, or says why it cannot.
type goRule func(p *goPlan, n *onnxpb.NodeProto) error

// goRuleOf is the rule for an operator, nil for one that the pure-Go engine does not run.
func goRuleOf(op string) goRule {
	switch op {
	case "Abs", "Ceil", "Cos", "Exp", "Floor", "Log", "Neg", "Relu", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt", "Tanh":
		return unaryRule
	case "Add", "Sub", "Mul", "Div":
		return binaryRule
	case "Sum":
		return sumRule
	case "Identity", "Dropout":
		return identityRule
	case "LeakyRelu":
		return leakyReluRule
	case "Conv":
		return convRule
	case "MaxPool":
		return maxPoolRule
	case "GlobalAveragePool":
		return globalAveragePoolRule
	case "BatchNormalization":
		return batchNormRule
	case "Gemm":
		return gemmRule
	case "MatMul":
		return matMulRule
	case "Flatten":
		return flattenRule
	case "Reshape":
		return reshapeRule
	case "Squeeze":
		return squeezeRule
	case "Unsqueeze":
		return unsqueezeRule
	case "Transpose":
		return transposeRule
	case "Concat":
		return concatRule
	case "Softmax":
		return softmaxRule
	}
	return nil
}

// operand is an input of a node: stored, or computed before.
type operand struct {
	shape  []int64
	stored *goTensor
	name   string // in the rewritten model, if computed
}

// operand is the node's input i; nil if it is absent.
func (p *goPlan) operand(n *onnxpb.NodeProto, i int) *operand {
	if i >= len(n.GetInput()) || n.GetInput()[i] == "" {
		return nil
	}
	name := n.GetInput()[i]
	if t := p.stored[name]; t != nil {
		return &operand{shape: t.shape, stored: t}
	}
	return &operand{shape: p.shapes[name], name: p.at[name]}
}

// value is the operand's name in the rewritten model. A stored one is copied for
// every use, since operators may work in place.
func (p *goPlan) value(o *operand) (string, error) {
	if o.stored == nil {
		return o.name, nil
	}
	if o.stored.isInt {
		return "", errors.New("it computes with integers")
	}
	if n, ok := ir.Elements(o.shape); !ok || n == 0 || len(o.shape) == 0 {
		return "", errors.New("a weight is a scalar or has no elements")
	}
	return p.weight(o.stored), nil
}

// define says what the node's first output is in the rewritten model.
func (p *goPlan) define(n *onnxpb.NodeProto, name string, shape []int64) error {
	if count, ok := ir.Elements(shape); !ok || count > maxGoBytes/4 {
		return fmt.Errorf("its output of shape %s is too large", FormatShape(shape))
	} else if count == 0 || len(shape) == 0 {
		return fmt.Errorf("its output of shape %s is a scalar or has no elements", FormatShape(shape))
	}
	out := n.GetOutput()[0]
	p.shapes[out], p.at[out] = shape, name
	return nil
}

// first is the node's first operand as a value, which every rule needs.
func (p *goPlan) first(n *onnxpb.NodeProto) (*operand, string, error) {
	o := p.operand(n, 0)
	if o == nil {
		return nil, "", errors.New("its first input is missing")
	}
	v, err := p.value(o)
	return o, v, err
}

func attribute(n *onnxpb.NodeProto, name string) *onnxpb.AttributeProto {
	for _, a := range n.GetAttribute() {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

func intAttr(n *onnxpb.NodeProto, name string, missing int64) int64 {
	if a := attribute(n, name); a != nil {
		return a.GetI()
	}
	return missing
}

func floatAttr(n *onnxpb.NodeProto, name string, missing float32) float32 {
	if a := attribute(n, name); a != nil {
		return a.GetF()
	}
	return missing
}

func intsAttr(n *onnxpb.NodeProto, name string, missing ...int64) []int64 {
	if a := attribute(n, name); a != nil && len(a.GetInts()) > 0 {
		return a.GetInts()
	}
	return missing
}

func newInts(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func newInt(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

func newFloat(name string, v float32) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_FLOAT.Enum(), F: proto.Float32(v)}
}

// axisOf is a possibly negative axis as one from 0 to rank (excluded).
func axisOf(axis int64, rank int) (int, error) {
	at := axis
	if at < 0 {
		at += int64(rank)
	}
	if at < 0 || at >= int64(rank) {
		return 0, fmt.Errorf("axis %d does not fit rank %d", axis, rank)
	}
	return int(at), nil
}

func product(dims []int64) int64 {
	n, _ := ir.Elements(dims)
	return n
}

func unaryRule(p *goPlan, n *onnxpb.NodeProto) error {
	o, v, err := p.first(n)
	if err != nil {
		return err
	}
	return p.define(n, p.emit(n.GetOpType(), []string{v}), o.shape)
}

// broadcast is the shape that a and b have together, by numpy's rules.
func broadcast(a, b []int64) ([]int64, error) {
	out := make([]int64, max(len(a), len(b)))
	for i := range out {
		x, y := int64(1), int64(1)
		if k := i - len(out) + len(a); k >= 0 {
			x = a[k]
		}
		if k := i - len(out) + len(b); k >= 0 {
			y = b[k]
		}
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil, fmt.Errorf("shapes %s and %s do not fit", FormatShape(a), FormatShape(b))
		}
	}
	return out, nil
}

// expand repeats a stored tensor to a shape that it broadcasts to.
func (p *goPlan) expand(t *goTensor, shape []int64) (*goTensor, error) {
	if t.isInt {
		return nil, errors.New("it computes with integers")
	}
	if got, err := broadcast(t.shape, shape); err != nil || !slices.Equal(got, shape) {
		return nil, fmt.Errorf("a weight of shape %s does not fit %s", FormatShape(t.shape), FormatShape(shape))
	}
	if p.dry || slices.Equal(t.shape, shape) {
		return t, nil
	}
	count, ok := ir.Elements(shape)
	if !ok || count > maxGoBytes/4 {
		return nil, fmt.Errorf("shape %s is too large", FormatShape(shape))
	}
	// step[i] is how far the weight moves for one step along dimension i.
	step := make([]int64, len(shape))
	at := int64(1)
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 {
			step[i+len(shape)-len(t.shape)] = at
		}
		at *= t.shape[i]
	}
	out := &goTensor{shape: shape, floats: make([]float32, count)}
	index := make([]int64, len(shape))
	from := int64(0)
	for k := range out.floats {
		out.floats[k] = t.floats[from]
		for i := len(shape) - 1; i >= 0; i-- {
			index[i]++
			from += step[i]
			if index[i] < shape[i] {
				break
			}
			from -= step[i] * shape[i]
			index[i] = 0
		}
	}
	return out, nil
}

// spread is operand o in the given shape: stored ones are repeated, computed
// ones must have it.
func (p *goPlan) spread(o *operand, shape []int64) (string, error) {
	if o.stored != nil {
		t, err := p.expand(o.stored, shape)
		if err != nil {
			return "", err
		}
		return p.weight(t), nil
	}
	if !slices.Equal(o.shape, shape) {
		return "", fmt.Errorf("a computed value of shape %s would have to be broadcast to %s", FormatShape(o.shape), FormatShape(shape))
	}
	return o.name, nil
}

// binary emits an elementwise operation of two operands.
func (p *goPlan) binary(op string, a, b *operand) (*operand, error) {
	if a == nil || b == nil {
		return nil, errors.New("an input is missing")
	}
	shape, err := broadcast(a.shape, b.shape)
	if err != nil {
		return nil, err
	}
	x, err := p.spread(a, shape)
	if err != nil {
		return nil, err
	}
	y, err := p.spread(b, shape)
	if err != nil {
		return nil, err
	}
	return &operand{shape: shape, name: p.emit(op, []string{x, y})}, nil
}

func binaryRule(p *goPlan, n *onnxpb.NodeProto) error {
	if attribute(n, "broadcast") != nil || attribute(n, "axis") != nil {
		return errors.New("it broadcasts by the rules of opset 6")
	}
	o, err := p.binary(n.GetOpType(), p.operand(n, 0), p.operand(n, 1))
	if err != nil {
		return err
	}
	return p.define(n, o.name, o.shape)
}

func sumRule(p *goPlan, n *onnxpb.NodeProto) error {
	sum := p.operand(n, 0)
	if len(n.GetInput()) == 1 {
		return identityRule(p, n)
	}
	for i := 1; i < len(n.GetInput()); i++ {
		var err error
		if sum, err = p.binary("Add", sum, p.operand(n, i)); err != nil {
			return err
		}
	}
	if sum == nil {
		return errors.New("an input is missing")
	}
	return p.define(n, sum.name, sum.shape)
}

// identityRule passes a value on, stored or not. Dropout is that, too, outside of training.
func identityRule(p *goPlan, n *onnxpb.NodeProto) error {
	if mode := p.operand(n, 2); mode != nil {
		return errors.New("its training mode is an input")
	}
	o := p.operand(n, 0)
	if o == nil {
		return errors.New("its first input is missing")
	}
	if o.stored != nil {
		p.stored[n.GetOutput()[0]] = o.stored
		return nil
	}
	return p.define(n, o.name, o.shape)
}

// leakyReluRule computes max(x,0) - alpha*max(-x,0), of which one term is zero.
func leakyReluRule(p *goPlan, n *onnxpb.NodeProto) error {
	o, v, err := p.first(n)
	if err != nil {
		return err
	}
	below := p.emit("Relu", []string{p.emit("Neg", []string{v})})
	below = p.emit("Mul", []string{below, p.filled(o.shape, floatAttr(n, "alpha", 0.01))})
	return p.define(n, p.emit("Sub", []string{p.emit("Relu", []string{v}), below}), o.shape)
}

func batchNormRule(p *goPlan, n *onnxpb.NodeProto) error {
	o, v, err := p.first(n)
	if err != nil {
		return err
	}
	if intAttr(n, "training_mode", 0) != 0 || intAttr(n, "spatial", 1) != 1 {
		return errors.New("it trains, or normalises each place by itself")
	}
	var stat [4]*goTensor // scale, bias, mean, variance
	for i := range stat {
		w := p.operand(n, i+1)
		if w == nil || w.stored == nil || w.stored.isInt || len(w.shape) != 1 || len(o.shape) < 2 || w.shape[0] != o.shape[1] {
			return errors.New("its statistics are computed or do not fit its input")
		}
		stat[i] = w.stored
	}
	epsilon := float64(floatAttr(n, "epsilon", 1e-5))
	per := make([]int64, len(o.shape)-1) // channels, then ones
	for i := range per {
		per[i] = 1
	}
	per[0] = o.shape[1]
	scale, shift := &goTensor{shape: per}, &goTensor{shape: per}
	for c := range stat[0].floats {
		s := float64(stat[0].floats[c]) / math.Sqrt(float64(stat[3].floats[c])+epsilon)
		scale.floats = append(scale.floats, float32(s))
		shift.floats = append(shift.floats, float32(float64(stat[1].floats[c])-float64(stat[2].floats[c])*s))
	}
	scaled, err := p.binary("Mul", &operand{shape: o.shape, name: v}, &operand{shape: per, stored: scale})
	if err != nil {
		return err
	}
	shifted, err := p.binary("Add", scaled, &operand{shape: per, stored: shift})
	if err != nil {
		return err
	}
	return p.define(n, shifted.name, shifted.shape)
}

// gemm emits alpha*A*B + beta*C with a C of its own, which it works in.
func (p *goPlan) gemm(a, b string, c *goTensor, attrs ...*onnxpb.AttributeProto) string {
	return p.emit("Gemm", []string{a, b, p.weight(&goTensor{shape: c.shape, floats: slices.Clone(c.floats)})}, attrs...)
}

func gemmRule(p *goPlan, n *onnxpb.NodeProto) error {
	a, av, err := p.first(n)
	if err != nil {
		return err
	}
	b := p.operand(n, 1)
	if b == nil || len(a.shape) != 2 || len(b.shape) != 2 {
		return errors.New("its inputs are no matrices")
	}
	bv, err := p.value(b)
	if err != nil {
		return err
	}
	transA, transB := min(intAttr(n, "transA", 0), 1), min(intAttr(n, "transB", 0), 1)
	if transA < 0 || transB < 0 {
		return errors.New("its transpositions are negative")
	}
	m, k, l, cols := a.shape[transA], a.shape[1-transA], b.shape[transB], b.shape[1-transB]
	if k != l {
		return fmt.Errorf("shapes %s and %s do not fit", FormatShape(a.shape), FormatShape(b.shape))
	}
	shape := []int64{m, cols}
	alpha, beta := floatAttr(n, "alpha", 1), floatAttr(n, "beta", 1)
	c := p.operand(n, 2)
	start := p.zeros(shape)
	if c != nil && c.stored != nil {
		if start, err = p.expand(c.stored, shape); err != nil {
			return err
		}
	}
	out := p.gemm(av, bv, start, newFloat("alpha", alpha), newFloat("beta", beta), newInt("transA", transA), newInt("transB", transB))
	if c != nil && c.stored == nil {
		if !slices.Equal(c.shape, shape) {
			return errors.New("its third input is computed and would have to be broadcast")
		}
		add := p.emit("Mul", []string{c.name, p.filled(shape, beta)})
		out = p.emit("Add", []string{out, add})
	}
	return p.define(n, out, shape)
}

// matMulRule multiplies any stack of rows by one matrix.
func matMulRule(p *goPlan, n *onnxpb.NodeProto) error {
	a, av, err := p.first(n)
	if err != nil {
		return err
	}
	b := p.operand(n, 1)
	if b == nil || len(b.shape) != 2 || len(a.shape) < 2 {
		return errors.New("its second input is no matrix, or its first is a vector")
	}
	bv, err := p.value(b)
	if err != nil {
		return err
	}
	last := len(a.shape) - 1
	if a.shape[last] != b.shape[0] {
		return fmt.Errorf("shapes %s and %s do not fit", FormatShape(a.shape), FormatShape(b.shape))
	}
	rows := product(a.shape[:last])
	if last > 1 {
		av = p.reshaped(av, []int64{rows, a.shape[last]})
	}
	flat := []int64{rows, b.shape[1]}
	out := p.gemm(av, bv, p.zeros(flat))
	shape := append(slices.Clone(a.shape[:last]), b.shape[1])
	if last > 1 {
		out = p.reshaped(out, shape)
	}
	return p.define(n, out, shape)
}
