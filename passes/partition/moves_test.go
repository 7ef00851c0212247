package partition

import (
	"context"
	"slices"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// singleNodes are the units of a problem whose units are its nodes.
func singleNodes(t *testing.T, p *ir.Problem, slots int) *Units {
	t.Helper()
	unitOf := make([]int32, p.Graph.NumNodes())
	for i := range unitOf {
		unitOf[i] = int32(i)
	}
	x, ok := NewUnits(sched.NewModel(p, unitOf, len(unitOf), sched.Layout(p, slots)))
	if !ok {
		t.Fatal("nodes wait for each other")
	}
	return x
}

// settle moves single units for as long as that improves the objective: no move of one unit does so in the end.
func settle(x *Units, at []int32, o ir.Objective) ir.Time {
	s := sched.NewState(x.M, at)
	value := func() ir.Time {
		if latency, ok := s.Simulate(ir.MaxTime); s.Sound() && ok && s.Fits() {
			if o == ir.Throughput {
				return s.Bottleneck()
			}
			return latency
		}
		return ir.MaxTime
	}
	best := value()
	for changed := true; changed; {
		changed = false
		for u := range int32(x.M.Units) {
			for to := range int32(x.M.Slots) {
				s.Begin()
				if s.Move(u, to); value() < best {
					best, changed = value(), true
				} else {
					s.Rollback()
				}
			}
		}
	}
	copy(at, s.Slots())
	return best
}

// Every kind of move matters: where no move of a single unit improves a plan any more, each kind, alone and without
// accepting anything worse, does on some of these problems.
func TestMovesMatter(t *testing.T) {
	kinds := []struct {
		name string
		only mix
	}{
		{"unite", mix{unite: 1, unit: 1, segment: 1, near: 1, swap: 1, merge: 1, split: 1, copies: 1}},
		{"closed sets", mix{unit: 1, segment: 1, near: 1, swap: 1, merge: 1, split: 1, copies: 1}},
		{"segments", mix{segment: 1, near: 1, swap: 1, merge: 1, split: 1, copies: 1}},
		{"near units", mix{near: 1, swap: 1, merge: 1, split: 1, copies: 1}},
		{"swap", mix{swap: 1, merge: 1, split: 1, copies: 1}},
		{"merge", mix{merge: 1, split: 1, copies: 1}},
		{"split", mix{split: 1, copies: 1}},
		{"replicas", mix{copies: 1}},
	}
	improved := make([]int, len(kinds))
	for _, shape := range []string{"series", "inception", "transformer", "towers"} {
		for seed := range uint64(8) {
			p, err := gen.Make(shape, 40, 4, seed, false)
			if err != nil {
				t.Fatal(err)
			}
			p.Submodels = 3
			x := singleNodes(t, p, 3)
			// Segments of the order, one for each processor, are a start with something to swap and to merge.
			order := x.Deep()
			at := make([]int32, x.M.Units)
			for i, u := range order {
				at[u] = int32(3*(i*x.M.Procs/len(order)) + 1)
				for x.M.Cost(u, x.M.Proc(int(at[u]))) == ir.Unsupported {
					at[u] -= 3
				}
			}
			o := ir.Objective(seed % 2)
			local := settle(x, at, o)
			if local == ir.MaxTime {
				continue
			}
			for k, kind := range kinds {
				c := &Chain{X: x, Objective: o, Start: slices.Clone(at), Seed: seed, Steps: 1500, Hot: 1e-12, Cold: 1e-12, only: &kind.only}
				if c.Run(context.Background()); c.Score.Value < local {
					improved[k]++
				}
			}
		}
	}
	for k, kind := range kinds {
		t.Logf("%s improved %d plans", kind.name, improved[k])
		if improved[k] == 0 {
			t.Errorf("%s improved no plan", kind.name)
		}
	}
}

// The critical path that a State tells ends where the latency is set, and every run in it ends when the next can begin
// or waits for a value that travels.
func TestCriticalPath(t *testing.T) {
	with, paths := 0, 0
	for seed := range uint64(20) {
		p, err := gen.Make("inception", 40, 4, seed, false)
		if err != nil {
			t.Fatal(err)
		}
		x := singleNodes(t, p, 1)
		for _, at := range Branches(x, ir.Latency, []int{0, 1, 2, 3}, 4) {
			s := sched.NewState(x.M, at)
			latency, ok := s.Simulate(ir.MaxTime)
			if !ok || !s.Sound() {
				t.Fatalf("seed %d: branches were spread over sub-models that cannot run", seed)
			}
			slots, way := s.Critical(nil)
			paths++
			if len(way) > 0 {
				with++
			}
			schedule, err := sched.Evaluate(p, s.Plan(ir.Latency))
			if err != nil {
				t.Fatal(err)
			}
			// Without its waiting, the path takes no more than the latency, and no run that is not in it ends last.
			var sum ir.Time
			last := ir.Time(0)
			i := 0
			for slot := range x.M.Slots {
				if s.Used()&(1<<slot) == 0 {
					continue
				}
				if slots&(1<<slot) != 0 {
					sum += schedule.Runs[i].End - schedule.Runs[i].Start
					last = max(last, schedule.Runs[i].End)
				}
				i++
			}
			if sum > latency || slots == 0 {
				t.Errorf("seed %d: the runs of the path take %v, the plan %v", seed, sum, latency)
			}
			for _, run := range schedule.Runs {
				if run.End > last && run.End == latency {
					t.Errorf("seed %d: a run ends at %v, the path's last at %v", seed, run.End, last)
				}
			}
		}
	}
	if paths < 20 || with == 0 {
		t.Errorf("%d paths, %d with a value that travels", paths, with)
	}
}

// Branches of a fork go to several processors, and all sub-models can run.
func TestBranches(t *testing.T) {
	spread := 0
	for _, shape := range []string{"series", "inception", "towers", "transformer"} {
		for _, slots := range []int{1, 3} {
			p, err := gen.Make(shape, 60, 5, 2, false)
			if err != nil {
				t.Fatal(err)
			}
			p.Submodels = slots
			x := singleNodes(t, p, slots)
			for _, at := range Branches(x, ir.Latency, []int{0, 1, 2, 3, 4}, 8) {
				s := sched.NewState(x.M, at)
				if !s.Sound() || !s.Acyclic() {
					t.Fatalf("%s: sub-models wait for each other", shape)
				}
				if popcount(s.Used()) > 2 {
					spread++
				}
			}
		}
	}
	if spread < 8 {
		t.Errorf("branches went to more than two processors %d times", spread)
	}
}

// Recursive cuts respect what memory the processors have, where single processors do not hold the model.
func TestBisect(t *testing.T) {
	fits := 0
	for _, shape := range []string{"series", "inception", "layered"} {
		for seed := range uint64(4) {
			p, err := gen.Make(shape, 80, 5, seed, true)
			if err != nil {
				t.Fatal(err)
			}
			for n, row := 0, p.Costs; n < p.Graph.NumNodes(); n++ {
				for q := range p.Platform.Processors {
					if row.Of(ir.NodeID(n), ir.ProcID(q)) == ir.Unsupported {
						row.Set(ir.NodeID(n), ir.ProcID(q), ir.Microsecond)
					}
				}
			}
			x := singleNodes(t, p, 1)
			for k := 3; k <= 5; k++ {
				at := Bisect(x, x.Order(), []int{0, 1, 2, 3, 4}[:k])
				if at == nil {
					t.Fatalf("%s: no cut", shape)
				}
				s := sched.NewState(x.M, at)
				if !s.Acyclic() {
					t.Fatalf("%s: parts wait for each other", shape)
				}
				if s.Fits() {
					fits++
				}
			}
		}
	}
	if fits < 18 {
		t.Errorf("%d of 36 cuts fit into memory", fits)
	}
}
