package partition

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Branches are assignments of units to slots that run branches of one fork at
// once: what comes before the join of the fork stays on one of the first processors,
// the branches go to the processors where the last of them is through soonest, and
// what follows from the join on goes to any processor, in a later slot where it is
// the first again. It counts the way of what a branch reads from before the fork,
// and of what the join reads from a branch. Where processors may have several
// sub-models, forks that follow one another are spread together. Those that this
// count likes best are rated by the model, since what it does not see are links that serve one value after the other;
// the best of them, at most most, are improved by moves of whole branches, and come best first. Each keeps the order of
// sub-models acyclic. Processors without slots are left out.
func Branches(x *Units, objective ir.Objective, procs []int, most int) [][]int32 {
	m := x.M
	procs = slices.DeleteFunc(slices.Clone(procs), func(q int) bool { return m.SlotsOf(q) == 0 })
	forks := x.forks(x.leastWork(), mostForks)
	if len(forks) == 0 || len(procs) < 2 {
		return nil
	}
	s := &spreading{x: x, procs: procs, routes: ir.NewRoutes(m.Problem.Platform), region: make([]int32, m.Units)}
	for i := range forks {
		s.ways = append(s.ways, s.tabulate(&forks[i]))
	}
	type option struct {
		at    []int32
		row   []int // of forks
		value ir.Time
		score Score
	}
	var options []option
	for i, f := range forks {
		// Forks after this one, one behind the other, for which there are slots.
		row := []int{i}
		last := f
		for k, g := range forks[i+1:] {
			if g.from != start && last.after[g.from] {
				row = append(row, i+1+k)
				last = g
			}
		}
		for a := range procs[:min(len(procs), mostTrunks)] {
			for b := range procs {
				for _, n := range slices.Compact([]int{1, len(row)}) {
					if at, value, ok := s.spread(forks, row[:n], a, b); ok {
						options = append(options, option{at: at, row: row[:n], value: value})
					}
				}
			}
		}
	}
	slices.SortStableFunc(options, func(a, b option) int { return cmp.Compare(a.value, b.value) })
	options = slices.CompactFunc(options, func(a, b option) bool { return slices.Equal(a.at, b.at) })
	options = options[:min(len(options), mostRated)]
	var state *sched.State
	for i := range options {
		if state == nil {
			state = sched.NewState(m, options[i].at)
		} else {
			state.Reset(options[i].at)
		}
		options[i].score = Full(state, objective)
	}
	slices.SortStableFunc(options, func(a, b option) int { return a.score.Compare(b.score) })
	options = options[:min(len(options), most)]
	for i := range options {
		o := &options[i]
		state.Reset(o.at)
		o.score = shift(x, state, objective, parts(x, forks, o.row), o.score)
		o.at = slices.Clone(state.Slots())
	}
	slices.SortStableFunc(options, func(a, b option) int { return a.score.Compare(b.score) })
	var out [][]int32
	for _, o := range options {
		out = append(out, o.at)
	}
	return out
}

// parts are what a row of forks that follow one another leaves whole: each branch, and what stands before, between and
// behind them.
func parts(x *Units, forks []fork, row []int) [][]int32 {
	all := make([][]int32, len(row)+1)
	piece := make([]int32, x.M.Units) // by unit: forks whose join is before it; -1 in a branch
	for i, f := range row {
		for u, after := range forks[f].after {
			if after {
				piece[u] = int32(i) + 1
			}
		}
		for _, branch := range forks[f].branches {
			all = append(all, branch)
			for _, u := range branch {
				piece[u] = -1
			}
		}
	}
	for u, i := range piece {
		if i >= 0 {
			all[i] = append(all[i], int32(u))
		}
	}
	return slices.DeleteFunc(all, func(part []int32) bool { return len(part) == 0 })
}

// shift moves whole parts to other slots as long as that makes a state better, in at most mostShifts tries
// in all, and returns its score. Units that must share a processor do so afterwards if they did before.
func shift(x *Units, s *sched.State, objective ir.Objective, parts [][]int32, score Score) Score {
	left, slots := mostShifts, int32(s.Model().Slots)
	for better := true; better; {
		better = false
		for _, part := range parts {
			for to := range slots {
				if to == s.Slot(part[0]) {
					continue
				}
				if left--; left < 0 {
					return score
				}
				s.Begin()
				s.MoveSet(part, to)
				if now := Full(s, objective); now.Less(score) && x.Together(s.Slots()) {
					score, better = now, true
				} else {
					s.Rollback()
				}
			}
		}
	}
	return score
}

// Beside is the largest share of all work, each unit where it is fastest, that stands in the branches of one fork
// beside the longest of them: 0 for a chain, near 1 for many towers.
func Beside(x *Units) float64 {
	work := x.leastWork()
	var all, most float64
	for _, t := range work {
		all += float64(t)
	}
	for _, f := range x.forks(work, 1) {
		var sum, longest float64
		for _, b := range f.branches {
			var t float64
			for _, u := range b {
				t += float64(work[u])
			}
			sum += t
			longest = max(longest, t)
		}
		most = max(most, sum-longest)
	}
	return most / max(all, 1)
}

