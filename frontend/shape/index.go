package shape

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func gather(c *call) {
	v, ix := c.input(0), c.input(1)
	if !v.ranked || !ix.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", 0), len(v.dims))
	if !ok {
		return
	}
	out := tensor(v.elem, slices.Concat(v.dims[:axis], ix.dims, v.dims[axis+1:])...)
	own, ok := constDims(v.dims)
	picks := c.data(1)
	ixDims, ok2 := constDims(ix.dims)
	if ok && ok2 && picks != nil {
		c.gatherData(out, v, func(index []int64) int64 {
			k := flatIndex(index[axis:axis+len(ixDims)], ixDims)
			if k < 0 || k >= int64(len(picks)) {
				return -1
			}
			p, ok := picks[k].constant()
			if !ok {
				return -1
			}
			if p < 0 {
				p += own[axis]
			}
			return flatIndex(slices.Concat(index[:axis], []int64{p}, index[axis+len(ixDims):]), own)
		})
	}
	c.set(0, out)
}

// likeIndices: the output has the element type of the first input and the shape
// of the second.
func likeIndices(c *call) {
	ix := c.input(1)
	c.set(0, shaped(c.elem(0), ix.dims, ix.ranked))
}

func gatherND(c *call) {
	v, ix := c.input(0), c.input(1)
	if !v.ranked || !ix.ranked || len(ix.dims) == 0 {
		c.set(0, unranked(v.elem))
		return
	}
	batch := c.attrInt("batch_dims", 0)
	last, ok := ix.dims[len(ix.dims)-1].constant()
	if !ok {
		c.set(0, unranked(v.elem))
		return
	}
	if batch < 0 || last < 0 || batch+last > int64(len(v.dims)) || batch >= int64(len(ix.dims)) {
		c.reject(c.inputName(1), "indices of %d entries behind %d batch axes do not fit a tensor of rank %d", last, batch, len(v.dims))
		return
	}
	c.set(0, tensor(v.elem, slices.Concat(ix.dims[:len(ix.dims)-1], v.dims[batch+last:])...))
}

// slice cuts each axis. Starts and ends may be expressions.
func slice(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	var starts, ends, steps []*expr
	var axes []int64
	axesKnown := true
	if c.since < 10 && c.domainIsStandard() {
		s, _ := c.attrInts("starts")
		e, _ := c.attrInts("ends")
		starts, ends = c.in.numbers(s), c.in.numbers(e)
		axes, _ = c.attrInts("axes")
	} else {
		starts, ends = c.shapeInput(1), c.shapeInput(2)
		if c.has(3) {
			axes, axesKnown = c.ints(3)
		}
		if c.has(4) {
			steps = c.shapeInput(4)
		}
	}
	n := max(len(starts), len(ends), len(axes))
	if !axesKnown || n == 0 && starts == nil && ends == nil {
		dims := make([]*expr, len(v.dims))
		for i, d := range v.dims {
			dims[i] = c.dataDependent(0, i, d, "contents")
		}
		c.set(0, tensor(v.elem, dims...))
		return
	}
	if axes == nil {
		for i := range n {
			axes = append(axes, int64(i))
		}
	}
	if len(axes) < n {
		c.reject(c.inputName(0), "%d axes are given for %d slices", len(axes), n)
		return
	}
	dims := slices.Clone(v.dims)
	from, by := make([]*expr, len(dims)), make([]int64, len(dims))
	for i := range dims {
		from[i], by[i] = c.num(0), 1
	}
	at := func(list []*expr, i int) *expr {
		if i < len(list) {
			return list[i]
		}
		return nil
	}
	for i, a := range axes {
		axis, ok := c.axis(a, len(dims))
		if !ok {
			return
		}
		step := at(steps, i)
		if !c.has(4) {
			step = c.num(1)
		}
		if step.is(0) {
			c.reject(c.inputName(4), "the step of axis %d is 0", axis)
			return
		}
		k, ok := step.constant()
		start, end := at(starts, i), at(ends, i)
		if !ok || start == nil || end == nil || start.real || end.real {
			dims[axis] = c.dataDependent(0, axis, v.dims[axis], "contents")
			from[axis] = nil
			continue
		}
		dims[axis], from[axis] = c.sliced(v.dims[axis], start, end, k)
		by[axis] = k
	}
	out := tensor(v.elem, dims...)
	if own, ok := constDims(v.dims); ok {
		if begin, ok := constDims(replaceNil(from)); ok {
			c.gatherData(out, v, func(index []int64) int64 {
				src := make([]int64, len(index))
				for i, x := range index {
					src[i] = begin[i] + x*by[i]
				}
				return flatIndex(src, own)
			})
		}
	}
	c.set(0, out)
}

// replaceNil makes absent entries something that is no constant.
func replaceNil(list []*expr) []*expr {
	out := slices.Clone(list)
	for i := range out {
		if out[i] == nil {
			out[i] = &expr{op: opSymbol}
		}
	}
	return out
}

// sliced is the extent of d[start:end:step], and where the slice begins.
func (c *call) sliced(d, start, end *expr, step int64) (extent, begin *expr) {
	al := c.al
	zero := c.num(0)
	if step > 0 {
		// Clamping the start from above and the end from below would change
		// nothing: the extent is 0 then.
		from, stop := c.fromEnd(start, d), c.fromEnd(end, d)
		if from == nil {
			from = d
		}
		begin = al.max(zero, from)
		switch n, ok := end.constant(); {
		case stop == nil:
			stop = d
		case ok && n < 0: // d - |n| is below d
		default:
			stop = al.min(stop, d)
		}
		// stop - max(0, from) = min(stop, stop - from)
		length := al.min(stop, al.sub(stop, from))
		return al.max(zero, al.ceilDiv(length, c.num(step))), begin
	}
	last := al.sub(d, c.num(1))
	from, stop := c.fromEnd(start, d), c.fromEnd(end, d)
	if from == nil {
		from = last
	}
	begin = al.max(zero, al.min(from, last))
	if n, ok := end.constant(); ok && n <= -maxExtent {
		stop = c.num(-1)
	} else if stop == nil {
		stop = last
	}
	stop = al.max(c.num(-1), al.min(stop, last))
	if step == math.MinInt64 {
		step++
	}
	return al.max(zero, al.ceilDiv(al.sub(begin, stop), c.num(-step))), begin
}

