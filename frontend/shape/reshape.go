package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// moved is a tensor of the given extents with the contents of v in the same order.
func (c *call) moved(v *value, dims []*expr) *value {
	out := tensor(v.elem, dims...)
	data := c.in.contentsOf(v)
	if n, ok := c.in.followed(out); ok && data != nil && len(data) == n {
		out.data = data
	}
	return out
}

// axesOf are the axes of a node: from attribute "axes", or since version since
// from input i. ok is false if they are not known numbers.
func (c *call) axesOf(i int, since int64) (axes []int64, given, ok bool) {
	if c.since < since {
		axes, given = c.attrInts("axes")
		return axes, given, true
	}
	if !c.has(i) {
		return nil, false, true
	}
	axes, ok = c.ints(i)
	return axes, true, ok
}

func reshape(c *call) {
	v := c.input(0)
	var target []*expr
	if c.since < 5 {
		ns, _ := c.attrInts("shape")
		target = c.in.numbers(ns)
	} else {
		target = c.shapeInput(1)
	}
	if target == nil {
		// Not even the rank is known: the elements count as a vector.
		out := unranked(v.elem)
		if v.ranked {
			out = tensor(v.elem, c.fresh(c.al.product(v.dims)))
			out.open, out.assumed = true, true
			c.in.note(DataDependent, c.n, c.inputName(1), "the shape that the node makes depends on contents: its output counts as a vector of as many elements")
		}
		c.set(0, out)
		return
	}
	dims, ok := c.reshaped(v, target, c.attrInt("allowzero", 0) != 0)
	if !ok {
		return
	}
	c.set(0, c.moved(v, dims))
}

// shapeInput are the contents of input i, a shape: entries are nil where they are
// not known, the result is nil if not even their number is.
func (c *call) shapeInput(i int) []*expr {
	if data := c.data(i); data != nil {
		return data
	}
	if v := c.input(i); v.ranked && len(v.dims) == 1 {
		if n, ok := v.dims[0].constant(); ok && n <= maxRank {
			return make([]*expr, n)
		}
	}
	return nil
}

// reshaped are the extents that target makes of v: 0 copies, -1 takes the rest.
func (c *call) reshaped(v *value, target []*expr, allowZero bool) ([]*expr, bool) {
	out := make([]*expr, len(target))
	rest, open, openAt := -1, 0, -1
	for i, t := range target {
		switch {
		case t == nil || t.real:
			open++
			openAt = i
		case t.is(0) && !allowZero:
			switch {
			case !v.ranked:
				out[i] = c.fresh(nil)
			case i < len(v.dims):
				out[i] = v.dims[i]
			default:
				c.reject(c.inputName(1), "the shape copies extent %d of a tensor of rank %d", i, len(v.dims))
				return nil, false
			}
		case t.is(-1):
			if rest >= 0 {
				c.reject(c.inputName(1), "the shape has more than one extent of -1")
				return nil, false
			}
			rest = i
		case t.hi < 0:
			c.reject(c.inputName(1), "the shape has an extent of %d, want at least -1", t.num)
			return nil, false
		case t.lo < 0:
			// Perhaps -1, perhaps not: it depends on the run.
			open++
			if t.val < 0 {
				openAt = i
			} else {
				out[i] = c.depends(t)
			}
		default:
			out[i] = t
		}
	}
	if rest >= 0 && open == 0 {
		out[rest] = c.remaining(v, out)
		return out, true
	}
	// What is open is assumed to be 1, but for one extent that takes the rest.
	if rest < 0 {
		rest = openAt
	}
	for i := range out {
		if out[i] == nil && i != rest {
			out[i] = c.dataDependent(0, i, c.num(1), "contents")
		}
	}
	if rest >= 0 && out[rest] == nil {
		out[rest] = c.dataDependent(0, rest, c.remaining(v, out), "contents")
	}
	if open == 0 && v.ranked {
		c.checkElements(v.dims, out)
	}
	return out, true
}

func (c *call) checkElements(from, to []*expr) {
	a, ok1 := constDims(from)
	b, ok2 := constDims(to)
	if ok1 && ok2 && saturatedProduct(a) != saturatedProduct(b) {
		c.contradict("%d elements cannot be reshaped to %d", saturatedProduct(a), saturatedProduct(b))
	}
}

