//go:build !unix

package rusage

import "time"

// CPUTime is the processor time that this process has taken so far; it is not known here, so it is 0.
func CPUTime() time.Duration { return 0 }

// PeakMemory is the most resident memory that this process has had; it is not known here, so it is 0.
func PeakMemory() int64 { return 0 }
