package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// graph is the graph in attribute attr, nil if there is none.
func (c *call) graph(attr string) *onnxpb.GraphProto {
	if at := c.attr(attr); at != nil {
		return at.G
	}
	return nil
}

// body infers the graph in attribute attr with the given inputs, and gives its
// outputs. dead says that runs may never reach it. It is nil if it cannot be had.
func (c *call) body(attr string, inputs []*value, dead bool) []*value {
	g := c.graph(attr)
	if g == nil || !c.in.affordable(c) {
		return nil
	}
	s := c.in.newScope(c.s, c.s.opsets, 0)
	s.dead = dead || c.s.dead
	for i, v := range g.Input {
		x := unknown()
		if i < len(inputs) && inputs[i] != nil {
			x = inputs[i]
		}
		if v.Type != nil {
			x = c.in.reconcile(c.n, v.GetName(), x, v.Type, len(c.in.notes))
		}
		s.values[v.GetName()] = x
	}
	c.in.addInitializers(s, g, false)
	c.in.depth++
	err := c.in.runGraph(s, g, false)
	c.in.depth--
	if err != nil {
		c.in.halt(err)
		return nil
	}
	c.s.bodies[bodyKey{c.n, attr}] = s
	outs := make([]*value, len(g.Output))
	for i, o := range g.Output {
		if outs[i] = s.lookup(o.GetName()); outs[i] == nil {
			outs[i] = unknown()
		}
	}
	return outs
}

func inferIf(c *call) {
	cond := c.scalar(0)
	taken, known := cond.constant()
	thenOuts := c.body("then_branch", nil, !known || taken == 0)
	elseOuts := c.body("else_branch", nil, !known || taken != 0)
	for i := range c.outs {
		var a, b *value
		if i < len(thenOuts) {
			a = thenOuts[i]
		}
		if i < len(elseOuts) {
			b = elseOuts[i]
		}
		switch {
		case known && taken != 0:
			b = a
		case known:
			a = b
		}
		if a == nil || b == nil {
			continue
		}
		c.set(i, c.join(choice{i, cond}, a, b))
	}
}

// choice is what decides which of two values an output is.
type choice struct {
	output int
	cond   *expr // the first if not 0; nil if nothing is known of it
}

// join is a value that is a in some runs and b in others.
func (c *call) join(output choice, a, b *value) *value {
	if a == b {
		return a
	}
	if a.kind != b.kind {
		switch {
		case a.kind == ir.UnknownKind && a.elem == b.elem:
			return b.withoutData()
		case a.kind == ir.Optional && a.item != nil && a.item.kind == b.kind:
			return optional(c.join(output, a.item, b))
		case b.kind == ir.Optional && b.item != nil && b.item.kind == a.kind:
			return optional(c.join(output, a, b.item))
		}
		return unknown()
	}
	switch a.kind {
	case ir.Tensor, ir.SparseTensor:
		return c.joinTensors(output, a, b)
	case ir.Sequence:
		return c.joinSequences(output, a, b)
	case ir.Optional, ir.Map:
		w := *a
		w.public = nil
		w.item = c.joinItems(output, a.item, b.item)
		return &w
	}
	return a
}

func (c *call) joinItems(output choice, a, b *value) *value {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return c.join(output, a, b)
}

func (c *call) joinSequences(output choice, a, b *value) *value {
	w := &value{kind: ir.Sequence}
	switch {
	case a.count.is(0):
		w.item = b.item
	case b.count.is(0):
		w.item = a.item
	default:
		w.item = c.joinItems(output, a.item, b.item)
	}
	if a.count == b.count {
		w.count = a.count
	}
	return w
}

