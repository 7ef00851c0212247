package profiles

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Quantities in profiles carry their unit: a number, an optional space, a unit.
// Numbers are decimal (12, 25.6, 1.5e3) and are read exactly; only the final
// value is rounded, once. Prefixes are those of SI (k, M, G, T, P: powers of
// 1000) and of IEC (Ki, Mi, Gi, Ti: powers of 1024).

type dimension uint8

const (
	sizeDim dimension = iota
	dataRateDim
	floatRateDim
	intRateDim
	timeDim
)

// dimensionTexts names each dimension and gives the example that errors show.
var dimensionTexts = [...]struct{ noun, example string }{
	sizeDim:      {"a size", "8GiB or 512MB"},
	dataRateDim:  {"a data rate", "25.6GB/s or 940Mbit/s"},
	floatRateDim: {"a floating-point rate", "1.28TFLOP/s or 500GFLOP/s"},
	intRateDim:   {"an integer rate", "20TOP/s or 500GOP/s"},
	timeDim:      {"a time", "250us or 2ms"},
}

// unit is one unit; a quantity in base units (bytes, bytes per second,
// operations per second, picoseconds) is number × factor × 10^exp10 / per.
type unit struct {
	name   string
	dim    dimension
	factor int64
	exp10  int
	per    int64
}

// units lists all units, per dimension from the smallest to the largest, and
// binary ones behind decimal ones.
var units = [...]unit{
	{"B", sizeDim, 1, 0, 1},
	{"kB", sizeDim, 1, 3, 1},
	{"MB", sizeDim, 1, 6, 1},
	{"GB", sizeDim, 1, 9, 1},
	{"TB", sizeDim, 1, 12, 1},
	{"KiB", sizeDim, 1 << 10, 0, 1},
	{"MiB", sizeDim, 1 << 20, 0, 1},
	{"GiB", sizeDim, 1 << 30, 0, 1},
	{"TiB", sizeDim, 1 << 40, 0, 1},

	{"B/s", dataRateDim, 1, 0, 1},
	{"kB/s", dataRateDim, 1, 3, 1},
	{"MB/s", dataRateDim, 1, 6, 1},
	{"GB/s", dataRateDim, 1, 9, 1},
	{"TB/s", dataRateDim, 1, 12, 1},
	{"KiB/s", dataRateDim, 1 << 10, 0, 1},
	{"MiB/s", dataRateDim, 1 << 20, 0, 1},
	{"GiB/s", dataRateDim, 1 << 30, 0, 1},
	{"TiB/s", dataRateDim, 1 << 40, 0, 1},
	{"bit/s", dataRateDim, 1, 0, 8},
	{"kbit/s", dataRateDim, 1, 3, 8},
	{"Mbit/s", dataRateDim, 1, 6, 8},
	{"Gbit/s", dataRateDim, 1, 9, 8},
	{"Tbit/s", dataRateDim, 1, 12, 8},

	{"FLOP/s", floatRateDim, 1, 0, 1},
	{"kFLOP/s", floatRateDim, 1, 3, 1},
	{"MFLOP/s", floatRateDim, 1, 6, 1},
	{"GFLOP/s", floatRateDim, 1, 9, 1},
	{"TFLOP/s", floatRateDim, 1, 12, 1},
	{"PFLOP/s", floatRateDim, 1, 15, 1},
	{"OP/s", intRateDim, 1, 0, 1},
	{"kOP/s", intRateDim, 1, 3, 1},
	{"MOP/s", intRateDim, 1, 6, 1},
	{"GOP/s", intRateDim, 1, 9, 1},
	{"TOP/s", intRateDim, 1, 12, 1},
	{"POP/s", intRateDim, 1, 15, 1},

	{"ps", timeDim, 1, 0, 1},
	{"ns", timeDim, 1, 3, 1},
	{"us", timeDim, 1, 6, 1},
	{"ms", timeDim, 1, 9, 1},
	{"s", timeDim, 1, 12, 1},
}

// MaxBytes is the largest size that ParseBytes accepts.
const MaxBytes int64 = 1 << 62

// Rates lie between these, per second; what is outside is a slip of the unit.
const (
	minRate = 1
	maxRate = 1e21
)

// Numbers are short in profiles; longer ones are refused before they cost time.
const (
	maxDigits   = 40
	maxExponent = 40
)

// ParseBytes reads a size: "8GiB", "512 MB". It must be a whole number of bytes
// above 0, at most MaxBytes.
func ParseBytes(s string) (int64, error) {
	v, err := parseQuantity(s, sizeDim)
	if err != nil {
		return 0, err
	}
	switch {
	case v.Sign() == 0:
		return 0, fmt.Errorf("%s is zero, expected a size above zero such as 8GiB", quoted(s))
	case !v.IsInt():
		return 0, fmt.Errorf("%s is no whole number of bytes, expected one such as 8GiB", quoted(s))
	case v.Cmp(new(big.Rat).SetInt64(MaxBytes)) > 0:
		return 0, fmt.Errorf("%s is too large, expected a size such as 8GiB", quoted(s))
	}
	return v.Num().Int64(), nil
}

