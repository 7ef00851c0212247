package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// reduction removes axes, or keeps them with extent 1. Axes are an attribute
// before version axesInput, an input since.
func reduction(axesInput int64, fold elementFn) func(*call) {
	return func(c *call) {
		v := c.input(0)
		c.set(0, c.reduced(v.elem, axesInput, fold))
	}
}

func (c *call) reduced(elem ir.ElemType, axesInput int64, fold elementFn) *value {
	v := c.input(0)
	keep := c.attrInt("keepdims", 1) != 0
	axes, given, known := c.axesOf(1, axesInput)
	if given && known && len(axes) == 0 {
		given = false
	}
	none := c.since >= axesInput && c.attrInt("noop_with_empty_axes", 0) != 0
	if !v.ranked {
		if !given && !keep && !none {
			return tensor(elem)
		}
		return unranked(elem)
	}
	if !known {
		return c.reducedSomewhere(elem, v, keep)
	}
	if !given && none {
		out := tensor(elem, v.dims...)
		return out
	}
	drop := make([]bool, len(v.dims))
	for i := range drop {
		drop[i] = !given
	}
	for _, a := range axes {
		i, ok := c.axis(a, len(v.dims))
		if !ok {
			return unranked(elem)
		}
		drop[i] = true
	}
	var dims []*expr
	all := true
	for i, d := range v.dims {
		all = all && drop[i]
		switch {
		case !drop[i]:
			dims = append(dims, d)
		case keep:
			dims = append(dims, c.num(1))
		}
	}
	out := tensor(elem, dims...)
	if data := c.data(0); fold != nil && all && len(data) > 0 && !slices.Contains(data, nil) && exactArithmetic(v.elem) {
		if e := c.foldAll(fold, data); e != nil {
			out.data = []*expr{e}
		}
	}
	return out
}

func (c *call) foldAll(fold elementFn, data []*expr) *expr {
	e := data[0]
	for _, x := range data[1:] {
		if e = fold(c, []*expr{e, x}); e == nil {
			return nil
		}
	}
	return e
}

// reducedSomewhere is the output where the axes are not known.
func (c *call) reducedSomewhere(elem ir.ElemType, v *value, keep bool) *value {
	if keep {
		dims := make([]*expr, len(v.dims))
		for i, d := range v.dims {
			dims[i] = c.dataDependent(0, i, d, "which axes are reduced")
		}
		return tensor(elem, dims...)
	}
	if ax := c.input(1); ax.ranked && len(ax.dims) == 1 {
		if n, ok := ax.dims[0].constant(); ok && n > 0 && n <= int64(len(v.dims)) {
			return tensor(elem, c.unknownDims(len(v.dims)-int(n))...)
		}
	}
	return unranked(elem)
}

func argReduce(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(ir.Int64))
		return
	}
	axis, ok := c.axis(c.attrInt("axis", 0), len(v.dims))
	if !ok {
		return
	}
	dims := slices.Clone(v.dims)
	if c.attrInt("keepdims", 1) != 0 {
		dims[axis] = c.num(1)
	} else {
		dims = slices.Delete(dims, axis, axis+1)
	}
	c.set(0, tensor(ir.Int64, dims...))
}

// axisChecked: the output has the type of the input; the axis must exist.
func axisChecked(def int64) func(*call) {
	return func(c *call) {
		if v := c.input(0); v.ranked && len(v.dims) > 0 {
			d := def
			if c.since < 13 && c.domainIsStandard() && def == -1 {
				d = 1 // Softmax and its kin before version 13
			}
			if at := c.attr("axis"); at == nil || at.I != nil {
				a := c.attrInt("axis", d)
				if a == int64(len(v.dims)) && c.since < 13 || at == nil {
					a = 0
				}
				if _, ok := c.axis(a, len(v.dims)); !ok {
					return
				}
			}
		}
		allSameAsFirst(c)
	}
}
