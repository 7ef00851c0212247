package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// lineage is what reads a value, or what comes of it.
type lineage struct {
	root    ir.ValueID
	made    int32 // unit; -1: the caller
	readers []taker
}

type taker struct {
	unit     int32
	up, down int32 // ways, of an upload and of a download; -1: none that is charged
	root     bool  // it reads the root itself
}

// lineages lists the families that cost something to cut.
func (u *unitGraph) lineages() []lineage {
	g := u.p.Graph
	f := newFamilies(g)
	at := make([]int32, g.NumValues())
	var all []lineage
	for v := range ir.ValueID(g.NumValues()) {
		at[v] = -1
		if f.from[v] >= 0 {
			continue
		}
		made := int32(-1)
		if n := g.Producer(v); n != ir.NoNode {
			if f.soft[n] {
				continue // any processor makes it of nothing
			}
			made = u.unit[n]
		}
		at[v] = int32(len(all))
		all = append(all, lineage{root: v, made: made})
	}
	for v := range ir.ValueID(g.NumValues()) {
		root := at[f.root(v)]
		if root < 0 || len(g.Consumers(v)) == 0 {
			continue
		}
		x := &all[root]
		w := f.way(v)
		id := u.ways.add(w)
		for _, c := range g.Consumers(v) {
			unit := u.unit[c]
			if unit == x.made {
				continue
			}
			k := slices.IndexFunc(x.readers, func(t taker) bool { return t.unit == unit })
			if k < 0 {
				k = len(x.readers)
				x.readers = append(x.readers, taker{unit: unit, up: -1, down: -1})
			}
			t := &x.readers[k]
			t.root = t.root || v == x.root
			if t.up < 0 || u.ways.all[t.up].sizes[0] < w.sizes[0] {
				t.up = id
			}
			if !w.output && (t.down < 0 || u.ways.all[t.down].sizes[0] < w.sizes[0]) {
				t.down = id
			}
		}
	}
	return slices.DeleteFunc(all, func(x lineage) bool { return len(x.readers) == 0 })
}

// inOrder arranges units so that few families are open at once: a family is open from its root, or first reader, to its
// last reader. Units come after what they read, where groups allow it.
func (u *unitGraph) inOrder(all []lineage) []int32 {
	of := make([][]int32, u.units) // families of a unit
	wait := make([]int32, u.units)
	left := make([]int32, len(all))
	open := make([]bool, len(all))
	for i, x := range all {
		if x.made >= 0 {
			of[x.made] = append(of[x.made], int32(i))
			left[i]++
		}
		for _, r := range x.readers {
			of[r.unit] = append(of[r.unit], int32(i))
			left[i]++
			if x.made >= 0 {
				wait[r.unit]++
			}
		}
	}
	order := make([]int32, 0, u.units)
	done := make([]bool, u.units)
	var ready []int32
	for n := range int32(u.units) {
		if wait[n] == 0 {
			ready = append(ready, n)
		}
	}
	lowest := int32(0)
	for len(order) < u.units {
		pick, best := -1, 0
		for j := len(ready) - 1; j >= 0 && j >= len(ready)-64; j-- {
			grow := 0
			for _, i := range of[ready[j]] {
				if !open[i] && left[i] > 1 {
					grow++
				} else if open[i] && left[i] == 1 {
					grow--
				}
			}
			if pick < 0 || grow < best {
				pick, best = j, grow
			}
		}
		var n int32
		if pick >= 0 {
			n = ready[pick]
			ready = slices.Delete(ready, pick, pick+1)
		} else {
			for done[lowest] {
				lowest++
			}
			n = lowest
		}
		done[n] = true
		order = append(order, n)
		for _, i := range of[n] {
			left[i]--
			open[i] = left[i] > 0
			if all[i].made == n {
				for _, r := range all[i].readers {
					if wait[r.unit]--; wait[r.unit] == 0 && !done[r.unit] {
						ready = append(ready, r.unit)
					}
				}
			}
		}
	}
	return order
}

// holder is whose sets of units walks are: one processor's, or those of all processors of a device together.
type holder struct {
	procs    []int
	device   ir.DeviceID
	up, down *ir.Copy // those of a processor; of a device none is charged
	sole     bool     // nothing else on the device runs nodes: what it sends and sends for travels
}

func (u *unitGraph) holder(procs []int) holder {
	pf := u.p.Platform
	h := holder{procs: procs, device: pf.Processors[procs[0]].Device, sole: u.nchan > 0}
	if len(procs) == 1 {
		h.up, h.down = pf.Processors[procs[0]].Upload, pf.Processors[procs[0]].Download
	}
	for q, e := range pf.Processors {
		h.sole = h.sole && (e.Device != h.device || slices.Contains(procs, q))
	}
	return h
}

