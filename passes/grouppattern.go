package passes

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// activations are the operators of one operand that runtimes attach to the
// convolution, matrix product or normalisation before them.
var activations = []string{
	"Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish",
	"Mish", "Tanh", "Softplus", "Softsign", "Gelu", "Swish", "com.microsoft::Gelu", "com.microsoft::FastGelu", "com.microsoft::QuickGelu",
}

// activation is the node, or the group that stands for one operator, that alone
// reads what n makes and works on it element by element; NoNode if there is none.
func (r *grouper) activation(n ir.NodeID) ir.NodeID {
	if a := r.next(n); r.free(a) && r.in(a) == r.out(n) && r.is(a, activations...) {
		return a
	}
	v := r.out(n)
	if v == ir.NoValue || r.g.IsOutput(v) || len(r.g.Consumers(v)) == 0 {
		return ir.NoNode
	}
	first := r.g.Consumers(v)[0]
	if k := r.of[first]; k >= 0 && r.found[k].root == v && r.only(n, r.found[k].nodes) {
		return first
	}
	return ir.NoNode
}

// gate groups an activation that is written out: x times a function of x. GELU
// (Erf; Tanh of a cubic), SiLU and its scaled form (Sigmoid), hard swish
// (HardSigmoid, or Clip of a sum), Mish (Tanh of Softplus).
//
//	x ── [scale, add, power …] ── anchor ── [add] ── Mul ── [scale]
//	└──────────────── [scale] ───────────────────────┘
func (r *grouper) gate(anchor ir.NodeID) {
	if !r.free(anchor) {
		return
	}
	set := []ir.NodeID{anchor}
	scales := 0
	at := anchor
	for range 3 { // an addition and scale at most stand before the product with x
		n := r.next(at)
		if !r.free(n) {
			return
		}
		switch {
		case r.stored(n) && r.is(n, "Add", "Mul", "Div"):
			if !r.is(n, "Add") {
				scales++
			}
			set = append(set, n)
			at = n
			continue
		case !r.is(n, "Mul") || len(r.g.Inputs(n)) != 2:
			return
		}
		x := r.other(n, r.out(at))
		set = append(set, n)
		if r.gateOn(anchor, x, set, n, scales) {
			return
		}
		// The other operand may be x already scaled.
		if m := r.maker(x); r.free(m) && r.stored(m) && r.is(m, "Mul", "Div") && r.next(m) == n {
			r.gateOn(anchor, r.in(m), append(set, m), n, scales+1)
		}
		return
	}
}

// gateOn completes gate for the operand x.
func (r *grouper) gateOn(anchor ir.NodeID, x ir.ValueID, set []ir.NodeID, last ir.NodeID, scales int) bool {
	// Backwards from the anchor to x, through arithmetic only. A polynomial of
	// third degree is eight nodes at most.
	set = slices.Clone(set)
	for i, todo := 0, []ir.NodeID{anchor}; i < len(todo); i++ {
		for _, v := range r.g.Inputs(todo[i]) {
			m := r.maker(v)
			if v == x || slices.Contains(set, m) {
				continue
			}
			if !r.free(m) || !r.is(m, "Mul", "Div", "Add", "Sub", "Pow", "Softplus") || len(todo) > 8 {
				return false
			}
			todo = append(todo, m)
			set = append(set, m)
		}
	}
	kind := joined(r.op(anchor), "Mul")
	switch {
	case r.is(anchor, "Erf"), r.is(anchor, "Tanh") && len(set) > 3:
		kind = "Gelu"
	case r.is(anchor, "Sigmoid"):
		kind = "Silu"
	case r.is(anchor, "HardSigmoid", "Clip"):
		kind = "HardSwish"
	}
	whole := set
	if n := r.next(last); scales == 0 && r.free(n) && r.stored(n) && r.is(n, "Mul", "Div") {
		whole = append(slices.Clone(set), n) // the half of GELU, the sixth of hard swish
	}
	if !r.take(kind, whole...) {
		return false
	}
	r.found[len(r.found)-1].root = x
	return true
}

