package backend

import (
	"strconv"
	"strings"
)

// fileStems gives every sub-model a file name without extension: the processor's
// name, with the run's number where the processor has several. procs are the
// processors' names, counts how many sub-models each has. Names are safe on every
// common file system and differ in more than case.
func fileStems(procs []string, counts []int) [][]string {
	taken := map[string]bool{}
	unique := func(want string) string {
		for k := 1; ; k++ {
			name := want
			if k > 1 {
				name += "-" + strconv.Itoa(k)
			}
			if key := strings.ToLower(name); !taken[key] {
				taken[key] = true
				return name
			}
		}
	}
	out := make([][]string, len(procs))
	// Names that need no change go first, so that a mended one cannot take theirs.
	for _, mended := range []bool{false, true} {
		for i, proc := range procs {
			safe := safeName(proc)
			if (safe != proc) != mended || counts[i] == 0 {
				continue
			}
			if counts[i] == 1 {
				out[i] = []string{unique(safe)}
				continue
			}
			for k := range counts[i] {
				out[i] = append(out[i], unique(safe+"."+strconv.Itoa(k)))
			}
		}
	}
	return out
}

// maxNameBytes keeps file names, with their suffixes, below what file systems allow.
const maxNameBytes = 100

// safeName replaces what a file name cannot have everywhere.
func safeName(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			b[i] = '_'
		}
	}
	if len(b) > maxNameBytes {
		b = b[:maxNameBytes]
	}
	// A leading dot hides a file, a leading dash looks like an option, and Windows drops trailing dots.
	s = strings.TrimRight(strings.TrimLeft(string(b), ".-"), ".")
	base, _, _ := strings.Cut(s, ".")
	if s == "" || reservedName(base) {
		return "_" + s
	}
	return s
}

// reservedName says whether Windows takes a file of that name, whatever its extension, for a device.
func reservedName(base string) bool {
	switch base = strings.ToUpper(base); base {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	if len(base) == 4 && (base[:3] == "COM" || base[:3] == "LPT") {
		return base[3] >= '0' && base[3] <= '9'
	}
	return false
}