// remaining is the extent at which out has as many elements as v; the one entry
// of out that is nil is left out of account.
func (c *call) remaining(v *value, out []*expr) *expr {
	if !v.ranked {
		return c.fresh(nil)
	}
	have := slices.Clone(v.dims)
	var need []*expr
	for _, d := range out {
		if d == nil {
			continue
		}
		if i := slices.Index(have, d); i >= 0 {
			have = slices.Delete(have, i, i+1)
		} else {
			need = append(need, d)
		}
	}
	total, divisor := c.al.product(have), c.al.product(need)
	if divisor.is(0) {
		return c.num(0)
	}
	if t, ok := total.constant(); ok {
		if d, ok := divisor.constant(); ok && t%d != 0 {
			c.contradict("%d elements cannot be divided by %d", t, d)
		}
	}
	return c.al.floorDiv(total, divisor)
}

func flatten(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, tensor(v.elem, c.unknownDims(2)...))
		return
	}
	axis := c.attrInt("axis", 1)
	if axis < -int64(len(v.dims)) || axis > int64(len(v.dims)) {
		c.reject(c.inputName(0), "axis %d is out of range for a tensor of rank %d", axis, len(v.dims))
		return
	}
	if axis < 0 {
		axis += int64(len(v.dims))
	}
	c.set(0, c.moved(v, []*expr{c.al.product(v.dims[:axis]), c.al.product(v.dims[axis:])}))
}

func squeeze(c *call) {
	v := c.input(0)
	axes, given, ok := c.axesOf(1, 13)
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	drop := make([]bool, len(v.dims))
	open, assumed := false, false
	switch {
	case given && ok:
		for _, a := range axes {
			i, ok := c.axis(a, len(v.dims))
			if !ok {
				return
			}
			if n, ok := v.dims[i].constant(); ok && n != 1 {
				c.contradict("axis %d has extent %d and cannot be squeezed", i, n)
			}
			drop[i] = true
		}
	default:
		// All axes of extent 1 go; which they are may depend on the run.
		for i, d := range v.dims {
			drop[i] = d.val == 1
			open = open || !d.isConst()
			assumed = assumed || d.assumed
		}
		if open || !ok {
			open = true
			assumed = assumed || !ok
			c.in.note(DataDependent, c.n, c.firstOutput(), "the rank depends on which extents are 1")
		}
	}
	var dims []*expr
	for i, d := range v.dims {
		if !drop[i] {
			dims = append(dims, d)
		}
	}
	out := c.moved(v, dims)
	out.open, out.assumed = open, assumed
	c.set(0, out)
}

func (c *call) firstOutput() string {
	if len(c.n.Output) > 0 {
		return c.n.Output[0]
	}
	return ""
}

func unsqueeze(c *call) {
	v := c.input(0)
	axes, _, ok := c.axesOf(1, 13)
	if !v.ranked || !ok {
		if n := c.input(1); v.ranked && n.ranked && len(n.dims) == 1 {
			if k, ok := n.dims[0].constant(); ok && k <= maxRank {
				c.set(0, tensor(v.elem, c.unknownDims(len(v.dims)+int(k))...))
				return
			}
		}
		c.set(0, unranked(v.elem))
		return
	}
	r := len(v.dims) + len(axes)
	if r > maxRank {
		c.in.note(Truncated, c.n, c.firstOutput(), "a tensor of rank %d is more than is followed", r)
		c.set(0, unranked(v.elem))
		return
	}
	dims := make([]*expr, r)
	for _, a := range axes {
		i, ok := c.axis(a, r)
		if !ok {
			return
		}
		if dims[i] != nil {
			c.reject(c.inputName(0), "axis %d is inserted twice", i)
			return
		}
		dims[i] = c.num(1)
	}
	k := 0
	for i := range dims {
		if dims[i] == nil {
			dims[i] = v.dims[k]
			k++
		}
	}
	c.set(0, c.moved(v, dims))
}

// shapeOf makes the shape of its input known as contents.
func shapeOf(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, tensor(ir.Int64, c.fresh(nil)))
		return
	}
	r := int64(len(v.dims))
	start, end := c.attrInt("start", 0), c.attrInt("end", r)
	clamp := func(x int64) int64 {
		if x < 0 {
			x += r
		}
		return max(0, min(r, x))
	}
	start, end = clamp(start), clamp(end)
	end = max(start, end)
	out := tensor(ir.Int64, c.num(end-start))
	out.data = slices.Clone(v.dims[start:end])
	c.set(0, out)
}

func sizeOf(c *call) {
	out := tensor(ir.Int64)
	if v := c.input(0); v.ranked {
		out.data = []*expr{c.al.product(v.dims)}
	}
	c.set(0, out)
}
