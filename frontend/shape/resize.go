package shape

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// scaled is floor(d·scale) as runtimes compute it: in single precision.
func (c *call) scaled(d, scale *expr) *expr {
	if n, ok := d.constant(); ok && scale.op == opRealConst {
		f := float64(float32(n) * float32(scale.fval))
		if f >= 0 && f < maxExtent {
			return c.num(int64(f))
		}
	}
	if num, den, ok := c.al.asRatio(scale); ok && num.lo >= 0 {
		return c.al.floorDiv(c.al.mul(d, num), c.num(den))
	}
	product := c.al.realFn("*32", float64(float32(d.val)*float32(scale.fval)), c.al.toReal(d), scale)
	return c.al.trunc(product)
}

func upsample(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	var scales []*expr
	switch {
	case c.since >= 9:
		scales = c.data(1)
	case c.attr("scales") != nil:
		for _, f := range c.attr("scales").Floats {
			scales = append(scales, c.al.realConst(float64(f)))
		}
	case len(v.dims) == 4: // version 1
		one := c.al.realConst(1)
		scales = []*expr{one, one, c.al.realConst(c.attrFloat("height_scale", 1)), c.al.realConst(c.attrFloat("width_scale", 1))}
	}
	c.set(0, tensor(v.elem, c.scaledDims(v.dims, scales, nil)...))
}

// scaledDims are dims times scales along axes, all of them if axes is nil.
func (c *call) scaledDims(dims, scales []*expr, axes []int) []*expr {
	out := slices.Clone(dims)
	if axes == nil {
		for i := range dims {
			axes = append(axes, i)
		}
	}
	if scales == nil {
		scales = make([]*expr, len(axes))
	}
	if len(scales) != len(axes) {
		c.reject(c.inputName(0), "%d scales are given for %d axes", len(scales), len(axes))
		return out
	}
	for k, i := range axes {
		if s := scales[k]; s == nil || !s.real || s.fval <= 0 {
			out[i] = c.dataDependent(0, i, dims[i], "contents")
		} else {
			out[i] = c.scaled(dims[i], s)
		}
	}
	return out
}

func resize(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	scalesAt, sizesAt := 2, 3
	if c.since < 11 {
		scalesAt, sizesAt = 1, -1
	}
	var axes []int
	if list, given := c.attrInts("axes"); given {
		for _, a := range list {
			i, ok := c.axis(a, len(v.dims))
			if !ok {
				return
			}
			axes = append(axes, i)
		}
	}
	if sizesAt > 0 && c.has(sizesAt) {
		c.set(0, tensor(v.elem, c.sizedDims(v.dims, c.shapeInput(sizesAt), axes)...))
		return
	}
	scales := c.data(scalesAt)
	if c.attrString("coordinate_transformation_mode", "") == "tf_crop_and_resize" && scales != nil {
		scales = c.cropScales(scales, c.data(1), len(v.dims), axes)
	}
	c.set(0, tensor(v.elem, c.scaledDims(v.dims, scales, axes)...))
}

// sizedDims are dims with the given sizes along axes, scaled alike if the node
// keeps the aspect ratio.
func (c *call) sizedDims(dims, sizes []*expr, axes []int) []*expr {
	out := slices.Clone(dims)
	if axes == nil {
		for i := range dims {
			axes = append(axes, i)
		}
	}
	if sizes == nil {
		sizes = make([]*expr, len(axes))
	}
	if len(sizes) != len(axes) {
		c.reject(c.inputName(0), "%d sizes are given for %d axes", len(sizes), len(axes))
		return out
	}
	policy := c.attrString("keep_aspect_ratio_policy", "stretch")
	if policy == "stretch" {
		for k, i := range axes {
			if s := sizes[k]; s == nil || s.real || s.lo < 0 && s.val < 0 {
				out[i] = c.dataDependent(0, i, dims[i], "contents")
			} else {
				out[i] = s
			}
		}
		return out
	}
	scale, exact := math.Inf(1), true
	if policy == "not_smaller" {
		scale = 0
	}
	assumed := false
	for k, i := range axes {
		s := sizes[k]
		if s == nil || s.real || dims[i].val == 0 {
			exact, assumed, scale = false, true, 1
			break
		}
		exact = exact && s.isConst() && dims[i].isConst()
		assumed = assumed || s.assumed || dims[i].assumed
		r := float64(float32(s.val) / float32(dims[i].val))
		if policy == "not_smaller" {
			scale = math.Max(scale, r)
		} else {
			scale = math.Min(scale, r)
		}
	}
	for _, i := range axes {
		n := int64(math.Round(scale * float64(dims[i].val)))
		if exact {
			out[i] = c.num(n)
		} else {
			out[i] = c.fresh(c.num(n))
			out[i].assumed = assumed
		}
	}
	return out
}