// ParseDataRate reads a data rate, in bytes or bits per second, and returns
// bytes per second: "25.6GB/s", "940Mbit/s". It is at least 1 B/s.
func ParseDataRate(s string) (float64, error) { return parseRate(s, dataRateDim) }

// ParseFLOPRate reads floating-point operations per second: "1.28TFLOP/s".
// A multiplication and an addition are two operations.
func ParseFLOPRate(s string) (float64, error) { return parseRate(s, floatRateDim) }

// ParseOPRate reads integer operations per second: "20TOP/s".
// A multiplication and an addition are two operations.
func ParseOPRate(s string) (float64, error) { return parseRate(s, intRateDim) }

// ParseTime reads a time, rounded to the picosecond, half to even: "250us", "2ms".
// Zero is a time; the largest is ir.MaxMicros.
func ParseTime(s string) (ir.Time, error) {
	v, err := parseQuantity(s, timeDim)
	if err != nil {
		return 0, err
	}
	limit := new(big.Rat).SetInt64(int64(ir.Micros(ir.MaxMicros)))
	if v.Cmp(limit) > 0 {
		return 0, fmt.Errorf("%s is too long, expected a time such as 250us", quoted(s))
	}
	return ir.Time(roundHalfEven(v)), nil
}

func parseRate(s string, dim dimension) (float64, error) {
	v, err := parseQuantity(s, dim)
	if err != nil {
		return 0, err
	}
	rate, _ := v.Float64()
	if rate < minRate || rate > maxRate {
		size := "too small"
		if rate > maxRate {
			size = "too large"
		}
		return 0, fmt.Errorf("%s is %s, expected %s such as %s", quoted(s), size, dimensionTexts[dim].noun, dimensionTexts[dim].example)
	}
	return rate, nil
}

// roundHalfEven rounds a non-negative rational that fits into an int64.
func roundHalfEven(v *big.Rat) int64 {
	q, r := new(big.Int).QuoRem(v.Num(), v.Denom(), new(big.Int))
	n := q.Int64()
	switch r.Lsh(r, 1).Cmp(v.Denom()) {
	case 1:
		n++
	case 0:
		n += n & 1
	}
	return n
}

// parseQuantity reads a quantity of dimension dim in base units, exactly. The
// result is not negative.
func parseQuantity(s string, dim dimension) (*big.Rat, error) {
	text := dimensionTexts[dim]
	number, rest, err := scanNumber(s)
	if err != nil {
		return nil, fmt.Errorf("%s %w, expected %s such as %s", quoted(s), err, text.noun, text.example)
	}
	name := strings.TrimPrefix(rest, " ")
	switch name {
	case "":
		return nil, fmt.Errorf("%s has no unit, expected %s such as %s", quoted(s), text.noun, text.example)
	case "µs", "μs": // U+00B5 micro sign, U+03BC Greek mu
		name = "us"
	}
	for _, u := range units {
		if u.name != name {
			continue
		}
		if u.dim != dim {
			return nil, fmt.Errorf("%s is %s, expected %s such as %s", quoted(s), dimensionTexts[u.dim].noun, text.noun, text.example)
		}
		scale := new(big.Int).Mul(pow10(u.exp10), big.NewInt(u.factor))
		return number.Mul(number, new(big.Rat).SetFrac(scale, big.NewInt(u.per))), nil
	}
	return nil, fmt.Errorf("%s has the unknown unit %s%s, expected %s such as %s",
		quoted(s), quoted(name), unitHint(name, dim), text.noun, text.example)
}

// scanNumber splits a decimal number off the front of s. Its error continues a
// sentence that starts with the text.
func scanNumber(s string) (*big.Rat, string, error) {
	if strings.HasPrefix(s, "-") {
		return nil, "", fmt.Errorf("is negative")
	}
	i, digits, point := 0, 0, -1
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
			continue
		case c == '.' && point < 0:
			point = i
			continue
		}
		break
	}
	switch {
	case digits == 0 || s[0] == '.' || s[i-1] == '.':
		return nil, "", fmt.Errorf("does not start with a decimal number")
	case digits > maxDigits:
		return nil, "", fmt.Errorf("has more than %d digits", maxDigits)
	}
	exp := 0
	if point >= 0 {
		exp = point + 1 - i
	}
	mantissa, _ := new(big.Int).SetString(strings.Replace(s[:i], ".", "", 1), 10)
	rest := s[i:]
	if e := exponentLen(rest); e > 0 {
		n, err := strconv.Atoi(rest[1:e])
		if err != nil || n > maxExponent || n < -maxExponent {
			return nil, "", fmt.Errorf("has an exponent beyond ±%d", maxExponent)
		}
		exp += n
		rest = rest[e:]
	}
	if exp < 0 {
		return new(big.Rat).SetFrac(mantissa, pow10(-exp)), rest, nil
	}
	return new(big.Rat).SetInt(mantissa.Mul(mantissa, pow10(exp))), rest, nil
}

