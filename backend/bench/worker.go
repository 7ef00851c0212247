package bench

import (
	goruntime "runtime"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// worker is a thread that is bound to cores and does what it is given, in order.
type worker struct {
	jobs chan func()
	done chan struct{}
	err  error // why the thread could not be bound; nil if it is
}

// startWorker starts a worker. Where threads cannot be bound it works unbound.
func startWorker(cpus []int) *worker {
	w := &worker{jobs: make(chan func()), done: make(chan struct{})}
	bound := make(chan struct{})
	go func() {
		defer close(w.done)
		goruntime.LockOSThread() // for good: the thread ends with the goroutine
		w.err = runtime.Bind(cpus)
		close(bound)
		for job := range w.jobs {
			job()
		}
	}()
	<-bound
	return w
}

// do runs job on the worker's thread and waits for it.
func (w *worker) do(job func()) {
	done := make(chan struct{})
	w.jobs <- func() {
		defer close(done)
		job()
	}
	<-done
}

// stop ends the thread.
func (w *worker) stop() {
	close(w.jobs)
	<-w.done
}
