package runtime

import (
	"testing"
	"time"
)

// Who waits goes on when the signal is raised, at once if it was raised before, and
// when the time is over.
func TestSignal(t *testing.T) {
	s := &Signal{}
	seen := s.Seen()
	done := make(chan bool)
	go func() {
		for s.Seen() == seen {
			s.Await(seen, time.Hour)
		}
		close(done)
	}()
	s.Raise()
	<-done
	s.Await(seen, time.Hour)
	start := time.Now()
	s.Await(s.Seen(), 2*time.Millisecond)
	if took := time.Since(start); took < 2*time.Millisecond {
		t.Errorf("it waited for %v, want 2 ms", took)
	}
}
