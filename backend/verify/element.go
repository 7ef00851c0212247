package verify

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// floatFormat is a float type: sign, exponent and fraction, from the top down.
// Sources: IEEE 754-2008; the ONNX pages on float8 and float4.
type floatFormat struct {
	exponent, fraction uint
	bias               int
	infinities         bool // the highest exponent is infinity and NaN, as in IEEE 754
	nan                func(bits uint64) bool
}

func formatOf(elem ir.ElemType) (floatFormat, bool) {
	switch elem {
	case ir.Float64:
		return floatFormat{11, 52, 1023, true, nil}, true
	case ir.Float32:
		return floatFormat{8, 23, 127, true, nil}, true
	case ir.Float16:
		return floatFormat{5, 10, 15, true, nil}, true
	case ir.BFloat16:
		return floatFormat{8, 7, 127, true, nil}, true
	case ir.Float8E5M2:
		return floatFormat{5, 2, 15, true, nil}, true
	case ir.Float8E4M3FN:
		return floatFormat{4, 3, 7, false, func(b uint64) bool { return b&0x7f == 0x7f }}, true
	case ir.Float8E4M3FNUZ:
		return floatFormat{4, 3, 8, false, func(b uint64) bool { return b == 0x80 }}, true
	case ir.Float8E5M2FNUZ:
		return floatFormat{5, 2, 16, false, func(b uint64) bool { return b == 0x80 }}, true
	case ir.Float4E2M1:
		return floatFormat{2, 1, 1, false, nil}, true
	}
	return floatFormat{}, false
}

// value is the number that bits stand for.
func (f floatFormat) value(bits uint64) float64 {
	if f.nan != nil && f.nan(bits) {
		return math.NaN()
	}
	fraction := bits & (1<<f.fraction - 1)
	top := uint64(1)<<f.exponent - 1
	exponent := bits >> f.fraction & top
	sign := 1.0
	if bits>>(f.fraction+f.exponent)&1 != 0 {
		sign = -1
	}
	switch {
	case f.infinities && exponent == top && fraction == 0:
		return sign * math.Inf(1)
	case f.infinities && exponent == top:
		return math.NaN()
	case exponent == 0:
		return sign * math.Ldexp(float64(fraction), 1-f.bias-int(f.fraction))
	}
	return sign * math.Ldexp(float64(fraction|1<<f.fraction), int(exponent)-f.bias-int(f.fraction))
}

// bitsAt is element i, right-aligned. Elements of fewer than 8 bits are packed
// from the low bits of a byte up. The type must have at most 64 bits.
func bitsAt(elem ir.ElemType, data []byte, i int64) uint64 {
	switch n := int64(elem.Bits()); n {
	case 64:
		return binary.LittleEndian.Uint64(data[i*8:])
	case 32:
		return uint64(binary.LittleEndian.Uint32(data[i*4:]))
	case 16:
		return uint64(binary.LittleEndian.Uint16(data[i*2:]))
	case 8:
		return uint64(data[i])
	default:
		per := 8 / n
		return uint64(data[i/per]) >> (i % per * n) & (1<<n - 1)
	}
}

// setBits is the inverse of bitsAt; the bits must be zero before.
func setBits(elem ir.ElemType, data []byte, i int64, bits uint64) {
	switch n := int64(elem.Bits()); n {
	case 64:
		binary.LittleEndian.PutUint64(data[i*8:], bits)
	case 32:
		binary.LittleEndian.PutUint32(data[i*4:], uint32(bits))
	case 16:
		binary.LittleEndian.PutUint16(data[i*2:], uint16(bits))
	case 8:
		data[i] = byte(bits)
	default:
		per := 8 / n
		data[i/per] |= byte(bits << (i % per * n))
	}
}

// isInteger says whether elem is a whole-number type; bool counts.
func isInteger(elem ir.ElemType) bool {
	_, isFloat := formatOf(elem)
	return !isFloat && elem != ir.Float8E8M0
}

func isSigned(elem ir.ElemType) bool {
	switch elem {
	case ir.Int2, ir.Int4, ir.Int8, ir.Int16, ir.Int32, ir.Int64:
		return true
	}
	return false
}

