package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

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
