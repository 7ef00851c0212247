package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func sequenceEmpty(c *call) {
	c.set(0, sequence(unranked(c.attrElem("dtype", ir.Float32)), c.num(0)))
}

func sequenceConstruct(c *call) {
	var item *value
	for i := range c.ins {
		item = c.common(item, c.input(i))
	}
	c.set(0, sequence(item, c.num(int64(len(c.ins)))))
}

// common is a type that covers both items of a sequence; a may be nil.
func (c *call) common(a, b *value) *value {
	if b != nil {
		b = b.withoutData()
	}
	switch {
	case a == nil || b == nil:
		return b
	case a.kind != b.kind:
		return unknown()
	case a.kind != ir.Tensor || sameType(a, b):
		return a
	}
	w := &value{kind: ir.Tensor, elem: a.elem, open: a.open || b.open}
	if a.elem != b.elem {
		w.elem = ir.UndefinedElem
	}
	if !a.ranked || !b.ranked || len(a.dims) != len(b.dims) {
		return w
	}
	w.ranked = true
	w.dims = slices.Clone(a.dims)
	for i, d := range a.dims {
		if d != b.dims[i] {
			larger := d
			if b.dims[i].val > d.val {
				larger = b.dims[i]
			}
			w.dims[i] = c.fresh(larger)
		}
	}
	return w
}

func (c *call) sequenceItem(i int) *value {
	v := c.input(i)
	if v.kind == ir.Optional && v.item != nil {
		v = v.item
	}
	if v.kind == ir.Sequence && v.item != nil {
		return v.item
	}
	return unknown()
}

func sequenceInsert(c *call) {
	s := c.input(0)
	item := s.item
	if s.count.is(0) {
		item = nil
	}
	var count *expr
	if s.count != nil {
		count = c.al.add(s.count, c.num(1))
	}
	if item != nil && !item.ranked {
		c.set(0, sequence(item, count))
		return
	}
	c.set(0, sequence(c.common(item, c.input(1)), count))
}

func sequenceErase(c *call) {
	s := c.input(0)
	var count *expr
	if s.count != nil {
		count = c.al.max(c.num(0), c.al.sub(s.count, c.num(1)))
	}
	c.set(0, sequence(s.item, count))
}

// sequenceAt takes one item: its extents are those of all where they agree.
func sequenceAt(c *call) { c.set(0, c.anyItem(c.sequenceItem(0))) }

// anyItem is one item of a sequence: where items may differ, each taken one is
// its own.
func (c *call) anyItem(item *value) *value {
	w := *item.withoutData()
	w.public = nil
	w.dims = slices.Clone(w.dims)
	for i, d := range w.dims {
		if d.text == "" && !d.isConst() {
			w.dims[i] = c.al.symbol("", 0, maxExtent, d.val, d.assumed)
		}
	}
	return &w
}

func sequenceLength(c *call) {
	out := tensor(ir.Int64)
	if n := c.input(0).count; n != nil {
		out.data = []*expr{n}
	}
	c.set(0, out)
}

func splitToSequence(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, sequence(unranked(v.elem), nil))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", 0), len(v.dims))
	if !ok {
		return
	}
	d := v.dims[axis]
	dims := slices.Clone(v.dims)
	var count *expr
	switch {
	case !c.has(1):
		count = d
		if c.attrInt("keepdims", 1) != 0 {
			dims[axis] = c.num(1)
		} else {
			dims = slices.Delete(dims, axis, axis+1)
		}
	case c.input(1).rank() == 0:
		dims[axis] = c.fresh(c.scalar(1))
		if size := c.scalar(1); size != nil && size.lo > 0 {
			count = c.al.ceilDiv(d, size)
			if c.al.mod(d, size).is(0) {
				dims[axis] = size
			}
		}
	default:
		sizes := c.shapeInput(1)
		if sizes == nil {
			dims[axis] = c.fresh(nil)
			if n := c.input(1); n.rank() == 1 {
				count = n.dims[0]
			}
			break
		}
		count = c.num(int64(len(sizes)))
		dims[axis] = c.fresh(d)
		if len(sizes) > 0 && sizes[0] != nil && !slices.ContainsFunc(sizes, func(e *expr) bool { return e != sizes[0] }) {
			dims[axis] = sizes[0]
		}
	}
	c.set(0, sequence(tensor(v.elem, dims...), count))
}

func concatFromSequence(c *call) {
	item := c.sequenceItem(0)
	if !item.ranked {
		c.set(0, unranked(item.elem))
		return
	}
	count := c.input(0).count
	stack := c.attrInt("new_axis", 0) != 0
	rank := len(item.dims)
	if stack {
		rank++
	}
	axis, ok := c.axis(c.attrInt("axis", 0), rank)
	if !ok {
		return
	}
	if count == nil {
		count = c.dataDependent(0, axis, nil, "the length of a sequence")
	}
	dims := c.anyItem(item).dims
	if stack {
		dims = slices.Insert(dims, axis, count)
	} else if d := item.dims[axis]; d.isConst() || d.text != "" {
		dims[axis] = c.al.mul(count, d)
	} else {
		dims[axis] = c.dataDependent(0, axis, c.al.mul(count, d), "the items of a sequence")
	}
	c.set(0, tensor(item.elem, dims...))
}

func optionalOf(c *call) {
	if c.has(0) {
		c.set(0, optional(c.input(0)))
		return
	}
	if at := c.attr("type"); at != nil && at.Tp != nil {
		c.set(0, optional(c.in.claim(at.Tp)))
		return
	}
	c.set(0, optional(nil))
}

func optionalGetElement(c *call) {
	v := c.input(0)
	switch {
	case v.kind != ir.Optional:
		c.set(0, v)
	case v.item != nil:
		c.set(0, v.item)
	}
}

func optionalHasElement(c *call) {
	out := tensor(ir.Bool)
	if !c.has(0) {
		out.data = []*expr{c.num(0)}
	} else if k := c.input(0).kind; k == ir.Tensor || k == ir.Sequence {
		out.data = []*expr{c.num(1)}
	}
	c.set(0, out)
}