// norm groups a layer or RMS normalisation that is written out around its square
// root: (x - mean(x)) / sqrt(mean((x - mean(x))²) + ε), or x / sqrt(mean(x²) + ε),
// then its scale and bias.
func (r *grouper) norm(root ir.NodeID) {
	if !r.free(root) {
		return
	}
	set := []ir.NodeID{root}
	at := root
	back := func(ops ...string) bool {
		m := r.maker(r.in(at))
		if !r.free(m) || !r.is(m, ops...) || r.in(m) == ir.NoValue {
			return false
		}
		at = m
		set = append(set, m)
		return true
	}
	if !back("Add") || !r.stored(at) || !back("ReduceMean") || !back("Pow", "Mul") {
		return
	}
	if r.is(at, "Pow") != r.stored(at) { // Mul(d, d) has no stored operand
		return
	}
	d := r.in(at)
	kind := "RMSNorm"
	x := d
	if m := r.maker(d); r.is(m, "Cast") && r.in(m) != ir.NoValue && r.free(m) {
		// half precision is widened for the sum
		set = append(set, m)
	} else if r.is(m, "Sub") && r.free(m) && len(r.g.Inputs(m)) == 2 {
		for _, v := range r.g.Inputs(m) {
			mean := r.maker(v)
			if o := r.other(m, v); r.is(mean, "ReduceMean") && r.free(mean) && r.in(mean) == o {
				kind, x = "LayerNorm", o
				set = append(set, m, mean)
				// Some exporters subtract the same mean twice.
				for _, c := range r.g.Consumers(v) {
					if r.is(c, "Sub") && c != m && r.free(c) && r.other(c, v) == o {
						set = append(set, c)
					}
				}
			}
		}
	}
	// Forwards: divided by the root, then scale and bias.
	at = root
	if n := r.next(at); r.free(n) && r.is(n, "Reciprocal") {
		set = append(set, n)
		at = n
	}
	n := r.next(at)
	if kind == "LayerNorm" && r.free(n) && r.is(n, "Mul") && r.stored(n) {
		r.spreadNorm(x, append(set, n), n)
		return
	}
	if !r.free(n) || !r.is(n, "Div", "Mul") {
		return
	}
	if v := r.other(n, r.out(at)); v != d && v != x && !slices.Contains(set, r.maker(v)) {
		return
	}
	set = append(set, n)
	at = n
	core := slices.Clone(set)
	for _, ops := range [][]string{{"Cast"}, {"Mul"}, {"Add"}} {
		n := r.next(at)
		if r.free(n) && r.is(n, ops...) && r.in(n) == r.out(at) && (r.is(n, "Cast") || r.stored(n)) {
			set = append(set, n)
			at = n
		}
	}
	if r.take(kind, set...) || r.take(kind, core...) {
		r.skipNorm(root)
	}
}

// spreadNorm completes a layer normalisation that is written as
// x·s + (bias - mean·s), where at makes s, the scale over the root.
func (r *grouper) spreadNorm(x ir.ValueID, set []ir.NodeID, at ir.NodeID) {
	s := r.out(at)
	if s == ir.NoValue || len(r.g.Consumers(s)) != 2 {
		return
	}
	for _, m := range r.g.Consumers(s) {
		if !r.free(m) || !r.is(m, "Mul") || len(r.g.Inputs(m)) != 2 {
			return
		}
		set = append(set, m)
		if r.other(m, s) == x {
			continue
		}
		b := r.next(m)
		if !r.free(b) || !r.is(b, "Sub") || !r.stored(b) {
			return
		}
		sum := r.next(b)
		if !r.free(sum) || !r.is(sum, "Add") {
			return
		}
		set = append(set, b, sum)
	}
	if r.take("LayerNorm", set...) {
		r.skipNorm(at)
	}
}

