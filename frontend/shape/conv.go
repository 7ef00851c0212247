package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// window is how a kernel moves over the spatial axes of its input.
type window struct {
	kernel    []*expr
	strides   []int64
	dilations []int64
	pads      []int64 // begins, then ends
	auto      string  // auto_pad
	ceil      bool
}

// window reads the attributes that convolutions and poolings share, for n
// spatial axes. kernel has as many extents, or is nil if the attribute must be there.
func (c *call) window(n int, kernel []*expr) (window, bool) {
	w := window{kernel: kernel, auto: c.attrString("auto_pad", "NOTSET"), ceil: c.attrInt("ceil_mode", 0) != 0}
	if ks, given := c.attrInts("kernel_shape"); given && len(ks) > 0 {
		if len(ks) != n {
			c.reject(c.inputName(0), "kernel_shape has %d entries for %d spatial axes", len(ks), n)
			return w, false
		}
		for i, k := range ks {
			if k <= 0 {
				c.reject(c.inputName(0), "kernel_shape has the entry %d, want at least 1", k)
				return w, false
			}
			if kernel == nil || i < len(kernel) && !kernel[i].isConst() {
				w.kernel = c.in.numbers(ks)
			}
		}
	}
	if len(w.kernel) != n {
		c.reject(c.inputName(0), "kernel_shape is missing")
		return w, false
	}
	var ok bool
	if w.strides, ok = c.positive("strides", n); !ok {
		return w, false
	}
	if w.dilations, ok = c.positive("dilations", n); !ok {
		return w, false
	}
	pads, given := c.attrInts("pads")
	if !given || len(pads) == 0 {
		pads = make([]int64, 2*n)
	}
	if len(pads) != 2*n {
		c.reject(c.inputName(0), "pads has %d entries for %d spatial axes", len(pads), n)
		return w, false
	}
	w.pads = pads
	return w, true
}

// positive is an attribute of n numbers above 0, by default 1.
func (c *call) positive(name string, n int) ([]int64, bool) {
	list, given := c.attrInts(name)
	if !given || len(list) == 0 {
		return slices.Repeat([]int64{1}, n), true
	}
	if len(list) != n {
		c.reject(c.inputName(0), "%s has %d entries for %d spatial axes", name, len(list), n)
		return nil, false
	}
	for _, x := range list {
		if x <= 0 {
			c.reject(c.inputName(0), "%s has the entry %d, want at least 1", name, x)
			return nil, false
		}
	}
	return list, true
}

// slid is the extent that the window leaves of extent d of spatial axis i.
func (c *call) slid(w *window, d *expr, i int) *expr {
	al := c.al
	stride := c.num(w.strides[i])
	reach := al.add(al.mul(c.num(w.dilations[i]), al.sub(w.kernel[i], c.num(1))), c.num(1))
	switch w.auto {
	case "SAME_UPPER", "SAME_LOWER":
		return al.ceilDiv(d, stride)
	case "VALID":
		return c.extent(al.add(al.floorDiv(al.sub(d, reach), stride), c.num(1)), 2+i)
	}
	n := len(w.strides)
	padded := al.add(d, c.num(addSat(w.pads[i], w.pads[n+i])))
	free := al.sub(padded, reach)
	if !w.ceil {
		return c.extent(al.add(al.floorDiv(free, stride), c.num(1)), 2+i)
	}
	// A window may hang over the end, but must not start behind it.
	out := al.add(al.ceilDiv(free, stride), c.num(1))
	return c.extent(al.min(out, al.ceilDiv(al.add(d, c.num(w.pads[i])), stride)), 2+i)
}

