package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// batchNorm has statistics as further outputs when it trains: the running ones
// since version 14, four of them before.
func batchNorm(c *call) {
	sameAsFirst(c)
	stat := c.input(3)
	for i := 1; i < len(c.outs); i++ {
		if i < 3 {
			stat = c.input(2 + i)
		}
		if v := stat; v.ranked {
			c.set(i, tensor(v.elem, v.dims...))
		} else if x := c.input(0); x.rank() > 1 {
			c.set(i, tensor(v.elem, x.dims[1]))
		}
	}
}

// layerNorm has the mean and the inverse deviation as further outputs, in which
// the axes from axis on have extent 1.
func layerNorm(c *call) {
	v := c.input(0)
	c.set(0, shaped(v.elem, v.dims, v.ranked))
	stash := c.attrElem("stash_type", ir.Float32)
	if !v.ranked {
		c.set(1, unranked(stash))
		c.set(2, unranked(stash))
		return
	}
	if len(v.dims) == 0 {
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
	c.set(1, tensor(stash, dims...))
	c.set(2, tensor(stash, dims...))
}

// crossEntropy: a loss, a scalar unless it is not reduced; the second output has
// the shape of the scores.
func crossEntropy(c *call) {
	elem := c.elem(0)
	if c.attrString("reduction", "mean") == "none" {
		c.set(0, shaped(elem, c.input(1).dims, c.input(1).ranked))
	} else {
		c.set(0, tensor(elem))
	}
	c.set(1, c.input(0).withoutData().asTensor())
}

// sequenceNet is RNN, GRU or LSTM.
func sequenceNet(c *call) {
	for i := range 3 {
		c.require(i, 3)
	}
	x, w, r := c.input(0), c.input(1), c.input(2)
	elem := x.elem
	dirs := c.num(1)
	if strings := c.attrString("direction", "forward"); strings == "bidirectional" {
		dirs = c.num(2)
	} else if strings != "forward" && strings != "reverse" {
		c.reject(c.inputName(0), "direction %q is not one of forward, reverse, bidirectional", strings)
		return
	}
	var hidden *expr
	if h := c.attrInt("hidden_size", 0); h > 0 {
		hidden = c.num(h)
	} else if r.rank() == 3 {
		hidden = r.dims[2]
	} else {
		hidden = c.fresh(nil)
	}
	if w.rank() == 3 && w.dims[0].isConst() && w.dims[0] != dirs {
		c.contradict("the weights are for %s directions", w.dims[0].text)
	}
	seq, batch := c.fresh(nil), c.fresh(nil)
	batchFirst := c.attrInt("layout", 0) != 0
	if x.ranked {
		if len(x.dims) != 3 {
			c.contradict("the input has rank %d, not 3", len(x.dims))
			return
		}
		seq, batch = x.dims[0], x.dims[1]
		if batchFirst {
			seq, batch = batch, seq
		}
	}
	if batchFirst {
		c.set(0, tensor(elem, batch, seq, dirs, hidden))
		c.set(1, tensor(elem, batch, dirs, hidden))
		c.set(2, tensor(elem, batch, dirs, hidden))
		return
	}
	c.set(0, tensor(elem, seq, dirs, batch, hidden))
	c.set(1, tensor(elem, dirs, batch, hidden))
	c.set(2, tensor(elem, dirs, batch, hidden))
}
