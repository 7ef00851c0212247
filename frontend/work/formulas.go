package work

import (
	"math/bits"
	"slices"
	"strings"
)

// conv: for each output element a product with a window of the kernel over the
// channels of its group, 2·k·C/g, and the bias. The weights are input wi.
func conv(wi int) rule {
	return func(x *node, w *Work) {
		k := x.in(wi)
		out := x.outElements()
		w.FLOPs = mul(2, out, product(tail(k.Dims, 1)))
		bias := x.has(wi + 1)
		if wi == 3 {
			bias = x.has(8)
		}
		if bias {
			w.FLOPs = add(w.FLOPs, out)
		}
		w.Kernel = kernelKind(x.in(0).Dims, k.Dims)
	}
}

// fewChannels is the most input channels that are too few for a block: runtimes
// block 4 to 16 of them.
const fewChannels = 4

// kernelKind is the kind of a convolution of input x with weights w; "" if the
// shapes do not say.
func kernelKind(x, w []int64) string {
	if len(x) != len(w) || len(w) < 3 {
		return ""
	}
	switch extent := product(w[2:]); {
	case w[1] == 1 && x[1] > 1:
		return "depthwise"
	case extent == 1:
		return "1x1"
	case w[1] <= fewChannels:
		return "few channels"
	case slices.Max(w[2:]) <= 3:
		return "3x3"
	}
	return "large"
}

func tail(dims []int64, from int) []int64 {
	if len(dims) < from {
		return nil
	}
	return dims[from:]
}

// convTranspose: each input element is multiplied with the kernel of its group's
// outputs.
func convTranspose(x *node, w *Work) {
	w.FLOPs = mul(2, x.in(0).Elements(), product(tail(x.in(1).Dims, 1)))
	if x.has(2) {
		w.FLOPs = add(w.FLOPs, x.outElements())
	}
}

// deformConv: a convolution, and for each sample of the input a bilinear
// interpolation (8 operations) and a mask.
func deformConv(x *node, w *Work) {
	conv(1)(x, w)
	samples := mul(x.outElements()/max(1, dim(x.out(0), 1)), dim(x.in(0), 1), product(tail(x.in(1).Dims, 2)))
	w.FLOPs = add(w.FLOPs, mul(9, samples))
}

// matMul: a dot product of the inner extent for each output element. The inner
// extent is the last one of input A.
func matMul(x *node, w *Work) {
	w.FLOPs = mul(2, x.outElements(), dim(x.in(0), -1))
}

// gemm: the product, and one addition for C, input c.
func gemm(c int) rule {
	return func(x *node, w *Work) {
		k := dim(x.in(0), -1)
		if x.attrInt("transA", 0) != 0 {
			k = dim(x.in(0), -2)
		}
		out := x.outElements()
		w.FLOPs = mul(2, out, k)
		if x.has(c) {
			w.FLOPs = add(w.FLOPs, out)
		}
	}
}

// einsum: one loop over all letters, a product for each operand and a sum. Two
// operands make a matrix product of it.
func einsum(x *node, w *Work) {
	eq := strings.ReplaceAll(x.attrString("equation", ""), " ", "")
	left, _, _ := strings.Cut(eq, "->")
	extents := map[byte]int64{}
	loop := int64(1)
	dots := int64(1)
	for i, term := range strings.Split(left, ",") {
		v := x.in(i)
		letters := strings.ReplaceAll(term, "...", "")
		rest := len(v.Dims) - len(letters)
		k := 0
		for j := 0; j < len(term) && k < len(v.Dims); j++ {
			if term[j] == '.' {
				if rest > 0 && k+rest <= len(v.Dims) {
					dots = max(dots, product(v.Dims[k:k+rest]))
					k += rest
				}
				j += 2
				continue
			}
			extents[term[j]] = max(extents[term[j]], v.Dims[k])
			k++
		}
	}
	for c := range 256 {
		if n, ok := extents[byte(c)]; ok {
			loop = mul(loop, n)
		}
	}
	w.FLOPs = mul(int64(max(len(x.ins), 1)), loop, dots)
	if len(x.ins) == 1 && mul(loop, dots) == x.outElements() {
		w.FLOPs = 0 // a permutation
	}
}

