package bench

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// A batch runs the program several times, with up to window inferences under way.
// Workers share nothing but atomics: a value is published by storing the time at
// which it arrives, and a worker that has nothing to do looks again whenever there
// are news, see waiter. With a window of one an inference starts
// when the one before it has ended and its values are freed: what is measured is
// the latency of single inferences. With a wider window each worker runs the
// oldest inference whose next sub-model has its inputs: a pipeline.
type batch struct {
	p      *program
	ctx    context.Context
	count  int
	slots  []slot
	begun  time.Time
	polite bool // cores are shared: a waiting worker lets others run

	started []time.Duration // by inference: since begun
	ended   []time.Duration // by inference: when the last run had ended and the last output had arrived
	runs    [][]span        // by inference and place in program.steps; nil if not asked for

	mu    sync.Mutex
	moved []movement // transfers over emulated links; only where runs are recorded

	keep    bool                      // copy the graph outputs of the last inference
	outputs map[string]*runtime.Value // what was kept

	news   runtime.Signal // a value was delivered, an inference opened, a worker failed
	failed atomic.Bool
	errs   []error // by worker
}

// span is when something happened, since the start of the batch.
type span struct{ from, to time.Duration }

// movement is a transfer over an emulated link.
type movement struct {
	inference, value int
	hop              hop
	at               transfer
}

// slot holds the state of an inference under way.
type slot struct {
	inference atomic.Int64   // that is under way here
	held      []runtime.Held // by value
	left      []atomic.Int32 // by value: uses to come
	arrive    []atomic.Int64 // by arrival: nanoseconds since begun, plus one; 0 if not yet made
	steps     atomic.Int32   // that have not ended
	last      atomic.Int64   // latest end of a run
}

// newBatch prepares count inferences. record keeps the times of every run.
func (p *program) newBatch(ctx context.Context, count, window int, polite, record bool) *batch {
	window = max(1, min(window, count))
	b := &batch{
		p: p, ctx: ctx, count: count, polite: polite,
		slots: make([]slot, window), started: make([]time.Duration, count), ended: make([]time.Duration, count),
		errs: make([]error, len(p.workers)),
	}
	if record {
		b.runs = make([][]span, count)
		for i := range b.runs {
			b.runs[i] = make([]span, len(p.steps))
		}
	}
	for i := range b.slots {
		s := &b.slots[i]
		s.inference.Store(-1)
		s.held = make([]runtime.Held, len(p.values))
		s.left = make([]atomic.Int32, len(p.values))
		s.arrive = make([]atomic.Int64, p.arrivals)
	}
	return b
}

// run runs the batch on the workers and waits for it.
func (b *batch) run(workers []*runtime.Thread) error {
	if b.p.network != nil {
		b.p.network.reset()
	}
	b.begun = time.Now()
	for j := range b.slots {
		b.open(j)
	}
	done := make(chan struct{}, len(b.p.workers))
	active := 0
	for w := range b.p.workers {
		if len(b.p.workers[w]) == 0 {
			continue
		}
		active++
		go workers[w].Do(func() {
			defer func() { done <- struct{}{} }()
			if err := b.work(w); err != nil {
				b.errs[w] = err
				b.failed.Store(true)
				b.news.Raise()
			}
		})
	}
	for range active {
		<-done
	}
	for _, err := range b.errs {
		if err != nil {
			b.release()
			return err
		}
	}
	return nil
}

// release frees what a failed batch leaves.
func (b *batch) release() {
	for i := range b.slots {
		for v, h := range b.slots[i].held {
			if h != nil && !b.p.values[v].isInput {
				h.Release()
			}
		}
	}
}

// now is the time since the batch began.
func (b *batch) now() time.Duration { return time.Since(b.begun) }

// open starts inference j in its slot.
func (b *batch) open(j int) {
	s := &b.slots[j%len(b.slots)]
	for v := range b.p.values {
		s.held[v] = b.p.inputs[v]
		s.left[v].Store(b.p.values[v].uses)
	}
	s.steps.Store(int32(len(b.p.steps)))
	now := b.now()
	s.last.Store(int64(now))
	b.started[j] = now
	for _, d := range b.p.atStart {
		b.deliver(j, s, d, now)
	}
	s.inference.Store(int64(j)) // now the workers see it
	b.news.Raise()
}

// deliver sends a value on its way.
func (b *batch) deliver(j int, s *slot, d delivery, now time.Duration) {
	at := now
	if len(d.way) > 0 {
		var note func(hop, transfer)
		if b.runs != nil {
			note = func(h hop, t transfer) {
				b.mu.Lock()
				b.moved = append(b.moved, movement{j, d.value, h, t})
				b.mu.Unlock()
			}
		}
		at = d.way.send(now, note)
	}
	s.arrive[d.arrival].Store(int64(at) + 1)
	b.news.Raise()
}

// arrived says whether everything that a step needs is there.
func (b *batch) arrived(s *slot, st *step) bool {
	var latest int64
	for _, a := range st.needs {
		t := s.arrive[a].Load()
		if t == 0 {
			return false
		}
		latest = max(latest, t)
	}
	if b.p.network == nil {
		return true
	}
	return int64(b.now()) >= latest-1
}

