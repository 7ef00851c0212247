package partition

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// fork is a piece of the graph between a unit with several readers and the first
// unit that all ways from it come through: its branches depend on one another
// nowhere, so they can run at once.
type fork struct {
	from, join int32     // units; from is start where the ways begin apart, join the number of units where they end apart
	branches   [][]int32 // disjoint, each in topological order
	after      []bool    // by unit: the join and all that comes after it
}

// start stands before all units: it feeds those that read graph inputs only, or nothing.
const start = -1

// behind are the units that read what u makes, or all that wait for none if u is start.
func (x *Units) behind(u int32) []int32 {
	if u != start {
		return x.Succ(u)
	}
	var first []int32
	for _, w := range x.order {
		if len(x.Pred(w)) == 0 {
			first = append(first, w)
		}
	}
	return first
}

// forks finds forks whose branches are worth spreading, those with the most work beside their longest branch first,
// at most most of them. The immediate post-dominators come from the common-ancestor walk of Cooper, Harvey and Kennedy
// (A Simple, Fast Dominance Algorithm, 2001), which on a DAG in topological order is done after one pass.
func (x *Units) forks(work []ir.Time, most int) []fork {
	n := int32(x.M.Units)
	joins := make([]int32, n+1) // by unit: immediate post-dominator, n: the end of all
	depth := make([]int32, n+1)
	meet := func(units []int32) int32 {
		at := n
		for k, w := range units {
			if k == 0 {
				at = w
				continue
			}
			for at != w {
				if depth[at] >= depth[w] {
					at = joins[at]
				} else {
					w = joins[w]
				}
			}
		}
		return at
	}
	for i := n - 1; i >= 0; i-- {
		u := x.order[i]
		joins[u] = meet(x.Succ(u))
		depth[u] = depth[joins[u]] + 1
	}
	type candidate struct {
		from int32
		gain ir.Time
		fork fork
	}
	var all []candidate
	mark := make([]int32, n+1)
	looked := 0
	look := func(u int32, next []int32, join int32) {
		if len(next) < 2 || looked > branchWork {
			return
		}
		f, seen := x.split(u, join, mark, u+2)
		looked += seen
		if len(f.branches) < 2 {
			return
		}
		var sum, longest ir.Time
		for _, b := range f.branches {
			var t ir.Time
			for _, w := range b {
				t += work[w]
			}
			sum += t
			longest = max(longest, t)
		}
		all = append(all, candidate{u, sum - longest, f})
	}
	first := x.behind(start)
	look(start, first, meet(first))
	for _, u := range x.order {
		look(u, x.Succ(u), joins[u])
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.gain, a.gain) })
	all = all[:min(len(all), most)]
	out := make([]fork, 0, len(all))
	for _, c := range all {
		f := c.fork
		f.after = make([]bool, n)
		if f.join < n {
			f.after[f.join] = true
			for _, u := range x.order[x.place[f.join]:] {
				if f.after[u] {
					for _, w := range x.Succ(u) {
						f.after[w] = true
					}
				}
			}
		}
		out = append(out, f)
	}
	return out
}

// branchWork bounds how many units the search for branches looks at in all.
const branchWork = 200_000

// split finds the branches between a fork and its join, by marking units with turn, and says how many units it looked at.
func (x *Units) split(from, join int32, mark []int32, turn int32) (fork, int) {
	f := fork{from: from, join: join}
	region := []int32{}
	for todo := []int32{from}; len(todo) > 0; {
		u := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, w := range x.behind(u) {
			if w != join && mark[w] != turn {
				mark[w] = turn
				region = append(region, w)
				todo = append(todo, w)
			}
		}
	}
	size := len(region)
	for _, u := range region {
		if mark[u] != turn {
			continue
		}
		mark[u] = 0
		branch := []int32{u}
		for i := 0; i < len(branch); i++ {
			for _, next := range [2][]int32{x.Succ(branch[i]), x.Pred(branch[i])} {
				for _, w := range next {
					if mark[w] == turn && w != from && w != join {
						mark[w] = 0
						branch = append(branch, w)
					}
				}
			}
		}
		slices.SortFunc(branch, func(a, b int32) int { return int(x.place[a] - x.place[b]) })
		f.branches = append(f.branches, branch)
	}
	return f, size
}

// Branches are assignments of units to slots that run branches of one fork at
// once: what comes before the join of the fork stays on a first processor, the
// branches go to the processors where the last of them is through soonest, and what
// follows from the join on goes to a processor of the second list, in a later slot
// where it is the first again. It counts the way of what a branch reads from before
// the fork, and of what the join reads from a branch. Where processors may have
// several sub-models, forks that follow one another are spread together. The best
// by that count come first; each keeps the order of sub-models acyclic.
func Branches(x *Units, objective ir.Objective, procs []int, most int) [][]int32 {
	m := x.M
	forks := x.forks(x.leastWork(), mostForks)
	if len(forks) == 0 || len(procs) < 2 {
		return nil
	}
	s := &spreading{x: x, objective: objective, procs: procs, routes: ir.NewRoutes(m.Problem.Platform), region: make([]int32, m.Units)}
	s.tabulate()
	type option struct {
		at    []int32
		value ir.Time
	}
	var options []option
	for i, f := range forks {
		// Forks after this one, one behind the other, for which there are slots.
		row := []fork{f}
		last := f
		for _, g := range forks[i+1:] {
			if g.from != start && last.after[g.from] {
				row = append(row, g)
				last = g
			}
		}
		for a := range procs[:min(len(procs), 3)] {
			for b := range procs[:min(len(procs), 3)] {
				for _, n := range slices.Compact([]int{1, len(row)}) {
					if at, value, ok := s.spread(row[:n], a, b); ok {
						options = append(options, option{at, value})
					}
				}
			}
		}
	}
	slices.SortStableFunc(options, func(a, b option) int { return cmp.Compare(a.value, b.value) })
	options = slices.CompactFunc(options, func(a, b option) bool { return slices.Equal(a.at, b.at) })
	var out [][]int32
	for _, o := range options[:min(len(options), most)] {
		out = append(out, o.at)
	}
	return out
}