// cropScales are scales times the part of each axis that the region of interest keeps.
func (c *call) cropScales(scales, roi []*expr, rank int, axes []int) []*expr {
	n := rank
	if axes != nil {
		n = len(axes)
	}
	if len(scales) != n || len(roi) != 2*n {
		return nil
	}
	out := make([]*expr, n)
	for i := range out {
		s, from, to := scales[i], roi[i], roi[n+i]
		if s == nil || from == nil || to == nil || !s.real {
			continue
		}
		out[i] = c.al.realFn("crop", (to.fval-from.fval)*s.fval, s, from, to)
	}
	return out
}

func gridSample(c *call) {
	x, grid := c.input(0), c.input(1)
	if !grid.ranked || len(grid.dims) < 3 {
		c.set(0, unranked(x.elem))
		return
	}
	n, channels := c.fresh(nil), c.fresh(nil)
	if x.rank() == len(grid.dims) {
		n, channels = x.dims[0], x.dims[1]
	}
	dims := append([]*expr{n, channels}, grid.dims[1:len(grid.dims)-1]...)
	c.set(0, tensor(x.elem, dims...))
}

func affineGrid(c *call) {
	elem := c.elem(0)
	size := c.shapeInput(1)
	if len(size) != 4 && len(size) != 5 {
		c.set(0, unranked(elem))
		return
	}
	dims := []*expr{}
	for i, d := range size {
		if i == 1 {
			continue
		}
		if d == nil || d.lo < 0 {
			d = c.dataDependent(0, len(dims), nil, "contents")
		}
		dims = append(dims, d)
	}
	c.set(0, tensor(elem, append(dims, c.num(int64(len(size)-2)))...))
}

func centerCropPad(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(v.elem))
		return
	}
	shape := c.shapeInput(1)
	axes, given := c.attrInts("axes")
	if !given {
		for i := range v.dims {
			axes = append(axes, int64(i))
		}
	}
	dims := slices.Clone(v.dims)
	if shape != nil && len(shape) != len(axes) {
		c.reject(c.inputName(1), "%d extents are given for %d axes", len(shape), len(axes))
		return
	}
	for k, a := range axes {
		i, ok := c.axis(a, len(dims))
		if !ok {
			return
		}
		if shape != nil && shape[k] != nil && shape[k].lo >= 0 {
			dims[i] = shape[k]
		} else {
			dims[i] = c.dataDependent(0, i, dims[i], "contents")
		}
	}
	c.set(0, tensor(v.elem, dims...))
}

// nonMaxSuppression selects boxes: at most so many a class and batch.
func nonMaxSuppression(c *call) {
	boxes, scores := c.input(0), c.input(1)
	var most *expr
	if scores.rank() == 3 && boxes.rank() == 3 {
		each := boxes.dims[1]
		if limit := c.scalar(2); limit != nil && !limit.real {
			each = c.al.min(each, c.al.max(limit, c.num(0)))
		}
		most = c.al.mul(c.al.mul(scores.dims[0], scores.dims[1]), each)
	}
	n := c.dataDependent(0, 0, most, "how many boxes are selected")
	c.set(0, tensor(ir.Int64, n, c.num(3)))
}

// imageDecoder makes an image of a size that only the data knows.
func imageDecoder(c *call) {
	channels := c.num(3)
	if c.attrString("pixel_format", "RGB") == "Grayscale" {
		channels = c.num(1)
	}
	side := c.num(assumedImageSide)
	c.set(0, tensor(ir.Uint8, c.dataDependent(0, 0, side, "the image"), c.dataDependent(0, 1, side, "the image"), channels))
}

// assumedImageSide is the extent of a decoded image of unknown size.
const assumedImageSide = 224
