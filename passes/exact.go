package passes

import (
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/assign"
)

// exact proves that the best plan of a small problem is optimal, or that there is none, or finds a better one.
func exact(j *job) error {
	e := assign.Exact{Problem: j.p, Objective: j.o.Objective, Limit: ir.MaxTime, Floor: j.bound, Steps: exactSteps}
	if j.best != nil {
		e.Limit = j.best.Value()
	}
	if !j.deadline.IsZero() {
		e.Steps *= 20
	}
	e.Run(j.ctx)
	if e.Best != nil {
		j.offer(e.Best)
	}
	if e.Whole {
		if j.best == nil {
			why := explain(j)
			why.Proved = true
			return why
		}
		j.raise(j.best.Value())
	}
	return nil
}

// exactSteps is how many partial plans the proof may look at: some tenths of a second.
const exactSteps = 150_000
