package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// heads are extents of attention's operands, whichever layout they have: nil
// where the rank does not say.
type heads struct {
	batch, count, seq, size *expr
}

// headsOf reads a tensor of rank 4 [batch, heads, seq, size] or rank 3
// [batch, seq, heads·size] with n heads.
func (c *call) headsOf(v *value, n int64) (h heads) {
	switch v.rank() {
	case 4:
		return heads{v.dims[0], v.dims[1], v.dims[2], v.dims[3]}
	case 3:
		h = heads{batch: v.dims[0], seq: v.dims[1]}
		if n > 0 {
			h.count = c.num(n)
			h.size = c.al.floorDiv(v.dims[2], h.count)
		}
	}
	return h
}

// or is e, or an extent of which nothing is known.
func (c *call) or(e *expr) *expr {
	if e == nil {
		return c.fresh(nil)
	}
	return e
}

// attention of the standard: Q, K, V, mask, past key, past value.
func attention(c *call) {
	q, k, v := c.input(0), c.input(1), c.input(2)
	elem := q.elem
	qn, kn := c.attrInt("q_num_heads", 0), c.attrInt("kv_num_heads", 0)
	qh, kh, vh := c.headsOf(q, qn), c.headsOf(k, kn), c.headsOf(v, kn)
	total := c.or(kh.seq)
	if past := c.input(4); c.has(4) {
		if past.rank() == 4 {
			total = c.al.add(past.dims[2], total)
		} else {
			total = c.fresh(total)
		}
	}
	switch q.rank() {
	case 4:
		c.set(0, tensor(elem, qh.batch, qh.count, qh.seq, c.or(vh.size)))
	case 3:
		width := c.fresh(q.dims[2])
		if vh.size != nil && qn > 0 {
			width = c.al.mul(c.num(qn), vh.size)
		}
		c.set(0, tensor(elem, qh.batch, qh.seq, width))
	default:
		c.set(0, unranked(elem))
	}
	batch := c.or(qh.batch)
	c.set(1, tensor(k.elem, batch, c.or(kh.count), total, c.or(kh.size)))
	c.set(2, tensor(v.elem, batch, c.or(vh.count), total, c.or(vh.size)))
	c.set(3, tensor(elem, batch, c.or(qh.count), c.or(qh.seq), total))
}

func flexAttention(c *call) {
	q, v := c.input(0), c.input(2)
	if q.rank() != 4 || v.rank() != 4 {
		c.set(0, unranked(q.elem))
		return
	}
	c.set(0, tensor(q.elem, q.dims[0], q.dims[1], q.dims[2], v.dims[3]))
}

// linearAttention: query, key, value, past state, decay, beta; the output is as
// wide as the values, the state is [batch, kv heads, key size, value size].
func linearAttention(c *call) {
	q, k, v := c.input(0), c.input(1), c.input(2)
	qn, kn := c.attrInt("q_num_heads", 0), c.attrInt("kv_num_heads", 0)
	if c.has(3) {
		c.set(1, c.input(3).withoutData())
	} else {
		kh, vh := c.headsOf(k, kn), c.headsOf(v, kn)
		c.set(1, tensor(q.elem, c.or(kh.batch), c.or(kh.count), c.or(kh.size), c.or(vh.size)))
	}
	if q.rank() == 3 && v.rank() == 3 && qn > 0 && kn > 0 {
		c.set(0, tensor(q.elem, q.dims[0], q.dims[1], c.al.mul(c.num(qn), c.al.floorDiv(v.dims[2], c.num(kn)))))
		return
	}
	if q.rank() == 4 && v.rank() == 4 {
		c.set(0, tensor(q.elem, q.dims[0], q.dims[1], q.dims[2], v.dims[3]))
		return
	}
	c.set(0, unranked(q.elem))
}

// causalConvWithState: the output has the shape of the input; the state keeps
// the last kernel - 1 columns.
func causalConvWithState(c *call) {
	sameAsFirst(c)
	x, w := c.input(0), c.input(1)
	if x.rank() != 3 || w.rank() != 3 {
		c.set(1, unranked(x.elem))
		return
	}
	c.set(1, tensor(x.elem, x.dims[0], x.dims[1], c.al.sub(w.dims[2], c.num(1))))
}

// swiGLU halves the last axis.
func swiGLU(c *call) {
	v := c.input(0)
	if !v.ranked || len(v.dims) == 0 {
		c.set(0, unranked(v.elem))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", -1), len(v.dims))
	if !ok {
		return
	}
	dims := slices.Clone(v.dims)
	dims[axis] = c.al.floorDiv(dims[axis], c.num(2))
	c.set(0, tensor(v.elem, dims...))
}

// simplifiedLayerNorm has the inverse deviation as second output.
func simplifiedLayerNorm(c *call) {
	sameAsFirst(c)
	v := c.input(0)
	if !v.ranked || len(v.dims) == 0 {
		c.set(1, unranked(ir.Float32))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", -1), len(v.dims))
	if !ok {
		return
	}
	dims := slices.Clone(v.dims)
	for i := axis; i < len(dims); i++ {
		dims[i] = c.num(1)
	}
	c.set(1, tensor(ir.Float32, dims...))
}