// skipNorm adds the sum of a residual connection to the normalisation that alone reads it.
func (r *grouper) skipNorm(norm ir.NodeID) {
	unit := r.unit(norm)
	for _, n := range unit {
		for _, v := range r.g.Inputs(n) {
			m := r.maker(v)
			if r.free(m) && r.is(m, "Add") && !slices.Contains(unit, m) && len(r.g.Inputs(m)) == 2 && r.only(m, unit) {
				r.take("Skip"+r.kindOf(norm), append([]ir.NodeID{m}, unit...)...)
				return
			}
		}
	}
}

// conv groups [Pad] Conv [BatchNormalization] [scale] [bias] [Add] [activation].
func (r *grouper) conv(n ir.NodeID) {
	if !r.free(n) {
		return
	}
	set := []ir.NodeID{n}
	kinds := []string{r.op(n)}
	first := ir.NoValue
	if i := r.g.Inputs(n); len(i) > 0 {
		first = i[0]
	}
	if p := r.maker(first); r.free(p) && r.is(p, "Pad") && r.next(p) == n && len(r.g.Inputs(p)) == 1 {
		set = append(set, p)
		kinds = append([]string{"Pad"}, kinds...)
	}
	at := n
	extend := func(to ir.NodeID) {
		set = append(set, to)
		kinds = append(kinds, r.kindOf(to))
		at = to
	}
	if b := r.next(at); r.free(b) && r.is(b, "BatchNormalization") && r.stored(b) && r.out(b) != ir.NoValue {
		extend(b)
	}
	for _, op := range []string{"Mul", "Add"} { // a folded normalisation
		if b := r.next(at); r.free(b) && r.is(b, op) && r.stored(b) {
			extend(b)
		}
	}
	if s := r.next(at); r.free(s) && r.is(s, "Add", "Sum") && len(r.g.Inputs(s)) == 2 && r.sameSize(s) {
		extend(s)
	}
	if a := r.activation(at); a != ir.NoNode {
		extend(a)
	}
	r.take(joined(kinds...), set...)
}

// sameSize says whether no operand of an elementwise node is repeated along an axis.
func (r *grouper) sameSize(n ir.NodeID) bool {
	for _, v := range r.g.Inputs(n) {
		if r.g.Bytes(v) != r.g.Bytes(r.g.Outputs(n)[0]) {
			return false
		}
	}
	return true
}

// matrix groups a matrix product with its bias and activation.
func (r *grouper) matrix(n ir.NodeID) {
	if !r.free(n) {
		return
	}
	set := []ir.NodeID{n}
	kinds := []string{r.op(n)}
	at := n
	if b := r.next(at); r.free(b) && r.is(b, "Add") && r.stored(b) {
		set, kinds, at = append(set, b), append(kinds, "Add"), b
	}
	if a := r.activation(at); a != ir.NoNode {
		set, kinds = append(set, a), append(kinds, r.kindOf(a))
	}
	r.take(joined(kinds...), set...)
}

// integer groups a product of integers with the quantization of its operand, where
// nobody else needs that, and with the scaling of its result:
//
//	DynamicQuantizeLinear ── MatMulInteger ── Cast ── Mul ── [Add] ── [activation]
//	                     └── [Mul] ───────────────────┘
func (r *grouper) integer(n ir.NodeID) {
	if !r.free(n) {
		return
	}
	set := []ir.NodeID{n}
	kinds := []string{r.op(n)}
	at := n
	if c := r.next(at); r.free(c) && r.is(c, "Cast") {
		set, at = append(set, c), c
		if m := r.next(at); r.free(m) && r.is(m, "Mul") {
			if s := r.maker(r.other(m, r.out(at))); r.free(s) && r.is(s, "Mul") && r.next(s) == m {
				set = append(set, s)
			}
			set, at = append(set, m), m
			if b := r.next(at); r.free(b) && r.is(b, "Add") && r.stored(b) {
				set, kinds, at = append(set, b), append(kinds, "Add"), b
			}
			if a := r.activation(at); a != ir.NoNode {
				set, kinds = append(set, a), append(kinds, r.kindOf(a))
			}
		}
	}
	for _, v := range r.g.Inputs(n) {
		if q := r.maker(v); r.free(q) && r.is(q, "DynamicQuantizeLinear") && r.only(q, set) {
			if r.take(joined(append([]string{"DynamicQuantizeLinear"}, kinds...)...), append(slices.Clone(set), q)...) {
				return
			}
		}
	}
	r.take(joined(append(kinds, "Scale")...), set...)
}

