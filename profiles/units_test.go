package profiles

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"1B": 1, "3kB": 3000, "512MB": 512_000_000, "25.6GB": 25_600_000_000, "2TB": 2_000_000_000_000,
		"1KiB": 1024, "1.5MiB": 3 << 19, "8GiB": 8 << 30, "8 GiB": 8 << 30, "1TiB": 1 << 40,
		"1e3B": 1000, "0.5kB": 500, "00012B": 12, "25e-1kB": 2500, "4194304TiB": 1 << 62,
	} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseRates(t *testing.T) {
	type parser func(string) (float64, error)
	for _, c := range []struct {
		parse parser
		text  string
		want  float64
	}{
		{ParseDataRate, "25.6GB/s", 25.6e9},
		{ParseDataRate, "12kB/s", 12e3},
		{ParseDataRate, "1GiB/s", 1 << 30},
		{ParseDataRate, "940Mbit/s", 117.5e6},
		{ParseDataRate, "1Gbit/s", 125e6},
		{ParseDataRate, "9kbit/s", 1125},
		{ParseDataRate, "8bit/s", 1},
		{ParseDataRate, "64 B/s", 64},
		{ParseFLOPRate, "1.28TFLOP/s", 1.28e12},
		{ParseFLOPRate, "500GFLOP/s", 500e9},
		{ParseFLOPRate, "7FLOP/s", 7},
		{ParseOPRate, "20TOP/s", 20e12},
		{ParseOPRate, "3GOP/s", 3e9},
		{ParseOPRate, "2.5POP/s", 2.5e15},
	} {
		got, err := c.parse(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q = %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]ir.Time{
		"0s": 0, "1ps": 1, "2ns": 2000, "250us": 250 * ir.Microsecond, "250µs": 250 * ir.Microsecond, "250μs": 250 * ir.Microsecond,
		"2ms": 2 * ir.Millisecond, "1.5s": 1500 * ir.Millisecond, "0.0000005us": 0, "0.0000015us": 2, "0.00000150001us": 2,
		"2.5ps": 2, "3.5ps": 4, "1e6s": 1_000_000 * ir.Second,
	} {
		got, err := ParseTime(text)
		if err != nil || got != want {
			t.Errorf("ParseTime(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestUnitErrors(t *testing.T) {
	sizes := func(s string) error { _, err := ParseBytes(s); return err }
	rates := func(s string) error { _, err := ParseDataRate(s); return err }
	flops := func(s string) error { _, err := ParseFLOPRate(s); return err }
	ops := func(s string) error { _, err := ParseOPRate(s); return err }
	times := func(s string) error { _, err := ParseTime(s); return err }
	for _, c := range []struct {
		parse func(string) error
		text  string
		want  string
	}{
		{sizes, "8", `"8" has no unit, expected a size such as 8GiB or 512MB`},
		{sizes, "", `"" does not start with a decimal number, expected a size such as 8GiB or 512MB`},
		{sizes, "GiB", `"GiB" does not start with a decimal number, expected a size such as 8GiB or 512MB`},
		{sizes, "-8GiB", `"-8GiB" is negative, expected a size such as 8GiB or 512MB`},
		{sizes, "NaN", `"NaN" does not start with a decimal number, expected a size such as 8GiB or 512MB`},
		{sizes, "0x10B", `"0x10B" has the unknown unit "x10B", expected a size such as 8GiB or 512MB`},
		{sizes, "8GB/s", `"8GB/s" is a data rate, expected a size such as 8GiB or 512MB`},
		{sizes, "8KB", `"8KB" has the unknown unit "KB" (did you mean kB?), expected a size such as 8GiB or 512MB`},
		{sizes, "8gib", `"8gib" has the unknown unit "gib" (did you mean GiB?), expected a size such as 8GiB or 512MB`},
		{sizes, "8  GiB", `"8  GiB" has the unknown unit " GiB" (did you mean GiB?), expected a size such as 8GiB or 512MB`},
		{sizes, "0.3B", `"0.3B" is no whole number of bytes, expected one such as 8GiB`},
		{sizes, "0GiB", `"0GiB" is zero, expected a size above zero such as 8GiB`},
		{sizes, "4194305TiB", `"4194305TiB" is too large, expected a size such as 8GiB`},
		{sizes, "1e99B", `"1e99B" has an exponent beyond ±40, expected a size such as 8GiB or 512MB`},
		{sizes, "1e999999999999999999B", `"1e999999999999999999B" has an exponent beyond ±40, expected a size such as 8GiB or 512MB`},
		{sizes, strings.Repeat("9", 41) + "B", `"` + strings.Repeat("9", 41) + `B" has more than 40 digits, expected a size such as 8GiB or 512MB`},
		{sizes, "1.B", `"1.B" does not start with a decimal number, expected a size such as 8GiB or 512MB`},
		{sizes, ".5GB", `".5GB" does not start with a decimal number, expected a size such as 8GiB or 512MB`},
		{sizes, "1.2.3GB", `"1.2.3GB" has the unknown unit ".3GB", expected a size such as 8GiB or 512MB`},
		{rates, "940Mbps", `"940Mbps" has the unknown unit "Mbps" (did you mean Mbit/s?), expected a data rate such as 25.6GB/s or 940Mbit/s`},
		{rates, "940Mb/s", `"940Mb/s" has the unknown unit "Mb/s" (did you mean Mbit/s?), expected a data rate such as 25.6GB/s or 940Mbit/s`},
		{rates, "5GB", `"5GB" is a size, expected a data rate such as 25.6GB/s or 940Mbit/s`},
		{rates, "0GB/s", `"0GB/s" is too small, expected a data rate such as 25.6GB/s or 940Mbit/s`},
		{rates, "1e30GB/s", `"1e30GB/s" is too large, expected a data rate such as 25.6GB/s or 940Mbit/s`},
		{flops, "20TOP/s", `"20TOP/s" is an integer rate, expected a floating-point rate such as 1.28TFLOP/s or 500GFLOP/s`},
		{flops, "1TFLOPS", `"1TFLOPS" has the unknown unit "TFLOPS" (did you mean TFLOP/s?), expected a floating-point rate such as 1.28TFLOP/s or 500GFLOP/s`},
		{ops, "20TFLOP/s", `"20TFLOP/s" is a floating-point rate, expected an integer rate such as 20TOP/s or 500GOP/s`},
		{ops, "20TOPS", `"20TOPS" has the unknown unit "TOPS" (did you mean TOP/s?), expected an integer rate such as 20TOP/s or 500GOP/s`},
		{times, "2", `"2" has no unit, expected a time such as 250us or 2ms`},
		{times, "2h", `"2h" has the unknown unit "h", expected a time such as 250us or 2ms`},
		{times, "-1us", `"-1us" is negative, expected a time such as 250us or 2ms`},
		{times, "1000001s", `"1000001s" is too long, expected a time such as 250us`},
		{times, strings.Repeat("é", 100), `"` + strings.Repeat("é", 30) + `…" does not start with a decimal number, expected a time such as 250us or 2ms`},
	} {
		if err := c.parse(c.text); err == nil {
			t.Errorf("%q is accepted", c.text)
		} else if err.Error() != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, err, c.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{FormatBytes(8 << 30), "8GiB"},
		{FormatBytes(3 << 19), "1536KiB"},
		{FormatBytes(25_600_000_000), "25000000KiB"},
		{FormatBytes(1), "1B"},
		{FormatBytes(1500), "1.5kB"},
		{FormatBytes(123_457), "123457B"},
		{FormatTime(0), "0ps"},
		{FormatTime(250 * ir.Microsecond), "250us"},
		{FormatTime(1_234_567), "1.234567us"},
		{FormatTime(90 * ir.Second), "90s"},
		{FormatTime(999), "999ps"},
		{FormatDataRate(25.6e9), "25.6GB/s"},
		{FormatDataRate(1), "1B/s"},
		{FormatBitRate(117.5e6), "940Mbit/s"},
		{FormatFLOPRate(1.28e12), "1.28TFLOP/s"},
		{FormatOPRate(2e16), "20POP/s"},
		{FormatOPRate(999), "999OP/s"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func TestFormatRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, MaxBytes).Draw(t, "bytes")
		if got, err := ParseBytes(FormatBytes(n)); err != nil || got != n {
			t.Fatalf("%d prints as %s, which reads as %d, %v", n, FormatBytes(n), got, err)
		}
		d := ir.Time(rapid.Int64Range(0, int64(ir.Micros(ir.MaxMicros))).Draw(t, "time"))
		if got, err := ParseTime(FormatTime(d)); err != nil || got != d {
			t.Fatalf("%d ps prints as %s, which reads as %d, %v", d, FormatTime(d), got, err)
		}
		r := rapid.Float64Range(minRate, maxRate).Draw(t, "rate")
		for _, way := range []struct {
			format func(float64) string
			parse  func(string) (float64, error)
		}{{FormatDataRate, ParseDataRate}, {FormatBitRate, ParseDataRate}, {FormatFLOPRate, ParseFLOPRate}, {FormatOPRate, ParseOPRate}} {
			if got, err := way.parse(way.format(r)); err != nil || got != r {
				t.Fatalf("%v prints as %s, which reads as %v, %v", r, way.format(r), got, err)
			}
		}
	})
}

func FuzzUnits(f *testing.F) {
	for _, s := range []string{"8GiB", "25.6 GB/s", "940Mbit/s", "1.28TFLOP/s", "20TOP/s", "250us", "1e3ms", "-1", "NaN", "1e-40µs", "0.5ps", "9999999999999999999B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseBytes(s); err == nil {
			if back, err := ParseBytes(FormatBytes(n)); n <= 0 || n > MaxBytes || err != nil || back != n {
				t.Fatalf("%q is %d bytes, printed %s, read back %d, %v", s, n, FormatBytes(n), back, err)
			}
		}
		if d, err := ParseTime(s); err == nil {
			if back, err := ParseTime(FormatTime(d)); d < 0 || d.Us() > ir.MaxMicros || err != nil || back != d {
				t.Fatalf("%q is %d ps, printed %s, read back %d, %v", s, d, FormatTime(d), back, err)
			}
		}
		for _, parse := range []func(string) (float64, error){ParseDataRate, ParseFLOPRate, ParseOPRate} {
			if r, err := parse(s); err == nil && (math.IsNaN(r) || r < minRate || r > maxRate) {
				t.Fatalf("%q is the rate %v", s, r)
			}
		}
	})
}
