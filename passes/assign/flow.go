package assign

import "math"

// flow is a network with whole capacities: maximum flow, and with it a minimum
// cut, by blocking flows in the graph of levels (Dinic, Soviet Mathematics
// Doklady 11, 1970). The maximum flow of gonum's graph/network yields the value
// alone; here the sides of the cut are what is asked for, and capacities are
// picoseconds, whose sums must be exact.
type flow struct {
	head []int32 // by vertex: its last arc, -1: none
	arcs []arc   // arc i^1 is the reverse of arc i

	level, next, queue []int32

	ended func() bool // whether to give up: then max is boundless; nil: never
}

type arc struct {
	to, before int32 // before: the vertex's arc before this one, -1: none
	room       int64
}

// boundless is a capacity that no cut pays for.
const boundless = math.MaxInt64 / 4

func newFlow(vertices int) *flow {
	f := &flow{head: make([]int32, vertices), level: make([]int32, vertices), next: make([]int32, vertices)}
	for v := range f.head {
		f.head[v] = -1
	}
	return f
}

// add makes an arc with some capacity, and back its other direction's.
func (f *flow) add(from, to int32, room, back int64) {
	f.arcs = append(f.arcs, arc{to, f.head[from], room})
	f.head[from] = int32(len(f.arcs) - 1)
	f.arcs = append(f.arcs, arc{from, f.head[to], back})
	f.head[to] = int32(len(f.arcs) - 1)
}

// max is the largest flow from s to t, boundless or more if nothing holds it back.
func (f *flow) max(s, t int32) int64 {
	var total int64
	for f.layer(s, t) {
		copy(f.next, f.head)
		for total < boundless {
			if f.ended != nil && f.ended() {
				return boundless
			}
			sent := f.push(s, t)
			if sent == 0 {
				break
			}
			total += sent
		}
		if total >= boundless {
			break
		}
	}
	return total
}

// layer finds the distance of every vertex from s over arcs with room; false if t has none.
func (f *flow) layer(s, t int32) bool {
	for v := range f.level {
		f.level[v] = -1
	}
	f.level[s] = 0
	f.queue = append(f.queue[:0], s)
	for i := 0; i < len(f.queue); i++ {
		v := f.queue[i]
		for a := f.head[v]; a >= 0; a = f.arcs[a].before {
			if to := f.arcs[a].to; f.arcs[a].room > 0 && f.level[to] < 0 {
				f.level[to] = f.level[v] + 1
				f.queue = append(f.queue, to)
			}
		}
	}
	return f.level[t] >= 0
}

// push sends what fits along one way through the layers. It keeps the way in f.queue as arcs, so that deep graphs
// take no deep stack.
func (f *flow) push(s, t int32) int64 {
	way := f.queue[:0]
	v := s
	for v != t {
		a := f.next[v]
		for a >= 0 && (f.arcs[a].room <= 0 || f.level[f.arcs[a].to] != f.level[v]+1) {
			a = f.arcs[a].before
		}
		f.next[v] = a
		if a >= 0 {
			way = append(way, a)
			v = f.arcs[a].to
			continue
		}
		if v == s {
			f.queue = way
			return 0
		}
		f.level[v] = -1 // a dead end
		last := way[len(way)-1]
		way = way[:len(way)-1]
		v = f.arcs[last^1].to
	}
	sent := int64(boundless)
	for _, a := range way {
		sent = min(sent, f.arcs[a].room)
	}
	for _, a := range way {
		f.arcs[a].room -= sent
		f.arcs[a^1].room = min(f.arcs[a^1].room+sent, boundless)
	}
	f.queue = way
	return sent
}

// reached says, after max, whether a vertex is on the side of s.
func (f *flow) reached(v int32) bool { return f.level[v] >= 0 }
