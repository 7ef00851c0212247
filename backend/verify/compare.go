package verify

import (
	"bytes"
	"fmt"
	"math"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Difference says how far two values are apart. The zero value means bit-equal.
// Numbers are taken over the elements that are numbers in both; infinities of
// one sign are equal.
type Difference struct {
	// Mismatch, if not "", says in what the values cannot be compared element by
	// element: type, shape, number of items.
	Mismatch string `json:"mismatch,omitempty"`
	// Differing counts the elements whose bits differ.
	Differing int64 `json:"differing"`
	// Incomparable counts those among them of which one or both are NaN, or just one is infinite.
	Incomparable int64 `json:"incomparable"`
	// MaxAbs is the largest |got-want|, MaxRel the largest |got-want|/max(|got|,|want|).
	MaxAbs float64 `json:"max_abs"`
	MaxRel float64 `json:"max_rel"`
	// MaxULP is the largest number of representable values from one to the other
	// in the element type; for integers it is the difference.
	MaxULP uint64 `json:"max_ulp"`
	// First is the index of the first element that differs, in row-major order;
	// -1 if none does. In a sequence it is counted within Item.
	First int64 `json:"first"`
	// Item is the place of the first difference in a sequence or map: "[2]"; "" elsewhere.
	Item string `json:"item,omitempty"`
	// Want and Got are that element, as text.
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
}

// Equal says whether the values are bit-equal.
func (d *Difference) Equal() bool { return d.Mismatch == "" && d.Differing == 0 }

// Within says whether no element is further than tolerance from what it should
// be, in absolute terms or relative to the larger of the two.
func (d *Difference) Within(tolerance float64) bool {
	return d.Mismatch == "" && d.Incomparable == 0 && (d.MaxAbs <= tolerance || d.MaxRel <= tolerance)
}

// merge takes over what is worse in e.
func (d *Difference) merge(e *Difference) {
	if d.Equal() && !e.Equal() {
		d.First, d.Item, d.Want, d.Got = e.First, e.Item, e.Want, e.Got
	}
	if d.Mismatch == "" {
		d.Mismatch = e.Mismatch
	}
	d.Differing += e.Differing
	d.Incomparable += e.Incomparable
	d.MaxAbs = max(d.MaxAbs, e.MaxAbs)
	d.MaxRel = max(d.MaxRel, e.MaxRel)
	d.MaxULP = max(d.MaxULP, e.MaxULP)
}

// Compare says how far got is from want. Time is linear in their size.
func Compare(want, got *runtime.Value) *Difference {
	d := &Difference{First: -1}
	switch {
	case want == nil || got == nil:
		if want != got {
			d.Mismatch = "one of the values is missing"
		}
	case want.Kind != got.Kind:
		d.Mismatch = fmt.Sprintf("%s instead of %s", got, want)
	case want.Kind == ir.Tensor:
		compareTensors(d, want, got)
	case len(want.Items) != len(got.Items):
		d.Mismatch = fmt.Sprintf("%s instead of %s", got, want)
	default:
		for i := range want.Items {
			e := Compare(want.Items[i], got.Items[i])
			if !e.Equal() {
				e.Item = fmt.Sprintf("[%d]%s", i, e.Item)
			}
			if e.Mismatch != "" {
				e.Mismatch = fmt.Sprintf("item %d: %s", i, e.Mismatch)
			}
			d.merge(e)
		}
	}
	return d
}

func compareTensors(d *Difference, want, got *runtime.Value) {
	if want.Elem != got.Elem || !equalShapes(want.Shape, got.Shape) {
		d.Mismatch = fmt.Sprintf("%s instead of %s", got, want)
		return
	}
	if want.Elem == ir.String {
		for i, s := range want.Strings {
			if got.Strings[i] == s {
				continue
			}
			if d.Differing++; d.First < 0 {
				d.First, d.Want, d.Got = int64(i), fmt.Sprintf("%q", s), fmt.Sprintf("%q", got.Strings[i])
			}
			d.Incomparable++
		}
		return
	}
	if bytes.Equal(want.Data, got.Data) {
		return
	}
	n := want.Elements()
	if bits := want.Elem.Bits(); want.Elem == ir.Complex64 || want.Elem == ir.Complex128 {
		// Two floats each.
		half := ir.Float32
		if bits == 128 {
			half = ir.Float64
		}
		compareElements(d, half, want.Data, got.Data, 2*n)
		if d.First >= 0 {
			d.First /= 2
		}
		return
	}
	compareElements(d, want.Elem, want.Data, got.Data, n)
}

func compareElements(d *Difference, elem ir.ElemType, want, got []byte, n int64) {
	for i := int64(0); i < n; i++ {
		w, g := bitsAt(elem, want, i), bitsAt(elem, got, i)
		if w == g {
			continue
		}
		x, y := number(elem, w), number(elem, g)
		if d.Differing++; d.First < 0 {
			d.First, d.Want, d.Got = i, formatNumber(elem, w), formatNumber(elem, g)
		}
		if math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) != math.IsInf(y, 0) || (math.IsInf(x, 0) && x != y) {
			d.Incomparable++
			continue
		}
		ulp := ulps(elem, w, g)
		abs := math.Abs(x - y)
		if isInteger(elem) {
			abs = float64(ulp) // exact where float64 is not
		}
		d.MaxULP = max(d.MaxULP, ulp)
		if math.IsInf(abs, 0) {
			abs = math.MaxFloat64
		}
		d.MaxAbs = max(d.MaxAbs, abs)
		if scale := max(math.Abs(x), math.Abs(y)); scale > 0 {
			d.MaxRel = max(d.MaxRel, abs/scale)
		}
	}
}

func equalShapes(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
