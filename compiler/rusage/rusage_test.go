package rusage_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/rusage"
)

// TestUsage holds that work and memory that is touched are seen.
func TestUsage(t *testing.T) {
	if rusage.CPUTime() == 0 && rusage.PeakMemory() == 0 {
		if runtime.GOOS == "linux" {
			t.Fatal("nothing is known on Linux")
		}
		t.Skip("not known on this system")
	}
	before, most := rusage.CPUTime(), rusage.PeakMemory()
	for end := before + 20*time.Millisecond; rusage.CPUTime() < end; { // for ever, if work is not seen
	}
	b := make([]byte, 2*most)
	for i := 0; i < len(b); i += 1 << 10 {
		b[i] = 1
	}
	if after := rusage.PeakMemory(); after < 2*most {
		t.Errorf("%d bytes at most after touching %d more, %d before", after, len(b), most)
	}
	runtime.KeepAlive(b)
}
