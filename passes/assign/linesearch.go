package assign

import (
	"context"
	"math"
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
	channel  []int // by channel: its column; -1: none
	runs     []int // by processor: column of its runs; -1: none
	held     []int // by processor: column of bytes of weights, before that of the largest need of a node; -1: none
	devices  [][]int
	room     []int64 // by processor
	symmetry bool

	tables []*lineTable // the latest last
	paths  []*linePaths // the same
	coarse *lineTable   // for the search for prices
	layers []lineLayer
	whole  bool    // no label that may be of use has been lost
	next   []int64 // scratch: a label
	enough int     // labels of a layer that ask for no more tables, for late ones took few away
	spent  int     // steps
}

// Work of a line.
const (
	lineCells    = 1024    // of time in a table
	coarseCells  = 256     // the same in the search for prices
	tableSize    = 1 << 21 // places times runs times cells of all processors
	pathSteps    = 200     // for the weights of the first paths, and for those that a layer asks for
	priceSteps   = 100     // the same for prices
	laterSteps   = 30
	mostTables   = 6   // beyond the first
	manyLabels   = 300 // from which on a layer asks for more
	sampled      = 63  // labels, to find one in the middle
	lineProbes   = 12  // limits that are tried, at least
	narrowLabels = 300 // labels that a layer keeps when a search has taken too long to come to its end
)

// run looks for plans and for bounds in turn, and ends when they meet or its steps are spent.
func (s *lineSearch) run(ctx context.Context) {
	s.columns()
	s.coarse = &lineTable{m: s.lineModel}
	low, high := s.Known, s.Limit // no plan is below the one, the best plan has the other
	unknown := s.Limit            // the least limit of a search that did not come to its end
	each := s.Steps / lineProbes
	for probe := 1; low < high; probe++ {
		top, steps := high-1, each
		switch left := s.Steps - s.spent; {
		case left <= 0 || ctx.Err() != nil:
			return
		case left <= 3*each:
			steps = left // all that is left for the question whether there is a better plan at all
		case probe%4 == 0 && unknown < high:
			top = unknown + (high-unknown)/2
		case probe > 1:
			top = low + (min(unknown, high)-low)/2
		}
		whole := s.through(ctx, top, steps)
		if ctx.Err() != nil {
			return
		}
		k, value := s.best()
		if k >= 0 {
			if plan := s.plan(s.trace(k)); plan != nil {
				if plan = Rated(s.p, plan, ir.Throughput); plan != nil && plan.Value() < high {
					s.Plan, high = plan, plan.Value()
				}
			}
		}
		switch {
		case whole:
			low = min(top+1, value) // if that is no plan, the line does not tell all
			if s.Bound = max(s.Bound, low); k >= 0 {
				return
			}
		case top < unknown:
			unknown = top
		}
		if s.Steps-s.spent <= 0 {
			return
		}
	}
}

// open makes the first paths and table for plans of at most top; true: they show that there is none.
func (s *lineSearch) open() bool {
	s.tables, s.paths = s.tables[:0], s.paths[:0]
	empty := make([]int64, s.width)
	t := &linePaths{}
	if s.weigh(t, 0, -1, empty, pathSteps) > float64(s.top) {
		return true
	}
	s.paths = append(s.paths, t)
	u := &linePrices{make([]float64, s.n), make([]float64, s.channels)}
	for i := range s.n {
		least := ir.MaxTime
		for _, c := range s.cost[i*s.procs : (i+1)*s.procs] {
			if c != ir.Unsupported {
				least = min(least, c)
			}
		}
		u.node[i] = float64(least) + 1
	}
	if s.prices(u, 0, -1, empty, priceSteps, min(coarseCells, s.cells(0))) < 0 {
		return true
	}
	s.table(0, u)
	return s.value(s.tables[0], 0, -1, empty) < 0
}

// cells is how many cells of time a table from a place on has.
func (s *lineSearch) cells(from int) int {
	levels := 0
	for q := range s.procs {
		if int(s.class[q]) == q {
			levels += s.levels(q)
		}
	}
	return min(lineCells, tableSize/((s.n+1-from)*levels))
}