// signed sign-extends the bits of a signed integer type.
func signed(elem ir.ElemType, bits uint64) int64 {
	shift := 64 - elem.Bits()
	return int64(bits<<shift) >> shift
}

// number is the nearest float64 to the element.
func number(elem ir.ElemType, bits uint64) float64 {
	switch {
	case elem == ir.Float32:
		return float64(math.Float32frombits(uint32(bits)))
	case elem == ir.Float64:
		return math.Float64frombits(bits)
	case elem == ir.Float8E8M0: // powers of two; no sign, no zero
		if bits == 0xff {
			return math.NaN()
		}
		return math.Ldexp(1, int(bits)-127)
	case isSigned(elem):
		return float64(signed(elem, bits))
	}
	if f, ok := formatOf(elem); ok {
		return f.value(bits)
	}
	return float64(bits)
}

func formatNumber(elem ir.ElemType, bits uint64) string {
	switch {
	case isSigned(elem):
		return strconv.FormatInt(signed(elem, bits), 10)
	case isInteger(elem):
		return strconv.FormatUint(bits, 10)
	case elem == ir.Float64:
		return strconv.FormatFloat(number(elem, bits), 'g', -1, 64)
	}
	return strconv.FormatFloat(number(elem, bits), 'g', -1, 32)
}

// ulps counts the representable values from a to b: the distance of the bits
// once negative floats are mirrored, so that the order of the numbers is that of
// the integers (Bruce Dawson, Comparing Floating Point Numbers, 2012).
func ulps(elem ir.ElemType, a, b uint64) uint64 {
	if isSigned(elem) {
		return distance(signed(elem, a), signed(elem, b))
	}
	f, ok := formatOf(elem)
	if !ok {
		if a < b {
			a, b = b, a
		}
		return a - b
	}
	sign := uint64(1) << (f.exponent + f.fraction)
	mirror := func(x uint64) int64 {
		if x&sign != 0 {
			return -int64(x &^ sign)
		}
		return int64(x)
	}
	return distance(mirror(a), mirror(b))
}

func distance(a, b int64) uint64 {
	if a < b {
		a, b = b, a
	}
	return uint64(a) - uint64(b)
}

// encode is the element nearest to x, ties to even; out of range it saturates.
func encode(elem ir.ElemType, x float64) uint64 {
	switch {
	case elem == ir.Float64:
		return math.Float64bits(x)
	case elem == ir.Float32:
		return uint64(math.Float32bits(float32(x)))
	case elem == ir.Bool:
		if x != 0 {
			return 1
		}
		return 0
	case elem == ir.Float8E8M0:
		if !(x > 0) {
			return 0
		}
		return uint64(min(max(math.Round(math.Log2(x))+127, 0), 254))
	case isSigned(elem):
		limit := math.Ldexp(1, elem.Bits()-1)
		x = math.RoundToEven(x)
		if x >= limit {
			return 1<<(elem.Bits()-1) - 1
		}
		return uint64(int64(max(x, -limit))) & (1<<elem.Bits() - 1)
	}
	f, ok := formatOf(elem)
	if !ok {
		limit := math.Ldexp(1, elem.Bits())
		x = math.RoundToEven(x)
		if x >= limit {
			return 1<<elem.Bits() - 1
		}
		return uint64(max(x, 0))
	}
	return f.encode(x)
}

// encode finds the nearest value of the format.
func (f floatFormat) encode(x float64) uint64 {
	var sign uint64
	if math.Signbit(x) {
		sign = 1 << (f.exponent + f.fraction)
		x = -x
	}
	// The values ascend with their bits up to the largest finite one.
	largest := uint64(1)<<(f.exponent+f.fraction) - 1
	if f.infinities {
		largest -= 1 << f.fraction
	} else if f.nan != nil && f.nan(largest) {
		largest--
	}
	lo, hi := uint64(0), largest
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if f.value(mid) <= x {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	if lo < largest {
		below, above := x-f.value(lo), f.value(lo+1)-x
		if above < below || (above == below && lo&1 == 1) {
			lo++
		}
	}
	if lo == 0 && f.nan != nil && f.nan(sign) {
		sign = 0 // no negative zero here
	}
	return sign | lo
}
