package shape

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// bindInputs turns Options.Inputs into bindings of the symbols that inputs declare.
func (in *inferrer) bindInputs(g *onnxpb.GraphProto) error {
	maps.Copy(in.bound, in.o.Dims)
	for _, name := range slices.Sorted(maps.Keys(in.o.Dims)) {
		if n := in.o.Dims[name]; n < 0 {
			return in.badOption(name, "an extent cannot be %d", n)
		}
	}
	for _, v := range g.Input {
		want, ok := in.o.Inputs[v.GetName()]
		if !ok {
			continue
		}
		for _, n := range want {
			if n < 0 {
				return in.badOption(v.GetName(), "an extent cannot be %d", n)
			}
		}
		shape := declaredShape(v.Type)
		if shape == nil {
			continue
		}
		if len(shape.Dim) != len(want) {
			return in.badOption(v.GetName(), "the shape given has %d extents, the input has %d", len(want), len(shape.Dim))
		}
		for i, d := range shape.Dim {
			if p := d.GetDimParam(); p != "" {
				if old, ok := in.bound[p]; ok && old != want[i] {
					return in.badOption(v.GetName(), "the shape given makes %s %d, but it is %d already", p, want[i], old)
				}
				in.bound[p] = want[i]
			} else if n, ok := d.Value.(*onnxpb.TensorShapeProto_Dimension_DimValue); ok && n.DimValue >= 0 && n.DimValue != want[i] {
				return in.badOption(v.GetName(), "extent %d is %d in the model and cannot be %d", i, n.DimValue, want[i])
			}
		}
	}
	return nil
}

func (in *inferrer) badOption(name, format string, args ...any) error {
	return &diag.Error{File: in.m.Path, Value: name, Msg: fmt.Sprintf(format, args...)}
}