// scores is the work of attention proper: Q·K and the product with V for each of
// heads·seq·total scores, and a softmax with scale and mask.
func scores(batch, heads, seq, total, size, valueSize int64) int64 {
	n := mul(batch, heads, seq, total)
	return add(mul(2, n, add(size, valueSize)), mul(n, 4+transcendental+2))
}

// attention of the standard: operands are [batch, heads, seq, size] or
// [batch, seq, heads·size].
func attention(x *node, w *Work) {
	q, k, v := x.in(0), x.in(1), x.in(2)
	qn, kn := x.attrInt("q_num_heads", 1), x.attrInt("kv_num_heads", 1)
	batch, seq, size, total, valueSize := dim(q, 0), dim(q, 1), dim(q, 2)/max(qn, 1), dim(k, 1), dim(v, 2)/max(kn, 1)
	heads := qn
	if len(q.Dims) == 4 {
		heads, seq, size = q.Dims[1], q.Dims[2], q.Dims[3]
	}
	if len(k.Dims) == 4 {
		total = k.Dims[2]
	}
	if len(v.Dims) == 4 {
		valueSize = v.Dims[3]
	}
	if x.has(4) {
		total = add(total, dim(x.in(4), 2))
	}
	w.FLOPs = scores(batch, heads, seq, total, size, valueSize)
	w.Elem = q.Type.Elem
}

// linearAttention: for each position and head the state (size × value size) is
// decayed, updated with an outer product and multiplied with the query.
func linearAttention(x *node, w *Work) {
	state := x.out(1)
	q := x.in(0)
	seq := dim(q, 1)
	if len(q.Dims) == 4 {
		seq = q.Dims[2]
	}
	w.FLOPs = mul(5, seq, state.Elements())
}

// recurrent: for each step, direction and batch entry, the gates' products with
// the input and the hidden state, two biases a gate, and point operations a
// hidden unit.
func recurrent(gates, point int64) rule {
	return func(x *node, w *Work) {
		in, weights, rec := x.in(0), x.in(1), x.in(2)
		steps := mul(dim(in, 0), dim(in, 1)) // seq · batch, in either layout
		hidden := dim(rec, 2)
		each := add(mul(2, gates, hidden, add(dim(weights, 2), hidden)), mul(hidden, add(2*gates, point)))
		w.FLOPs = mul(dim(weights, 0), steps, each)
	}
}

// pool: one operation an element of each window.
func pool(x *node, w *Work) {
	k := product(x.attrInts("kernel_shape"))
	w.FLOPs = mul(k, x.outElements())
}

// lrn: for each element the squares of its neighbours, their sum, a power and a quotient.
func lrn(x *node, w *Work) {
	w.FLOPs = mul(add(mul(2, x.attrInt("size", 1)), transcendental+3), x.outElements())
}

// roiAlign: a bilinear interpolation (8 operations) at each sample of a bin.
func roiAlign(x *node, w *Work) {
	per := x.attrInt("sampling_ratio", 0)
	if per <= 0 {
		per = 2
	}
	w.FLOPs = mul(9, per, per, x.outElements())
}

// interpolation over n axes: 2ⁿ neighbours, or 4ⁿ for cubic, each with a
// multiply-add.
func interpolation(mode string, axes int) int64 {
	switch mode {
	case "linear", "bilinear":
		return 2 << min(axes, 20)
	case "cubic", "bicubic":
		return 2 << min(2*axes, 40)
	}
	return 0
}

// resize interpolates over the axes whose extents change.
func resize(x *node, w *Work) {
	in, out := x.in(0), x.out(0)
	axes := 0
	for i := range out.Dims {
		if i < len(in.Dims) && in.Dims[i] != out.Dims[i] {
			axes++
		}
	}
	w.FLOPs = mul(interpolation(x.attrString("mode", "nearest"), axes), out.Elements())
}