func (c *call) joinTensors(output choice, a, b *value) *value {
	w := &value{kind: a.kind, elem: a.elem, open: a.open || b.open}
	if a.elem != b.elem {
		w.elem = ir.UndefinedElem
		if a.elem == ir.UndefinedElem {
			w.elem = b.elem
		} else if b.elem == ir.UndefinedElem {
			w.elem = a.elem
		}
	}
	// Sizes are those of the branch that evaluation takes, of the larger value if
	// nothing is known of the condition.
	taken, guess := a, true
	if cond := output.cond; cond != nil && !cond.real {
		guess = cond.assumed
		if cond.val == 0 {
			taken = b
		}
	} else if !a.ranked || b.ranked && saturatedVal(b.dims) > saturatedVal(a.dims) {
		taken = b
	}
	w.assumed = taken.assumed
	if a.ranked != b.ranked || len(a.dims) != len(b.dims) {
		w.ranked, w.dims, w.open = taken.ranked, taken.dims, true
		w.assumed = w.assumed || guess
		if guess && w.ranked && c.wants(output.output) {
			c.in.note(DataDependent, c.n, c.n.Output[output.output], "the rank depends on the branch: it counts as %d", len(w.dims))
		}
		return w
	}
	if w.ranked = a.ranked; !w.ranked {
		return w
	}
	w.dims = slices.Clone(a.dims)
	for i, d := range a.dims {
		e := b.dims[i]
		if e == d {
			continue
		}
		x := c.al.symbol("", min(d.lo, e.lo), max(d.hi, e.hi), taken.dims[i].val, taken.dims[i].assumed)
		if guess {
			x.assumed = true
			if c.wants(output.output) {
				c.in.note(DataDependent, c.n, c.n.Output[output.output], "extent %d depends on the branch: it counts as %d", i, x.val)
			}
		}
		w.dims[i] = x
	}
	da, db := c.in.contentsOf(a), c.in.contentsOf(b)
	if len(da) > 0 && len(da) == len(db) && slices.Equal(w.dims, a.dims) {
		w.data = make([]*expr, len(da))
		for i := range da {
			if da[i] == db[i] {
				w.data[i] = da[i]
			}
		}
	}
	return w
}

func saturatedVal(dims []*expr) int64 {
	n := int64(1)
	for _, d := range dims {
		n = mulSat(n, max(d.val, 0))
	}
	return n
}

// A loop's carried values have one type for all iterations. The first attempt
// takes that of the initial values; what the body changes is widened (contents
// forgotten, extents replaced by symbols, ranks forgotten) and the body inferred
// again, until it makes what it was given. Each attempt widens something or is
// the last, and a value can be widened three times only.
const maxAttempts = 5

// iteration is what one inference of a loop's body gives.
type iteration struct {
	carried []*value // as every iteration sees them
	outs    []*value // of the body in its last inference
	from    int32    // expressions with a greater id are private to the body
	first   bool     // one attempt was enough
}

// iterate infers the body with front inputs, carried values and back inputs.
// skip is how many outputs of the body stand before the carried ones.
func (c *call) iterate(attr string, front, initial, back []*value, skip int, dead bool) *iteration {
	it := &iteration{carried: slices.Clone(initial)}
	it.from = c.al.next
	widened := map[*expr]bool{}
	for attempt := range maxAttempts {
		mark := len(c.in.notes)
		if attempt == 1 {
			c.in.repeated++
			defer func() { c.in.repeated-- }()
		}
		outs := c.body(attr, slices.Concat(front, it.carried, back), dead)
		if outs == nil {
			return nil
		}
		it.outs, it.first = outs, attempt == 0
		next := make([]*value, len(it.carried))
		stable := true
		for i, v := range it.carried {
			next[i] = v
			if skip+i < len(outs) {
				next[i] = c.widen(v, outs[skip+i], widened, attempt)
			}
			stable = stable && next[i] == v
		}
		if stable {
			return it
		}
		if attempt == maxAttempts-1 {
			for i := range it.carried {
				it.carried[i] = unknown()
			}
			for i := range it.outs {
				it.outs[i] = unknown()
			}
			return it
		}
		it.carried = next
		c.in.forget(mark)
	}
	return it
}

