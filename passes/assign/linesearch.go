package assign

import (
	"context"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// lineSearch places node after node: a layer holds the labels of all beginnings of one length that are of use.
type lineSearch struct {
	*lineModel
	*Line
	top ir.Time // plans that take more are of no interest

	// A label is a row of numbers of which fewer are better: loads of processors and channels, runs, bytes.
	// A column that can never get too large is left out.
	width    int
	channel  []int   // by channel: its column; -1: none
	runs     []int   // by processor: column of its runs; -1: none
	held     []int   // by processor: column of bytes of weights, before that of the largest need of a node; -1: none
	room     []int64 // by processor
	symmetry bool

	weights []float64    // of the first paths
	opening *linePrices  // of the first table
	tables  []*lineTable // the latest last
	paths   []*linePaths // the same
	coarse  *lineTable   // for the search for prices
	layers  []lineLayer
	whole   bool    // no label that may be of use has been lost
	reach   int     // places up to which that is so
	next    []int64 // scratch: a label
	enough  int     // labels of a layer that ask for no more tables, for late ones took few away
	spent   int     // steps
}

// Work of a line.
const (
	lineCells    = 1024    // of time in a table
	coarser      = 4       // in the search for prices cells are so many times as large, twice that for the first table
	worthwhile   = 150     // steps that a label of a layer is worth when that asks for more
	tableSize    = 1 << 21 // places times runs times cells of all processors
	pathSteps    = 200     // for the weights of the first paths, and for those that a layer asks for
	priceSteps   = 100     // the same for prices
	laterSteps   = 60
	firstProbes  = 8   // limits that are tried before any search, by prices alone
	mostTables   = 6   // beyond the first
	manyLabels   = 300 // from which on a layer asks for more
	sampled      = 63  // labels, to find one in the middle
	firstShare   = 40  // of the steps one part in so many is for the first search
	narrowLabels = 300 // labels that a layer keeps when a search has taken too long to come to its end
)

// search looks for the best plan, with few steps first and then with more and more, and between for a lower limit for
// which there is a proof or a plan; from the head of the line on and from its tail, and with what steps are left from where
// it came further. It ends when bound and plan meet, or its steps are spent.
func (l *Line) search(ctx context.Context, m *lineModel) {
	ways := [2]*lineSearch{newLineSearch(l, m), newLineSearch(l, m.reversed())}
	better := ways[0]             // the one that got further
	low, high := l.Known, l.Limit // no plan is below the one, the best plan has the other
	unknown := l.Limit            // the least limit of a search that did not come to its end
	steps := l.Steps / firstShare
	for top, probe := high-1, 0; probe < firstProbes && low <= top && ways[0].spent < l.Steps && ctx.Err() == nil; probe++ {
		if ways[0].opens(top) {
			low = top + 1
			l.Bound = low
		} else {
			unknown = top
		}
		if top = low + (unknown-low)/2; unknown-low < high/200 {
			break
		}
	}
	unknown = high
	for probe := 0; low < high && ctx.Err() == nil; probe++ {
		left := l.Steps - ways[0].spent - ways[1].spent
		if left <= 0 {
			return
		}
		s, top := ways[0], high-1
		switch probe % 3 {
		case 1:
			s = ways[1]
		case 2:
			if s = better; left < 5*steps {
				steps = left
				break
			}
			if unknown = min(unknown, high); unknown-low < high/200 {
				unknown = high
			}
			top = low + (unknown-low)/2
		}
		whole := s.through(ctx, top, steps)
		if ctx.Err() != nil {
			return
		}
		k, value := s.best()
		if k >= 0 {
			if plan := s.plan(s.trace(k)); plan != nil {
				if plan = Rated(s.p, plan, ir.Throughput); plan != nil && plan.Value() < high {
					l.Plan, high = plan, plan.Value()
				}
			}
		}
		switch {
		case whole:
			low = min(top+1, value) // if that is no plan, the line does not tell all
			if l.Bound = max(l.Bound, low); k >= 0 {
				return
			}
		case top < unknown:
			unknown = top
		}
		switch probe % 3 {
		case 1:
			if better = ways[0]; ways[1].reach > ways[0].reach {
				better = ways[1]
			}
		case 2:
			steps *= 2
		}
	}
}

func newLineSearch(l *Line, m *lineModel) *lineSearch {
	s := &lineSearch{lineModel: m, Line: l, coarse: &lineTable{m: m}}
	s.columns()
	return s
}

// opens says whether the first paths and table show that there is no plan of at most top.
func (s *lineSearch) opens(top ir.Time) bool {
	s.top = top
	return s.open()
}

// open makes the first paths and table for plans of at most top; true: they show that there is none.
func (s *lineSearch) open() bool {
	s.tables, s.paths = s.tables[:0], s.paths[:0]
	empty := make([]int64, s.width)
	t := &linePaths{weight: s.weights}
	tries := [2]int{pathSteps, priceSteps}
	if s.weights != nil {
		tries = [2]int{pathSteps / 4, priceSteps / 4} // what was good for another limit is nearly so for this one
	}
	proved := s.weigh(t, 0, -1, empty, tries[0]) > float64(s.top)
	if s.weights = slices.Clone(t.weight); proved {
		return true
	}
	s.paths = append(s.paths, t)
	if s.opening == nil {
		s.opening = s.evenly()
	}
	u := s.opening
	if s.prices(u, 0, -1, empty, tries[1], s.cells(0)/(2*coarser)) < 0 {
		return true
	}
	s.table(0, u)
	return s.value(s.tables[0], 0, -1, empty) < 0
}

// cells is how many cells of time a table from a place on has.
func (s *lineSearch) cells(from int) int {
	return max(8*coarser, min(lineCells, tableSize/((s.n+1-from)*s.rows())))
}

// rows is how many rows a place has in a table.
func (s *lineSearch) rows() int {
	rows := 0
	for q := range s.procs {
		if int(s.class[q]) == q {
			rows += s.levels(q)
		}
	}
	return rows
}

// table makes a table from a place on.
func (s *lineSearch) table(from int, u *linePrices) {
	t := &lineTable{m: s.lineModel, prices: linePrices{slices.Clone(u.node), slices.Clone(u.channel)}}
	t.fill(from, u, s.top, s.cells(from))
	s.spent += t.work()
	s.tables = append(s.tables, t)
}

// sharpen makes paths and tables for a label of the middle of a layer, as long as they take away many.
func (s *lineSearch) sharpen(i int, l *lineLayer) {
	if i == s.n {
		return
	}
	// As many labels as pay for it.
	least := laterSteps * (s.n + 1 - i) * s.rows() * (s.cells(i) / coarser) / (100 * worthwhile)
	for l.count() > max(manyLabels, least, s.enough) {
		before := l.count()
		k := s.middle(i, l)
		last, row := int(l.last[k]), slices.Clone(l.row[k*s.width:(k+1)*s.width])
		p := &linePaths{weight: slices.Clone(s.paths[len(s.paths)-1].weight)}
		s.weigh(p, i, last, row, pathSteps)
		old := &s.tables[len(s.tables)-1].prices
		u := &linePrices{slices.Clone(old.node), slices.Clone(old.channel)}
		s.prices(u, i, last, row, laterSteps, s.cells(i)/coarser)
		s.paths = append(s.paths, p)
		s.table(i, u)
		var kept []int32
		for k := range l.last {
			if !s.hopeless(i, int(l.last[k]), l.row[k*s.width:(k+1)*s.width]) {
				kept = append(kept, int32(k))
			}
		}
		s.keep(l, kept)
		if len(s.tables) > mostTables {
			s.tables = slices.Delete(s.tables, 1, 2)
			s.paths = slices.Delete(s.paths, 1, 2)
		}
		if l.count() > before-before/4 {
			s.enough = l.count() * 2
		}
	}
}

// narrow keeps the labels that the latest table thinks most of.
func (s *lineSearch) narrow(i int, l *lineLayer) {
	t := s.tables[len(s.tables)-1]
	kept := make([]int32, l.count())
	value := make([]int64, l.count())
	for k := range kept {
		kept[k], value[k] = int32(k), s.value(t, i, int(l.last[k]), l.row[k*s.width:(k+1)*s.width])
	}
	slices.SortFunc(kept, func(a, b int32) int {
		if value[a] != value[b] {
			return int(max(-1, min(1, value[b]-value[a])))
		}
		return int(a - b)
	})
	kept = kept[:narrowLabels]
	slices.Sort(kept)
	s.keep(l, kept)
	if s.whole {
		s.whole, s.reach = false, i
	}
}

// middle is the label of a sample that is in the middle of it as the latest table sees it.
func (s *lineSearch) middle(i int, l *lineLayer) int {
	type seen struct {
		at    int
		value int64
	}
	list := make([]seen, 0, sampled)
	t := s.tables[len(s.tables)-1]
	for j := range sampled {
		k := j * l.count() / sampled
		list = append(list, seen{k, s.value(t, i, int(l.last[k]), l.row[k*s.width:(k+1)*s.width])})
	}
	slices.SortFunc(list, func(a, b seen) int {
		if a.value != b.value {
			return int(max(-1, min(1, a.value-b.value)))
		}
		return a.at - b.at
	})
	return list[sampled/2].at
}

// plan gives the nodes beside the line to the processor of a neighbour.
func (s *lineSearch) plan(owner []ir.ProcID) *ir.Plan {
	g := s.p.Graph
	wish := make([]ir.ProcID, g.NumNodes())
	for n := range wish {
		wish[n] = ir.NoProc
	}
	for i, n := range s.nodes {
		wish[n] = owner[i]
	}
	for n := range ir.NodeID(len(wish)) { // those that read from the line, and what reads from them
		for _, v := range g.Inputs(n) {
			if m := g.Producer(v); m != ir.NoNode && wish[n] == ir.NoProc {
				wish[n] = wish[m]
			}
		}
	}
	for n := ir.NodeID(len(wish) - 1); n >= 0; n-- {
		for _, v := range g.Outputs(n) {
			for _, m := range g.Consumers(v) {
				if wish[n] == ir.NoProc {
					wish[n] = wish[m]
				}
			}
		}
		if wish[n] == ir.NoProc {
			wish[n] = owner[0]
		}
	}
	return Project(s.p, wish)
}

// columns chooses what labels tell.
func (s *lineSearch) columns() {
	pf := s.p.Platform
	s.width = s.procs
	column := func() int { s.width++; return s.width - 1 }
	most := make([]ir.Time, s.channels) // the most that it can be busy
	sum := func(lists [][]channelLoad) {
		worst := make([]ir.Time, s.channels)
		for _, list := range lists {
			each := map[int32]ir.Time{}
			for _, l := range list {
				each[l.channel] += l.busy
				worst[l.channel] = max(worst[l.channel], each[l.channel])
			}
		}
		for c, t := range worst {
			most[c] += t
		}
	}
	for i := range s.n {
		sum(s.moved[i*s.procs : (i+1)*s.procs])
		sum(s.cross[i*s.lineModel.devices*s.lineModel.devices : (i+1)*s.lineModel.devices*s.lineModel.devices])
	}
	s.channel = make([]int, s.channels)
	for c := range s.channel {
		s.channel[c] = -1
		if most[c] > s.Known {
			s.channel[c] = column()
		}
	}
	s.runs, s.held, s.room = make([]int, s.procs), make([]int, s.procs), make([]int64, s.procs)
	var weights, active int64
	for i := range s.n {
		weights += s.weight[i]
		active = max(active, s.active[i])
	}
	for q := range s.procs {
		s.runs[q], s.held[q] = -1, -1
		if 2*s.limit[q] < s.n {
			s.runs[q] = column()
		}
		s.room[q] = pf.Processors[q].MemoryBytes
		if weights+active > min(s.room[q], pf.Devices[pf.Processors[q].Device].MemoryBytes) {
			s.held[q] = column()
			column()
		}
		s.symmetry = s.symmetry || int(s.class[q]) != q
	}
}