// exponentLen is the length of "e12", "E+12" or "e-12" at the front of s, or 0.
func exponentLen(s string) int {
	if s == "" || s[0] != 'e' && s[0] != 'E' {
		return 0
	}
	i := 1
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	first := i
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	if i == first {
		return 0
	}
	return i
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// unitHint proposes units of dimension dim for a unit that is none: " (did you mean Mbit/s?)" or "".
func unitHint(name string, dim dimension) string {
	var names []string
	for _, u := range units {
		if u.dim == dim {
			names = append(names, u.name)
		}
	}
	if dim == dataRateDim {
		// The usual ways to write bits: a lower-case b, "bps".
		for _, suffix := range []string{"b/s", "bps", "bits/s"} {
			if prefix, ok := strings.CutSuffix(name, suffix); ok && len(prefix) <= 1 {
				if s := suggest(prefix+"bit/s", names); s != "" {
					return fmt.Sprintf(" (did you mean %s?)", s)
				}
			}
		}
	}
	if s := suggest(name, names); s != "" {
		return fmt.Sprintf(" (did you mean %s?)", s)
	}
	return ""
}

// FormatBytes prints a size that ParseBytes reads back: in the largest binary
// unit that divides it, else in a decimal unit if that takes at most four
// digits, else in bytes.
func FormatBytes(n int64) string {
	for i := len(units) - 1; i >= 0; i-- {
		if u := units[i]; u.dim == sizeDim && u.factor > 1 && n != 0 && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.name
		}
	}
	digits, exp := decimal(strconv.FormatInt(n, 10))
	if len(digits) > 4 {
		return strconv.FormatInt(n, 10) + "B"
	}
	return inUnits(digits, exp, sizeDim)
}

// FormatDataRate prints bytes per second so that ParseDataRate reads the same number back.
func FormatDataRate(bytesPerSecond float64) string { return formatRate(bytesPerSecond, dataRateDim) }

// FormatBitRate prints bytes per second as bits per second so that ParseDataRate reads the same number back.
func FormatBitRate(bytesPerSecond float64) string {
	digits, exp := decimal(strconv.FormatFloat(bytesPerSecond, 'f', -1, 64))
	bits, _ := new(big.Int).SetString(digits, 10)
	digits, extra := decimal(bits.Lsh(bits, 3).String())
	return inBits(digits, exp+extra)
}

// FormatFLOPRate prints floating-point operations per second so that ParseFLOPRate reads the same number back.
func FormatFLOPRate(perSecond float64) string { return formatRate(perSecond, floatRateDim) }

// FormatOPRate prints integer operations per second so that ParseOPRate reads the same number back.
func FormatOPRate(perSecond float64) string { return formatRate(perSecond, intRateDim) }

// FormatTime prints a time that is not negative, exactly, in the largest unit that it fills.
func FormatTime(t ir.Time) string {
	digits, exp := decimal(strconv.FormatInt(int64(t), 10))
	return inUnits(digits, exp, timeDim)
}

func formatRate(rate float64, dim dimension) string {
	if math.IsNaN(rate) || math.IsInf(rate, 0) {
		return strconv.FormatFloat(rate, 'g', -1, 64)
	}
	digits, exp := decimal(strconv.FormatFloat(rate, 'f', -1, 64))
	return inUnits(digits, exp, dim)
}

// decimal splits the text of a non-negative number into its significant digits
// and a power of ten: "25600" is "256" and 2, "0.05" is "5" and -2.
func decimal(text string) (digits string, exp int) {
	whole, fraction, _ := strings.Cut(text, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exp = -len(fraction)
	if digits == "" {
		return "0", 0
	}
	trimmed := strings.TrimRight(digits, "0")
	return trimmed, exp + len(digits) - len(trimmed)
}

// inUnits prints digits × 10^exp base units in the largest decimal unit that it
// fills; the smallest if none.
func inUnits(digits string, exp int, dim dimension) string {
	return inLargest(digits, exp, func(u unit) bool { return u.dim == dim && u.factor == 1 && u.per == 1 })
}

func inBits(digits string, exp int) string {
	return inLargest(digits, exp, func(u unit) bool { return u.dim == dataRateDim && u.per == 8 })
}

func inLargest(digits string, exp int, among func(unit) bool) string {
	best := -1
	for i, u := range units {
		if among(u) && (best < 0 || len(digits)+exp > u.exp10) {
			best = i
		}
	}
	u := units[best]
	exp -= u.exp10
	switch {
	case exp >= 0:
		if digits != "0" {
			digits += strings.Repeat("0", exp)
		}
	case -exp < len(digits):
		cut := len(digits) + exp
		digits = digits[:cut] + "." + digits[cut:]
	default:
		digits = "0." + strings.Repeat("0", -exp-len(digits)) + digits
	}
	return digits + u.name
}