// table makes a table from a place on.
func (s *lineSearch) table(from int, u *linePrices) *lineTable {
	t := &lineTable{m: s.lineModel, prices: *u}
	t.fill(from, u, s.top, s.cells(from))
	s.spent += t.work()
	s.tables = append(s.tables, t)
	return t
}

// sharpen makes paths and tables for a label of the middle of a layer, as long as they take away many.
func (s *lineSearch) sharpen(i int, l *lineLayer) {
	if i == s.n {
		return
	}
	for l.count() > max(manyLabels, s.enough) {
		before := l.count()
		k := s.middle(i, l)
		last, row := int(l.last[k]), slices.Clone(l.row[k*s.width:(k+1)*s.width])
		p := &linePaths{weight: slices.Clone(s.paths[len(s.paths)-1].weight)}
		s.weigh(p, i, last, row, pathSteps)
		old := &s.tables[len(s.tables)-1].prices
		u := &linePrices{slices.Clone(old.node), slices.Clone(old.channel)}
		s.prices(u, i, last, row, laterSteps, min(coarseCells, s.cells(i)))
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
	s.whole = false
}

// middle is the label of a sample that is in the middle of it as the latest table sees it.
func (s *lineSearch) middle(i int, l *lineLayer) int {
	type seen struct {
		at    int
		value int64
	}
	var list []seen
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

// value is what is left for the nodes without a place, by price, above what they ask: below 0 nothing comes of the label.
func (s *lineSearch) value(t *lineTable, i, last int, row []int64) int64 {
	var sum int64
	for q := range s.procs {
		x := t.at(i, q, q == last, ir.Time(row[q]), s.runsLeft(q, row))
		if x < noPrice/2 {
			return -1
		}
		sum += x
	}
	paid := 0.0
	for c, at := range s.channel {
		if t.channel[c] > 0 {
			free := t.capacity
			if at >= 0 {
				free -= ir.Time(row[at])
			}
			paid += t.channel[c] * float64(free)
		}
	}
	return sum + int64(math.Ceil(paid*(1+1e-9))) - t.left[i]
}

func (s *lineSearch) runsLeft(q int, row []int64) int64 {
	left := int64(s.limit[q])
	if c := s.runs[q]; c >= 0 {
		left -= row[c]
	}
	return left
}

// prices improves prices for a label; the result is the least value that was seen.
func (s *lineSearch) prices(u *linePrices, i, last int, row []int64, steps, cells int) int64 {
	t := s.coarse
	taken, used := make([]float64, s.n), make([]float64, s.channels)
	meanTaken, meanUsed := make([]float64, s.n), make([]float64, s.channels)
	best := linePrices{slices.Clone(u.node), slices.Clone(u.channel)}
	least := int64(math.MaxInt64)
	for step := range steps {
		total := 0.0
		for j := i; j < s.n; j++ {
			total += u.node[j]
		}
		for j := i; j < s.n; j++ {
			u.node[j] = max(1e-9, u.node[j]/total)
		}
		for c := range u.channel {
			u.channel[c] /= total
		}
		t.fill(i, u, s.top, cells)
		s.spent += t.work()
		x := s.value(t, i, last, row)
		if x < least {
			least = x
			copy(best.node, u.node)
			copy(best.channel, u.channel)
		}
		if x < 0 {
			break
		}
		clear(taken)
		clear(used)
		for q := range s.procs {
			t.take(i, q, q == last, ir.Time(row[q]), s.runsLeft(q, row), taken, used)
		}
		rate := 0.3
		if step == 0 {
			rate = 1
		}
		eta := 0.5 / math.Sqrt(1+float64(step)/4)
		for j := i; j < s.n; j++ {
			meanTaken[j] += rate * (taken[j] - meanTaken[j])
			u.node[j] = max(1e-9, u.node[j]*math.Exp(-eta*(meanTaken[j]-1)))
		}
		for c, at := range s.channel {
			if at < 0 {
				continue
			}
			free := float64(s.top) - float64(row[at])
			meanUsed[c] += rate * (used[c] - meanUsed[c])
			u.channel[c] = max(0, u.channel[c]+0.2*eta*(meanUsed[c]-free)/float64(max(s.top, 1)))
		}
	}
	copy(u.node, best.node)
	copy(u.channel, best.channel)
	return least
}