// normAct groups a normalisation that stands alone with the scale, the bias and
// the activation after it.
func (r *grouper) normAct(n ir.NodeID) {
	if !r.free(n) {
		return
	}
	set, kinds, at := []ir.NodeID{n}, []string{r.op(n)}, n
	for _, op := range []string{"Mul", "Add"} {
		if b := r.next(at); r.free(b) && r.is(b, op) && r.stored(b) {
			set, kinds, at = append(set, b), append(kinds, op), b
		}
	}
	if a := r.activation(at); a != ir.NoNode {
		set, kinds = append(set, a), append(kinds, r.kindOf(a))
	}
	r.take(joined(kinds...), set...)
}

// quantized puts operators between DequantizeLinear and QuantizeLinear together
// with them: they run on integers. A DequantizeLinear that several read stays
// outside; runtimes copy it to each.
func (r *grouper) quantized() {
	for _, q := range r.at["QuantizeLinear"] {
		n := r.maker(r.firstIn(q))
		if !r.free(q) || n == ir.NoNode || r.is(n, "DequantizeLinear", "QuantizeLinear") || r.next(n) != q {
			continue
		}
		unit := r.unit(n)
		any, all := false, true
		set := []ir.NodeID{q, n}
		for _, m := range unit {
			for _, v := range r.g.Inputs(m) {
				d := r.maker(v)
				switch {
				case slices.Contains(unit, d) || r.scalar(v):
				case r.is(d, "DequantizeLinear"):
					any = true
					if r.free(d) && r.only(d, unit) {
						set = append(set, d)
					}
				default:
					all = false
				}
			}
		}
		// Some exporters convert the result to the type that it has.
		if c := r.next(q); r.free(c) && r.is(c, "Cast") && r.g.Bytes(r.g.Outputs(c)[0]) == r.g.Bytes(r.out(q)) {
			set = append(set, c)
		}
		if any && all {
			r.take(joined("DQ", r.kindOf(n), "Q"), set...)
		}
	}
	// A product whose result stays in floating point takes its operands as integers.
	for _, op := range []string{"Conv", "MatMul", "Gemm"} {
		for _, n := range r.at[op] {
			unit := r.unit(n)
			var set []ir.NodeID
			for _, v := range r.g.Inputs(n) {
				if d := r.maker(v); r.free(d) && r.is(d, "DequantizeLinear") && r.only(d, unit) {
					set = append(set, d)
				}
			}
			if len(set) > 0 {
				r.take(joined("DQ", r.kindOf(n)), append(set, n)...)
			}
		}
	}
}

func (r *grouper) firstIn(n ir.NodeID) ir.ValueID {
	if i := r.g.Inputs(n); len(i) > 0 {
		return i[0]
	}
	return ir.NoValue
}

// layouts are the operators that change where elements stand, or what it is
// called, and not the elements.
var layouts = []string{"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}

// layout groups chains of layout operators: runtimes make one copy of them, or none.
func (r *grouper) layout() {
	for i := range r.g.NumNodes() {
		n := ir.NodeID(i)
		if !r.free(n) || !r.is(n, layouts...) {
			continue
		}
		set := []ir.NodeID{n}
		for at := r.next(n); r.free(at) && r.is(at, layouts...) && r.firstIn(at) == r.out(set[len(set)-1]); at = r.next(at) {
			set = append(set, at)
		}
		r.take("Layout", set...)
	}
}
