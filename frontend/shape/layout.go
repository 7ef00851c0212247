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
			c.reject(c.inputName(1), "the shape has an extent of %d", t.num)
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

func transpose(c *call) {
	v := c.input(0)
	perm, given := c.attrInts("perm")
	if !v.ranked {
		if given {
			c.set(0, tensor(v.elem, c.unknownDims(min(len(perm), maxRank))...))
		} else {
			c.set(0, unranked(v.elem))
		}
		return
	}
	r := len(v.dims)
	order, ok := c.permutation(perm, given, r)
	if !ok {
		return
	}
	dims := make([]*expr, r)
	for i, p := range order {
		dims[i] = v.dims[p]
	}
	out := tensor(v.elem, dims...)
	own, _ := constDims(v.dims)
	c.gatherData(out, v, func(index []int64) int64 {
		at := make([]int64, r)
		for i, p := range order {
			at[p] = index[i]
		}
		return flatIndex(at, own)
	})
	c.set(0, out)
}

// permutation checks perm; the default reverses the axes.
func (c *call) permutation(perm []int64, given bool, rank int) ([]int, bool) {
	order := make([]int, rank)
	if !given {
		for i := range order {
			order[i] = rank - 1 - i
		}
		return order, true
	}
	if len(perm) != rank {
		c.reject(c.inputName(0), "perm has %d entries for a tensor of rank %d", len(perm), rank)
		return nil, false
	}
	seen := make([]bool, rank)
	for i, p := range perm {
		if p < 0 || p >= int64(rank) || seen[p] {
			c.reject(c.inputName(0), "perm %v is no permutation of the %d axes", perm, rank)
			return nil, false
		}
		seen[p] = true
		order[i] = int(p)
	}
	return order, true
}

// gatherData fills the contents of out with elements of v: from says which, by
// index; a negative answer stands for an unknown element.
func (c *call) gatherData(out, v *value, from func(index []int64) int64) {
	n, ok := c.in.followed(out)
	data := c.in.contentsOf(v)
	if !ok || data == nil {
		return
	}
	if _, ok := constDims(v.dims); !ok {
		return
	}
	dims, _ := constDims(out.dims)
	out.data = make([]*expr, n)
	index := make([]int64, len(dims))
	for e := range out.data {
		if i := from(index); i >= 0 && i < int64(len(data)) {
			out.data[e] = data[i]
		}
		for d := len(dims) - 1; d >= 0; d-- {
			if index[d]++; index[d] < dims[d] {
				break
			}
			index[d] = 0
		}
	}
}

