package shape

import (
	"slices"
)

// toFirst is v, channels last, as a tensor with channels first.
func toFirst(v *value) *value {
	if v == nil || !v.ranked || len(v.dims) < 3 {
		return v
	}
	w := *v.withoutData()
	w.public = nil
	n := len(v.dims)
	w.dims = append([]*expr{v.dims[0], v.dims[n-1]}, v.dims[1:n-1]...)
	return &w
}

// toLast is the inverse of toFirst.
func toLast(v *value) *value {
	if v == nil || !v.ranked || len(v.dims) < 3 {
		return v
	}
	w := *v.withoutData()
	w.public = nil
	w.dims = append(append([]*expr{v.dims[0]}, v.dims[2:]...), v.dims[1])
	return &w
}

// channelsLast applies a rule for channels first to a node whose first input and
// outputs have them last. Weights are laid out alike in both.
func channelsLast(rule func(*call)) func(*call) {
	return func(c *call) {
		if len(c.ins) > 0 {
			c.ins[0] = toFirst(c.ins[0])
		}
		rule(c)
		for i, v := range c.outs {
			c.outs[i] = toLast(v)
		}
	}
}

// maybeChannelsLast does so where attribute channels_last is set.
func maybeChannelsLast(rule func(*call)) func(*call) {
	last := channelsLast(rule)
	return func(c *call) {
		if c.attrInt("channels_last", 0) != 0 {
			last(c)
		} else {
			rule(c)
		}
	}
}

// blockedConv: the channels are those of the weights, which are padded already.
func blockedConv(c *call) { c.conv(c.elem(0), 1) }

// maxBlock is the largest block of channels (16 floats in an AVX-512 register);
// channels that it does not divide are rounded up to a multiple of a block that
// only the machine knows.
const maxBlock = 16

func (c *call) blocked(channels *expr) *expr {
	n, ok := channels.constant()
	if ok && n%maxBlock == 0 {
		return channels
	}
	return c.depends(c.al.mul(c.al.ceilDiv(channels, c.num(maxBlock)), c.num(maxBlock)))
}

func reorderInput(c *call) {
	v := c.input(0)
	if c.attrInt("channels_last", 0) != 0 {
		v = toFirst(v)
	}
	if !v.ranked || len(v.dims) < 2 {
		c.set(0, unranked(v.elem))
		return
	}
	dims := slices.Clone(v.dims)
	dims[1] = c.blocked(dims[1])
	c.set(0, tensor(v.elem, dims...))
}

func reorderOutput(c *call) {
	v := c.input(0)
	n := c.attrInt("channels", 0)
	if n <= 0 {
		c.reject(c.inputName(0), "channels is %d, want at least 1", n)
		return
	}
	if !v.ranked || len(v.dims) < 2 {
		c.set(0, unranked(v.elem))
		return
	}
	dims := slices.Clone(v.dims)
	dims[1] = c.num(n)
	out := tensor(v.elem, dims...)
	if c.attrInt("channels_last", 0) != 0 {
		out = toLast(out)
	}
	c.set(0, out)
}

func blockedUpsample(c *call) {
	v := c.input(0)
	scales, given := c.attrInts("scales")
	if !v.ranked || !given || len(scales) != len(v.dims) {
		c.set(0, shaped(v.elem, v.dims, v.ranked && !given))
		return
	}
	dims := slices.Clone(v.dims)
	for i, s := range scales {
		dims[i] = c.extent(c.al.mul(dims[i], c.num(s)), i)
	}
	c.set(0, tensor(v.elem, dims...))
}