// gridSample: coordinates (4 operations an axis) for each point, then an
// interpolation for each channel.
func gridSample(x *node, w *Work) {
	axes := len(x.in(0).Dims) - 2
	if axes < 1 {
		return
	}
	out := x.outElements()
	points := out / max(1, dim(x.out(0), 1))
	per := interpolation(x.attrString("mode", "bilinear"), axes)
	w.FLOPs = add(mul(out, per), mul(points, int64(4*axes)))
}

// affineGrid: a product of each point with an n×(n+1) matrix.
func affineGrid(x *node, w *Work) {
	n := dim(x.out(0), -1)
	w.FLOPs = mul(2, x.outElements(), n+1)
}

// topK: a heap of k over each row.
func topK(x *node, w *Work) {
	axis := int(x.attrInt("axis", -1))
	k := dim(x.out(0), axis)
	w.FLOPs = mul(x.in(0).Elements(), 1+log2(k))
}

// log2 rounds up.
func log2(n int64) int64 { return int64(bits.Len64(uint64(max(n-1, 0)))) }

// sortRule: a comparison sort.
func sortRule(x *node, w *Work) {
	n := x.in(0).Elements()
	w.FLOPs = mul(n, 1+log2(n))
}

// nonMaxSuppression: for each class and batch a sort of the boxes, and 12
// operations for the overlap of each box with each selected one.
func nonMaxSuppression(x *node, w *Work) {
	boxes, lists := dim(x.in(0), 1), mul(dim(x.in(1), 0), dim(x.in(1), 1))
	selected := x.outElements() / 3 / max(lists, 1)
	w.FLOPs = mul(lists, boxes, add(1+log2(boxes), mul(12, selected)))
}

// dft: 5·n·log₂ n operations a complex transform (Cooley and Tukey 1965, as
// benchmarks of fast Fourier transforms count them).
func dft(x *node, w *Work) {
	out := x.out(0)
	n := out.Elements() / 2
	length := int64(1)
	for i, d := range out.Dims {
		if i < len(x.in(0).Dims)-1 {
			length = max(length, d)
		}
	}
	w.FLOPs = mul(5, n, log2(length))
}

func stft(x *node, w *Work) {
	out := x.out(0)
	w.FLOPs = mul(5, out.Elements()/2, log2(dim(out, 2))+1)
}

// det: a factorisation of each n×n matrix, 2n³/3.
func det(x *node, w *Work) {
	n := dim(x.in(0), -1)
	w.FLOPs = mul(2, x.in(0).Elements(), n) / 3
}

// ---- control flow

// ifRule: the costlier branch.
func ifRule(x *node, w *Work) {
	a, b := x.s.Body(x.n, "then_branch"), x.s.Body(x.n, "else_branch")
	if a == nil || b == nil {
		w.Known = false
		return
	}
	if cond := x.in(0); cond.Const && len(cond.Ints) == 1 {
		if *w = x.c.body(a); cond.Ints[0] == 0 {
			*w = x.c.body(b)
		}
		return
	}
	wa, wb := x.c.body(a), x.c.body(b)
	best := wa
	if costlier(wb, wa) {
		best = wb
	}
	best.WeightBytes = max(wa.WeightBytes, wb.WeightBytes)
	best.Known = wa.Known && wb.Known
	best.Assumed = true // which branch runs
	*w = best
}

func costlier(a, b Work) bool {
	if a.FLOPs != b.FLOPs {
		return a.FLOPs > b.FLOPs
	}
	return add(a.ReadBytes, a.WriteBytes) > add(b.ReadBytes, b.WriteBytes)
}

// loopRule: the body as often as it runs. Its weights count once.
func loopRule(x *node, w *Work) {
	body := x.s.Body(x.n, "body")
	if body == nil {
		w.Known = false
		return
	}
	trips, exact := x.s.Trips(x.n)
	b := x.c.body(body)
	w.FLOPs = mul(trips, b.FLOPs)
	w.ReadBytes = mul(trips, b.ReadBytes)
	w.WriteBytes = mul(trips, b.WriteBytes)
	w.WeightBytes = add(w.WeightBytes, b.WeightBytes)
	w.Elem = b.Elem
	w.Known = b.Known
	w.Assumed = w.Assumed || b.Assumed || !exact
}