func flatIndex(index, dims []int64) int64 {
	n := int64(0)
	for i, x := range index {
		if x < 0 || x >= dims[i] {
			return -1
		}
		n = n*dims[i] + x
	}
	return n
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

func concat(c *call) {
	elem := ir.UndefinedElem
	rank := -1
	for i := range c.ins {
		if elem == ir.UndefinedElem {
			elem = c.elem(i)
		}
		if r := c.input(i).rank(); r >= 0 {
			if rank >= 0 && r != rank {
				c.contradict("tensors of rank %d and %d cannot be concatenated", rank, r)
				c.set(0, unranked(elem))
				return
			}
			rank = r
		}
	}
	if rank < 0 {
		c.set(0, unranked(elem))
		return
	}
	def := int64(1)
	if c.since >= 4 || !c.domainIsStandard() {
		def = 0
	}
	axis, ok := c.axis(c.attrInt("axis", def), rank)
	if !ok {
		return
	}
	dims := make([]*expr, rank)
	total := c.num(0)
	for i := range c.ins {
		v := c.input(i)
		if !v.ranked {
			total = c.al.add(total, c.fresh(nil))
			continue
		}
		for k, d := range v.dims {
			switch {
			case k == axis:
				total = c.al.add(total, d)
			case dims[k] == nil || d.isConst() && !dims[k].isConst():
				dims[k] = d
			case d.isConst() && d != dims[k]:
				c.contradict("extent %d is %s in one input and %s in another", k, dims[k].text, d.text)
			}
		}
	}
	dims[axis] = total
	for k := range dims {
		if dims[k] == nil {
			dims[k] = c.fresh(nil)
		}
	}
	out := tensor(elem, dims...)
	if n, ok := c.in.followed(out); ok && rank == 1 {
		out.data = make([]*expr, 0, n)
		for i := range c.ins {
			if data := c.data(i); data != nil {
				out.data = append(out.data, data...)
			} else {
				k, _ := c.input(i).dims[0].constant()
				out.data = append(out.data, make([]*expr, k)...)
			}
		}
	}
	c.set(0, out)
}

func split(c *call) {
	v := c.input(0)
	for i := range c.outs {
		c.set(i, unranked(v.elem))
	}
	if !v.ranked {
		return
	}
	axis, ok := c.axis(c.attrInt("axis", 0), len(v.dims))
	if !ok {
		return
	}
	var sizes []*expr
	switch {
	case c.since >= 13 && c.has(1):
		sizes = c.shapeInput(1)
		if sizes == nil {
			sizes = make([]*expr, len(c.outs))
		}
	case c.since == 1 && c.has(1):
		sizes = c.shapeInput(1)
	case c.since < 13:
		if ns, given := c.attrInts("split"); given && len(ns) > 0 {
			sizes = c.in.numbers(ns)
		}
	}
	if sizes != nil && len(sizes) != len(c.outs) {
		c.reject(c.inputName(0), "the node has %d outputs but splits into %d", len(c.outs), len(sizes))
		return
	}
	if sizes == nil {
		sizes = c.evenly(v.dims[axis])
		if sizes == nil {
			return
		}
	}
	start := int64(0)
	for i, size := range sizes {
		if size == nil || size.real || size.lo < 0 {
			size = c.dataDependent(i, axis, c.al.floorDiv(v.dims[axis], c.num(int64(len(sizes)))), "contents")
		}
		dims := slices.Clone(v.dims)
		dims[axis] = size
		out := tensor(v.elem, dims...)
		if n, ok := size.constant(); ok && start >= 0 {
			own, known := constDims(v.dims)
			if from := start; known {
				c.gatherData(out, v, func(index []int64) int64 {
					at := slices.Clone(index)
					at[axis] += from
					return flatIndex(at, own)
				})
			}
			start = addSat(start, n)
		} else {
			start = -1
		}
		c.set(i, out)
	}
}

// evenly divides an extent among the outputs; the last may get less since version 18.
func (c *call) evenly(d *expr) []*expr {
	n := int64(len(c.outs))
	if c.since >= 18 {
		if k := c.attrInt("num_outputs", n); k != n {
			c.reject(c.inputName(0), "the node has %d outputs but splits into %d", n, k)
			return nil
		}
	}
	if n == 0 {
		return nil
	}
	sizes := make([]*expr, n)
	if c.since < 18 {
		if x, ok := d.constant(); ok && x%n != 0 {
			c.contradict("extent %d cannot be split into %d equal parts", x, n)
		}
		for i := range sizes {
			sizes[i] = c.al.floorDiv(d, c.num(n))
		}
		return sizes
	}
	chunk := c.al.ceilDiv(d, c.num(n))
	for i := range sizes {
		sizes[i] = chunk
	}
	sizes[n-1] = c.al.sub(d, c.al.mul(chunk, c.num(n-1)))
	return sizes
}

func expand(c *call) {
	v := c.input(0)
	target := c.shapeInput(1)
	if target == nil || !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	shape := make([]*expr, len(target))
	for i, t := range target {
		if t != nil && !t.real && t.lo < 0 && t.val >= 0 {
			t = c.depends(t)
		} else if t == nil || t.real || t.lo < 0 {
			// At least the input's extent, if that is not 1.
			k := i - len(target) + len(v.dims)
			assume := c.num(1)
			if k >= 0 && !v.dims[k].is(1) {
				assume = v.dims[k]
			}
			t = c.dataDependent(0, i, assume, "contents")
		}
		shape[i] = t
	}
	out := tensor(v.elem, c.broadcast(v.dims, shape)...)
	c.fill(out, func(_ *call, x []*expr) *expr { return x[0] }, 0)
	c.set(0, out)
}

func tile(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	if c.since < 6 { // one count and one axis, both inputs
		c.set(0, tensor(v.elem, c.unknownDims(len(v.dims))...))
		return
	}
	repeats := c.shapeInput(1)
	if repeats == nil {
		repeats = make([]*expr, len(v.dims))
	}
	if len(repeats) != len(v.dims) {
		c.reject(c.inputName(1), "%d repeats are given for a tensor of rank %d", len(repeats), len(v.dims))
		return
	}
	dims := make([]*expr, len(v.dims))
	for i, r := range repeats {
		if r == nil || r.real {
			dims[i] = c.dataDependent(0, i, v.dims[i], "contents")
		} else {
			dims[i] = c.al.mul(v.dims[i], r)
		}
	}
	out := tensor(v.elem, dims...)
	if own, ok := constDims(v.dims); ok {
		c.gatherData(out, v, func(index []int64) int64 {
			at := slices.Clone(index)
			for i := range at {
				if own[i] > 0 {
					at[i] %= own[i]
				}
			}
			return flatIndex(at, own)
		})
	}
	c.set(0, out)
}

func pad(c *call) {
	v := c.input(0)
	var pads []*expr
	if c.since < 11 && c.domainIsStandard() {
		name := "pads"
		if c.since < 2 {
			name = "paddings"
		}
		ns, _ := c.attrInts(name)
		pads = c.in.numbers(ns)
	} else {
		pads = c.shapeInput(1)
	}
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	axes := make([]int, 0, len(v.dims))
	if c.has(3) {
		ns, ok := c.ints(3)
		if !ok {
			c.set(0, tensor(v.elem, c.unknownDims(len(v.dims))...))
			return
		}
		for _, a := range ns {
			i, ok := c.axis(a, len(v.dims))
			if !ok {
				return
			}
			axes = append(axes, i)
		}
	} else {
		for i := range v.dims {
			axes = append(axes, i)
		}
	}
	if pads == nil {
		pads = make([]*expr, 2*len(axes))
	}
	if len(pads) != 2*len(axes) {
		c.reject(c.inputName(0), "%d pads are given for %d axes", len(pads), len(axes))
		return
	}
	dims := slices.Clone(v.dims)
	for k, i := range axes {
		before, after := pads[k], pads[k+len(axes)]
		if before == nil || after == nil || before.real || after.real {
			dims[i] = c.dataDependent(0, i, v.dims[i], "contents")
			continue
		}
		dims[i] = c.extent(c.al.add(dims[i], c.al.add(before, after)), i)
	}
	c.set(0, tensor(v.elem, dims...))
}

// extent is e as extent i of an output; a number below 0 is a contradiction.
func (c *call) extent(e *expr, i int) *expr {
	if n, ok := e.constant(); ok && n < 0 {
		c.contradict("extent %d would be %d", i, n)
		return c.num(0)
	}
	return e
}

func depthToSpace(c *call) {
	c.require(0, 4)
	v := c.input(0)
	b := c.attrInt("blocksize", 0)
	if b <= 0 || b > 1<<15 {
		c.reject(c.inputName(0), "blocksize %d is not positive", b)
		return
	}
	if v.ranked && len(v.dims) != 4 {
		c.contradict("the input has rank %d, not 4", len(v.dims))
		return
	}
	if !v.ranked {
		c.set(0, tensor(v.elem, c.unknownDims(4)...))
		return
	}
	c.set(0, tensor(v.elem, v.dims[0], c.al.floorDiv(v.dims[1], c.num(b*b)), c.al.mul(v.dims[2], c.num(b)), c.al.mul(v.dims[3], c.num(b))))
}

func spaceToDepth(c *call) {
	c.require(0, 4)
	v := c.input(0)
	b := c.attrInt("blocksize", 0)
	if b <= 0 || b > 1<<15 {
		c.reject(c.inputName(0), "blocksize %d is not positive", b)
		return
	}
	if v.ranked && len(v.dims) != 4 {
		c.contradict("the input has rank %d, not 4", len(v.dims))
		return
	}
	if !v.ranked {
		c.set(0, tensor(v.elem, c.unknownDims(4)...))
		return
	}
	c.set(0, tensor(v.elem, v.dims[0], c.al.mul(v.dims[1], c.num(b*b)), c.al.floorDiv(v.dims[2], c.num(b)), c.al.floorDiv(v.dims[3], c.num(b))))
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
