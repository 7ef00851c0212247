package runtime

import goruntime "runtime"

// Thread is a thread that is bound to cores and does what it is given, in order.
// What an engine loads there runs on those cores: threads that it starts inherit them.
type Thread struct {
	// Err says why the thread could not be bound; it works unbound then. nil if it is.
	Err error

	jobs chan func()
	done chan struct{}
}

// StartThread starts a thread on cpus; nil leaves it unbound. Stop it when done with it.
func StartThread(cpus []int) *Thread {
	t := &Thread{jobs: make(chan func()), done: make(chan struct{})}
	bound := make(chan struct{})
	go func() {
		defer close(t.done)
		goruntime.LockOSThread() // for good: the thread ends with the goroutine
		if cpus != nil {
			t.Err = Bind(cpus)
		}
		close(bound)
		for job := range t.jobs {
			job()
		}
	}()
	<-bound
	return t
}

// Do runs job on the thread and waits for it.
func (t *Thread) Do(job func()) {
	done := make(chan struct{})
	t.jobs <- func() {
		defer close(done)
		job()
	}
	<-done
}

// Stop ends the thread, after what it is doing.
func (t *Thread) Stop() {
	close(t.jobs)
	<-t.done
}
