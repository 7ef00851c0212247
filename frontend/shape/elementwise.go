package shape

import (
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// elementFn computes an element of an output from elements of the inputs; nil if
// it is not known. No argument is nil.
type elementFn func(c *call, x []*expr) *expr

// constDims are dims as numbers; false if one is not.
func constDims(dims []*expr) ([]int64, bool) {
	out := make([]int64, len(dims))
	for i, d := range dims {
		n, ok := d.constant()
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// followed says whether contents of a tensor of these extents are followed, and
// how many elements it has.
func (in *inferrer) followed(v *value) (int, bool) {
	n := v.elements()
	return int(n), n >= 0 && n <= maxContents && n <= int64(in.contents)
}

// exactArithmetic says whether contents of type e may be computed with: others
// wrap around too easily.
func exactArithmetic(e ir.ElemType) bool {
	return e == ir.Int64 || e == ir.Int32 || e == ir.Bool || isFloat(e)
}

// fill computes the contents of out from those of the given inputs, which
// broadcast to it.
func (c *call) fill(out *value, fn elementFn, ins ...int) {
	n, ok := c.in.followed(out)
	if !ok || fn == nil || len(ins) == 0 {
		return
	}
	dims, _ := constDims(out.dims)
	data := make([][]*expr, len(ins))
	strides := make([][]int, len(ins))
	for k, i := range ins {
		if !exactArithmetic(c.elem(i)) {
			return
		}
		if data[k] = c.data(i); data[k] == nil {
			return
		}
		own, ok := constDims(c.input(i).dims)
		if !ok || len(own) > len(dims) {
			return
		}
		strides[k] = broadcastStrides(own, dims)
	}
	out.data = make([]*expr, n)
	at := make([]int, len(ins))
	index := make([]int64, len(dims))
	args := make([]*expr, len(ins))
	for e := range out.data {
		known := true
		for k := range ins {
			if at[k] >= len(data[k]) {
				out.data = nil
				return
			}
			args[k] = data[k][at[k]]
			known = known && args[k] != nil
		}
		if known {
			out.data[e] = fn(c, args)
		}
		for d := len(dims) - 1; d >= 0; d-- {
			index[d]++
			for k := range ins {
				at[k] += strides[k][d]
			}
			if index[d] < dims[d] {
				break
			}
			for k := range ins {
				at[k] -= strides[k][d] * int(dims[d])
			}
			index[d] = 0
		}
	}
}

// broadcastStrides are the strides of a tensor of extents own along the axes of
// dims: 0 where it repeats.
func broadcastStrides(own, dims []int64) []int {
	out := make([]int, len(dims))
	off := len(dims) - len(own)
	stride := 1
	for i := len(own) - 1; i >= 0; i-- {
		if own[i] != 1 {
			out[off+i] = stride
		}
		stride *= int(own[i])
	}
	return out
}

// sameAsFirst: the output has the type of the first input.
func sameAsFirst(c *call) { c.set(0, c.input(0).withoutData().asTensor()) }

// asTensor makes a value of unknown kind the tensor that it must be.
func (v *value) asTensor() *value {
	if v.kind == ir.UnknownKind {
		w := *v
		w.kind, w.public = ir.Tensor, nil
		return &w
	}
	return v
}

// allSameAsFirst: every output has the type of the first input.
func allSameAsFirst(c *call) {
	for i := range c.outs {
		c.set(i, c.input(0).withoutData().asTensor())
	}
}

// unary: like sameAsFirst, contents computed by fn.
func unary(fn elementFn) func(*call) {
	return func(c *call) {
		v := c.input(0)
		out := shaped(v.elem, v.dims, v.ranked)
		c.fill(out, fn, 0)
		c.set(0, out)
	}
}

func identity(c *call) { c.set(0, c.input(0)) }

// pairwise: both inputs broadcast; before version 7 the second to the first.
func pairwise(fn elementFn) func(*call) {
	return func(c *call) {
		elem := c.elem(0)
		if elem == ir.UndefinedElem {
			elem = c.elem(1)
		}
		c.set(0, c.elementwise(elem, fn, 0, 1))
	}
}

// predicate: like pairwise, but the output is bool.
func predicate(fn elementFn) func(*call) {
	return func(c *call) { c.set(0, c.elementwise(ir.Bool, fn, 0, 1)) }
}

// elementwise is the output of an operator that broadcasts the given inputs.
func (c *call) elementwise(elem ir.ElemType, fn elementFn, ins ...int) *value {
	if c.since < 7 && c.domainIsStandard() {
		v := c.input(0)
		return shaped(elem, v.dims, v.ranked)
	}
	dims, ok := c.broadcastInputs(ins...)
	out := shaped(elem, dims, ok)
	if ok {
		c.fill(out, fn, ins...)
	}
	return out
}

func (c *call) domainIsStandard() bool { return canonicalDomain(c.n.GetDomain()) == "" }

// variadic: all inputs broadcast; before version 8 they have one shape.
func variadic(fn elementFn) func(*call) {
	return func(c *call) {
		if c.since < 8 {
			sameAsFirst(c)
			return
		}
		ins := make([]int, len(c.ins))
		elem := ir.UndefinedElem
		for i := range ins {
			ins[i] = i
			if elem == ir.UndefinedElem {
				elem = c.elem(i)
			}
		}
		c.set(0, c.elementwise(elem, fn, ins...))
	}
}

func addElements(c *call, x []*expr) *expr {
	if x[0].real != x[1].real {
		return nil // the types differ, which ONNX forbids
	}
	if x[0].real {
		return c.al.realAdd(x[0], x[1], 1)
	}
	return c.al.add(x[0], x[1])
}

func subElements(c *call, x []*expr) *expr {
	if x[0].real != x[1].real {
		return nil // the types differ, which ONNX forbids
	}
	if x[0].real {
		return c.al.realAdd(x[0], x[1], -1)
	}
	return c.al.sub(x[0], x[1])
}

func mulElements(c *call, x []*expr) *expr {
	if x[0].real != x[1].real {
		return nil // the types differ, which ONNX forbids
	}
	if x[0].real {
		return c.al.realMul(x[0], x[1])
	}
	return c.al.mul(x[0], x[1])
}

func divElements(c *call, x []*expr) *expr {
	if x[0].real != x[1].real {
		return nil // the types differ, which ONNX forbids
	}
	if x[0].real {
		return c.al.realDiv(x[0], x[1])
	}
	return c.al.truncDiv(x[0], x[1])
}

// modElements: the sign of the result follows the divisor unless fmod is set.
func modElements(c *call, x []*expr) *expr {
	if x[0].real || x[1].real || x[1].is(0) {
		return nil
	}
	if c.attrInt("fmod", 0) != 0 {
		q := c.al.truncDiv(x[0], x[1])
		if q == nil {
			return nil
		}
		return c.al.sub(x[0], c.al.mul(x[1], q))
	}
	return c.al.mod(x[0], x[1])
}

func powElements(c *call, x []*expr) *expr {
	if x[0].real {
		if !x[1].real {
			return c.al.realFn("pow", math.Pow(x[0].fval, float64(x[1].val)), x[0], c.al.toReal(x[1]))
		}
		return c.al.realFn("pow", math.Pow(x[0].fval, x[1].fval), x[0], x[1])
	}
	n, ok := x[1].constant()
	if x[1].real {
		n, ok = int64(x[1].fval), x[1].op == opRealConst && x[1].fval == math.Trunc(x[1].fval)
	}
	if !ok || n < 0 || n > maxDegree {
		return nil
	}
	p := c.num(1)
	for range n {
		p = c.al.mul(p, x[0])
	}
	return p
}

func negElement(c *call, x []*expr) *expr {
	if x[0].real {
		return c.al.realMul(x[0], c.al.realConst(-1))
	}
	return c.al.mul(x[0], c.num(-1))
}

func absElement(c *call, x []*expr) *expr {
	if x[0].real {
		return c.al.realFn("abs", math.Abs(x[0].fval), x[0])
	}
	return c.al.max(x[0], c.al.mul(x[0], c.num(-1)))
}

func floorElement(c *call, x []*expr) *expr {
	if !x[0].real {
		return nil
	}
	return c.al.realFloor(x[0])
}

func ceilElement(c *call, x []*expr) *expr {
	if !x[0].real {
		return nil
	}
	return c.al.realCeil(x[0])
}

func roundElement(c *call, x []*expr) *expr {
	if !x[0].real {
		return nil
	}
	if x[0].op == opRatio && x[0].num == 1 {
		return x[0]
	}
	return c.al.realFn("round", math.RoundToEven(x[0].fval), x[0])
}

// realElement is a function of one real that is followed for its value only.
func realElement(name string, f func(float64) float64) elementFn {
	return func(c *call, x []*expr) *expr {
		if !x[0].real {
			return nil
		}
		return c.al.realFn(name, f(x[0].fval), x[0])
	}
}

func signElement(c *call, x []*expr) *expr {
	if x[0].real {
		return nil
	}
	if x[0].lo > 0 {
		return c.num(1)
	}
	return c.al.sub(c.al.less(c.num(0), x[0]), c.al.less(x[0], c.num(0)))
}

func maxElements(c *call, x []*expr) *expr { return extreme(c, x, c.al.max, math.Max, "max") }
func minElements(c *call, x []*expr) *expr { return extreme(c, x, c.al.min, math.Min, "min") }

func extreme(c *call, x []*expr, ints func(x, y *expr) *expr, reals func(x, y float64) float64, name string) *expr {
	m := x[0]
	for _, y := range x[1:] {
		switch {
		case m.real != y.real:
			return nil
		case !m.real:
			m = ints(m, y)
		case m.op == opRatio && y.op == opRatio && m.num == 1 && y.num == 1:
			m = c.al.toReal(ints(m.args[0], y.args[0]))
		default:
			m = c.al.realFn(name, reals(m.fval, y.fval), m, y)
		}
	}
	return m
}

func sumElements(c *call, x []*expr) *expr {
	s := x[0]
	for _, y := range x[1:] {
		if s = addElements(c, []*expr{s, y}); s == nil {
			return nil
		}
	}
	return s
}

func equalElements(c *call, x []*expr) *expr { return c.compare(c.al.equal, x[0], x[1]) }
func lessElements(c *call, x []*expr) *expr  { return c.compare(c.al.less, x[0], x[1]) }
func greaterElements(c *call, x []*expr) *expr {
	return c.compare(c.al.less, x[1], x[0])
}

func lessOrEqualElements(c *call, x []*expr) *expr {
	if g := greaterElements(c, x); g != nil {
		return c.al.not(g)
	}
	return nil
}

func greaterOrEqualElements(c *call, x []*expr) *expr {
	if l := lessElements(c, x); l != nil {
		return c.al.not(l)
	}
	return nil
}

// compare compares integers, or reals that are exact.
func (c *call) compare(f func(x, y *expr) *expr, x, y *expr) *expr {
	if x.real != y.real {
		return nil
	}
	if !x.real {
		return f(x, y)
	}
	xn, xd, ok1 := c.al.asRatio(x)
	yn, yd, ok2 := c.al.asRatio(y)
	if !ok1 || !ok2 {
		return nil
	}
	return f(c.al.mul(xn, c.num(yd)), c.al.mul(yn, c.num(xd)))
}

func notElement(c *call, x []*expr) *expr {
	if x[0].real {
		return nil
	}
	return c.al.not(x[0])
}

func andElements(c *call, x []*expr) *expr { return ofIntegers(c.al.min, x) }
func orElements(c *call, x []*expr) *expr  { return ofIntegers(c.al.max, x) }

func xorElements(c *call, x []*expr) *expr {
	return ofIntegers(func(x, y *expr) *expr { return c.al.not(c.al.equal(x, y)) }, x)
}

func ofIntegers(f func(x, y *expr) *expr, x []*expr) *expr {
	if x[0].real || x[1].real {
		return nil
	}
	return f(x[0], x[1])
}

// toBool: the output is bool and has the shape of the input.
func toBool(fn elementFn) func(*call) {
	return func(c *call) {
		v := c.input(0)
		out := shaped(ir.Bool, v.dims, v.ranked)
		c.fill(out, fn, 0)
		c.set(0, out)
	}
}

// where picks elements by a condition.
func where(c *call) {
	elem := c.elem(1)
	if elem == ir.UndefinedElem {
		elem = c.elem(2)
	}
	c.set(0, c.elementwise(elem, func(c *call, x []*expr) *expr {
		if x[0].real || x[1].real != x[2].real {
			return nil
		}
		if !x[1].real {
			return c.al.selectOf(x[0], x[1], x[2])
		}
		if n, ok := x[0].constant(); ok {
			if n != 0 {
				return x[1]
			}
			return x[2]
		}
		f := x[1].fval
		if x[0].val == 0 {
			f = x[2].fval
		}
		return c.al.realFn("where", f, x...)
	}, 0, 1, 2))
}

// clip bounds elements: by attributes before version 11, by inputs since.
func clip(c *call) {
	v := c.input(0)
	out := shaped(v.elem, v.dims, v.ranked)
	lo, hi := c.scalar(1), c.scalar(2)
	if c.since >= 11 && (!c.has(1) || lo != nil) && (!c.has(2) || hi != nil) {
		c.fill(out, func(c *call, x []*expr) *expr {
			y := x
			if lo != nil {
				y = []*expr{maxElements(c, []*expr{y[0], lo})}
			}
			if hi != nil && y[0] != nil {
				y = []*expr{minElements(c, []*expr{y[0], hi})}
			}
			return y[0]
		}, 0)
	}
	c.set(0, out)
}

// castTo is contents of one type as another.
func (c *call) castTo(out *value) {
	from, to := c.elem(0), out.elem
	if !isFloat(from) && !isIntegral(from) {
		return
	}
	data := c.data(0)
	if n, ok := c.in.followed(out); !ok || data == nil || len(data) != n {
		return
	}
	out.data = make([]*expr, len(data))
	for i, x := range data {
		if x == nil {
			continue
		}
		switch {
		case isFloat(to) && !x.real:
			out.data[i] = c.al.toReal(x)
		case isFloat(to):
			out.data[i] = x
		case to == ir.Bool && x.real:
			if x.op == opRealConst {
				out.data[i] = c.num(boolInt(x.fval != 0))
			}
		case to == ir.Bool:
			out.data[i] = c.al.not(c.al.not(x))
		case isIntegral(to):
			if x.real {
				x = c.al.trunc(x)
			}
			if x != nil && fitsType(x, to) {
				out.data[i] = x
			}
		}
	}
}

// fitsType says whether no run makes x leave the range of t. Extents are taken
// to fit 32 bits.
func fitsType(x *expr, t ir.ElemType) bool {
	switch t {
	case ir.Int64, ir.Int32:
		return true
	case ir.Uint64, ir.Uint32:
		return x.lo >= 0
	}
	lo, hi := int64(0), int64(1)<<t.Bits()-1
	switch t {
	case ir.Int8, ir.Int16, ir.Int4, ir.Int2:
		lo, hi = -(int64(1) << (t.Bits() - 1)), int64(1)<<(t.Bits()-1)-1
	}
	return x.lo >= lo && x.hi <= hi
}

// attrElem is the element type in an attribute. Version 1 of Cast wrote its name.
func (c *call) attrElem(name string, def ir.ElemType) ir.ElemType {
	at := c.attr(name)
	if at == nil {
		return def
	}
	if at.S != nil {
		for _, t := range [...]struct {
			name string
			elem ir.ElemType
		}{{"FLOAT", ir.Float32}, {"FLOAT16", ir.Float16}, {"DOUBLE", ir.Float64}, {"INT64", ir.Int64}, {"INT32", ir.Int32}, {"INT16", ir.Int16}, {"INT8", ir.Int8}, {"UINT8", ir.Uint8}, {"UINT16", ir.Uint16}, {"UINT32", ir.Uint32}, {"UINT64", ir.Uint64}, {"BOOL", ir.Bool}, {"STRING", ir.String}} {
			if t.name == string(at.GetS()) {
				return t.elem
			}
		}
		return ir.UndefinedElem
	}
	if at.I == nil {
		return def
	}
	if e := at.GetI(); e > 0 && e < math.MaxInt16 {
		return ir.ElemType(e)
	}
	return ir.UndefinedElem
}

func cast(c *call) {
	out := c.input(0).withElem(c.attrElem("to", ir.UndefinedElem))
	c.castTo(out)
	c.set(0, out)
}

func castLike(c *call) {
	out := c.input(0).withElem(c.elem(1))
	c.castTo(out)
	c.set(0, out)
}

func bitCast(c *call) { c.set(0, c.input(0).withElem(c.attrElem("to", ir.UndefinedElem))) }

func dropout(c *call) {
	sameAsFirst(c)
	if v := c.input(0); c.domainIsStandard() && c.since < 10 {
		c.set(1, v.withElem(v.elem))
	} else {
		c.set(1, v.withElem(ir.Bool))
	}
}

// sameAs: the output has the type of input i.
func sameAs(i int) func(*call) {
	return func(c *call) { c.set(0, c.input(i).withoutData().asTensor()) }
}
