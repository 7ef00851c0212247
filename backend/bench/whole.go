package bench

import (
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
)

// Names of ONNX Runtime's own ways to use several cores.
const (
	interName = "inter-op threads"
	intraName = "intra-op threads"
)

func wholeName(processor string) string { return "whole on " + processor }

// whole is a session of the whole model that is timed.
type whole struct {
	on      *runtime.Thread
	session runtime.Session
	call    runtime.Call
	in, out []runtime.Held
}

// loadWhole loads the whole model on each place and on all cores, makes the
// inputs and adds the contestants. It returns the model's outputs on the inputs, by name.
func (b *bench) loadWhole() (map[string]*runtime.Value, error) {
	var outputs map[string]*runtime.Value
	for i, p := range b.places {
		w, err := b.wholeOn(b.workers[i], b.options(p))
		if err != nil {
			return nil, err
		}
		if b.feed == nil {
			in := b.Inputs
			in.Model = b.model
			var got []*runtime.Value
			if b.feed, got, err = verify.Feed(b.ctx, w.session, in); err != nil {
				return nil, err
			}
			outputs = map[string]*runtime.Value{}
			for k, port := range w.session.Outputs() {
				outputs[port.Name] = got[k]
			}
		}
		if err := b.ready(w); err != nil {
			return nil, err
		}
		b.add(wholeName(p.Processor), w)
		b.copies = append(b.copies, &replica{whole: w})
	}
	if len(b.copies) > 1 && !b.shared && !b.SkipPipeline {
		b.list = append(b.list, &contestant{name: copiesName, run: b.runCopies, kept: b.keepCopies})
	}
	threads := len(cores(b.places))
	if b.SkipParallel || threads < 2 {
		return outputs, nil
	}
	for _, way := range []struct {
		name    string
		options runtime.Options
	}{
		{interName, runtime.Options{Optimization: b.Optimization, Parallel: true, InterOpThreads: threads, IntraOpThreads: 1}},
		{intraName, runtime.Options{Optimization: b.Optimization, IntraOpThreads: threads}},
	} {
		w, err := b.wholeOn(b.all, way.options)
		if err == nil {
			err = b.ready(w)
		}
		if err != nil {
			return nil, err
		}
		b.add(way.name, w)
	}
	return outputs, nil
}

// wholeOn loads the whole model on a worker's thread.
func (b *bench) wholeOn(on *runtime.Thread, o runtime.Options) (*whole, error) {
	w := &whole{on: on}
	var err error
	on.Do(func() { w.session, err = b.eng.Load(runtime.Model{Path: b.model}, o) })
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, w.close)
	return w, nil
}

// ready prepares a session for timing on the inputs.
func (b *bench) ready(w *whole) error {
	var err error
	if w.call, err = w.session.Prepare(b.ctx); err != nil {
		return err
	}
	for _, port := range w.session.Inputs() {
		var h runtime.Held
		if v := b.feed[port.Name]; v != nil {
			if h, err = b.eng.Hold(v); err != nil {
				return err
			}
		}
		w.in = append(w.in, h)
	}
	w.out = make([]runtime.Held, len(w.session.Outputs()))
	return nil
}

func (b *bench) add(name string, w *whole) {
	b.list = append(b.list, &contestant{name: name, run: func(n int) (us []float64, err error) {
		w.on.Do(func() { us, err = w.time(n) })
		return us, err
	}})
}

// time runs n inferences on the calling thread.
func (w *whole) time(n int) ([]float64, error) {
	us := make([]float64, n)
	for i := range us {
		start := time.Now()
		if err := w.call.Run(w.in, w.out); err != nil {
			return nil, err
		}
		us[i] = inMicros(time.Since(start))
		w.drop()
	}
	return us, nil
}

func (w *whole) drop() {
	for i, h := range w.out {
		if h != nil {
			h.Release()
			w.out[i] = nil
		}
	}
}

func (w *whole) close() {
	if w.call != nil {
		w.call.Close()
	}
	for _, h := range w.in {
		if h != nil {
			h.Release()
		}
	}
	_ = w.session.Close() // it never fails
}

// twice runs the whole model two times on the inputs, as it is on the first place.
func (b *bench) twice() (first, second map[string]*runtime.Value, err error) {
	s, err := b.eng.Load(runtime.Model{Path: b.model}, b.options(b.places[0]))
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = s.Close() }() // it never fails
	var runs [2]map[string]*runtime.Value
	for i := range runs {
		got, err := s.Run(b.ctx, b.feed)
		if err != nil {
			return nil, nil, err
		}
		runs[i] = map[string]*runtime.Value{}
		for k, port := range s.Outputs() {
			runs[i][port.Name] = got[k]
		}
	}
	return runs[0], runs[1], nil
}
