package measure

import (
	"context"
	"slices"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/robust"
)

// Pieces are timed in rounds: each piece runs a few times in a row, so that it
// finds the caches as it left them, then the next one, and all of them again.
// Whatever else happens on the machine for a while meets all pieces, in some of
// their rounds. It only ever adds time, so a piece takes the median of the faster
// half of its rounds, each of which counts with the median of its runs.
const (
	minRounds = 6
	maxRounds = 40
	roundTime = 3 * time.Millisecond  // of a piece in a round
	roundRuns = 40                    // most runs of a piece in a round
	slowTime  = 50 * time.Millisecond // a run that takes longer makes a round by itself
	setTime   = 2 * time.Second       // after which pieces get no more than minRounds
)

// piece is a session that is timed on values that stay in the engine.
type piece struct {
	on    *runtime.Thread
	call  runtime.Call
	in    []runtime.Held
	outs  int
	ports []runtime.Port // outputs

	us     []float64 // all runs that count
	first  []float64 // the first run of each round, after other pieces have run
	rounds []float64 // median of each round
}

// once runs the piece and leaves the outputs to the caller.
func (p *piece) once() (out []runtime.Held, err error) {
	out = make([]runtime.Held, p.outs)
	p.on.Do(func() { err = p.call.Run(p.in, out) })
	return out, err
}

// round times the piece a few times. The first run does not count.
func (p *piece) round() (err error) {
	p.on.Do(func() {
		out := make([]runtime.Held, p.outs)
		var us []float64
		var spent time.Duration
		for run := 0; run < 2 || (spent < slowTime && run < 3) || (spent < roundTime && run < roundRuns); run++ {
			start := time.Now()
			if err = p.call.Run(p.in, out); err != nil {
				return
			}
			took := time.Since(start)
			release(out)
			if run == 0 {
				p.first = append(p.first, float64(took)/float64(time.Microsecond))
				continue
			}
			us = append(us, float64(took)/float64(time.Microsecond))
			spent += took
		}
		p.us = append(p.us, us...)
		p.rounds = append(p.rounds, robust.Median(us))
	})
	return err
}

// faster is the faster half of the rounds.
func (p *piece) faster() []float64 {
	s := slices.Sorted(slices.Values(p.rounds))
	return s[:(len(s)+1)/2]
}

// certain says whether the piece needs no more rounds: the faster half of them
// agrees.
func (p *piece) certain(confidence float64) bool {
	if len(p.rounds) < minRounds {
		return false
	}
	half := p.faster()
	return half[len(half)-1]-half[0] <= 2*confidence*half[0]
}

// cold is the median of first runs but for the very first one; 0 if there is none.
func (p *piece) cold() float64 {
	if len(p.first) < 2 {
		return 0
	}
	return robust.Median(p.first[1:])
}

// result is the time of the piece and its spread in microseconds.
func (p *piece) result() (median, spread float64) {
	s := robust.Summarize(p.faster())
	return s.Median, s.MAD
}

// timeAll times pieces in rounds, each until it is certain or time is over.
func timeAll(ctx context.Context, pieces []*piece, confidence float64, progress func(round int, open int)) error {
	start := time.Now()
	for round := range maxRounds {
		open := 0
		if round >= minRounds && time.Since(start) > setTime {
			return nil
		}
		for _, p := range pieces {
			if p.certain(confidence) {
				continue
			}
			open++
			if err := p.round(); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if open == 0 {
			return nil
		}
		progress(round+1, open)
	}
	return nil
}

func release(list []runtime.Held) {
	for i, h := range list {
		if h != nil {
			h.Release()
			list[i] = nil
		}
	}
}