// outside is the longest part of a way between the holder and any other processor, where it is shortest.
func (u *unitGraph) outside(h *holder, way int32, in bool) ir.Time {
	longest, least := u.ways.all[way].longest, ir.MaxTime
	for b := range u.procs {
		if slices.Contains(h.procs, b) {
			continue
		}
		for _, q := range h.procs {
			if in {
				least = min(least, longest[b*u.procs+q])
			} else {
				least = min(least, longest[q*u.procs+b])
			}
		}
	}
	return least
}

// kind prepares the walks of a holder.
func (u *unitGraph) kind(all []lineage, order []int32, h holder, known ir.Time, states int, tolls *tolls) *shares {
	g, pf := u.p.Graph, u.p.Platform
	position := make([]int32, u.units)
	for i, n := range order {
		position[n] = int32(i)
	}
	cost, out := make([]ir.Time, u.units), make([]ir.Time, u.units)
	trip := make([][]int32, u.units)
	for i, n := range order {
		cost[i] = ir.Unsupported
		for _, q := range h.procs {
			if c := u.cost[int(n)*u.procs+q]; c != ir.Unsupported && (cost[i] == ir.Unsupported || c < cost[i]) {
				cost[i] = c
			}
		}
		for _, f := range u.own[n] {
			if !f.out {
				continue
			}
			if h.down != nil {
				out[i] += h.down.Time(g.Bytes(f.value))
			}
			if h.sole && pf.Sink != ir.NoDevice && pf.Sink != h.device {
				trip[i] = append(trip[i], tolls.add(fare{way: u.ways.add(way{sizes: []int64{g.Bytes(f.value)}}), from: h.device, to: pf.Sink}))
			}
		}
	}
	var accounts []account
	for _, x := range all {
		a := account{made: -1, last: [3]int32{-1, -1, -1}}
		if x.made >= 0 {
			a.made = position[x.made]
		}
		for _, r := range x.readers {
			c := charge{at: position[r.unit], trip: -1, leave: -1}
			if c.at < a.made {
				continue
			}
			up := &u.ways.all[r.up]
			if h.up != nil {
				c.up = h.up.Time(up.sizes[0])
			}
			c.need = ir.MaxTime
			if x.made < 0 {
				for _, size := range up.sizes {
					busy := ir.Time(0)
					if pf.Source != ir.NoDevice {
						busy = u.ways.busiest(pf.Source, h.device, size)
					}
					c.need = min(c.need, max(c.up, busy))
				}
			}
			if x.made >= 0 || !r.root {
				c.need = min(c.need, u.outside(&h, r.up, true))
			}
			if r.down >= 0 {
				down := &u.ways.all[r.down]
				if h.down != nil {
					c.down = h.down.Time(down.sizes[0])
				}
				c.lack = u.outside(&h, r.down, false)
			}
			if h.sole && (x.made >= 0 || pf.Source != ir.NoDevice && pf.Source != h.device) {
				t := fare{way: r.up, from: ir.NoDevice, to: h.device}
				if x.made < 0 && r.root {
					t.from = pf.Source
				}
				if !up.output || t.to != pf.Sink { // an output travels there anyhow
					c.trip = tolls.add(t)
				}
				if x.made >= 0 && r.down >= 0 {
					c.leave = tolls.add(fare{way: r.down, from: h.device, to: ir.NoDevice})
				}
			}
			if c.need <= known {
				c.need = 0
			}
			if c.lack <= known {
				c.lack = 0
			}
			a.readers = append(a.readers, c)
		}
		slices.SortFunc(a.readers, func(x, y charge) int { return int(x.at - y.at) })
		for _, c := range a.readers {
			if c.up > 0 || c.need > 0 || c.trip >= 0 {
				a.last[beyond] = c.at
				a.most = max(a.most, c.up, c.need, tolls.busiest(c.trip))
			}
			if a.made >= 0 && (c.down > 0 || c.lack > 0 || c.leave >= 0) {
				a.last[inside] = c.at
				a.most = max(a.most, c.down, c.lack, tolls.busiest(c.leave))
			}
		}
		if a.last[beyond] >= 0 || a.last[inside] >= 0 {
			accounts = append(accounts, a)
		}
	}
	s := &shares{order: order}
	s.walks(cost, out, trip, accounts, states)
	return s
}

// alike says whether two processors can own the same for the same.
func (u *unitGraph) alike(a, b int) bool {
	x, y := &u.p.Platform.Processors[a], &u.p.Platform.Processors[b]
	same := func(a, b *ir.Copy) bool { return a == b || a != nil && b != nil && *a == *b }
	if x.Device != y.Device || x.Launch != y.Launch || x.MemoryBytes != y.MemoryBytes || !same(x.Upload, y.Upload) || !same(x.Download, y.Download) {
		return false
	}
	for n := range u.units {
		if u.cost[n*u.procs+a] != u.cost[n*u.procs+b] {
			return false
		}
	}
	return true
}
