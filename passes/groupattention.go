package passes

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Attention is softmax(scale · Q·Kᵀ + mask) · V. Exporters write it as two matrix
// products around a Softmax, with the scale on the scores, on Q, or its root on Q
// and K; with a mask that is added or selected; with layout operators that split
// and merge heads; and, in self-attention, with three products of one value by
// stored weights, or one product that is split in three, in front.

// attention groups the attention around a Softmax: with its projections if all
// of them read one value, else without them, else without layout operators.
func (r *grouper) attention(soft ir.NodeID) {
	if !r.free(soft) {
		return
	}
	scores, ok := r.scores(r.in(soft), 10)
	if !ok {
		return
	}
	core := append([]ir.NodeID{soft}, scores...)
	last, v := r.weighted(soft, &core)
	if last == ir.NoNode {
		return
	}
	product := scores[len(scores)-1]
	operands := append(slices.Clone(r.g.Inputs(product)), v)

	whole := slices.Clone(core)
	heads, frontier := r.headsOf(whole, operands)
	whole = append(whole, heads...)
	for at := r.next(last); r.free(at) && r.is(at, "Transpose", "Reshape", "Squeeze", "Cast") && r.firstIn(at) == r.out(last); at = r.next(at) {
		whole = append(whole, at)
		last = at
	}
	if p, ok := r.projections(frontier, whole); ok && r.take("SelfAttention", append(slices.Clone(whole), p...)...) {
		return
	}
	_ = r.take("Attention", whole...) || r.take("Attention", core...)
}

// scores walks from the operand of a Softmax back to the product of two computed
// values, which is the last of the nodes that it returns.
func (r *grouper) scores(v ir.ValueID, depth int) ([]ir.NodeID, bool) {
	n := r.maker(v)
	if depth == 0 || !r.free(n) || r.next(n) == ir.NoNode {
		return nil, false
	}
	switch {
	case r.is(n, "MatMul", "com.microsoft::FusedMatMul"):
		return []ir.NodeID{n}, len(r.g.Weights(n)) == 0
	case r.is(n, "Add", "Sub", "Mul", "Div", "Where", "Min", "Max"):
		for _, in := range r.g.Inputs(n) {
			if r.g.Bytes(in) != r.g.Bytes(v) {
				continue // a mask or a scale that is repeated
			}
			if more, ok := r.scores(in, depth-1); ok {
				return append([]ir.NodeID{n}, more...), true
			}
		}
	case r.is(n, "Cast", "Identity", "Tanh", "Reshape", "Squeeze", "Unsqueeze"):
		if more, ok := r.scores(r.firstIn(n), depth-1); ok {
			return append([]ir.NodeID{n}, more...), true
		}
	}
	return nil, false
}

// weighted walks from a Softmax on to the product of its result with V, adds what
// it passes to set, and returns that product and V.
func (r *grouper) weighted(soft ir.NodeID, set *[]ir.NodeID) (ir.NodeID, ir.ValueID) {
	at := soft
	// Rows that are masked as a whole are not a number, which some exporters mend.
	if v := r.out(at); v != ir.NoValue && !r.g.IsOutput(v) && len(r.g.Consumers(v)) == 2 {
		c := r.g.Consumers(v)
		if nan := c[0]; r.is(nan, "IsNaN") && r.is(c[1], "Where") && r.next(nan) == c[1] {
			*set = append(*set, nan, c[1])
			at = c[1]
		}
	}
	for range 4 {
		n := r.next(at)
		switch {
		case !r.free(n):
			return ir.NoNode, ir.NoValue
		case r.is(n, "MatMul", "com.microsoft::FusedMatMul"):
			v := r.other(n, r.out(at))
			if v == ir.NoValue {
				return ir.NoNode, ir.NoValue
			}
			*set = append(*set, n)
			return n, v
		case r.is(n, "Cast", "Identity", "Dropout", "Reshape"):
			*set = append(*set, n)
			at = n
		default:
			return ir.NoNode, ir.NoValue
		}
	}
	return ir.NoNode, ir.NoValue
}

