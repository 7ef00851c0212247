package runtime

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// window is the geometry of a 2-D convolution or pooling.
type window struct {
	kernel, strides, dilations [2]int64
	pads                       [2]int64 // the same before and behind
}

// windowOf reads the geometry of a node over an input of NCHW shape. kernel is
// used where the node does not say.
func windowOf(n *onnxpb.NodeProto, shape []int64, kernel []int64) (w window, err error) {
	if len(shape) != 4 {
		return w, errors.New("only images are known, of four dimensions")
	}
	pair := func(name string, missing ...int64) (out [2]int64, err error) {
		v := intsAttr(n, name, missing...)
		if len(v) != 2 || v[0] < 1 || v[1] < 1 {
			return out, fmt.Errorf("its %s %v are no two positive numbers", name, v)
		}
		return [2]int64{v[0], v[1]}, nil
	}
	if w.kernel, err = pair("kernel_shape", kernel...); err != nil {
		return w, err
	}
	if w.strides, err = pair("strides", 1, 1); err != nil {
		return w, err
	}
	if w.dilations, err = pair("dilations", 1, 1); err != nil {
		return w, err
	}
	auto := "NOTSET"
	if a := attribute(n, "auto_pad"); a != nil && len(a.GetS()) > 0 {
		auto = string(a.GetS())
	}
	switch auto {
	case "NOTSET":
		v := intsAttr(n, "pads", 0, 0, 0, 0)
		if len(v) != 4 || v[0] != v[2] || v[1] != v[3] || v[0] < 0 || v[1] < 0 {
			return w, fmt.Errorf("its pads %v are not the same on both sides", v)
		}
		w.pads = [2]int64{v[0], v[1]}
	case "VALID":
	case "SAME_UPPER", "SAME_LOWER":
		for i := range 2 {
			in := shape[2+i]
			out := (in + w.strides[i] - 1) / w.strides[i]
			total := max((out-1)*w.strides[i]+w.dilations[i]*(w.kernel[i]-1)+1-in, 0)
			if total%2 != 0 {
				return w, errors.New("its pads are not the same on both sides")
			}
			w.pads[i] = total / 2
		}
	default:
		return w, fmt.Errorf("its auto_pad is %q", auto)
	}
	return w, nil
}

// out is the image size for one of the input's; rest says whether input is left over.
func (w *window) out(shape []int64) (size [2]int64, rest bool, err error) {
	for i := range 2 {
		room := shape[2+i] + 2*w.pads[i] - w.dilations[i]*(w.kernel[i]-1) - 1
		if room < 0 {
			return size, false, fmt.Errorf("its window does not fit an image of shape %s", FormatShape(shape))
		}
		size[i] = room/w.strides[i] + 1
		rest = rest || room%w.strides[i] != 0
	}
	return size, rest, nil
}

// attributes are those of the node in the rewritten model. onnx-go has the two
// pads of a dimension beside each other.
func (w *window) attributes() []*onnxpb.AttributeProto {
	return []*onnxpb.AttributeProto{
		newInts("kernel_shape", w.kernel[:]...), newInts("strides", w.strides[:]...),
		newInts("pads", w.pads[0], w.pads[0], w.pads[1], w.pads[1]),
	}
}

func convRule(p *goPlan, n *onnxpb.NodeProto) error {
	x, xv, err := p.first(n)
	if err != nil {
		return err
	}
	k := p.operand(n, 1)
	if k == nil || len(k.shape) != 4 || len(x.shape) != 4 {
		return errors.New("only images are known, of four dimensions")
	}
	if group := intAttr(n, "group", 1); group != 1 {
		return fmt.Errorf("it has %d groups, one is known", group)
	}
	if k.shape[1] != x.shape[1] {
		return fmt.Errorf("shapes %s and %s do not fit", FormatShape(x.shape), FormatShape(k.shape))
	}
	w, err := windowOf(n, x.shape, k.shape[2:])
	if err != nil {
		return err
	}
	if w.kernel != [2]int64{k.shape[2], k.shape[3]} {
		return errors.New("its kernel_shape is not that of its weights")
	}
	size, _, err := w.out(x.shape)
	if err != nil {
		return err
	}
	kv, err := p.value(k)
	if err != nil {
		return err
	}
	shape := []int64{x.shape[0], k.shape[0], size[0], size[1]}
	attrs := append(w.attributes(), newInts("dilations", w.dilations[:]...))
	out := &operand{shape: shape, name: p.emit("Conv", []string{xv, kv}, attrs...)}
	if b := p.operand(n, 2); b != nil {
		if b.stored == nil || len(b.shape) != 1 || b.shape[0] != k.shape[0] || b.stored.isInt {
			return errors.New("its bias is computed or does not fit")
		}
		bias := &goTensor{shape: []int64{b.shape[0], 1, 1}, floats: b.stored.floats}
		if out, err = p.binary("Add", out, &operand{shape: bias.shape, stored: bias}); err != nil {
			return err
		}
	}
	return p.define(n, out.name, shape)
}

