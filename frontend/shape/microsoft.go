package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Rules of com.microsoft that are no attention. Inputs and outputs are those of
// docs/ContribOperators.md of github.com/microsoft/onnxruntime.

// last replaces the last extent of v.
func (c *call) withLast(elem ir.ElemType, v *value, d *expr) *value {
	if !v.ranked || len(v.dims) == 0 {
		return unranked(elem)
	}
	dims := slices.Clone(v.dims)
	dims[len(dims)-1] = d
	return tensor(elem, dims...)
}

// dimOf is extent i of v, counting from the end if negative; nil if unknown.
func dimOf(v *value, i int) *expr {
	if i < 0 {
		i += len(v.dims)
	}
	if !v.ranked || i < 0 || i >= len(v.dims) {
		return nil
	}
	return v.dims[i]
}

func biasDropout(c *call) {
	sameAsFirst(c)
	c.set(1, c.input(0).withElem(ir.Bool))
}

func biasSplitGelu(c *call) {
	v := c.input(0)
	if d := dimOf(v, -1); d != nil {
		c.set(0, c.withLast(v.elem, v, c.al.floorDiv(d, c.num(2))))
		return
	}
	c.set(0, unranked(v.elem))
}

func cDist(c *call) {
	c.set(0, tensor(c.elem(0), c.firstDim(c.input(0)), c.firstDim(c.input(1))))
}

func convTransposeDynamic(c *call) {
	x, k := c.input(0), c.input(1)
	if x.rank() != 4 || k.rank() != 4 {
		c.set(0, unranked(x.elem))
		return
	}
	pads, ok := c.ints(2)
	strides, ok2 := c.positive("strides", 2)
	dilations, ok3 := c.positive("dilations", 2)
	if !ok2 || !ok3 {
		return
	}
	extra, _ := c.attrInts("output_padding")
	if len(extra) != 2 {
		extra = []int64{0, 0}
	}
	dims := []*expr{x.dims[0], c.al.mul(k.dims[1], c.num(max(1, c.attrInt("group", 1))))}
	for i := range 2 {
		reach := c.al.add(c.al.mul(c.num(dilations[i]), c.al.sub(k.dims[2+i], c.num(1))), c.num(addSat(extra[i], 1)))
		d := c.al.add(c.al.mul(c.num(strides[i]), c.al.sub(x.dims[2+i], c.num(1))), reach)
		if ok && len(pads) == 4 {
			dims = append(dims, c.extent(c.al.sub(d, c.num(addSat(pads[i], pads[2+i]))), 2+i))
		} else {
			dims = append(dims, c.dataDependent(0, 2+i, d, "contents"))
		}
	}
	c.set(0, tensor(x.elem, dims...))
}

func cropAndResize(c *call) {
	x, boxes := c.input(0), c.input(1)
	size := c.shapeInput(3)
	dims := []*expr{c.firstDim(boxes), c.or(dimOf(x, 1))}
	for i := range 2 {
		if i < len(size) && size[i] != nil && size[i].lo >= 0 {
			dims = append(dims, size[i])
		} else {
			dims = append(dims, c.dataDependent(0, 2+i, dimOf(x, 2+i), "contents"))
		}
	}
	c.set(0, tensor(x.elem, dims...))
}

func dynamicQuantizeLSTM(c *call) {
	// Weights are [directions, input, 4·hidden], transposed against LSTM's.
	w := c.input(1)
	x := c.input(0)
	dirs := c.or(dimOf(w, 0))
	hidden := c.num(max(1, c.attrInt("hidden_size", 1)))
	seq, batch := c.or(dimOf(x, 0)), c.or(dimOf(x, 1))
	c.set(0, tensor(x.elem, seq, dirs, batch, hidden))
	c.set(1, tensor(x.elem, dirs, batch, hidden))
	c.set(2, tensor(x.elem, dirs, batch, hidden))
}

// embedLayerNorm: ids, segments, the three embeddings, … ; the mask index is one
// number a sequence.
func embedLayerNorm(c *call) {
	ids, words := c.input(0), c.input(2)
	elem := words.elem
	if !isFloat(elem) {
		elem = ir.Float32 // quantized embeddings
	}
	batch, seq, width := c.or(dimOf(ids, 0)), c.or(dimOf(ids, 1)), c.or(dimOf(words, 1))
	c.set(0, tensor(elem, batch, seq, width))
	c.set(1, tensor(ir.Int32, batch))
	c.set(2, tensor(elem, batch, seq, width))
}

