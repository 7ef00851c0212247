//go:build !(cgo && (linux || darwin))

package runtime

import "time"

// Await waits until the signal is raised again, for most at most. It keeps the
// thread's core busy.
func (s *Signal) Await(seen uint32, most time.Duration) {
	start := time.Now()
	for turns := 1; s.n.Load() == seen; turns++ {
		if turns%64 == 0 && time.Since(start) >= most {
			return
		}
	}
}