func maxPoolRule(p *goPlan, n *onnxpb.NodeProto) error {
	x, xv, err := p.first(n)
	if err != nil {
		return err
	}
	w, err := windowOf(n, x.shape, nil)
	if err != nil {
		return err
	}
	if w.dilations != [2]int64{1, 1} {
		return errors.New("it has dilations")
	}
	size, rest, err := w.out(x.shape)
	if err != nil {
		return err
	}
	if w.pads[0] == 0 && (w.kernel[0] == x.shape[2] || w.kernel[1] == x.shape[3]) {
		return errors.New("its window is as large as the image") // which gorgonia takes for a mistake
	}
	if rest && intAttr(n, "ceil_mode", 0) != 0 {
		return errors.New("its ceil_mode makes a window that hangs over")
	}
	return p.define(n, p.emit("MaxPool", []string{xv}, w.attributes()...), []int64{x.shape[0], x.shape[1], size[0], size[1]})
}

func globalAveragePoolRule(p *goPlan, n *onnxpb.NodeProto) error {
	x, v, err := p.first(n)
	if err != nil {
		return err
	}
	if len(x.shape) != 4 {
		return errors.New("only images are known, of four dimensions")
	}
	return p.define(n, p.emit("GlobalAveragePool", []string{v}), []int64{x.shape[0], x.shape[1], 1, 1})
}

// reshapeTo defines the node's output as its first input in another shape.
func (p *goPlan) reshapeTo(n *onnxpb.NodeProto, shape []int64) error {
	x, v, err := p.first(n)
	if err != nil {
		return err
	}
	if product(shape) != product(x.shape) {
		return fmt.Errorf("shapes %s and %s do not fit", FormatShape(x.shape), FormatShape(shape))
	}
	return p.define(n, p.reshaped(v, shape), shape)
}

func flattenRule(p *goPlan, n *onnxpb.NodeProto) error {
	x := p.operand(n, 0)
	if x == nil {
		return errors.New("its first input is missing")
	}
	axis := intAttr(n, "axis", 1)
	if axis < 0 {
		axis += int64(len(x.shape))
	}
	if axis < 0 || axis > int64(len(x.shape)) {
		return fmt.Errorf("its axis does not fit rank %d", len(x.shape))
	}
	return p.reshapeTo(n, []int64{product(x.shape[:axis]), product(x.shape[axis:])})
}

// listOf is a list of whole numbers that an attribute gives (older opsets) or a stored input.
func (p *goPlan) listOf(n *onnxpb.NodeProto, name string, input int) ([]int64, error) {
	o := p.operand(n, input)
	if o == nil {
		return intsAttr(n, name), nil
	}
	if o.stored == nil || !o.stored.isInt {
		return nil, fmt.Errorf("its %s is computed", name)
	}
	return o.stored.integers, nil
}

func reshapeRule(p *goPlan, n *onnxpb.NodeProto) error {
	x := p.operand(n, 0)
	to, err := p.listOf(n, "shape", 1)
	if err != nil {
		return err
	}
	if x == nil {
		return errors.New("its first input is missing")
	}
	shape := slices.Clone(to)
	free, known := -1, int64(1)
	for i, d := range shape {
		switch {
		case d == 0 && intAttr(n, "allowzero", 0) == 0 && i < len(x.shape):
			shape[i] = x.shape[i]
			known *= shape[i]
		case d == -1 && free < 0:
			free = i
		case d < 1:
			return fmt.Errorf("its shape is %v", to)
		default:
			known *= d
		}
	}
	if free >= 0 {
		if known == 0 {
			return fmt.Errorf("its shape is %v", to)
		}
		shape[free] = product(x.shape) / known
	}
	return p.reshapeTo(n, shape)
}

func squeezeRule(p *goPlan, n *onnxpb.NodeProto) error {
	x := p.operand(n, 0)
	axes, err := p.listOf(n, "axes", 1)
	if err != nil {
		return err
	}
	if x == nil {
		return errors.New("its first input is missing")
	}
	drop := make([]bool, len(x.shape))
	for _, a := range axes {
		at, err := axisOf(a, len(x.shape))
		if err != nil {
			return err
		}
		if x.shape[at] != 1 {
			return fmt.Errorf("its axis %d has %d elements", a, x.shape[at])
		}
		drop[at] = true
	}
	shape := []int64{}
	for i, d := range x.shape {
		if !drop[i] && (d != 1 || len(axes) > 0) {
			shape = append(shape, d)
		}
	}
	return p.reshapeTo(n, shape)
}