// work runs the sub-models of worker w for all inferences.
func (b *batch) work(w int) error {
	steps := b.p.workers[w]
	type position struct{ inference, next int }
	at := make([]position, len(b.slots)) // by slot: the worker's next step of the inference there
	for k := range at {
		at[k].inference = -1
	}
	first := 0 // oldest inference that has steps of this worker to come
	idle := waiter{b: b}
	var in, out []runtime.Held
	for first < b.count {
		ran, seen := false, b.news.Seen()
		for j := first; j < min(first+len(b.slots), b.count); j++ {
			k := j % len(b.slots)
			s, pos := &b.slots[k], &at[k]
			if s.inference.Load() != int64(j) {
				continue
			}
			if pos.inference != j {
				*pos = position{inference: j}
			}
			if pos.next == len(steps) || !b.arrived(s, steps[pos.next]) {
				continue
			}
			st := steps[pos.next]
			in, out = grow(in, len(st.in)), grow(out, len(st.out))
			pos.next++
			if err := b.runStep(j, s, st, in, out); err != nil {
				return err
			}
			ran, idle.turns = true, 0
			break
		}
		for first < b.count && at[first%len(b.slots)] == (position{first, len(steps)}) {
			first++
		}
		if ran {
			if err := b.ctx.Err(); err != nil || b.failed.Load() {
				return err
			}
			continue
		}
		if !idle.wait(seen) {
			return b.ctx.Err()
		}
	}
	return nil
}

func grow(s []runtime.Held, n int) []runtime.Held {
	if cap(s) < n {
		return make([]runtime.Held, n)
	}
	return s[:n]
}

// runStep runs a sub-model for inference j and hands on what it makes.
func (b *batch) runStep(j int, s *slot, st *step, in, out []runtime.Held) error {
	for i, v := range st.in {
		in[i] = s.held[v]
	}
	from := b.now()
	err := st.call.Run(in, out)
	now := b.now()
	if err != nil {
		return err
	}
	for i, v := range st.out {
		s.held[v] = out[i]
	}
	for _, d := range st.sends {
		b.deliver(j, s, d, now)
	}
	if b.runs != nil {
		b.runs[j][st.index] = span{from, now}
	}
	for t := s.last.Load(); t < int64(now) && !s.last.CompareAndSwap(t, int64(now)); t = s.last.Load() {
	}
	for _, v := range st.in {
		b.drop(s, v)
	}
	for _, v := range st.out {
		if b.p.values[v].uses == 0 {
			s.held[v].Release()
			s.held[v] = nil
		}
	}
	if s.steps.Add(-1) == 0 {
		b.close(j, s)
	}
	return nil
}

// drop counts a use of a value and frees it after the last one.
func (b *batch) drop(s *slot, v int) {
	if s.left[v].Add(-1) == 0 && !b.p.values[v].isInput {
		s.held[v].Release()
		s.held[v] = nil
	}
}

// close ends inference j: the worker that ran its last sub-model waits until the
// outputs have arrived, frees the slot and starts the next inference in it.
func (b *batch) close(j int, s *slot) {
	end := s.last.Load()
	for _, a := range b.p.ends {
		end = max(end, s.arrive[a].Load()-1)
	}
	b.ended[j] = time.Duration(end)
	for a := range s.arrive {
		s.arrive[a].Store(0)
	}
	for v := range s.held {
		if s.held[v] == nil || b.p.values[v].isInput {
			continue
		}
		if b.keep && j == b.count-1 {
			b.keepOutput(v, s.held[v])
		}
		s.held[v].Release()
		s.held[v] = nil
	}
	n := j + len(b.slots)
	if n >= b.count {
		return
	}
	idle := waiter{b: b}
	for len(b.slots) == 1 && b.now() < b.ended[j] { // outputs are still on emulated links
		if !idle.wait(b.news.Seen()) {
			return
		}
	}
	b.open(n)
}

// keepOutput copies a graph output out. What cannot be copied is missed by whoever compares.
func (b *batch) keepOutput(v int, h runtime.Held) {
	got, err := h.Value()
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.outputs == nil {
		b.outputs = map[string]*runtime.Value{}
	}
	b.outputs[b.p.values[v].name] = got
}

// latencies are the times of the inferences of a batch with a window of one.
func (b *batch) latencies() []float64 {
	us := make([]float64, b.count)
	for j := range us {
		us[j] = inMicros(b.ended[j] - b.started[j])
	}
	return us
}

// addRuns adds the times of the runs by sub-model.
func (b *batch) addRuns(us [][]float64) {
	for i := range us {
		for j := range b.runs {
			us[i] = append(us[i], inMicros(b.runs[j][i].to-b.runs[j][i].from))
		}
	}
}

// interval is the mean time between the ends of two inferences while the pipeline
// is full: from the window-th end to the last but as many. It is 0 if there are
// too few inferences.
func (b *batch) interval() float64 {
	ends := slices.Sorted(slices.Values(b.ended))
	from := len(b.slots)
	to := b.count - len(b.slots)
	if to <= from {
		return 0
	}
	return inMicros(ends[to]-ends[from]) / float64(to-from)
}

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
