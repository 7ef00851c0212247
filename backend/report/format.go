package report

import "strconv"

// bytesText writes a size for people, to three digits: "1.23 MB".
func bytesText(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	units := []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	f := float64(n) / 1000
	for len(units) > 1 && f >= 999.5 {
		f, units = f/1000, units[1:]
	}
	return threeDigits(f) + " " + units[0]
}

// threeDigits writes a number from 1 to 999 with three significant digits.
func threeDigits(f float64) string {
	switch {
	case f < 9.995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case f < 99.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}