// leastWork is the time of each unit where it is fastest, ir.MaxTime if it runs nowhere.
func (x *Units) leastWork() []ir.Time {
	work := make([]ir.Time, x.M.Units)
	for u := range work {
		work[u] = ir.MaxTime
		for q := range x.M.Procs {
			work[u] = min(work[u], x.M.Cost(int32(u), q))
		}
	}
	return work
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

// mostForks is how many forks are tried, mostWays how many ways to give the branches of one to processors: beyond it
// they go one by one, longest first (Graham's rule).
const (
	mostForks = 6
	mostWays  = 5000
)

// spreading gives branches to processors.
type spreading struct {
	x         *Units
	objective ir.Objective
	procs     []int
	routes    *ir.Routes
	whole     []ir.Time // by position in procs: all units
	region    []int32   // by unit: 1 + its branch in the fork under way
}

func (s *spreading) tabulate() {
	s.whole = make([]ir.Time, len(s.procs))
	for j := range s.procs {
		s.whole[j] = s.work(j, nil, 0)
	}
}

// work is the time of all units for which by is want, or of all, on a processor; ir.MaxTime if it cannot run one.
func (s *spreading) work(j int, by []int32, want int32) ir.Time {
	var t ir.Time
	for u := range int32(s.x.M.Units) {
		if by != nil && by[u] != want {
			continue
		}
		c := s.x.M.Cost(u, s.procs[j])
		if c == ir.Unsupported {
			return ir.MaxTime
		}
		t += c
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
		route := s.routes.Find(a.Device, b.Device, m.Bytes(v))
		if route == nil {
			return ir.MaxTime
		}
		for _, l := range route {
			t += pf.Links[l].Time(m.Bytes(v))
		}
	}
	return t
}

// spread spreads forks that follow one another: trunk pieces stay on processor a, but for the last one, which goes to b.
func (s *spreading) spread(row []fork, a, b int) (at []int32, value ir.Time, ok bool) {
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
	for i := range row {
		for u, after := range row[i].after {
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
	for i, f := range row {
		for k, branch := range f.branches {
			for _, u := range branch {
				s.region[u] = int32(i*1000 + k + 1)
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
		cost, ok := s.table(f, before, behind)
		if !ok {
			return nil, 0, false
		}
		choice, t := assignBranches(cost, func(j int) ir.Time { return pf.Processors[s.procs[j]].Launch })
		if choice == nil {
			return nil, 0, false
		}
		value += t
		for k, branch := range f.branches {
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

// table is what each branch of a fork takes on each processor: its way there, its work, and its way to the join.
func (s *spreading) table(f fork, before, behind int) ([][]ir.Time, bool) {
	m := s.x.M
	cost := make([][]ir.Time, len(f.branches))
	for k, branch := range f.branches {
		cost[k] = make([]ir.Time, len(s.procs))
		able := false
		for j, q := range s.procs {
			var t ir.Time
			for _, u := range branch {
				c := m.Cost(u, q)
				if c == ir.Unsupported {
					t = ir.MaxTime
					break
				}
				t += c
				for _, v := range m.Ins(u) {
					if p := m.Producer(v); p >= 0 && s.region[p] != s.region[u] {
						t = min(ir.MaxTime, t+s.way(v, before, j))
					}
				}
				for _, v := range m.Outs(u) {
					for _, r := range m.Readers(v) {
						if s.region[r] != s.region[u] {
							t = min(ir.MaxTime, t+s.way(v, j, behind))
							break
						}
					}
				}
				if t == ir.MaxTime {
					break
				}
			}
			cost[k][j] = t
			able = able || t < ir.MaxTime
		}
		if !able {
			return nil, false
		}
	}
	return cost, true
}

// assignBranches gives branches to processors so that the largest sum of a processor is least: by trying all ways
// where they are few, else one by one, longest first. It returns the processor of each branch and that sum.
func assignBranches(cost [][]ir.Time, launch func(int) ir.Time) ([]int, ir.Time) {
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
			t += launch(j)
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
	ways := 1
	for range cost {
		if ways *= procs; ways > mostWays {
			return choice, worst
		}
	}
	best, now := slices.Clone(choice), make([]int, len(cost))
	clear(load)
	var try func(i int, most ir.Time)
	try = func(i int, most ir.Time) {
		if most >= worst {
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
