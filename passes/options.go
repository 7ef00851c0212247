package passes

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Options steer a placement. The zero value minimises latency with the default effort.
type Options struct {
	Objective ir.Objective

	// Seed chooses the random moves of the search. Equal problems, options and
	// seeds give equal placements, whatever the number of Workers.
	Seed uint64

	// TimeLimit, if it is not 0, replaces the default effort: the search goes on
	// until the time has passed or the plan is proved optimal. The result then
	// depends on the speed of the machine.
	TimeLimit time.Duration

	// LeastGain is the share by which a plan of several sub-models must beat the whole
	// graph on the best processor, or that is taken instead: what is less than the
	// error of the costs is no gain. 0: any gain counts.
	LeastGain float64

	// Workers is how many goroutines search at once; 0: as many as there are cores.
	Workers int

	// Auto asks what unlimited sub-models would give beyond the limit of the problem.
	Auto bool

	// KeepBest makes Place return the best plan so far when its context ends,
	// instead of the context's error.
	KeepBest bool

	// Progress, if set, is called when something changes and some times a second,
	// by one goroutine at a time.
	Progress func(Progress)

	// Check verifies the best plan after every pass instead of at the end only.
	Check bool
}

// Progress is the state of a search.
type Progress struct {
	Pass  string  // the pass that runs
	Best  ir.Time // value of the best plan so far; 0 if there is none yet
	Bound ir.Time // lower bound so far

	Plans   int64         // plans, or beginnings of plans, that the pass has rated; 0 where it does not count them
	Elapsed time.Duration // since the pass began
}

// PerSecond is how many plans a second the pass rates; 0 where it does not count them.
func (p Progress) PerSecond() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Plans) / p.Elapsed.Seconds()
}

// Gap is how far the best plan may be above the optimum, as a share of the plan; 0 as long as one is unknown.
func (p Progress) Gap() float64 {
	if p.Best == 0 || p.Bound == 0 {
		return 0
	}
	return float64(p.Best-p.Bound) / float64(p.Best)
}

func (o *Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// InfeasibleError says why no plan is feasible, or, if that is not Proved, why none was found.
type InfeasibleError struct {
	Proved  bool
	Reasons []string // which limit binds, by how much, and what would relax it
}

func (e *InfeasibleError) Error() string {
	head := "no feasible placement was found: "
	if e.Proved {
		head = "no placement is feasible: "
	}
	const shown = 5
	list := e.Reasons
	if len(list) > shown {
		list = append(list[:shown:shown], fmt.Sprintf("and %d more", len(e.Reasons)-shown))
	}
	return head + strings.Join(list, "; ")
}