// checkOptions reports bindings that nothing took.
func (in *inferrer) checkOptions() error {
	var errs diag.List
	for _, name := range slices.Sorted(maps.Keys(in.o.Dims)) {
		if !in.usedDims[name] {
			known := slices.Sorted(maps.Keys(in.symbols))
			if len(known) > 20 {
				known = known[:20]
			}
			msg := "the model has no symbolic extent of this name, nor any other"
			if len(known) > 0 {
				msg = "the model has no symbolic extent of this name; it has " + strings.Join(known, ", ")
			}
			errs = append(errs, in.badOption(name, "%s", msg))
		}
	}
	inputs := map[string]bool{}
	for _, v := range in.m.Proto.Graph.Input {
		inputs[v.GetName()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(in.o.Inputs)) {
		if !inputs[name] {
			errs = append(errs, in.badOption(name, "the model has no input of this name to give a shape to"))
		}
	}
	return errs.Err()
}

func declaredShape(t *onnxpb.TypeProto) *onnxpb.TensorShapeProto {
	switch {
	case t.GetTensorType() != nil:
		return t.GetTensorType().Shape
	case t.GetSparseTensorType() != nil:
		return t.GetSparseTensorType().Shape
	}
	return nil
}

// addInputs defines the inputs of the main graph.
func (in *inferrer) addInputs(s *Scope, g *onnxpb.GraphProto) {
	// Names of extents that are expressions of others ("past + seq") are read as
	// such; the others must be known first.
	each := func(f func(axis int, name string)) {
		for _, v := range g.Input {
			if shape := declaredShape(v.Type); shape != nil {
				for i, d := range shape.Dim {
					if p := d.GetDimParam(); p != "" && isPlainName(p) {
						f(i, p)
					}
				}
			}
		}
	}
	batch := map[string]bool{}
	each(func(axis int, name string) { batch[name] = batch[name] || axis == 0 })
	each(func(axis int, name string) {
		if batch[name] {
			axis = 0
		}
		in.symbolOf(name, in.openExtent(axis))
	})
	stored := map[string]bool{}
	for _, t := range g.Initializer {
		stored[t.GetName()] = true
	}
	for _, v := range g.Input {
		s.values[v.GetName()] = in.inputValue(v, stored[v.GetName()])
	}
}

func (in *inferrer) inputValue(v *onnxpb.ValueInfoProto, stored bool) *value {
	name := v.GetName()
	want, given := in.o.Inputs[name]
	x := in.typeValue(v.Type, func(axis int) *expr {
		if given && axis < len(want) {
			return in.al.symbol("", 0, maxExtent, want[axis], false)
		}
		if !stored {
			in.note(AssumedSymbol, nil, name, "extent %d of the input is not declared: it counts as %d; give it a shape with --shape %s=...", axis, in.openExtent(axis), name)
		}
		return in.al.symbol("", 0, maxExtent, in.openExtent(axis), true)
	})
	if x.isTensor() && !x.ranked {
		if given {
			x = tensor(x.elem, in.numbers(want)...)
			x.open = true // for this run only
		} else if !stored {
			in.note(UnknownType, nil, name, "the input declares no shape: it counts as one element; give it a shape to change that")
		}
	}
	return x
}

// assumedExtent is what a symbol without binding counts as: batches are 1 on
// edge devices, and a count that the user did not state should not pretend to be
// more than the least.
const assumedExtent = 1

// assumedSide is what they count as, but for batches, where that leaves nothing of
// an image: the side of the images that most published networks take.
const assumedSide = 224

// openExtent is what an axis of an input counts as that nothing determines.
func (in *inferrer) openExtent(axis int) int64 {
	if axis == 0 {
		return assumedExtent
	}
	return in.side
}

// symbol is the symbol that the model declares as name.
func (in *inferrer) symbol(name string) *expr { return in.symbolOf(name, assumedExtent) }

// symbolOf is the same with what it counts as where it is not bound.
func (in *inferrer) symbolOf(name string, assume int64) *expr {
	if e := in.symbols[name]; e != nil {
		return e
	}
	val, ok := in.bound[name]
	if ok {
		in.usedDims[name] = true
	}
	if in.quiet {
		if !ok {
			val = assume
		}
		return in.al.symbol("", 0, maxExtent, val, !ok)
	}
	if !ok {
		val = assume
		in.note(AssumedSymbol, nil, name, "the symbolic extent is not bound: it counts as %d; bind it, for example with --shape %s=8", val, name)
	}
	e := in.al.symbol(name, 0, maxExtent, val, !ok)
	in.symbols[name] = e
	return e
}

// dimParam is the extent that a declaration writes as text.
func (in *inferrer) dimParam(text string) *expr {
	if _, bound := in.bound[text]; !bound && !isPlainName(text) {
		if e := in.parseExtent(text); e != nil {
			return e
		}
	}
	return in.symbol(text)
}

// typeValue is a value of the declared type t; open makes extents that t leaves open.
func (in *inferrer) typeValue(t *onnxpb.TypeProto, open func(axis int) *expr) *value {
	tensorValue := func(kind ir.Kind, elem int32, shape *onnxpb.TensorShapeProto) *value {
		v := &value{kind: kind, elem: ir.ElemType(elem), ranked: shape != nil}
		if shape == nil || len(shape.Dim) > maxRank {
			v.ranked = false
			return v
		}
		v.dims = make([]*expr, len(shape.Dim))
		for i, d := range shape.Dim {
			switch x := d.Value.(type) {
			case *onnxpb.TensorShapeProto_Dimension_DimValue:
				if x.DimValue >= 0 {
					v.dims[i] = in.al.n(x.DimValue)
				}
			case *onnxpb.TensorShapeProto_Dimension_DimParam:
				if x.DimParam != "" {
					v.dims[i] = in.dimParam(x.DimParam)
				}
			}
			if v.dims[i] == nil {
				v.dims[i] = open(i)
			}
		}
		return v
	}
	anonymous := func(int) *expr { return in.al.symbol("", 0, maxExtent, assumedExtent, true) }
	switch x := t.GetValue().(type) {
	case *onnxpb.TypeProto_TensorType:
		return tensorValue(ir.Tensor, x.TensorType.GetElemType(), x.TensorType.Shape)
	case *onnxpb.TypeProto_SparseTensorType:
		return tensorValue(ir.SparseTensor, x.SparseTensorType.GetElemType(), x.SparseTensorType.Shape)
	case *onnxpb.TypeProto_SequenceType:
		return &value{kind: ir.Sequence, item: in.itemType(x.SequenceType.GetElemType(), anonymous)}
	case *onnxpb.TypeProto_OptionalType:
		return &value{kind: ir.Optional, item: in.itemType(x.OptionalType.GetElemType(), anonymous)}
	case *onnxpb.TypeProto_MapType:
		return &value{kind: ir.Map, item: in.itemType(x.MapType.GetValueType(), anonymous)}
	case *onnxpb.TypeProto_OpaqueType:
		return &value{kind: ir.Opaque}
	}
	return unknown()
}

func (in *inferrer) itemType(t *onnxpb.TypeProto, open func(int) *expr) *value {
	if t == nil {
		return nil
	}
	return in.typeValue(t, open)
}

// reconcile puts together what was inferred for a value and what the model
// declares for it. Inference wins: a declaration of an intermediate value is a
// claim that no runtime checks. Where inference knows nothing, the claim counts
// for sizes, but is not published as a type that runs must obey. Notes of the
// node's own inference stand from mark on.
func (in *inferrer) reconcile(n *onnxpb.NodeProto, name string, v *value, t *onnxpb.TypeProto, mark int) *value {
	claim := in.claim(t)
	if claim.kind == ir.UnknownKind {
		return v
	}
	if v.kind == ir.UnknownKind {
		w := *claim
		w.open = w.open || w.kind == ir.Tensor
		w.assumed = true
		return &w
	}
	if v.kind != claim.kind {
		in.note(Contradiction, n, name, "the model declares a %s, inference gives a %s", claim.kind, v.kind)
		return v
	}
	if v.kind == ir.Sequence || v.kind == ir.Optional {
		if v.item == nil && claim.item != nil {
			w := *v
			w.item = claim.item
			return &w
		}
		return v
	}
	if v.kind != ir.Tensor {
		return v
	}
	w := *v
	if v.elem == ir.UndefinedElem {
		w.elem = claim.elem
	} else if claim.elem != ir.UndefinedElem && claim.elem != v.elem {
		in.note(Contradiction, n, name, "the model declares elements of type %s, inference gives %s", claim.elem, v.elem)
	}
	switch {
	case !claim.ranked:
	case !v.ranked:
		w.ranked, w.dims, w.open, w.assumed = true, claim.dims, true, true
	case len(v.dims) != len(claim.dims) && v.open:
		// The rank was a guess; the declaration is a better one.
		w.dims, w.assumed, w.data, w.tensor = claim.dims, true, nil, nil
	case len(v.dims) != len(claim.dims):
		in.note(Contradiction, n, name, "the model declares rank %d, inference gives %d", len(claim.dims), len(v.dims))
	default:
		w.dims = in.reconcileDims(n, name, &w, claim.dims, mark)
	}
	return &w
}

func (in *inferrer) reconcileDims(n *onnxpb.NodeProto, name string, v *value, claim []*expr, mark int) []*expr {
	dims := v.dims
	out := dims
	for i, d := range dims {
		c := claim[i]
		if dn, ok := d.constant(); ok {
			if cn, ok := c.constant(); ok && cn != dn && !v.open {
				in.note(Contradiction, n, name, "the model declares extent %d as %d, inference gives %d", i, cn, dn)
			}
			continue
		}
		if d.op != opSymbol || d.text != "" || c.op == opSymbol && c.text == "" && c.assumed {
			continue
		}
		if &out[0] == &dims[0] {
			out = slices.Clone(dims)
		}
		out[i] = in.al.symbol("", 0, maxExtent, c.val, c.assumed || c.isConst())
		in.replaceGuess(n, name, i, out[i], mark)
	}
	return out
}

// replaceGuess corrects the note of an extent that inference guessed, since mark,
// and that the model declares.
func (in *inferrer) replaceGuess(n *onnxpb.NodeProto, name string, axis int, e *expr, mark int) {
	prefix := fmt.Sprintf("extent %d depends on", axis)
	for i := mark; i < len(in.notes); i++ {
		old := in.notes[i]
		if old.Kind != DataDependent || old.Value != name || !strings.HasPrefix(old.Text, prefix) {
			continue
		}
		delete(in.noted, old)
		in.notes = slices.Delete(in.notes, i, i+1)
		in.note(DataDependent, n, name, "extent %d depends on contents: it counts as %d, as the model declares", axis, e.val)
		return
	}
}

// claim is the value that a declaration claims. Symbols that no input declares
// say nothing.
func (in *inferrer) claim(t *onnxpb.TypeProto) *value {
	open := func(int) *expr { return in.al.symbol("", 0, maxExtent, assumedExtent, true) }
	return in.quietly(func() *value { return in.typeValue(t, open) })
}

// quietly runs f, in which new names of extents are left open instead of becoming
// symbols that the user is asked to bind.
func (in *inferrer) quietly(f func() *value) *value {
	before := in.quiet
	in.quiet = true
	defer func() { in.quiet = before }()
	return f()
}
