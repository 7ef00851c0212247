package bench

import (
	goruntime "runtime"
	"time"
)

// How long a worker waits with all its might, and how long it then rests how often.
// A rest may end some 50 us late, which is at most a thousandth of the time waited.
const (
	patience  = 20 * time.Millisecond
	restEvery = 20 * time.Millisecond
	rest      = 20 * time.Microsecond
	restOften = 500 // turns after which a worker on shared cores rests in each

	look     = time.Millisecond     // how long it waits before it looks for failures
	lookLink = 2 * time.Microsecond // the same where values can arrive by the clock alone
)

// waiter is how a worker waits for others: its core has no other work, so it keeps
// it, since a thread that sleeps wakes up too late for what is measured. Where cores
// are shared it lets others run from the start, elsewhere after a time: a thread that
// the engine or the system needs can have been put on the same core, and under a
// real-time scheduler it would never get there.
type waiter struct {
	b     *batch
	turns int       // since the worker ran something
	next  time.Time // when to rest; set in the first turn
}

// wait is called after each look that found nothing to do; seen is what b.news had
// seen before it. It says whether to go on: not after another worker has failed, nor
// when the context is done.
func (w *waiter) wait(seen uint32) bool {
	w.turns++
	if w.b.failed.Load() || w.b.ctx.Err() != nil {
		return false
	}
	if w.b.polite {
		if w.turns > restOften {
			time.Sleep(rest)
		} else {
			goruntime.Gosched()
		}
		return true
	}
	most := look
	if w.b.p.network != nil {
		most = lookLink
	}
	w.b.news.Await(seen, most)
	now := time.Now()
	if w.turns == 1 {
		w.next = now.Add(patience)
	} else if now.After(w.next) {
		time.Sleep(rest)
		w.next = time.Now().Add(restEvery)
	}
	return true
}
