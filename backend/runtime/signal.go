package runtime

import "sync/atomic"

// Signal tells waiting threads that something has happened. It may be used by any
// number of threads; it must not be copied.
type Signal struct {
	_ [64]byte // a cache line of its own: who waits reads it all the time
	n atomic.Uint32
	_ [60]byte
}

// Raise tells all who wait.
func (s *Signal) Raise() { s.n.Add(1) }

// Seen counts how often it was raised: what Await is given to notice the next time.
func (s *Signal) Seen() uint32 { return s.n.Load() }