// headsOf grows the set backwards from Q, K and V through what splits heads and
// scales, and returns what it added and the values that it stopped at.
func (r *grouper) headsOf(set []ir.NodeID, operands []ir.ValueID) (added []ir.NodeID, frontier []ir.ValueID) {
	set = slices.Clone(set)
	todo := slices.Clone(operands)
	for grown := true; grown; {
		grown = false
		var left []ir.ValueID
		for _, v := range todo {
			n := r.maker(v)
			if slices.Contains(set, n) {
				continue
			}
			if r.free(n) && r.splitsHeads(n) && r.only(n, set) {
				set, added = append(set, n), append(added, n)
				left = append(left, r.firstBig(n))
				grown = true
			} else {
				left = append(left, v)
			}
		}
		todo = left
	}
	for _, v := range todo {
		if !slices.Contains(frontier, v) {
			frontier = append(frontier, v)
		}
	}
	return added, frontier
}

// splitsHeads says whether n may stand between a projection and its product.
func (r *grouper) splitsHeads(n ir.NodeID) bool {
	switch r.op(n) {
	case "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Split":
		return len(r.g.Inputs(n)) > 0
	case "Gather", "Slice": // one of three that were projected together
		return r.stored(n)
	case "Mul", "Div":
		i := r.g.Inputs(n)
		return r.stored(n) || len(i) == 2 && (r.scalar(i[0]) || r.scalar(i[1]))
	}
	return false
}

// firstBig is the first operand of n that is a tensor.
func (r *grouper) firstBig(n ir.NodeID) ir.ValueID {
	for _, v := range r.g.Inputs(n) {
		if !r.scalar(v) {
			return v
		}
	}
	return r.firstIn(n)
}

// projections are the products with stored weights that make the values of the
// frontier, with their biases, if all of them work on one value and nobody else
// reads what they make.
func (r *grouper) projections(frontier []ir.ValueID, set []ir.NodeID) ([]ir.NodeID, bool) {
	var nodes []ir.NodeID
	x := ir.NoValue
	for _, v := range frontier {
		n := r.maker(v)
		if r.free(n) && r.is(n, "Add") && r.stored(n) && r.only(n, set) {
			nodes = append(nodes, n)
			if n = r.maker(r.in(n)); !r.free(n) || r.next(n) != nodes[len(nodes)-1] {
				return nil, false
			}
		} else if !r.free(n) || !r.only(n, set) {
			return nil, false
		}
		if !r.is(n, "MatMul", "Gemm", "com.microsoft::MatMulNBits") || !r.stored(n) || x != ir.NoValue && r.in(n) != x {
			return nil, false
		}
		x = r.in(n)
		nodes = append(nodes, n)
	}
	return nodes, len(frontier) == 3 || len(frontier) == 1
}

// softmax groups a Softmax that is not part of an attention with the scale and
// the mask of its operand.
func (r *grouper) softmax(n ir.NodeID) {
	if !r.free(n) {
		return
	}
	set := []ir.NodeID{n}
	for at := r.in(n); len(set) < 6; {
		m := r.maker(at)
		if !r.free(m) || r.next(m) != set[len(set)-1] || !r.is(m, "Mul", "Div", "Add", "Sub", "Where") {
			break
		}
		if r.is(m, "Add") && r.stored(m) && r.is(r.maker(r.in(m)), "MatMul") {
			break // the bias of a product
		}
		next := ir.NoValue
		for _, v := range r.g.Inputs(m) {
			if r.g.Bytes(v) == r.g.Bytes(at) {
				next = v
				break
			}
		}
		if next == ir.NoValue {
			break
		}
		set = append(set, m)
		at = next
	}
	r.take("Scaled"+r.op(n), set...)
}
