// Package race says whether Go's race detector watches the program. What it watches
// takes about ten times as long, so tests that try many cases of the same code, one
// after the other, try a share of them with it. Tests of what runs at the same time
// are what it is for, and stay whole.
package race

// Of returns n, or with the detector few, but at most n: how many cases to try.
func Of(n, few int) int {
	if Enabled {
		return min(n, few)
	}
	return n
}

// Skips says whether case i of many alike is left out: never without the detector,
// and all but one in every with it. Each part of a table that is in no particular
// order, or is grouped by kind, is seen.
func Skips(i, every int) bool { return Enabled && i%every != 0 }