// conv is a convolution with the weights in input w; x is input 0.
func (c *call) conv(elem ir.ElemType, w int) {
	if k := c.input(w); k.ranked && !k.open {
		c.require(0, len(k.dims))
	}
	x, k := c.input(0), c.input(w)
	rank := x.rank()
	if rank < 0 {
		rank = k.rank()
	}
	if rank < 0 {
		c.set(0, unranked(elem))
		return
	}
	if rank < 3 || k.ranked && len(k.dims) != rank {
		c.contradict("an input of rank %d cannot be convolved with weights of rank %d", rank, k.rank())
		c.set(0, unranked(elem))
		return
	}
	group := c.attrInt("group", 1)
	if group <= 0 {
		c.reject(c.inputName(0), "group is %d, want at least 1", group)
		return
	}
	n := rank - 2
	var kernel []*expr
	if k.ranked {
		kernel = k.dims[2:]
	} else if ks, given := c.attrInts("kernel_shape"); !given || len(ks) != n {
		kernel = c.unknownDims(n)
	}
	win, ok := c.window(n, kernel)
	if !ok {
		return
	}
	dims := make([]*expr, rank)
	if !x.ranked {
		x = tensor(x.elem, c.unknownDims(rank)...)
	}
	dims[0] = x.dims[0]
	if k.ranked {
		dims[1] = k.dims[0]
		have, ok1 := x.dims[1].constant()
		want, ok2 := k.dims[1].constant()
		if ok1 && ok2 && have != mulSat(want, group) {
			c.contradict("the input has %d channels, the weights take %d", have, mulSat(want, group))
		}
	} else {
		dims[1] = c.fresh(nil)
	}
	for i := range n {
		dims[2+i] = c.slid(&win, x.dims[2+i], i)
	}
	c.set(0, tensor(elem, dims...))
}

func conv(c *call)        { c.conv(c.elem(0), 1) }
func convInteger(c *call) { c.conv(ir.Int32, 1) }

func convTranspose(c *call) {
	if k := c.input(1); k.ranked && !k.open {
		c.require(0, len(k.dims))
	}
	x, k := c.input(0), c.input(1)
	rank := x.rank()
	if rank < 0 {
		rank = k.rank()
	}
	if rank < 0 {
		c.set(0, unranked(x.elem))
		return
	}
	if rank < 3 || k.ranked && len(k.dims) != rank {
		c.contradict("an input of rank %d cannot be convolved with weights of rank %d", rank, k.rank())
		c.set(0, unranked(x.elem))
		return
	}
	group := c.attrInt("group", 1)
	if group <= 0 {
		c.reject(c.inputName(0), "group is %d, want at least 1", group)
		return
	}
	n := rank - 2
	kernel := c.unknownDims(n)
	channels := c.fresh(nil)
	if k.ranked {
		kernel = k.dims[2:]
		channels = c.al.mul(k.dims[1], c.num(group))
	}
	win, ok := c.window(n, kernel)
	if !ok {
		return
	}
	if !x.ranked {
		x = tensor(x.elem, c.unknownDims(rank)...)
	}
	dims := []*expr{x.dims[0], channels}
	if shape, given := c.attrInts("output_shape"); given && len(shape) >= n {
		dims = append(dims, c.in.numbers(shape[len(shape)-n:])...)
		c.set(0, tensor(x.elem, dims...))
		return
	}
	extra, given := c.attrInts("output_padding")
	if !given || len(extra) == 0 {
		extra = make([]int64, n)
	}
	if len(extra) != n {
		c.reject(c.inputName(0), "output_padding has %d entries for %d spatial axes", len(extra), n)
		return
	}
	al := c.al
	for i := range n {
		d := x.dims[2+i]
		stride := c.num(win.strides[i])
		if win.auto == "SAME_UPPER" || win.auto == "SAME_LOWER" {
			dims = append(dims, al.mul(d, stride))
			continue
		}
		reach := al.add(al.mul(c.num(win.dilations[i]), al.sub(win.kernel[i], c.num(1))), c.num(1))
		out := al.add(al.mul(stride, al.sub(d, c.num(1))), al.add(reach, c.num(extra[i])))
		if win.auto != "VALID" {
			out = al.sub(out, c.num(addSat(win.pads[i], win.pads[n+i])))
		}
		dims = append(dims, c.extent(out, 2+i))
	}
	c.set(0, tensor(x.elem, dims...))
}

// deformConv has the shape of a convolution.
func deformConv(c *call) { c.conv(c.elem(0), 1) }