// mostForks is how many forks are tried, mostTrunks on how many processors what comes before them stands,
// mostRated how many of the assignments made so are rated, and mostWays how many beginnings of ways to give the branches
// of one fork to processors are looked at: beyond it what was found so far stands. mostShifts bounds the moves of whole
// branches that each of the best assignments is improved by.
const (
	mostForks  = 6
	mostTrunks = 3
	mostRated  = 64
	mostWays   = 2000

	mostShifts = 400
)

// spreading gives branches to processors.
type spreading struct {
	x      *Units
	procs  []int
	routes *ir.Routes
	ways   []forkWays // by fork
	region []int32    // by unit: not 0 in the branches of the forks under way
}

// forkWays is what the branches of a fork take.
type forkWays struct {
	work [][]ir.Time // by branch, then position in procs: its units; ir.MaxTime where one does not run
	in   [][]ir.Time // by branch, then trunk·procs + to: the way of what it alone reads
	out  [][]ir.Time // by branch, then from·procs + join: the way of what the join reads
	once []ir.Time   // by trunk·procs + to: the way of what several branches read, and travels once
}

// tabulate works out what the branches of a fork take.
func (s *spreading) tabulate(f *fork) forkWays {
	m, p := s.x.M, len(s.procs)
	trunks := min(p, mostTrunks)
	w := forkWays{work: make([][]ir.Time, len(f.branches)), in: make([][]ir.Time, len(f.branches)), out: make([][]ir.Time, len(f.branches)), once: make([]ir.Time, trunks*p)}
	branchOf := make([]int32, m.Units)
	for k, branch := range f.branches {
		for _, u := range branch {
			branchOf[u] = int32(k) + 1
		}
	}
	const several = -1
	readBy := map[int32]int32{} // by value from before the fork: its branch, or several
	for k, branch := range f.branches {
		for _, u := range branch {
			for _, v := range m.Ins(u) {
				if from := m.Producer(v); from >= 0 && branchOf[from] == int32(k)+1 {
					continue
				}
				if at, ok := readBy[v]; !ok {
					readBy[v] = int32(k)
				} else if at != int32(k) {
					readBy[v] = several
				}
			}
		}
	}
	for k, branch := range f.branches {
		w.work[k], w.in[k], w.out[k] = make([]ir.Time, p), make([]ir.Time, trunks*p), make([]ir.Time, p*p)
		for _, u := range branch {
			for j, q := range s.procs {
				if c := m.Cost(u, q); c == ir.Unsupported || w.work[k][j] == ir.MaxTime {
					w.work[k][j] = ir.MaxTime
				} else {
					w.work[k][j] += c
				}
			}
			for _, v := range m.Ins(u) {
				by, ok := readBy[v]
				if !ok {
					continue
				}
				delete(readBy, v) // counted
				from, to := m.Producer(v), w.in[k]
				if by == several {
					to = w.once
				}
				for a := range trunks {
					for j := range p {
						t := s.entry(v, j)
						if from >= 0 {
							t = s.way(v, a, j)
						}
						to[a*p+j] = min(ir.MaxTime, to[a*p+j]+t)
					}
				}
			}
			for _, v := range m.Outs(u) {
				if !slices.ContainsFunc(m.Readers(v), func(r int32) bool { return branchOf[r] != int32(k)+1 }) {
					continue
				}
				for j := range p {
					for b := range p {
						w.out[k][j*p+b] = min(ir.MaxTime, w.out[k][j*p+b]+s.way(v, j, b))
					}
				}
			}
		}
	}
	return w
}

// table is what each branch of a fork takes on each processor: its way there, its work, and its way to the join; false
// if a branch runs nowhere.
func (s *spreading) table(w *forkWays, before, behind int) ([][]ir.Time, bool) {
	p := len(s.procs)
	cost := make([][]ir.Time, len(w.work))
	for k := range cost {
		cost[k] = make([]ir.Time, p)
		able := false
		for j := range p {
			work, in, out, once := w.work[k][j], w.in[k][before*p+j], w.out[k][j*p+behind], w.once[before*p+j]
			if cost[k][j] = ir.MaxTime; max(work, in, out, once) < ir.MaxTime {
				cost[k][j] = min(ir.MaxTime, work+in+out)
				able = true
			}
		}
		if !able {
			return nil, false
		}
	}
	return cost, true
}

// entry is the time of a graph input to a processor over idle links, ir.MaxTime if there is no way.
func (s *spreading) entry(v int32, to int) ir.Time {
	m, pf := s.x.M, s.x.M.Problem.Platform
	at := &pf.Processors[s.procs[to]]
	var t ir.Time
	if at.Upload != nil {
		t = at.Upload.Time(m.Bytes(v))
	}
	if pf.Source == ir.NoDevice || pf.Source == at.Device {
		return t
	}
	return s.hops(t, v, pf.Source, at.Device)
}

// hops adds the time of a value between two devices to t; ir.MaxTime if there is no way.
func (s *spreading) hops(t ir.Time, v int32, from, to ir.DeviceID) ir.Time {
	m, pf := s.x.M, s.x.M.Problem.Platform
	route := s.routes.Find(from, to, m.Bytes(v))
	if route == nil {
		return ir.MaxTime
	}
	for _, l := range route {
		t += pf.Links[l].Time(m.Bytes(v))
	}
	return t
}

