package measure

import (
	"sync/atomic"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/robust"
)

// How the whole model is timed while a copy of it runs on other cores: in rounds,
// each with some runs alone and some beside the copy.
const (
	besideRounds = 12
	besideTime   = 60 * time.Millisecond // of a round, alone and beside
)

// beside measures how much longer the whole model takes while the other cores that
// the options name run it, too, and keeps it as a shared run of the whole.
func (m *modelRun) beside(w *wholePiece) (err error) {
	run := w.run
	run.Shared = true
	if len(m.Beside) == 0 || m.known[run.Key()] {
		return nil
	}
	m.progress("whole, beside a copy", 0.02)
	other := runtime.StartThread(m.Beside)
	defer other.Stop()
	if other.Err != nil {
		return other.Err
	}
	copied := &piece{on: other, in: w.piece.in, outs: w.piece.outs}
	var ses runtime.Session
	other.Do(func() { ses, err = m.eng.Load(runtime.Model{Path: m.path}, m.options()) })
	if err != nil {
		return err
	}
	defer func() { _ = ses.Close() }() // it never fails
	if copied.call, err = ses.Prepare(m.ctx); err != nil {
		return err
	}
	defer copied.call.Close()

	both, alone := &piece{}, &piece{} // whose rounds are the medians
	var runs int64
	for range besideRounds {
		us, err := w.piece.some(besideTime)
		if err != nil {
			return err
		}
		alone.rounds = append(alone.rounds, robust.Median(us))
		var stop atomic.Bool
		failed := make(chan error)
		go func() {
			var err error
			for err == nil && !stop.Load() {
				_, err = copied.some(besideTime / 8)
			}
			failed <- err
		}()
		us, err = w.piece.some(besideTime)
		stop.Store(true)
		if e := <-failed; err == nil {
			err = e
		}
		if err != nil {
			return err
		}
		both.rounds = append(both.rounds, robust.Median(us))
		runs += int64(len(us))
	}
	known := m.file.SubmodelRuns[m.at[w.run.Key()]]
	one, _ := alone.result()
	two, spread := both.result()
	run.MedianUs, run.SpreadUs, run.Runs = round(known.MedianUs*two/one), round(spread), runs
	m.add(run, m.bySi)
	Calibrate(m.file)
	return m.Save(m.file)
}

// some runs the piece for a time, at least three times, and returns microseconds.
// The first run does not count.
func (p *piece) some(atLeast time.Duration) (us []float64, err error) {
	p.on.Do(func() {
		for begun := time.Now(); len(us) < 4 || time.Since(begun) < atLeast; {
			start := time.Now()
			out := make([]runtime.Held, p.outs)
			if err = p.call.Run(p.in, out); err != nil {
				return
			}
			us = append(us, float64(time.Since(start))/float64(time.Microsecond))
			release(out)
		}
	})
	if err != nil {
		return nil, err
	}
	return us[1:], nil
}
