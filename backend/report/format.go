package report

import (
	"strconv"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// bytesText writes a size for people, to three digits in binary units, as the command
// does and profiles often do: "1.23 MiB".
func bytesText(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f := float64(n) / 1024
	for len(units) > 1 && f >= 999.5 {
		f, units = f/1024, units[1:]
	}
	return threeDigits(f) + " " + units[0]
}

// timeText writes a time for people, to three digits: "8.42 ms".
func timeText(t ir.Time) string {
	switch {
	case t == 0:
		return "0"
	case t < ir.Nanosecond:
		return strconv.FormatInt(int64(t), 10) + " ps"
	}
	units := []string{"ns", "us", "ms", "s"}
	f := float64(t) / float64(ir.Nanosecond)
	for len(units) > 1 && f >= 999.5 {
		f, units = f/1000, units[1:]
	}
	return threeDigits(f) + " " + units[0]
}

// threeDigits writes a number from 0.98 on with three significant digits (two below 1), or
// all that stand before the point.
func threeDigits(f float64) string {
	switch {
	case f < 9.995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 99.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// percent writes a share: "3.1%".
func percent(f float64) string {
	f *= 100
	switch {
	case f == 0 || f >= 99.95:
		return strconv.FormatFloat(f, 'f', 0, 64) + "%"
	case f < 0.05:
		return "<0.1%"
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + "%"
}

// countText writes a number and its noun: "1 node", "12,345 nodes".
func countText(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return groupDigits(n) + " " + many
}

// groupDigits writes 12345 as "12,345".
func groupDigits(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// shorten cuts a name in the middle to at most n characters.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	head := (n - 1) / 2
	return string(r[:head]) + "…" + string(r[len(r)-(n-1-head):])
}