func unsqueezeRule(p *goPlan, n *onnxpb.NodeProto) error {
	x := p.operand(n, 0)
	axes, err := p.listOf(n, "axes", 1)
	if err != nil {
		return err
	}
	if x == nil {
		return errors.New("its first input is missing")
	}
	shape := make([]int64, len(x.shape)+len(axes))
	for _, a := range axes {
		at, err := axisOf(a, len(shape))
		if err != nil {
			return err
		}
		if shape[at] != 0 {
			return fmt.Errorf("its axis %d stands twice", a)
		}
		shape[at] = 1
	}
	rest := x.shape
	for i := range shape {
		if shape[i] == 0 {
			shape[i], rest = rest[0], rest[1:]
		}
	}
	return p.reshapeTo(n, shape)
}

func transposeRule(p *goPlan, n *onnxpb.NodeProto) error {
	x, v, err := p.first(n)
	if err != nil {
		return err
	}
	perm := intsAttr(n, "perm")
	if perm == nil {
		for i := range x.shape {
			perm = append(perm, int64(len(x.shape)-1-i))
		}
	}
	shape := make([]int64, len(x.shape))
	seen := make([]bool, len(x.shape))
	if len(perm) != len(shape) {
		return fmt.Errorf("its perm %v does not fit rank %d", perm, len(shape))
	}
	for i, from := range perm {
		if from < 0 || from >= int64(len(shape)) || seen[from] {
			return fmt.Errorf("its perm %v does not fit rank %d", perm, len(shape))
		}
		seen[from] = true
		shape[i] = x.shape[from]
	}
	if slices.IsSorted(perm) {
		return p.define(n, p.emit("Identity", []string{v}), shape)
	}
	return p.define(n, p.emit("Transpose", []string{v}, newInts("perm", perm...)), shape)
}

func concatRule(p *goPlan, n *onnxpb.NodeProto) error {
	x := p.operand(n, 0)
	if x == nil || attribute(n, "axis") == nil {
		return errors.New("an input or its axis is missing")
	}
	axis, err := axisOf(intAttr(n, "axis", 0), len(x.shape))
	if err != nil {
		return err
	}
	shape := slices.Clone(x.shape)
	shape[axis] = 0
	var values []string
	for i := range n.GetInput() {
		o := p.operand(n, i)
		if o == nil || len(o.shape) != len(shape) {
			return errors.New("its inputs do not fit each other")
		}
		for k, d := range o.shape {
			if k != axis && d != shape[k] {
				return errors.New("its inputs do not fit each other")
			}
		}
		shape[axis] += o.shape[axis]
		v, err := p.value(o)
		if err != nil {
			return err
		}
		values = append(values, v)
	}
	if len(values) == 1 {
		return p.define(n, p.emit("Identity", values), shape)
	}
	// gorgonia concatenates reliably along the first dimension only: elsewhere it
	// fails on operands of one element there. So what stands before the axis goes
	// behind it and comes back afterwards.
	before, behind := product(shape[:axis]), product(shape[axis+1:])
	for i := range values {
		o := p.operand(n, i)
		wide := o.shape[axis] * behind
		if before == 1 && wide == 1 {
			return errors.New("one of its inputs is a single number")
		}
		if before == 1 {
			values[i] = p.reshaped(values[i], []int64{wide})
		} else {
			values[i] = p.emit("Transpose", []string{p.reshaped(values[i], []int64{before, wide})}, newInts("perm", 1, 0))
		}
	}
	out := p.emit("Concat", values, newInt("axis", 0))
	if before != 1 {
		out = p.emit("Transpose", []string{out}, newInts("perm", 1, 0))
	}
	return p.define(n, p.reshaped(out, shape), shape)
}

// softmaxRule normalises over the last dimension (opset 13), or over all from
// the axis on (before); both as rows of a matrix.
func softmaxRule(p *goPlan, n *onnxpb.NodeProto) error {
	x, v, err := p.first(n)
	if err != nil {
		return err
	}
	missing := int64(-1)
	if p.g.opset < 13 {
		missing = 1
	}
	axis, err := axisOf(intAttr(n, "axis", missing), len(x.shape))
	if err != nil {
		return err
	}
	if p.g.opset >= 13 && axis != len(x.shape)-1 {
		return fmt.Errorf("its axis %d is not the last", axis)
	}
	rows := p.reshaped(v, []int64{product(x.shape[:axis]), product(x.shape[axis:])})
	return p.define(n, p.reshaped(p.emit("Softmax", []string{rows}, newInt("axis", 1)), x.shape), x.shape)
}
