package shape

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// value is what inference knows of a value. It is immutable once it is bound to a
// name, but for public.
type value struct {
	kind   ir.Kind
	elem   ir.ElemType // of tensors
	ranked bool
	dims   []*expr // if ranked; never nil entries
	item   *value  // what a sequence or optional holds, what a map maps to; nil if unknown
	count  *expr   // elements of a sequence; nil if unknown

	// data are the contents of a tensor in row-major order: integers and bools as
	// integers, floats as reals; nil entries are not known. It is nil if nothing
	// is known. tensor holds contents that are not decoded yet.
	data   []*expr
	tensor *onnxpb.TensorProto

	// open says that the rank may differ between runs, or that only an assumption
	// gives it: the type is then published without a shape. assumed says that the
	// extents rest on an assumption besides those of their own.
	open, assumed bool

	public *Value // made when inference has ended
}

const (
	maxRank     = 256  // of a tensor whose shape is followed
	maxContents = 1024 // elements of a tensor whose contents are followed
)

// tensor makes a tensor of known rank.
func tensor(elem ir.ElemType, dims ...*expr) *value {
	return &value{kind: ir.Tensor, elem: elem, ranked: true, dims: dims}
}

// unranked makes a tensor of unknown rank.
func unranked(elem ir.ElemType) *value { return &value{kind: ir.Tensor, elem: elem} }

func unknown() *value { return &value{kind: ir.UnknownKind} }

func sequence(item *value, count *expr) *value {
	return &value{kind: ir.Sequence, item: item, count: count}
}

func optional(item *value) *value { return &value{kind: ir.Optional, item: item} }

// isTensor says whether v is, or may be, a tensor: unknown kinds count as such.
func (v *value) isTensor() bool {
	return v != nil && (v.kind == ir.Tensor || v.kind == ir.UnknownKind || v.kind == ir.SparseTensor)
}

// rank is -1 if it is not known.
func (v *value) rank() int {
	if v == nil || !v.ranked {
		return -1
	}
	return len(v.dims)
}

// withElem is v with another element type and no contents.
func (v *value) withElem(e ir.ElemType) *value {
	return &value{kind: ir.Tensor, elem: e, ranked: v.ranked, dims: v.dims, open: v.open, assumed: v.assumed}
}

// withoutData is v with nothing known of its contents.
func (v *value) withoutData() *value {
	if v.data == nil && v.tensor == nil {
		return v
	}
	w := *v
	w.data, w.tensor, w.public = nil, nil, nil
	return &w
}

// count of elements of a tensor whose extents are all numbers; -1 if they are not.
func (v *value) elements() int64 {
	if !v.ranked {
		return -1
	}
	n := int64(1)
	for _, d := range v.dims {
		c, ok := d.constant()
		if !ok {
			return -1
		}
		n = mulSat(n, c)
	}
	return n
}

// sameType says whether v and w are the same in every run but for contents.
func sameType(v, w *value) bool {
	if v == w {
		return true
	}
	if v == nil || w == nil || v.kind != w.kind || v.elem != w.elem || v.ranked != w.ranked || v.open != w.open || v.assumed != w.assumed {
		return false
	}
	if !slices.Equal(v.dims, w.dims) || v.count != w.count {
		return false
	}
	return v.item == w.item || sameType(v.item, w.item)
}

// publish is the face of v that other packages see.
func (v *value) publish() *Value {
	if v.public != nil {
		return v.public
	}
	p := &Value{Type: ir.Type{Kind: v.kind, Elem: v.elem, Rank: -1}}
	v.public = p
	switch v.kind {
	case ir.Tensor, ir.SparseTensor, ir.UnknownKind:
		v.publishTensor(p)
	case ir.Sequence:
		p.Assumed = true
		n := int64(assumedCount)
		if v.count != nil {
			n, p.Assumed = v.count.val, v.count.assumed
		}
		if v.item != nil {
			item := v.item.publish()
			p.Bytes = mulSat(max(n, 0), item.Bytes)
			p.Assumed = p.Assumed || item.Assumed
		}
	case ir.Optional, ir.Map, ir.Opaque:
		p.Assumed = true
		if v.item != nil {
			p.Bytes = v.item.publish().Bytes
		}
	}
	return p
}

// assumedCount is how many elements a sequence of unknown length counts as.
const assumedCount = 1

func (v *value) publishTensor(p *Value) {
	if !v.ranked {
		p.Dims, p.Assumed = []int64{1}, true
	} else {
		p.Dims = make([]int64, len(v.dims))
		for i, d := range v.dims {
			p.Dims[i] = max(d.val, 0)
			p.Assumed = p.Assumed || d.assumed
		}
		p.Assumed = p.Assumed || v.assumed
	}
	if v.ranked && !v.open {
		p.Type.Rank = len(v.dims)
		p.Type.Shape = make([]ir.Dim, len(v.dims))
		for i, d := range v.dims {
			switch n, ok := d.constant(); {
			case ok && n >= 0:
				p.Type.Shape[i] = ir.Fixed(n)
			case ok:
				p.Type.Shape[i] = ir.Symbol("")
			default:
				p.Type.Shape[i] = ir.Symbol(d.text)
			}
		}
	}
	n := p.Elements()
	bits := int64(v.elem.Bits())
	switch {
	case v.elem == ir.String:
		p.Bytes = mulSat(n, StringBytes)
	case bits == 0:
		p.Bytes, p.Assumed = mulSat(n, unknownElemBytes), true
	case bits%8 == 0:
		p.Bytes = mulSat(n, bits/8)
	default:
		perByte := 8 / bits
		p.Bytes = n / perByte
		if n%perByte != 0 {
			p.Bytes++
		}
	}
	if v.data != nil && isIntegral(v.elem) {
		p.Ints = make([]int64, len(v.data))
		p.Const = !v.open
		for i, e := range v.data {
			if e == nil || e.real {
				p.Ints, p.Const = nil, false
				break
			}
			p.Ints[i] = e.val
			p.Const = p.Const && e.isConst()
		}
	}
}

// unknownElemBytes is the assumed size of an element of unknown type.
const unknownElemBytes = 4

// isIntegral says whether contents of type e are integers or bools.
func isIntegral(e ir.ElemType) bool {
	switch e {
	case ir.Uint8, ir.Int8, ir.Uint16, ir.Int16, ir.Int32, ir.Int64, ir.Bool, ir.Uint32, ir.Uint64, ir.Uint4, ir.Int4, ir.Uint2, ir.Int2:
		return true
	}
	return false
}

// isFloat says whether contents of type e are followed as reals.
func isFloat(e ir.ElemType) bool {
	return e == ir.Float32 || e == ir.Float64 || e == ir.Float16 || e == ir.BFloat16
}

func saturatedProduct(dims []int64) int64 {
	if slices.Contains(dims, 0) {
		return 0
	}
	n := int64(1)
	for _, d := range dims {
		if d < 0 {
			return math.MaxInt64
		}
		n = mulSat(n, d)
	}
	return n
}