// fromEnd is a start or end of a slice along an axis of extent d, with negative
// ones counted from the end; nil if it lies behind every extent.
func (c *call) fromEnd(x, d *expr) *expr {
	al := c.al
	if n, ok := x.constant(); ok && n >= maxExtent {
		return nil
	}
	switch {
	case x.lo >= 0:
		return x
	case x.hi < 0:
		if x.hi <= -maxExtent {
			return c.num(0)
		}
		return al.add(x, d)
	}
	return al.selectOf(al.less(x, c.num(0)), al.add(x, d), x)
}

func topK(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(v.elem))
		c.set(1, unranked(ir.Int64))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", -1), len(v.dims))
	if !ok {
		return
	}
	var k *expr
	if c.since < 10 {
		k = c.num(c.attrInt("k", 0))
	} else {
		k = c.scalar(1)
	}
	if k == nil || k.real || k.lo < 0 {
		k = c.dataDependent(0, axis, v.dims[axis], "contents")
	}
	dims := slices.Clone(v.dims)
	dims[axis] = k
	c.set(0, tensor(v.elem, dims...))
	c.set(1, tensor(ir.Int64, dims...))
}

func nonZero(c *call) {
	v := c.input(0)
	var n *expr
	if v.ranked {
		n = c.al.product(v.dims)
	}
	if data := c.data(0); data != nil {
		count := int64(0)
		for _, e := range data {
			switch {
			case e == nil || e.real || !e.isConst() && e.lo <= 0:
				count = math.MinInt32
			case !e.is(0):
				count++
			}
		}
		if count >= 0 {
			c.setNonZero(v, c.num(count), data)
			return
		}
	}
	rank := c.fresh(nil)
	if v.ranked {
		rank = c.num(int64(len(v.dims)))
	}
	c.set(0, tensor(ir.Int64, rank, c.dataDependent(0, 1, n, "how many elements are not zero")))
}

// setNonZero states an output whose contents are known, for vectors.
func (c *call) setNonZero(v *value, n *expr, data []*expr) {
	out := tensor(ir.Int64, c.num(int64(len(v.dims))), n)
	if len(v.dims) == 1 {
		for i, e := range data {
			if !e.is(0) {
				out.data = append(out.data, c.num(int64(i)))
			}
		}
		if out.data == nil {
			out.data = []*expr{}
		}
	}
	c.set(0, out)
}

func compress(c *call) {
	v := c.input(0)
	var kept *expr
	if data, ok := c.ints(1); ok {
		n := int64(0)
		for _, x := range data {
			if x != 0 {
				n++
			}
		}
		kept = c.num(n)
	}
	if c.attr("axis") == nil {
		if kept == nil {
			var n *expr
			if v.ranked {
				n = c.al.product(v.dims)
			}
			kept = c.dataDependent(0, 0, n, "contents")
		}
		c.set(0, tensor(v.elem, kept))
		return
	}
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", 0), len(v.dims))
	if !ok {
		return
	}
	if kept == nil {
		kept = c.dataDependent(0, axis, v.dims[axis], "contents")
	}
	dims := slices.Clone(v.dims)
	dims[axis] = kept
	c.set(0, tensor(v.elem, dims...))
}

func unique(c *call) {
	v := c.input(0)
	var n *expr
	if c.attr("axis") == nil {
		if v.ranked {
			n = c.al.product(v.dims)
		}
		k := c.dataDependent(0, 0, n, "how many elements differ")
		c.set(0, tensor(v.elem, k))
		c.set(1, tensor(ir.Int64, k))
		inverse := n
		if inverse == nil {
			inverse = c.fresh(nil)
		}
		c.set(2, tensor(ir.Int64, inverse))
		c.set(3, tensor(ir.Int64, k))
		return
	}
	if !v.ranked {
		c.set(0, unranked(v.elem))
		for i := 1; i < 4; i++ {
			c.set(i, tensor(ir.Int64, c.fresh(nil)))
		}
		return
	}
	axis, ok := c.axis(c.attrInt("axis", 0), len(v.dims))
	if !ok {
		return
	}
	k := c.dataDependent(0, axis, v.dims[axis], "how many slices differ")
	dims := slices.Clone(v.dims)
	dims[axis] = k
	c.set(0, tensor(v.elem, dims...))
	c.set(1, tensor(ir.Int64, k))
	c.set(2, tensor(ir.Int64, v.dims[axis]))
	c.set(3, tensor(ir.Int64, k))
}

func oneHot(c *call) {
	v := c.input(0)
	elem := c.elem(2)
	depth := c.scalar(1)
	if depth != nil && depth.real {
		depth = c.al.trunc(depth)
	}
	if !v.ranked {
		c.set(0, unranked(elem))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", -1), len(v.dims)+1)
	if !ok {
		return
	}
	if depth == nil || depth.lo < 0 {
		depth = c.dataDependent(0, axis, nil, "contents")
	}
	c.set(0, tensor(elem, slices.Insert(slices.Clone(v.dims), axis, depth)...))
}