func expandDims(c *call) {
	v := c.input(0)
	axes, ok := c.ints(1)
	if !v.ranked || !ok || len(axes) != 1 {
		if v.ranked {
			c.set(0, tensor(v.elem, c.unknownDims(len(v.dims)+1)...))
			return
		}
		c.set(0, unranked(v.elem))
		return
	}
	at, ok := c.axis(axes[0], len(v.dims)+1)
	if !ok {
		return
	}
	c.set(0, c.moved(v, slices.Insert(slices.Clone(v.dims), at, c.num(1))))
}

// fusedMatMul may transpose the last two axes of either operand, and exchange
// its first batch axis with the row before.
func fusedMatMul(c *call) {
	operand := func(i int, trans, batch string) *value {
		v := c.input(i)
		if c.attrInt(batch, 0) != 0 && len(v.dims) >= 3 {
			w := *v
			w.public = nil
			r := len(v.dims)
			// [batch…, rows, cols] is stored as [rows, batch…, cols].
			w.dims = append(append(slices.Clone(v.dims[1:r-1]), v.dims[0]), v.dims[r-1])
			v = &w
		}
		return transposed(v, c.attrInt(trans, 0) != 0)
	}
	c.set(0, c.matmul(c.elem(0), operand(0, "transA", "transBatchA"), operand(1, "transB", "transBatchB")))
}

func gemmFloat8(c *call) {
	c.set(0, c.gemm(c.attrElem("dtype", ir.Float32), 0, 1))
}

// gatherBlockQuantized: rows of a table of 4- or 8-bit numbers, dequantized. A
// table of bytes holds several numbers a byte along the last axis.
func gatherBlockQuantized(c *call) {
	v, ix, scales := c.input(0), c.input(1), c.input(2)
	if !v.ranked || !ix.ranked {
		c.set(0, unranked(scales.elem))
		return
	}
	axis, ok := c.axis(c.attrInt("gather_axis", 0), len(v.dims))
	if !ok {
		return
	}
	dims := slices.Concat(v.dims[:axis], ix.dims, v.dims[axis+1:])
	if bits := c.attrInt("bits", 4); v.elem == ir.Uint8 && bits > 0 && bits < 8 {
		last := len(dims) - 1
		dims[last] = c.al.mul(dims[last], c.num(8/bits))
	}
	c.set(0, tensor(scales.elem, dims...))
}

func gemmaRotary(c *call) {
	c.set(0, c.input(1).withoutData().asTensor())
	c.set(1, c.input(3).withoutData().asTensor())
}

func isAllFinite(c *call) { c.set(0, tensor(ir.Bool)) }

// matMulNBits multiplies with weights of K rows and N columns, packed.
func matMulNBits(c *call) {
	v := c.input(0)
	n := c.attrInt("N", 0)
	if n <= 0 {
		if shape, ok := c.ints(2); ok && len(shape) == 2 { // MatMulFpQ4
			n = shape[1]
		}
	}
	if n <= 0 {
		c.set(0, c.withLast(v.elem, v, c.fresh(nil)))
		return
	}
	if k, ok := dimOf(v, -1).constant(); ok && c.attrInt("K", k) != k {
		c.contradict("the input has %d columns, the weights %d rows", k, c.attrInt("K", k))
	}
	c.set(0, c.withLast(v.elem, v, c.num(n)))
}

func matMulIntegerToFloat(c *call) { c.set(0, c.matmul(c.elem(2), c.input(0), c.input(1))) }

func mulInteger(c *call) {
	dims, ok := c.broadcastInputs(0, 2)
	c.set(0, shaped(ir.Int32, dims, ok))
}

func murmurHash(c *call) {
	elem := ir.Uint32
	if c.attrInt("positive", 1) == 0 {
		elem = ir.Int32
	}
	c.set(0, c.input(0).withElem(elem))
}

// qLinearConcat: the output's scale and zero point, then three inputs a tensor.
func qLinearConcat(c *call) {
	tensors := &call{in: c.in, s: c.s, n: c.n, al: c.al, since: c.since, opset: c.opset, outs: c.outs}
	for i := 2; i < len(c.ins); i += 3 {
		tensors.ins = append(tensors.ins, c.ins[i])
	}
	concat(tensors)
}

func qLinearWhere(c *call) {
	dims, ok := c.broadcastInputs(0, 1, 4)
	c.set(0, shaped(c.elem(1), dims, ok))
}

func reduceSumInteger(c *call) { c.set(0, c.reduced(ir.Int32, 2, nil)) }

