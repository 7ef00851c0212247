package partition

import (
	"cmp"
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
