package shape

import (
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// call is the inference of one node: what an operator's rule reads and writes.
type call struct {
	in    *inferrer
	s     *Scope
	n     *onnxpb.NodeProto
	al    *algebra
	since int64 // version in which the operator got its present meaning
	opset int64 // of the operator's domain
	ins   []*value
	outs  []*value
}

// has says whether input i is there.
func (c *call) has(i int) bool { return i < len(c.ins) && c.ins[i] != nil }

// input i; an unknown value if it is absent, so that rules need no nil checks.
func (c *call) input(i int) *value {
	if c.has(i) {
		return c.ins[i]
	}
	return unknown()
}

// elem is the element type of input i, UndefinedElem if unknown.
func (c *call) elem(i int) ir.ElemType { return c.input(i).elem }

// dims are the extents of input i; nil, false if its rank is not known.
func (c *call) dims(i int) ([]*expr, bool) {
	v := c.input(i)
	return v.dims, v.ranked
}

// data are the contents of input i: nil if unknown, entries may be nil.
func (c *call) data(i int) []*expr {
	if !c.has(i) {
		return nil
	}
	return c.in.contentsOf(c.ins[i])
}

// ints are the contents of input i if all of them are the same numbers in every run.
func (c *call) ints(i int) ([]int64, bool) {
	data := c.data(i)
	if data == nil {
		return nil, false
	}
	out := make([]int64, len(data))
	for k, e := range data {
		n, ok := e.constant()
		if !ok {
			return nil, false
		}
		out[k] = n
	}
	return out, true
}

// scalar is the only element of input i, nil if unknown.
func (c *call) scalar(i int) *expr {
	if data := c.data(i); len(data) == 1 {
		return data[0]
	}
	return nil
}

// set states output i.
func (c *call) set(i int, v *value) {
	if i < len(c.outs) {
		c.outs[i] = v
	}
}

// wants says whether output i is used.
func (c *call) wants(i int) bool { return i < len(c.n.Output) && c.n.Output[i] != "" }

// n0 is the constant n.
func (c *call) num(n int64) *expr { return c.al.n(n) }

// ---- attributes

func (c *call) attr(name string) *onnxpb.AttributeProto { return c.s.Attr(c.n, name) }

func (c *call) attrInt(name string, def int64) int64 {
	if at := c.attr(name); at != nil && at.I != nil {
		return at.GetI()
	}
	return def
}

func (c *call) attrFloat(name string, def float64) float64 {
	if at := c.attr(name); at != nil && at.F != nil {
		return float64(at.GetF())
	}
	return def
}

func (c *call) attrString(name, def string) string {
	if at := c.attr(name); at != nil && at.S != nil {
		return string(at.GetS())
	}
	return def
}

func (c *call) attrInts(name string) ([]int64, bool) {
	if at := c.attr(name); at != nil {
		return at.Ints, true
	}
	return nil, false
}

// ---- findings

// reject reports that ONNX forbids the node. In graphs that a run may never
// reach it is a note: runtimes load such models. So it is where shapes are guesses.
func (c *call) reject(value, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if c.s.dead {
		c.in.note(Contradiction, c.n, value, "%s, so that the node can never run", msg)
		return
	}
	for _, v := range c.ins {
		if v != nil && v.open {
			c.in.note(Contradiction, c.n, value, "%s, if what is assumed of its inputs holds", msg)
			return
		}
	}
	c.fail(value, msg)
}

// fail reports what makes the model impossible to compile wherever it stands.
func (c *call) fail(value, msg string) {
	if len(c.in.errs) < maxErrors {
		c.in.errs = append(c.in.errs, &diag.Error{File: c.in.m.Path, Node: nodeLabel(c.n), Value: value, Msg: msg})
	}
}

// contradict notes that shapes do not fit together.
func (c *call) contradict(format string, args ...any) {
	for _, v := range c.ins {
		if v != nil && v.open {
			return // the shapes are guesses
		}
	}
	value := ""
	if len(c.n.Output) > 0 {
		value = c.n.Output[0]
	}
	c.in.note(Contradiction, c.n, value, format, args...)
}

// inputName names input i in messages.
func (c *call) inputName(i int) string {
	if i < len(c.n.Input) {
		return c.n.Input[i]
	}
	return ""
}

// axis normalises an axis of a tensor of the given rank; ok is false, and the
// node rejected, if it is out of range.
func (c *call) axis(axis int64, rank int) (int, bool) {
	if axis < -int64(rank) || axis >= int64(rank) {
		c.reject(c.inputName(0), "axis %d is out of range for a tensor of rank %d", axis, rank)
		return 0, false
	}
	if axis < 0 {
		axis += int64(rank)
	}
	return int(axis), true
}

// fresh is an extent that depends on contents. It evaluates to what assume does.
func (c *call) fresh(assume *expr) *expr {
	val := int64(assumedExtent)
	if assume != nil {
		val = max(assume.val, 0)
	}
	return c.al.symbol("", 0, maxExtent, val, true)
}

// dataDependent is an extent that depends on contents, and says so.
func (c *call) dataDependent(output, axis int, assume *expr, why string) *expr {
	e := c.fresh(assume)
	if c.wants(output) {
		c.in.note(DataDependent, c.n, c.n.Output[output], "extent %d depends on %s: it counts as %d", axis, why, e.val)
	}
	return e
}

// depends is an extent that depends on contents whose value evaluation knows.
func (c *call) depends(e *expr) *expr {
	return c.al.symbol("", 0, maxExtent, max(e.val, 0), e.assumed)
}

// require makes input i a tensor of the rank that the operator demands: whatever
// was guessed of it, a run in which the node succeeds gives it that rank.
func (c *call) require(i, rank int) {
	v := c.input(i)
	if v.ranked && !v.open || !v.isTensor() || !c.has(i) {
		return
	}
	w := tensor(v.elem)
	if len(v.dims) != rank {
		w.dims = c.unknownDims(rank)
		w.assumed = true
	} else {
		for _, d := range v.dims {
			w.dims = append(w.dims, c.al.symbol("", 0, maxExtent, d.val, d.assumed))
		}
		w.assumed = v.assumed
	}
	c.ins[i] = w
}

// unknownDims are n extents of which nothing is known.
func (c *call) unknownDims(n int) []*expr {
	out := make([]*expr, n)
	for i := range out {
		out[i] = c.fresh(nil)
	}
	return out
}

// broadcast is the shape that shapes broadcast to.
func (c *call) broadcast(shapes ...[]*expr) []*expr {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]*expr, rank)
	for i := range out {
		out[i] = c.num(1)
	}
	for _, s := range shapes {
		off := rank - len(s)
		for i, d := range s {
			e, ok := c.al.broadcast(out[off+i], d)
			if !ok {
				c.contradict("extents %s and %s do not broadcast", out[off+i].text, d.text)
			}
			out[off+i] = e
		}
	}
	return out
}

// broadcastInputs is the shape that the given inputs broadcast to; false if the
// rank of one is not known.
func (c *call) broadcastInputs(ins ...int) ([]*expr, bool) {
	shapes := make([][]*expr, 0, len(ins))
	for _, i := range ins {
		if !c.has(i) {
			continue
		}
		d, ok := c.dims(i)
		if !ok {
			return nil, false
		}
		shapes = append(shapes, d)
	}
	return c.broadcast(shapes...), true
}

// shaped is a tensor of the given extents, or of unknown rank if !ok.
func shaped(elem ir.ElemType, dims []*expr, ok bool) *value {
	if !ok {
		return unranked(elem)
	}
	return tensor(elem, dims...)
}
