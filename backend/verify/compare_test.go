package verify

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// tensorOf encodes numbers as a vector.
func tensorOf(t *testing.T, elem ir.ElemType, xs ...float64) *runtime.Value {
	t.Helper()
	n, _ := ir.StoredBytes(elem, int64(len(xs)))
	data := make([]byte, n)
	for i, x := range xs {
		setBits(elem, data, int64(i), encode(elem, x))
	}
	v, err := runtime.NewTensor(elem, []int64{int64(len(xs))}, data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func bits(t *testing.T, elem ir.ElemType, data ...byte) *runtime.Value {
	t.Helper()
	v, err := runtime.NewTensor(elem, []int64{int64(len(data) * 8 / elem.Bits())}, data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCompare(t *testing.T) {
	text := func(s ...string) *runtime.Value {
		v, err := runtime.NewStrings([]int64{int64(len(s))}, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	f := func(xs ...float64) *runtime.Value { return tensorOf(t, ir.Float32, xs...) }
	none := &runtime.Value{Kind: ir.Optional}
	for _, c := range []struct {
		name      string
		want, got *runtime.Value
		diff      Difference
	}{
		{"equal", f(1, 2), f(1, 2), Difference{First: -1}},
		{"one ulp", f(1, 1), f(1, 1+math.Pow(2, -23)), Difference{Differing: 1, MaxAbs: math.Pow(2, -23), MaxRel: math.Pow(2, -23) / (1 + math.Pow(2, -23)), MaxULP: 1, First: 1, Want: "1", Got: "1.0000001"}},
		{"signs", f(-1), f(1), Difference{Differing: 1, MaxAbs: 2, MaxRel: 2, MaxULP: 2 * 0x3f800000, Want: "-1", Got: "1"}},
		{"zeros", f(0), f(math.Copysign(0, -1)), Difference{Differing: 1, Want: "0", Got: "-0"}},
		{"one NaN", bits(t, ir.Float32, 0, 0, 0xc0, 0x7f), f(1), Difference{Differing: 1, Incomparable: 1, Want: "NaN", Got: "1"}},
		{"same NaN", bits(t, ir.Float32, 0, 0, 0xc0, 0x7f), bits(t, ir.Float32, 0, 0, 0xc0, 0x7f), Difference{First: -1}},
		{"other NaN", bits(t, ir.Float32, 0, 0, 0xc0, 0x7f), bits(t, ir.Float32, 1, 0, 0xc0, 0x7f), Difference{Differing: 1, Incomparable: 1, Want: "NaN", Got: "NaN"}},
		{"infinite", f(math.Inf(1), math.Inf(-1), math.Inf(1)), f(math.Inf(1), math.Inf(1), 1), Difference{Differing: 2, Incomparable: 2, First: 1, Want: "-Inf", Got: "+Inf"}},
		{"float16", tensorOf(t, ir.Float16, 1, 2), tensorOf(t, ir.Float16, 1, 2.5), Difference{Differing: 1, MaxAbs: .5, MaxRel: .2, MaxULP: 256, First: 1, Want: "2", Got: "2.5"}},
		{
			"int64", bits(t, ir.Int64, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), bits(t, ir.Int64, 0, 0, 0, 0, 0, 0, 0, 0x80),
			Difference{Differing: 1, MaxAbs: math.Pow(2, 64), MaxRel: 2, MaxULP: math.MaxUint64, Want: "9223372036854775807", Got: "-9223372036854775808"},
		},
		{"int4", tensorOf(t, ir.Int4, 1, -8, 7), tensorOf(t, ir.Int4, 1, -8, 6), Difference{Differing: 1, MaxAbs: 1, MaxRel: 1. / 7, MaxULP: 1, First: 2, Want: "7", Got: "6"}},
		{"bool", tensorOf(t, ir.Bool, 1), tensorOf(t, ir.Bool, 0), Difference{Differing: 1, MaxAbs: 1, MaxRel: 1, MaxULP: 1, Want: "1", Got: "0"}},
		{"shape", f(1), f(1, 2), Difference{Mismatch: "float32[2] instead of float32[1]", First: -1}},
		{"type", f(1), tensorOf(t, ir.Float16, 1), Difference{Mismatch: "float16[1] instead of float32[1]", First: -1}},
		{"kind", f(1), runtime.NewSequence(f(1)), Difference{Mismatch: "sequence of 1 instead of float32[1]", First: -1}},
		{"strings", text("a", "b"), text("a", "c"), Difference{Differing: 1, Incomparable: 1, First: 1, Want: `"b"`, Got: `"c"`}},
		{
			"sequence", runtime.NewSequence(f(1), f(1, 2)), runtime.NewSequence(f(1), f(1, 4)),
			Difference{Differing: 1, MaxAbs: 2, MaxRel: .5, MaxULP: 1 << 23, First: 1, Item: "[1]", Want: "2", Got: "4"},
		},
		{"sequence length", runtime.NewSequence(f(1)), runtime.NewSequence(), Difference{Mismatch: "sequence of 0 instead of sequence of 1", First: -1}},
		{"optionals", none, none, Difference{First: -1}},
		{"optional", none, f(1), Difference{Mismatch: "float32[1] instead of empty optional", First: -1}},
		{"missing", f(1), nil, Difference{Mismatch: "one of the values is missing", First: -1}},
		{
			"complex", bits(t, ir.Complex64, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f), bits(t, ir.Complex64, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40),
			Difference{Differing: 1, MaxAbs: 1, MaxRel: .5, MaxULP: 1 << 23, Want: "1", Got: "2"},
		},
	} {
		got := Compare(c.want, c.got)
		if diff := cmp.Diff(c.diff, *got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
		if got.Equal() != (c.diff.Differing == 0 && c.diff.Mismatch == "") {
			t.Errorf("%s: Equal is %v", c.name, got.Equal())
		}
	}
}

// Padding after the last packed element counts for nothing.
func TestComparePadding(t *testing.T) {
	a := &runtime.Value{Kind: ir.Tensor, Elem: ir.Uint4, Shape: []int64{1}, Data: []byte{0x03}}
	b := &runtime.Value{Kind: ir.Tensor, Elem: ir.Uint4, Shape: []int64{1}, Data: []byte{0xf3}}
	if d := Compare(a, b); !d.Equal() {
		t.Errorf("%+v", d)
	}
}

func TestWithin(t *testing.T) {
	far := Difference{Differing: 1, MaxAbs: 10, MaxRel: 1e-6}
	nan := Difference{Differing: 1, Incomparable: 1}
	if !far.Within(1e-5) || far.Within(1e-7) || nan.Within(1) {
		t.Error("tolerances are wrong")
	}
}

// Numbers of each float type from its definition.
func TestFloatTypes(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		elem ir.ElemType
		bits uint64
		want float64
	}{
		{ir.Float16, 0x0001, math.Pow(2, -24)},
		{ir.Float16, 0x7bff, 65504},
		{ir.Float16, 0x7c00, inf},
		{ir.Float16, 0xfc00, -inf},
		{ir.Float16, 0x7e00, nan},
		{ir.Float16, 0xc000, -2},
		{ir.BFloat16, 0x3f80, 1},
		{ir.BFloat16, 0xff80, -inf},
		{ir.BFloat16, 0x7fc0, nan},
		{ir.Float8E4M3FN, 0x7e, 448},
		{ir.Float8E4M3FN, 0x7f, nan},
		{ir.Float8E4M3FN, 0x01, math.Pow(2, -9)},
		{ir.Float8E4M3FN, 0xb8, -1},
		{ir.Float8E4M3FNUZ, 0x7f, 240},
		{ir.Float8E4M3FNUZ, 0x80, nan},
		{ir.Float8E4M3FNUZ, 0x01, math.Pow(2, -10)},
		{ir.Float8E5M2, 0x7b, 57344},
		{ir.Float8E5M2, 0x7c, inf},
		{ir.Float8E5M2, 0x7d, nan},
		{ir.Float8E5M2, 0x01, math.Pow(2, -16)},
		{ir.Float8E5M2FNUZ, 0x7f, 57344},
		{ir.Float8E5M2FNUZ, 0x80, nan},
		{ir.Float8E5M2FNUZ, 0x01, math.Pow(2, -17)},
		{ir.Float4E2M1, 0x7, 6},
		{ir.Float4E2M1, 0x1, .5},
		{ir.Float4E2M1, 0xf, -6},
		{ir.Float8E8M0, 127, 1},
		{ir.Float8E8M0, 0, math.Pow(2, -127)},
		{ir.Float8E8M0, 255, nan},
		{ir.Int2, 2, -2},
		{ir.Uint2, 3, 3},
		{ir.Int8, 0x80, -128},
	} {
		if got := number(c.elem, c.bits); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s %#x is %v, want %v", c.elem, c.bits, got, c.want)
		}
	}
}

// Every finite value of the small types encodes to itself, and neighbours are one apart.
func TestEncodeRoundTrip(t *testing.T) {
	for _, elem := range []ir.ElemType{
		ir.Float16, ir.BFloat16, ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float4E2M1, ir.Float8E8M0,
		ir.Int2, ir.Uint2, ir.Int4, ir.Uint4, ir.Int8, ir.Uint8, ir.Int16, ir.Uint16,
	} {
		for b := uint64(0); b < 1<<elem.Bits(); b++ {
			x := number(elem, b)
			if math.IsNaN(x) || math.IsInf(x, 0) {
				continue
			}
			if got := encode(elem, x); got != b {
				t.Fatalf("%s %#x is %v, which encodes to %#x", elem, b, x, got)
			}
			if b > 0 {
				if y := number(elem, b-1); y < x && !math.IsInf(y, 0) && ulps(elem, b, b-1) != 1 {
					t.Fatalf("%s: %v and %v are %d apart", elem, y, x, ulps(elem, b, b-1))
				}
			}
		}
	}
	for _, c := range []struct {
		elem ir.ElemType
		x    float64
		want uint64
	}{
		{ir.Float16, 1e9, 0x7bff},
		{ir.Float16, 1 + 1./4096, 0x3c00},
		{ir.Float16, 1 + 3./4096, 0x3c01},
		{ir.Int8, 1000, 127},
		{ir.Int8, -1000, 0x80},
		{ir.Uint8, -1, 0},
		{ir.Uint4, 99, 15},
		{ir.Float8E4M3FNUZ, math.Copysign(0, -1), 0},
		{ir.Int64, math.Inf(1), math.MaxInt64},
		{ir.Uint64, math.Inf(1), math.MaxUint64},
	} {
		if got := encode(c.elem, c.x); got != c.want {
			t.Errorf("%s of %v is %#x, want %#x", c.elem, c.x, got, c.want)
		}
	}
}
