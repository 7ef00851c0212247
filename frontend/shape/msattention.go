package shape

import (
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Attention operators of com.microsoft.

// selfAttention is the output of attention whose projections are merged into one
// weight of columns q+k+v; past is the input with both states, or -1.
func (c *call) selfAttention(elem ir.ElemType, past int) {
	x, w := c.input(0), c.input(1)
	batch, seq := c.or(dimOf(x, 0)), c.or(dimOf(x, 1))
	n := max(1, c.attrInt("num_heads", 1))
	var width, size *expr
	if sizes, given := c.attrInts("qkv_hidden_sizes"); given && len(sizes) == 3 {
		width, size = c.num(max(0, sizes[2])), c.num(max(0, sizes[2])/n)
	} else if cols := dimOf(w, 1); cols != nil {
		width = c.al.floorDiv(cols, c.num(3))
		size = c.al.floorDiv(width, c.num(n))
	}
	c.set(0, tensor(elem, batch, seq, c.or(width)))
	state := c.input(past)
	switch {
	case c.has(past) && c.attrInt("past_present_share_buffer", 0) != 0:
		c.set(1, state.withoutData())
	case c.has(past) && state.rank() == 5:
		total := c.al.add(state.dims[3], seq)
		c.set(1, tensor(elem, state.dims[0], state.dims[1], state.dims[2], total, state.dims[4]))
	default:
		c.set(1, tensor(elem, c.num(2), batch, c.num(n), seq, c.or(size)))
	}
}

func msAttention(c *call) { c.selfAttention(c.elem(0), 4) }

func qAttention(c *call) {
	elem := c.elem(3)
	if elem == ir.UndefinedElem {
		elem = ir.Float32
	}
	c.selfAttention(elem, 8)
}

// multiHeadAttention: query, key, value, bias, padding mask, bias of scores, past
// key, past value. Query may hold all three ([batch, seq, heads, 3, size]), key
// may hold the value too ([batch, seq, heads, 2, size]) or be a cache.
func multiHeadAttention(c *call) {
	q, k, v := c.input(0), c.input(1), c.input(2)
	n := max(1, c.attrInt("num_heads", 1))
	heads := c.num(n)
	batch, seq := c.or(dimOf(q, 0)), c.or(dimOf(q, 1))
	var width, size, valueSize, keys *expr
	switch {
	case q.rank() == 5:
		size = q.dims[4]
		width, valueSize, keys = c.al.mul(heads, size), size, seq
	case k.rank() == 5:
		size = k.dims[4]
		width, valueSize, keys = c.al.mul(heads, size), size, k.dims[1]
	default:
		if d := dimOf(q, 2); d != nil {
			size = c.al.floorDiv(d, heads)
		}
		switch v.rank() {
		case 3:
			width = v.dims[2]
			valueSize = c.al.floorDiv(width, heads)
		case 4:
			valueSize = v.dims[3]
			width = c.al.mul(heads, valueSize)
		}
		switch k.rank() {
		case 3:
			keys = k.dims[1]
		case 4:
			keys = k.dims[2]
		}
	}
	total := c.or(keys)
	if past := c.input(6); c.has(6) {
		switch {
		case c.attrInt("past_present_share_buffer", 0) != 0 || c.has(8):
			total = c.or(dimOf(past, 2))
		case past.rank() == 4:
			total = c.al.add(past.dims[2], total)
		default:
			total = c.fresh(total)
		}
	}
	c.set(0, tensor(q.elem, batch, seq, c.or(width)))
	c.set(1, tensor(q.elem, batch, heads, total, c.or(size)))
	c.set(2, tensor(q.elem, batch, heads, total, c.or(valueSize)))
	c.set(3, tensor(q.elem, batch, heads, seq, total))
}

// groupQueryAttention: query (or all three, packed), key, value, past key, past
// value, lengths, total length. The states are as long as the longer of the past
// buffer and the total.
func groupQueryAttention(c *call) {
	q, k, past := c.input(0), c.input(1), c.input(3)
	n, kn := max(1, c.attrInt("num_heads", 1)), max(1, c.attrInt("kv_num_heads", 1))
	var width, size *expr
	if d := dimOf(q, 2); d != nil {
		if c.has(1) && k.isTensor() {
			width, size = d, c.al.floorDiv(d, c.num(n))
		} else {
			size = c.al.floorDiv(d, c.num(n+2*kn))
			width = c.al.mul(size, c.num(n))
		}
	}
	batch, seq := c.or(dimOf(q, 0)), c.or(dimOf(q, 1))
	c.set(0, tensor(q.elem, batch, seq, c.or(width)))
	var length *expr
	before := dimOf(past, 2)
	total := c.scalar(6)
	switch {
	case c.has(3) && before == nil:
	case total != nil && !total.real && before != nil:
		length = c.al.max(before, total)
	case total != nil && !total.real && !c.has(3):
		length = total
	}
	if length == nil || length.lo < 0 && !c.has(3) {
		assume := seq
		if before != nil {
			assume = c.al.add(before, seq)
		}
		length = c.dataDependent(1, 2, assume, "the total sequence length")
	}
	elem := q.elem
	if c.has(3) && past.elem != ir.UndefinedElem {
		elem = past.elem // a cache may be quantized
	}
	last := size
	if d := dimOf(past, 3); d != nil {
		last = d
	}
	c.set(1, tensor(elem, batch, c.num(kn), length, c.or(last)))
	c.set(2, tensor(elem, batch, c.num(kn), length, c.or(last)))
	c.set(3, tensor(q.elem, batch, c.num(n), seq, c.depends(length)))
}

// sparseAttention keeps the caches as they are.
func sparseAttention(c *call) {
	q := c.input(0)
	n, kn := max(1, c.attrInt("num_heads", 1)), max(1, c.attrInt("kv_num_heads", 1))
	width := dimOf(q, 2)
	if width != nil && !c.has(1) {
		width = c.al.mul(c.al.floorDiv(width, c.num(n+2*kn)), c.num(n))
	}
	c.set(0, tensor(q.elem, c.or(dimOf(q, 0)), c.or(dimOf(q, 1)), c.or(width)))
	c.set(1, c.input(3).withoutData().asTensor())
	c.set(2, c.input(4).withoutData().asTensor())
}

// decoderMasked: one token at a time; the states at input past are written in
// place where they are shared, else they grow by one.
func decoderMasked(past int) func(*call) {
	return func(c *call) {
		q, v := c.input(0), c.input(2)
		width := dimOf(v, 2)
		if v.rank() == 4 {
			width = c.al.mul(v.dims[1], v.dims[3])
		} else if width == nil {
			width = dimOf(q, 2)
		}
		c.set(0, tensor(q.elem, c.or(dimOf(q, 0)), c.or(dimOf(q, 1)), c.or(width)))
		for i := range 2 {
			c.set(1+i, c.grown(c.input(past+i), 2))
		}
		if k := c.input(past); k.rank() == 4 {
			c.set(3, tensor(q.elem, k.dims[0], k.dims[1], c.num(1), c.fresh(k.dims[2])))
		}
	}
}

// grown is a state that is shared, or one longer along axis.
func (c *call) grown(state *value, axis int) *value {
	if c.attrInt("past_present_share_buffer", 0) != 0 || state.rank() <= axis {
		return state.withoutData().asTensor()
	}
	w := *state.withoutData()
	w.public = nil
	w.dims = append([]*expr(nil), state.dims...)
	w.dims[axis] = c.al.add(w.dims[axis], c.num(1))
	return &w
}

func decoderMaskedSelf(c *call) {
	x, w := c.input(0), c.input(1)
	var width *expr
	if cols := dimOf(w, 1); cols != nil {
		width = c.al.floorDiv(cols, c.num(3))
	}
	c.set(0, tensor(x.elem, c.or(dimOf(x, 0)), c.or(dimOf(x, 1)), c.or(width)))
	c.set(1, c.grown(c.input(4), 3))
}

// decoderAttention: [seq, batch, width]; the caches are [batch, heads, total, size].
func decoderAttention(c *call) {
	q := c.input(0)
	c.set(0, q.withoutData().asTensor())
	n := max(1, c.attrInt("num_heads", 1))
	var size *expr
	if d := dimOf(q, 2); d != nil {
		size = c.al.floorDiv(d, c.num(n))
	}
	for i := 1; i < 3; i++ {
		c.set(i, tensor(q.elem, c.or(dimOf(q, 1)), c.num(n), c.dataDependent(i, 2, dimOf(q, 0), "the cache"), c.or(size)))
	}
}

func packedAttention(c *call) {
	x, w := c.input(0), c.input(1)
	var width *expr
	if sizes, given := c.attrInts("qkv_hidden_sizes"); given && len(sizes) == 3 {
		width = c.num(max(0, sizes[2]))
	} else if cols := dimOf(w, 1); cols != nil {
		width = c.al.floorDiv(cols, c.num(3))
	}
	c.set(0, tensor(x.elem, c.or(dimOf(x, 0)), c.or(width)))
}

func packedMultiHeadAttention(c *call) {
	q, v := c.input(0), c.input(2)
	var width *expr
	switch {
	case q.rank() == 4: // [tokens, heads, 3, size]
		width = c.al.mul(q.dims[1], q.dims[3])
	case v.rank() == 2:
		width = v.dims[1]
	}
	c.set(0, tensor(q.elem, c.or(dimOf(q, 0)), c.or(width)))
}

// pagedAttention: tokens of all sequences in one list; the caches are blocks.
func pagedAttention(c *call) {
	q := c.input(0)
	n, kn := max(1, c.attrInt("num_heads", 1)), max(1, c.attrInt("kv_num_heads", 1))
	width := dimOf(q, 1)
	if width != nil && !c.has(1) {
		width = c.al.mul(c.al.floorDiv(width, c.num(n+2*kn)), c.num(n))
	}
	c.set(0, tensor(q.elem, c.or(dimOf(q, 0)), c.or(width)))
	c.set(1, c.input(3).withoutData().asTensor())
	c.set(2, c.input(4).withoutData().asTensor())
}

func gatedRelativePositionBias(c *call) {
	q := c.input(0)
	seq := c.or(dimOf(q, 1))
	c.set(0, tensor(q.elem, c.or(dimOf(q, 0)), c.num(max(1, c.attrInt("num_heads", 1))), seq, seq))
}

func relativePositionBias(c *call) {
	table := c.input(0)
	extent := func(i int) *expr {
		if e := c.scalar(i); e != nil && !e.real && e.lo >= 0 {
			return e
		}
		return c.dataDependent(0, i+1, nil, "contents")
	}
	c.set(0, tensor(table.elem, c.num(1), c.or(dimOf(table, 1)), extent(1), extent(2)))
}

// removePadding packs the tokens of a padded batch.
func removePadding(c *call) {
	v, lengths := c.input(0), c.input(1)
	batch, seq := c.or(dimOf(v, 0)), c.or(dimOf(v, 1))
	c.set(0, tensor(v.elem, c.dataDependent(0, 0, c.al.mul(batch, seq), "the lengths of sequences"), c.or(dimOf(v, 2))))
	c.set(1, tensor(ir.Int32, batch, seq))
	c.set(2, tensor(ir.Int32, c.al.add(c.or(dimOf(lengths, 0)), c.num(1))))
	c.set(3, tensor(ir.Int32, c.num(1)))
}

func restorePadding(c *call) {
	v, offsets := c.input(0), c.input(1)
	c.set(0, tensor(v.elem, c.or(dimOf(offsets, 0)), c.or(dimOf(offsets, 1)), c.or(dimOf(v, 1))))
}
