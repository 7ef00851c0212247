package shape

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// constant is a node that holds a value in its attributes.
func constant(c *call) {
	scalarOrList := func(elem ir.ElemType, n int, list bool, at func(i int) *expr) {
		out := tensor(elem)
		if list {
			out.dims = []*expr{c.num(int64(n))}
		}
		if k, ok := c.in.followed(out); ok {
			out.data = make([]*expr, k)
			for i := range out.data {
				if at != nil {
					out.data[i] = at(i)
				}
			}
		}
		c.set(0, out)
	}
	for _, at := range c.n.Attribute {
		at = c.attr(at.GetName())
		if at == nil {
			continue
		}
		switch {
		case at.T != nil:
			c.set(0, c.in.storedTensor(at.T))
		case at.SparseTensor != nil:
			dims := c.in.numbers(at.SparseTensor.Dims)
			c.set(0, tensor(ir.ElemType(at.SparseTensor.GetValues().GetDataType()), dims...))
		case at.I != nil:
			scalarOrList(ir.Int64, 1, false, func(int) *expr { return c.num(at.GetI()) })
		case at.F != nil:
			scalarOrList(ir.Float32, 1, false, func(int) *expr { return c.al.realConst(float64(at.GetF())) })
		case at.S != nil:
			scalarOrList(ir.String, 1, false, nil)
		case c.attr("value_ints") != nil:
			scalarOrList(ir.Int64, len(at.Ints), true, func(i int) *expr { return c.num(at.Ints[i]) })
		case c.attr("value_floats") != nil:
			scalarOrList(ir.Float32, len(at.Floats), true, func(i int) *expr { return c.al.realConst(float64(at.Floats[i])) })
		case c.attr("value_strings") != nil:
			scalarOrList(ir.String, len(at.Strings), true, nil)
		default:
			continue
		}
		return
	}
	c.reject(c.firstOutput(), "the constant has no value")
}

// constantOfShape fills a tensor; its contents are followed only if it is small.
func constantOfShape(c *call) {
	elem := ir.Float32
	fill := c.al.realConst(0)
	if at := c.attr("value"); at != nil && at.T != nil {
		elem = ir.ElemType(at.T.GetDataType())
		fill = nil
		if v := c.in.storedTensor(at.T); v.elements() == 1 {
			if data := c.in.contentsOf(v); len(data) == 1 {
				fill = data[0]
			}
		}
	}
	dims := c.shapeDims(0)
	if dims == nil {
		c.set(0, unranked(elem))
		return
	}
	out := tensor(elem, dims...)
	if n, ok := c.in.followed(out); ok && fill != nil {
		out.data = slices.Repeat([]*expr{fill}, n)
	}
	c.set(0, out)
}

// shapeDims are extents that input i states; nil if not even the rank is known.
func (c *call) shapeDims(i int) []*expr {
	shape := c.shapeInput(i)
	if shape == nil {
		return nil
	}
	dims := make([]*expr, len(shape))
	for k, d := range shape {
		switch {
		case d == nil || d.real:
			d = c.dataDependent(0, k, nil, "contents")
		case d.hi < 0:
			c.reject(c.inputName(i), "the shape has an extent of %d, want at least 0", d.val)
			d = c.num(0)
		case d.lo < 0:
			// A computed extent: the run fails if it is negative.
		}
		dims[k] = d
	}
	return dims
}

// rangeOf is the sequence start, start+delta, … below limit.
func rangeOf(c *call) {
	elem := c.elem(0)
	start, limit, delta := c.scalar(0), c.scalar(1), c.scalar(2)
	if start == nil || limit == nil || delta == nil {
		c.set(0, tensor(elem, c.dataDependent(0, 0, limit, "contents")))
		return
	}
	var n *expr
	switch {
	case start.real || limit.real || delta.real:
		n = c.realRange(start, limit, delta)
	case delta.is(0):
		c.reject(c.inputName(2), "the step is 0")
		return
	case delta.isConst():
		n = c.al.max(c.num(0), c.al.ceilDiv(c.al.sub(limit, start), delta))
	default:
		if delta.lo > 0 {
			n = c.al.max(c.num(0), c.al.ceilDiv(c.al.sub(limit, start), delta))
		}
	}
	if n == nil {
		n = c.dataDependent(0, 0, nil, "contents")
	}
	out := tensor(elem, n)
	if k, ok := c.in.followed(out); ok && exactArithmetic(elem) && !start.real {
		out.data = make([]*expr, k)
		for i := range out.data {
			out.data[i] = c.al.add(start, c.al.mul(delta, c.num(int64(i))))
		}
	}
	c.set(0, out)
}