func pool(c *call) {
	x := c.input(0)
	ks, given := c.attrInts("kernel_shape")
	if !x.ranked {
		if !given {
			c.set(0, unranked(x.elem))
			return
		}
		x = tensor(x.elem, c.unknownDims(min(len(ks), maxRank)+2)...)
	}
	if len(x.dims) < 3 {
		c.contradict("an input of rank %d has no axis to pool", len(x.dims))
		return
	}
	n := len(x.dims) - 2
	win, ok := c.window(n, nil)
	if !ok {
		return
	}
	dims := slices.Clone(x.dims)
	for i := range n {
		dims[2+i] = c.slid(&win, x.dims[2+i], i)
	}
	c.set(0, tensor(x.elem, dims...))
	c.set(1, tensor(ir.Int64, dims...))
}

func globalPool(c *call) {
	x := c.input(0)
	if !x.ranked {
		c.set(0, unranked(x.elem))
		return
	}
	dims := slices.Clone(x.dims)
	for i := 2; i < len(dims); i++ {
		dims[i] = c.num(1)
	}
	c.set(0, tensor(x.elem, dims...))
}

func maxUnpool(c *call) {
	x := c.input(0)
	if c.has(2) {
		if shape := c.shapeInput(2); shape != nil {
			dims := make([]*expr, len(shape))
			for i, d := range shape {
				if dims[i] = d; d == nil || d.real || d.lo < 0 {
					dims[i] = c.dataDependent(0, i, nil, "contents")
				}
			}
			c.set(0, tensor(x.elem, dims...))
			return
		}
		c.set(0, unranked(x.elem))
		return
	}
	if !x.ranked || len(x.dims) < 3 {
		c.set(0, unranked(x.elem))
		return
	}
	n := len(x.dims) - 2
	win, ok := c.window(n, nil)
	if !ok {
		return
	}
	dims := slices.Clone(x.dims)
	al := c.al
	for i := range n {
		d := al.add(al.mul(al.sub(x.dims[2+i], c.num(1)), c.num(win.strides[i])), win.kernel[i])
		dims[2+i] = c.extent(al.sub(d, c.num(addSat(win.pads[i], win.pads[n+i]))), 2+i)
	}
	c.set(0, tensor(x.elem, dims...))
}

func maxRoiPool(c *call) {
	x, rois := c.input(0), c.input(1)
	pooled, _ := c.attrInts("pooled_shape")
	if !x.ranked || len(x.dims) != 4 || len(pooled) != 2 {
		c.set(0, tensor(x.elem, c.unknownDims(4)...))
		return
	}
	c.set(0, tensor(x.elem, c.firstDim(rois), x.dims[1], c.num(pooled[0]), c.num(pooled[1])))
}

// firstDim is the leading extent of v.
func (c *call) firstDim(v *value) *expr {
	if v.rank() > 0 {
		return v.dims[0]
	}
	return c.fresh(nil)
}

func roiAlign(c *call) {
	x, rois := c.input(0), c.input(1)
	channels := c.fresh(nil)
	if x.rank() == 4 {
		channels = x.dims[1]
	}
	c.set(0, tensor(x.elem, c.firstDim(rois), channels, c.num(c.attrInt("output_height", 1)), c.num(c.attrInt("output_width", 1))))
}

func col2Im(c *call) {
	x := c.input(0)
	image, block := c.shapeInput(1), c.shapeInput(2)
	if image == nil {
		c.set(0, unranked(x.elem))
		return
	}
	dims := []*expr{c.firstDim(x)}
	channels := c.fresh(nil)
	if x.rank() == 3 && len(block) > 0 && !slices.Contains(block, nil) {
		channels = c.al.floorDiv(x.dims[1], c.al.product(block))
	}
	dims = append(dims, channels)
	for i, d := range image {
		if d == nil || d.lo < 0 {
			d = c.dataDependent(0, 2+i, nil, "contents")
		}
		dims = append(dims, d)
	}
	c.set(0, tensor(x.elem, dims...))
}
