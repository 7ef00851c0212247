package ir

import (
	"fmt"
	"math"
	"time"
)

// Time is a duration or a moment in whole picoseconds. The execution model adds
// and compares picoseconds, so that two implementations of it agree exactly;
// time.Duration (nanoseconds) is too coarse for that.
type Time int64

const (
	Nanosecond  Time = 1000
	Microsecond Time = 1000 * Nanosecond
	Millisecond Time = 1000 * Microsecond
	Second      Time = 1000 * Millisecond

	// Unsupported is the cost of a node on a processor that cannot run it.
	Unsupported Time = -1
	// MaxTime is above every time of a problem that Validate accepts.
	MaxTime Time = 1 << 62
)

// Micros rounds a number of microseconds to the nearest picosecond, half to even.
// us must be finite and within ±MaxMicros.
func Micros(us float64) Time { return Time(math.RoundToEven(us * 1e6)) }

// MaxMicros is the largest single time that a problem may state, in microseconds (about 11 days).
const MaxMicros = 1e12

// Us returns t in microseconds. The text of the result is the shortest that
// reads back to the same picosecond for times below 2^53 ps (2.5 hours).
func (t Time) Us() float64 { return float64(t) / 1e6 }

// Duration rounds t to nanoseconds.
func (t Time) Duration() time.Duration { return time.Duration((t + Nanosecond/2) / Nanosecond) }

// String prints t with a unit that suits its size: "1.234 ms".
func (t Time) String() string {
	abs := t
	if abs < 0 {
		abs = -abs
	}
	switch {
	case abs >= Second:
		return fmt.Sprintf("%.3f s", float64(t)/float64(Second))
	case abs >= Millisecond:
		return fmt.Sprintf("%.3f ms", float64(t)/float64(Millisecond))
	default:
		return fmt.Sprintf("%.3f us", float64(t)/float64(Microsecond))
	}
}