// realRange is the length of a range of reals; nil if it is not known.
func (c *call) realRange(start, limit, delta *expr) *expr {
	sn, sd, ok1 := c.al.asRatio(start)
	ln, ld, ok2 := c.al.asRatio(limit)
	dn, dd, ok3 := c.al.asRatio(delta)
	if ok1 && ok2 && ok3 && sd == 1 && ld == 1 && dd == 1 && dn.isConst() && !dn.is(0) {
		return c.al.max(c.num(0), c.al.ceilDiv(c.al.sub(ln, sn), dn))
	}
	if start.op == opRealConst && limit.op == opRealConst && delta.op == opRealConst && delta.fval != 0 {
		n := math.Ceil((limit.fval - start.fval) / delta.fval)
		if n >= 0 && n < maxExtent {
			return c.num(int64(n))
		}
	}
	if delta.fval != 0 {
		n := math.Ceil((limit.fval - start.fval) / delta.fval)
		if n >= 0 && n < maxExtent {
			e := c.fresh(c.num(int64(n)))
			e.assumed = start.assumed || limit.assumed || delta.assumed
			return e
		}
	}
	return nil
}

func eyeLike(c *call) {
	c.set(0, c.input(0).withElem(c.attrElem("dtype", c.elem(0))))
}

// random of a shape in an attribute.
func random(c *call) {
	shape, _ := c.attrInts("shape")
	c.set(0, tensor(c.attrElem("dtype", ir.Float32), c.in.numbers(shape)...))
}

func randomLike(c *call) {
	c.set(0, c.input(0).withElem(c.attrElem("dtype", c.elem(0))))
}

func multinomial(c *call) {
	c.set(0, tensor(c.attrElem("dtype", ir.Int32), c.firstDim(c.input(0)), c.num(c.attrInt("sample_size", 1))))
}

// signalWindow is a vector of as many elements as its input says.
func signalWindow(c *call) {
	n := c.scalar(0)
	if n == nil || n.lo < 0 {
		n = c.dataDependent(0, 0, n, "contents")
	}
	c.set(0, tensor(c.attrElem("output_datatype", ir.Float32), n))
}

func melWeightMatrix(c *call) {
	bins, length := c.scalar(0), c.scalar(1)
	elem := c.attrElem("output_datatype", ir.Float32)
	if bins == nil || length == nil || bins.lo < 0 || length.lo < 0 {
		c.set(0, tensor(elem, c.dataDependent(0, 0, length, "contents"), c.dataDependent(0, 1, bins, "contents")))
		return
	}
	c.set(0, tensor(elem, c.al.add(c.al.floorDiv(length, c.num(2)), c.num(1)), bins))
}

// dft transforms along one axis; onesided keeps the first half.
func dft(c *call) {
	v := c.input(0)
	if !v.ranked || len(v.dims) < 2 {
		c.set(0, unranked(v.elem))
		return
	}
	axis := c.attrInt("axis", 1)
	if c.since >= 20 {
		axis = -2
		if c.has(2) {
			if ns, ok := c.ints(2); ok && len(ns) == 1 {
				axis = ns[0]
			} else {
				c.set(0, tensor(v.elem, c.unknownDims(len(v.dims))...))
				return
			}
		}
	}
	at, ok := c.axis(axis, len(v.dims))
	if !ok {
		return
	}
	oneSided, inverse := c.attrInt("onesided", 0) != 0, c.attrInt("inverse", 0) != 0
	dims := slices.Clone(v.dims)
	n := dims[at]
	if c.has(1) {
		if n = c.scalar(1); n == nil || n.lo < 0 {
			n = c.dataDependent(0, at, dims[at], "contents")
		}
	}
	last := len(dims) - 1
	switch {
	case oneSided && inverse:
		// The input is half of a symmetric spectrum; the output is real.
		if !c.has(1) {
			n = c.al.mul(c.al.sub(n, c.num(1)), c.num(2))
		}
		dims[last] = c.num(1)
	case oneSided:
		n = c.al.add(c.al.floorDiv(n, c.num(2)), c.num(1))
		dims[last] = c.num(2)
	default:
		dims[last] = c.num(2)
	}
	dims[at] = n
	c.set(0, tensor(v.elem, dims...))
}

// stft transforms frames of a signal.
func stft(c *call) {
	v := c.input(0)
	step := c.scalar(1)
	var length *expr
	if c.has(3) {
		length = c.scalar(3)
	} else if w := c.input(2); w.rank() == 1 {
		length = w.dims[0]
	}
	if v.rank() < 2 || step == nil || length == nil || step.lo <= 0 {
		c.set(0, tensor(v.elem, c.firstDim(v), c.fresh(nil), c.fresh(nil), c.num(2)))
		return
	}
	frames := c.al.add(c.al.floorDiv(c.al.sub(v.dims[1], length), step), c.num(1))
	bins := length
	if c.attrInt("onesided", 1) != 0 {
		bins = c.al.add(c.al.floorDiv(length, c.num(2)), c.num(1))
	}
	c.set(0, tensor(v.elem, v.dims[0], frames, bins, c.num(2)))
}
