package ir

import (
	"cmp"
	"container/heap"
	"slices"
)

// Routes finds the ways between devices. It remembers what it found: make one
// per goroutine.
type Routes struct {
	pf    *Platform
	out   [][]LinkID // by DeviceID: links that start there, ascending
	one   []LinkID   // every link: the routes of one are slices of it
	known map[routeKey][]LinkID
}

type routeKey struct {
	from, to DeviceID
	size     int64
}

// NewRoutes makes an empty table for a platform.
func NewRoutes(pf *Platform) *Routes {
	r := &Routes{pf: pf, out: make([][]LinkID, len(pf.Devices)), known: map[routeKey][]LinkID{}}
	for i, l := range pf.Links {
		r.out[l.From] = append(r.out[l.From], LinkID(i))
		r.one = append(r.one, LinkID(i))
	}
	return r
}

// way is a path under construction.
type way struct {
	time  Time
	links []LinkID
	at    DeviceID
}

func (a *way) before(b *way) int {
	if c := cmp.Compare(a.time, b.time); c != 0 {
		return c
	}
	if c := cmp.Compare(len(a.links), len(b.links)); c != 0 {
		return c
	}
	if c := slices.Compare(a.links, b.links); c != 0 {
		return c
	}
	return cmp.Compare(a.at, b.at)
}

type wayHeap []way

func (h wayHeap) Len() int           { return len(h) }
func (h wayHeap) Less(i, j int) bool { return h[i].before(&h[j]) < 0 }
func (h wayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wayHeap) Push(x any)        { *h = append(*h, x.(way)) }
func (h *wayHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// Find is the route from one device to another that takes size bytes in the
// least time over idle links; ties go to fewer hops, then to the
// lexicographically least list of links. It is empty if from is to, and nil if
// no links lead there. The result must not be changed.
func (r *Routes) Find(from, to DeviceID, size int64) []LinkID {
	if from == to {
		return []LinkID{}
	}
	if found := r.direct(from, to, size); found != nil {
		return found // sooner found again than looked up
	}
	key := routeKey{from, to, size}
	if found, ok := r.known[key]; ok {
		return found
	}
	found := r.search(from, to, size)
	if len(r.known) >= 1<<20 { // a bound on memory; sizes repeat in real graphs
		clear(r.known)
	}
	r.known[key] = found
	return found
}

// direct is the route of one link, if that is the best: any other way starts with a link that takes as long by itself.
func (r *Routes) direct(from, to DeviceID, size int64) []LinkID {
	best, least, other := LinkID(-1), MaxTime, MaxTime
	for _, l := range r.out[from] {
		switch t := r.pf.Links[l].Time(size); {
		case r.pf.Links[l].To != to:
			other = min(other, t)
		case t < least:
			best, least = l, t
		}
	}
	if best < 0 || other < least {
		return nil
	}
	return r.one[best : best+1 : best+1]
}

func (r *Routes) search(from, to DeviceID, size int64) (found []LinkID) {
	done := make([]bool, len(r.pf.Devices))
	h := wayHeap{{at: from}}
	for len(h) > 0 {
		w := heap.Pop(&h).(way)
		if w.at == to {
			found = w.links
			break
		}
		if done[w.at] {
			continue
		}
		done[w.at] = true
		for _, l := range r.out[w.at] {
			link := &r.pf.Links[l]
			if !done[link.To] {
				links := append(slices.Clone(w.links), l)
				heap.Push(&h, way{w.time + link.Time(size), links, link.To})
			}
		}
	}
	return found
}