// way is the time of a value from one processor to another over idle links, ir.MaxTime if there is none.
func (s *spreading) way(v int32, from, to int) ir.Time {
	if from == to {
		return 0
	}
	m, pf := s.x.M, s.x.M.Problem.Platform
	a, b := &pf.Processors[s.procs[from]], &pf.Processors[s.procs[to]]
	var t ir.Time
	if a.Download != nil {
		t += a.Download.Time(m.Bytes(v))
	}
	if b.Upload != nil {
		t += b.Upload.Time(m.Bytes(v))
	}
	if a.Device != b.Device {
		return s.hops(t, v, a.Device, b.Device)
	}
	return t
}

// spread spreads forks that follow one another: trunk pieces stay on processor a, but for the last one, which goes to b.
func (s *spreading) spread(forks []fork, row []int, a, b int) (at []int32, value ir.Time, ok bool) {
	m, pf := s.x.M, s.x.M.Problem.Platform
	slots := make([][]int32, len(s.procs)) // by position in procs
	for j, q := range s.procs {
		for rest := m.SlotsOf(q); rest != 0; rest &= rest - 1 {
			slots[j] = append(slots[j], int32(bits.TrailingZeros64(rest)))
		}
	}
	// A processor takes part in as many forks as it has slots; a needs one more for each piece of the trunk.
	if k := len(slots[a]); a == b && k < 2 || k < len(row) {
		row = row[:max(1, min(len(row), k-1))]
		if a == b && k < 2 {
			return nil, 0, false
		}
	}
	at = make([]int32, m.Units)
	piece := make([]int32, m.Units) // by unit: forks whose join is before it
	for i, f := range row {
		for u, after := range forks[f].after {
			if after {
				piece[u] = int32(i) + 1
			}
		}
	}
	trunk := func(i int) (j int, slot int32) {
		j = a
		if i == len(row) {
			j = b
		}
		return j, slots[j][min(i, len(slots[j])-1)]
	}
	clear(s.region)
	for _, f := range row {
		for _, branch := range forks[f].branches {
			for _, u := range branch {
				s.region[u] = 1
			}
		}
	}
	for u := range int32(m.Units) {
		if s.region[u] != 0 {
			continue
		}
		j, slot := trunk(int(piece[u]))
		c := m.Cost(u, s.procs[j])
		if c == ir.Unsupported {
			return nil, 0, false
		}
		at[u] = slot
		value += c
	}
	for i, f := range row {
		before, _ := trunk(i)
		behind, _ := trunk(i + 1)
		cost, ok := s.table(&s.ways[f], before, behind)
		if !ok {
			return nil, 0, false
		}
		choice, t := assignBranches(cost, func(j int) ir.Time {
			return pf.Processors[s.procs[j]].Launch + s.ways[f].once[before*len(s.procs)+j]
		})
		if choice == nil {
			return nil, 0, false
		}
		value += t
		for k, branch := range forks[f].branches {
			j := choice[k]
			slot := slots[j][min(i, len(slots[j])-1)]
			if j == b && i == len(row)-1 {
				_, slot = trunk(len(row))
			}
			for _, u := range branch {
				at[u] = slot
			}
		}
	}
	return at, value, true
}

// assignBranches gives branches to processors so that the largest sum of a processor is least: one by one, longest
// first (Graham's rule), and then by branch and bound from there, as far as mostWays goes. first is what a processor takes besides, if it has any branch. It returns
// the processor of each branch and that sum.
func assignBranches(cost [][]ir.Time, first func(int) ir.Time) ([]int, ir.Time) {
	procs := len(cost[0])
	order := make([]int, len(cost))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(slices.Min(cost[b]), slices.Min(cost[a])) })
	load := make([]ir.Time, procs)
	choice := make([]int, len(cost))
	add := func(j int, t ir.Time) ir.Time {
		if load[j] == 0 {
			t += first(j)
		}
		return load[j] + t
	}
	var worst ir.Time
	for _, k := range order {
		least, at := ir.MaxTime, -1
		for j, t := range cost[k] {
			if t < ir.MaxTime && add(j, t) < least {
				least, at = add(j, t), j
			}
		}
		if at < 0 {
			return nil, 0
		}
		choice[k], load[at] = at, least
		worst = max(worst, least)
	}
	best, now := slices.Clone(choice), make([]int, len(cost))
	clear(load)
	ways := 0
	var try func(i int, most ir.Time)
	try = func(i int, most ir.Time) {
		if ways++; most >= worst || ways > mostWays {
			return
		}
		if i == len(order) {
			worst = most
			copy(best, now)
			return
		}
		k := order[i]
		for j, t := range cost[k] {
			if t == ir.MaxTime {
				continue
			}
			old := load[j]
			now[k], load[j] = j, add(j, t)
			try(i+1, max(most, load[j]))
			load[j] = old
		}
	}
	try(0, 0)
	return best, worst
}