func irfft(c *call) {
	v := c.input(0)
	if !v.ranked || len(v.dims) < 2 {
		c.set(0, unranked(v.elem))
		return
	}
	dims := slices.Clone(v.dims[:len(v.dims)-1])
	if c.attrInt("onesided", 1) != 0 {
		k := len(dims) - 1
		dims[k] = c.al.mul(c.al.sub(dims[k], c.num(1)), c.num(2))
	}
	c.set(0, tensor(v.elem, dims...))
}

func rfft(c *call) {
	v := c.input(0)
	if !v.ranked || len(v.dims) < 1 {
		c.set(0, unranked(v.elem))
		return
	}
	dims := slices.Clone(v.dims)
	if c.attrInt("onesided", 1) != 0 {
		k := len(dims) - 1
		dims[k] = c.al.add(c.al.floorDiv(dims[k], c.num(2)), c.num(1))
	}
	c.set(0, tensor(v.elem, append(dims, c.num(2))...))
}

func skipGroupNorm(c *call) {
	sameAsFirst(c)
	c.set(1, c.input(0).withoutData().asTensor())
}

// skipLayerNorm: the sum that is normalised is an output too; mean and inverse
// deviation stand between.
func skipLayerNorm(c *call) {
	v := c.input(0)
	sameAsFirst(c)
	c.set(1, c.withLast(ir.Float32, v, c.num(1)))
	c.set(2, c.withLast(ir.Float32, v, c.num(1)))
	c.set(3, v.withoutData().asTensor())
}

func tokenizer(c *call) {
	v := c.input(0)
	if !v.ranked {
		c.set(0, unranked(ir.String))
		return
	}
	c.set(0, tensor(ir.String, append(slices.Clone(v.dims), c.dataDependent(0, len(v.dims), nil, "the strings"))...))
}

func torchEmbedding(c *call) {
	table, ix := c.input(0), c.input(1)
	if !ix.ranked {
		c.set(0, unranked(table.elem))
		return
	}
	c.set(0, tensor(table.elem, append(slices.Clone(ix.dims), c.or(dimOf(table, 1)))...))
}

// unfoldTensor slides a window along an axis; the window becomes a last axis.
func unfoldTensor(c *call) {
	v := c.input(0)
	size, step := c.attrInt("size", 1), c.attrInt("step", 1)
	if step <= 0 || size <= 0 {
		c.reject(c.inputName(0), "size %d and step %d must be positive", size, step)
		return
	}
	if !v.ranked || len(v.dims) == 0 {
		c.set(0, unranked(v.elem))
		return
	}
	at, ok := c.axis(c.attrInt("dim", -1), len(v.dims))
	if !ok {
		return
	}
	dims := slices.Clone(v.dims)
	dims[at] = c.extent(c.al.add(c.al.floorDiv(c.al.sub(dims[at], c.num(size)), c.num(step)), c.num(1)), at)
	c.set(0, tensor(v.elem, append(dims, c.num(size))...))
}

func msUnique(c *call) {
	v := c.input(0)
	k := c.dataDependent(0, 0, dimOf(v, 0), "how many elements differ")
	c.set(0, tensor(v.elem, k))
	c.set(1, tensor(ir.Int64, c.or(dimOf(v, 0))))
	c.set(2, tensor(ir.Int64, k))
}

func wordConvEmbedding(c *call) {
	v := c.input(0)
	c.set(0, c.withLast(ir.Float32, v, c.or(dimOf(c.input(1), 0))))
}

// beamSearch: [batch, sequences, length], scores of each, scores of each step.
func beamSearch(c *call) {
	ids := c.input(0)
	batch := c.or(dimOf(ids, 0))
	length := c.scalar(1)
	if length == nil || length.lo < 0 {
		length = c.dataDependent(0, 2, dimOf(ids, 1), "contents")
	}
	returned := c.scalar(4)
	if returned == nil || returned.lo < 0 {
		returned = c.dataDependent(0, 1, nil, "contents")
	}
	c.set(0, tensor(ir.Int32, batch, returned, length))
	c.set(1, tensor(ir.Float32, batch, returned))
	c.set(2, tensor(ir.Float32, c.unknownDims(4)...))
}

func greedySearch(c *call) {
	ids := c.input(0)
	length := c.scalar(1)
	if length == nil || length.lo < 0 {
		length = c.dataDependent(0, 1, dimOf(ids, 1), "contents")
	}
	c.set(0, tensor(ir.Int32, c.or(dimOf(ids, 0)), length))
}
