//go:build race

package race

// Enabled says whether the detector is there.
const Enabled = true