// widen is a type that covers v and what the body makes of it; v itself if it does.
func (c *call) widen(v, out *value, widened map[*expr]bool, attempt int) *value {
	if v == out {
		return v
	}
	if v.kind != out.kind {
		if v.kind == ir.UnknownKind {
			return v
		}
		return unknown()
	}
	w := *v
	w.public = nil
	changed := false
	switch v.kind {
	case ir.Tensor:
		if v.elem != out.elem && v.elem != ir.UndefinedElem && out.elem != ir.UndefinedElem {
			w.elem, changed = ir.UndefinedElem, true
		}
		switch {
		case !v.ranked:
		case !out.ranked || len(out.dims) != len(v.dims) || attempt >= maxAttempts-2:
			if !out.ranked || len(out.dims) != len(v.dims) || !slices.Equal(v.dims, out.dims) {
				w.ranked, w.dims, changed = false, nil, true
			}
		default:
			w.dims = slices.Clone(v.dims)
			for i, d := range v.dims {
				if d != out.dims[i] && !widened[d] {
					e := c.al.symbol("", 0, maxExtent, d.val, true)
					widened[e] = true
					w.dims[i], changed = e, true
				}
			}
		}
		if data := c.in.contentsOf(v); data != nil {
			if changed || !slices.Equal(data, c.in.contentsOf(out)) {
				w.data, w.tensor, changed = nil, nil, true
			}
		}
	case ir.Sequence:
		if v.count != nil && v.count != out.count {
			w.count, changed = nil, true
		}
		if v.count.is(0) || v.item == nil {
			if out.item != nil && v.item != out.item {
				w.item, changed = out.item, true
			}
		} else if out.item != nil {
			if item := c.widen(v.item, out.item, widened, attempt); item != v.item {
				w.item, changed = item, true
			}
		}
	case ir.Optional, ir.Map:
		if v.item == nil && out.item != nil {
			w.item, changed = out.item, true
		}
	}
	if !changed {
		return v
	}
	return &w
}

// after is what a carried value is when the loop has ended.
func (c *call) after(it *iteration, i, skip int, initial *value, trips *expr) *value {
	v := it.carried[i]
	if skip+i >= len(it.outs) {
		return v
	}
	out := it.outs[skip+i]
	if it.first && trips.is(1) {
		return c.in.escape(out, it.from, map[*expr]*expr{})
	}
	w := *c.in.escape(v, it.from, map[*expr]*expr{})
	w.public = nil
	if v.ranked && out.ranked && initial.ranked && len(v.dims) == len(out.dims) && len(v.dims) == len(initial.dims) && trips != nil {
		// An extent that grows by the same number in each iteration.
		w.dims = slices.Clone(w.dims)
		for k, d := range v.dims {
			if step, ok := c.al.sub(out.dims[k], d).constant(); ok && d != initial.dims[k] {
				w.dims[k] = c.al.add(initial.dims[k], c.al.mul(trips, c.num(step)))
			}
		}
	}
	return &w
}

// stacked is the output that collects out from every iteration.
func (c *call) stacked(it *iteration, out *value, trips *expr, at int) *value {
	out = c.in.escape(out.withoutData(), it.from, map[*expr]*expr{})
	if out.kind != ir.Tensor || !out.ranked {
		return unranked(out.elem)
	}
	if at < 0 {
		at += len(out.dims) + 1
	}
	at = min(max(at, 0), len(out.dims))
	w := tensor(out.elem, slices.Insert(slices.Clone(out.dims), at, trips)...)
	w.open, w.assumed = out.open, out.assumed
	return w
}

func inferLoop(c *call) {
	limit := c.scalar(0)
	start := c.scalar(1)
	startsTrue, known := start.constant()
	always := !c.has(1) || known && startsTrue != 0
	var initial []*value
	for i := 2; i < len(c.ins); i++ {
		initial = append(initial, c.input(i))
	}
	iter := tensor(ir.Int64)
	iter.data = []*expr{c.al.symbol("", 0, noHi, 0, true)}
	cond := tensor(ir.Bool)
	if always {
		cond.data = []*expr{c.num(1)}
	}
	it := c.iterate("body", []*value{iter, cond}, initial, nil, 1, true)
	if it == nil {
		return
	}
	if always && len(it.outs) > 0 {
		// By induction: the first iteration runs, and one that runs says go on.
		next := c.in.contentsOf(it.outs[0])
		always = len(next) == 1 && next[0].is(1)
	}
	trips := c.tripCount(limit, start, always)
	c.s.trips[c.n] = trips
	for i := range c.outs {
		if i < len(initial) {
			c.set(i, c.after(it, i, 1, initial[i], trips))
		} else if 1+i < len(it.outs) {
			c.set(i, c.stacked(it, it.outs[1+i], trips, 0))
		}
	}
}

// tripCount is how often a Loop runs. always says that only limit ends it.
func (c *call) tripCount(limit, start *expr, always bool) *expr {
	if start.is(0) {
		return c.num(0)
	}
	if always && limit != nil {
		return c.al.max(limit, c.num(0))
	}
	assume := c.num(assumedTrips)
	if limit != nil && limit.val < maxExtent {
		assume = limit
	}
	e := c.fresh(assume)
	c.in.note(DataDependent, c.n, "", "the number of iterations depends on contents: it counts as %d", e.val)
	return e
}

