package passes

import (
	"sync"
	"sync/atomic"
	"time"
)

// reporter tells the caller how far a placement is: at once when something
// changes, and every reportEvery while a pass runs. A nil one says nothing.
type reporter struct {
	tell  func(Progress)
	tried atomic.Int64 // plans that the pass under way has rated

	mu    sync.Mutex // held while tell runs
	now   Progress
	began time.Time // of the pass
}

// reportEvery is how often a long pass is reported.
const reportEvery = 200 * time.Millisecond

// newReporter starts a reporter; stop ends it and waits until it has.
func newReporter(tell func(Progress)) (r *reporter, stop func()) {
	if tell == nil {
		return nil, func() {}
	}
	r = &reporter{tell: tell}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				r.mu.Lock()
				r.report()
				r.mu.Unlock()
			}
		}
	})
	return r, func() {
		close(ended)
		wg.Wait()
	}
}

// enter begins a pass.
func (r *reporter) enter(p Progress) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.began = p, time.Now()
	r.tried.Store(0)
	r.report()
}

// change updates what is known within a pass.
func (r *reporter) change(p Progress) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = p
	r.report()
}

// counter is where passes count the plans that they rate; nil if nobody listens.
func (r *reporter) counter() *atomic.Int64 {
	if r == nil {
		return nil
	}
	return &r.tried
}

// report calls tell; the lock is held.
func (r *reporter) report() {
	p := r.now
	if p.Pass == "" {
		return // no pass has begun
	}
	p.Plans = r.tried.Load()
	p.Elapsed = time.Since(r.began)
	r.tell(p)
}
