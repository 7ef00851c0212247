package bench

import (
	"sync"
	"sync/atomic"

	"github.com/dnnsplit/dnnsplit/compiler/robust"
)

// What processors reach together is less than the sum of what each reaches alone:
// they share memory, caches, power, and often a machine with other guests. Copies
// of the whole model, one on each processor, none waiting for another, tell how
// much is left of the sum, and so what a pipeline can be held against. A pipeline
// can be faster where each processor's share of the weights fits into its cache.

const copiesName = "copies of the whole"

// replica is the whole model on a place while the other places run it, too.
type replica struct {
	*whole
	last  float64   // median of the last turn beside the others
	turns []float64 // and of those that count
}

// runCopies runs the whole model on all places at once, n times on the slowest of
// them, and returns the time between inferences of all together.
func (b *bench) runCopies(n int) ([]float64, error) {
	us := make([][]float64, len(b.copies))
	errs := make([]error, len(b.copies))
	var missing, waiting atomic.Int32 // copies that have not run n times; that have not begun
	missing.Store(int32(len(b.copies)))
	waiting.Store(int32(len(b.copies)))
	var done sync.WaitGroup
	for i, c := range b.copies {
		done.Go(func() {
			c.on.Do(func() {
				for waiting.Add(-1); waiting.Load() > 0; {
				}
				for missing.Load() > 0 {
					one, err := c.time(1)
					if err != nil {
						errs[i] = err
						missing.Store(0)
						return
					}
					if us[i] = append(us[i], one[0]); len(us[i]) == n {
						missing.Add(-1)
					}
				}
			})
		})
	}
	done.Wait()
	var rate float64 // inferences a microsecond
	for i, c := range b.copies {
		if errs[i] != nil {
			return nil, errs[i]
		}
		m := robust.Median(us[i])
		c.last = m
		rate += 1 / m
	}
	return []float64{1 / rate}, nil
}

// keepCopies counts the last turn.
func (b *bench) keepCopies() {
	for _, c := range b.copies {
		c.turns = append(c.turns, c.last)
	}
}

// summarizeCopies puts into the report what the copies reached, and how much
// longer each took than alone.
func (b *bench) summarizeCopies() {
	c := b.find(copiesName)
	if c == nil {
		return
	}
	r := result("copies", "", c.samples, nil)
	r.Speedup = quotient(b.find(wholeName(b.report.BestWhole)), c)
	b.report.Copies = &r
	for i, p := range b.places {
		if w := b.wholeOf(p.Processor); w != nil {
			w.Beside = quotient(&contestant{turns: b.copies[i].turns}, b.find(wholeName(p.Processor)))
		}
	}
}
