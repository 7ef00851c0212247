package diag

import (
	"math"
	"testing"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1 KiB", 1025: "1.0 KiB (1025 bytes)", 4 << 30: "4 GiB",
		4943268: "4.7 MiB (4943268 bytes)", math.MaxInt64: "8.0 EiB (9223372036854775807 bytes)",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