func inferScan(c *call) {
	if c.since < 9 && c.since > 0 {
		inferScan8(c)
		return
	}
	n := clampInt(c.attrInt("num_scan_inputs", 1))
	if n > len(c.ins) {
		c.reject("", "num_scan_inputs is %d but the node has %d inputs", n, len(c.ins))
		return
	}
	initial := make([]*value, 0, len(c.ins))
	for i := range len(c.ins) - n {
		initial = append(initial, c.input(i))
	}
	axes, _ := c.attrInts("scan_input_axes")
	var trips *expr
	back := make([]*value, n)
	for k := range n {
		v := c.input(len(initial) + k)
		if !v.ranked {
			back[k] = unranked(v.elem)
			continue
		}
		axis := int64(0)
		if k < len(axes) {
			axis = axes[k]
		}
		at, ok := c.axis(axis, len(v.dims))
		if !ok {
			return
		}
		if trips == nil || !trips.isConst() {
			trips = v.dims[at]
		}
		back[k] = tensor(v.elem, slices.Delete(slices.Clone(v.dims), at, at+1)...)
		back[k].open, back[k].assumed = v.open, v.assumed
	}
	if trips == nil {
		trips = c.fresh(nil)
		c.in.note(DataDependent, c.n, "", "the number of iterations is not known: it counts as %d", trips.val)
	}
	c.s.trips[c.n] = trips
	it := c.iterate("body", nil, initial, back, 0, false)
	if it == nil {
		return
	}
	outAxes, _ := c.attrInts("scan_output_axes")
	for i := range c.outs {
		if i < len(initial) {
			c.set(i, c.after(it, i, 0, initial[i], trips))
		} else if i < len(it.outs) {
			at := 0
			if k := i - len(initial); k < len(outAxes) {
				at = int(max(-maxRank, min(maxRank, outAxes[k])))
			}
			c.set(i, c.stacked(it, it.outs[i], trips, at))
		}
	}
}

// inferScan8 is Scan of opset 8: the first input holds sequence lengths, the
// others have a batch axis in front of the sequence axis.
func inferScan8(c *call) {
	n := clampInt(c.attrInt("num_scan_inputs", 1))
	if n > len(c.ins)-1 {
		c.reject("", "num_scan_inputs is %d but the node has %d inputs", n, len(c.ins))
		return
	}
	var batch, trips *expr
	inner := func(v *value, drop int) *value {
		if !v.ranked || len(v.dims) < drop {
			return unranked(v.elem)
		}
		batch = v.dims[0]
		if drop == 2 {
			trips = v.dims[1]
		}
		return tensor(v.elem, v.dims[drop:]...)
	}
	states := len(c.ins) - 1 - n
	initial, back := make([]*value, states), make([]*value, n)
	for i := range initial {
		initial[i] = inner(c.input(1+i), 1)
	}
	for i := range back {
		back[i] = inner(c.input(1+states+i), 2)
	}
	if batch == nil {
		batch = c.fresh(nil)
	}
	if trips == nil {
		trips = c.fresh(nil)
	}
	c.s.trips[c.n] = c.al.mul(batch, trips)
	it := c.iterate("body", nil, initial, back, 0, false)
	if it == nil {
		return
	}
	for i := range c.outs {
		if i >= len(it.outs) {
			break
		}
		if i < states {
			c.set(i, c.stacked(it, c.after(it, i, 0, initial[i], trips), batch, 0))
		} else {
			c.set(i, c.stacked(it, c.stacked(it, it.outs[i], trips, 0), batch, 0))
		}
	}
}

func inferSequenceMap(c *call) {
	ins := make([]*value, len(c.ins))
	var count *expr
	for i := range c.ins {
		v := c.input(i)
		ins[i] = v
		if v.kind == ir.Sequence {
			ins[i] = unknown()
			if v.item != nil {
				ins[i] = v.item.withoutData()
			}
			if count == nil {
				count = v.count
			}
		}
	}
	from := c.al.next
	outs := c.body("body", ins, true)
	c.s.trips[c.n] = count
	for i := range c.outs {
		if i < len(outs) {
			c.set(i, sequence(c.in.escape(outs[i].withoutData(), from, map[*expr]*expr{}), count))
		}
	}
}
