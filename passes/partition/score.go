package partition

import (
	"cmp"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Score is what plans are compared by: the objective, then the other objective,
// then the number of sub-models.
type Score struct {
	Value     ir.Time // the objective
	Other     ir.Time // the other one
	Submodels int
}

// Worst is worse than the score of every plan.
var Worst = Score{Value: ir.MaxTime, Other: ir.MaxTime, Submodels: 1 << 30}

// Compare orders scores, best first.
func (a Score) Compare(b Score) int {
	return cmp.Or(cmp.Compare(a.Value, b.Value), cmp.Compare(a.Other, b.Other), cmp.Compare(a.Submodels, b.Submodels))
}

// Less says whether a is better.
func (a Score) Less(b Score) bool { return a.Compare(b) < 0 }

// ScoreOf is the score of a rated plan.
func ScoreOf(plan *ir.Plan) Score {
	s := Score{plan.Latency, plan.Bottleneck, len(plan.Submodels)}
	if plan.Objective == ir.Throughput {
		s.Value, s.Other = s.Other, s.Value
	}
	return s
}

// Full is the score of a state, Worst if it is not feasible.
func Full(s *sched.State, objective ir.Objective) Score {
	if !s.Sound() || !s.Fits() {
		return Worst
	}
	latency, ok := s.Simulate(ir.MaxTime)
	if !ok {
		return Worst
	}
	score := Score{latency, s.Bottleneck(), popcount(s.Used())}
	if objective == ir.Throughput {
		score.Value, score.Other = score.Other, score.Value
	}
	return score
}
