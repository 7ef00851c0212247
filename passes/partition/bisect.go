package partition

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Bisect cuts the units in two, and each half again, until there is one part for
// each of some processors, so that a part's share of the memory is the share that
// its processors have of what is free. All values that cross a cut go one way, so
// parts never wait for each other. A cut starts where few bytes cross in a
// topological order and is refined by moves of single units across it, those that
// save most bytes first, as in acyclic bisection (Herrmann et al., SIAM Journal on
// Scientific Computing 41(4), 2019). The result is the slot of each unit; nil where a
// part has a unit that its processor does not support. procs are in the order in
// which values flow.
func Bisect(x *Units, order []int32, procs []int) []int32 {
	m, pf := x.M, x.M.Problem.Platform
	b := &bisection{x: x, room: make([]float64, m.Units), free: make([]float64, len(procs)), side: make([]int8, m.Units), at: make([]int32, m.Units)}
	total := 0.0
	for u := range b.room {
		b.room[u] = unitRoom(x, int32(u))
		total += b.room[u]
	}
	for j, q := range procs {
		e := pf.Processors[q]
		// What lies in no limit, or beyond all that there is, weighs as much as all.
		free := min(e.MemoryBytes, pf.Devices[e.Device].MemoryBytes)
		sharing := 0
		for _, other := range procs {
			if pf.Processors[other].Device == e.Device {
				sharing++
			}
		}
		if d := pf.Devices[e.Device].MemoryBytes; d < ir.UnlimitedBytes {
			free = min(free, d/int64(sharing))
		}
		b.free[j] = min(float64(free), total)
	}
	b.cut(order, procs, b.free)
	for u, t := range b.at {
		if m.Cost(int32(u), m.Proc(int(t))) == ir.Unsupported {
			return nil
		}
	}
	return b.at
}

// unitRoom is about the memory of a unit, in bytes: its weights, and a little for what it makes, most of which is gone soon.
func unitRoom(x *Units, u int32) float64 {
	g := x.M.Problem.Graph
	room := 1.0
	for _, n := range x.M.Nodes(u) {
		for _, w := range g.Weights(ir.NodeID(n)) {
			room += float64(g.WeightBytes(w))
		}
		for _, v := range g.Outputs(ir.NodeID(n)) {
			room += float64(g.ResidentBytes(v)) / 16
		}
	}
	return room
}

type bisection struct {
	x    *Units
	room []float64 // by unit
	free []float64 // by position in procs
	side []int8    // by unit: -1: not in the piece under way, 0 and 1: before and behind the cut
	at   []int32   // by unit: its slot
}

// cut gives the units of a piece, which stand in topological order, to processors.
func (b *bisection) cut(piece []int32, procs []int, free []float64) {
	if len(procs) == 1 || len(piece) == 0 {
		for _, u := range piece {
			b.at[u] = int32(bits.TrailingZeros64(b.x.M.SlotsOf(procs[0])))
		}
		return
	}
	half := len(procs) / 2
	var left, all, room float64
	for j, f := range free {
		all += f
		if j < half {
			left += f
		}
	}
	for _, u := range piece {
		room += b.room[u]
	}
	want := room * left / max(all, 1)
	slack := room * 0.1 // how far a cut may be off the wanted share
	if spare := all - room; spare < slack {
		slack = max(0, spare)
	}
	b.start(piece, want, slack)
	for range 4 {
		if !b.improve(piece, want, slack) {
			break
		}
	}
	var sides [2][]int32
	for _, u := range piece {
		sides[b.side[u]] = append(sides[b.side[u]], u)
	}
	for _, u := range piece {
		b.side[u] = -1
	}
	b.cut(sides[0], procs[:half], free[:half])
	b.cut(sides[1], procs[half:], free[half:])
}

// start cuts the order of a piece at the border that the fewest bytes cross, of those within slack of the wanted room.
func (b *bisection) start(piece []int32, want, slack float64) {
	m := b.x.M
	for u := range b.side {
		b.side[u] = -1
	}
	for _, u := range piece {
		b.side[u] = 1
	}
	var bytes, least int64
	at, off := -1, 0.0
	room := 0.0
	// A value crosses from its producer to its last reader in the piece.
	left := map[int32]int{}
	for i, u := range piece {
		room += b.room[u]
		for _, v := range m.Ins(u) {
			if k, ok := left[v]; ok {
				if left[v] = k - 1; k == 1 {
					bytes -= m.Bytes(v)
				}
			}
		}
		for _, v := range m.Outs(u) {
			readers := 0
			for _, r := range m.Readers(v) {
				if b.side[r] >= 0 {
					readers++
				}
			}
			if readers > 0 {
				left[v] = readers
				bytes += m.Bytes(v)
			}
		}
		d := max(room-want, want-room)
		switch {
		case at < 0, d <= slack && (off > slack || bytes < least), d > slack && off > slack && d < off:
			at, off, least = i, d, bytes
		}
	}
	for _, u := range piece[:at+1] {
		b.side[u] = 0
	}
}

// improve moves units across the cut that save bytes, or memory beyond the slack, and says whether it moved any.
func (b *bisection) improve(piece []int32, want, slack float64) bool {
	room := 0.0
	for _, u := range piece {
		if b.side[u] == 0 {
			room += b.room[u]
		}
	}
	moved := false
	// Units behind the cut from its front on, units before it from its end.
	try := func(u int32, from int8) {
		next := b.x.Pred(u)
		if from == 0 {
			next = b.x.Succ(u)
		}
		if slices.ContainsFunc(next, func(w int32) bool { return b.side[w] == from }) {
			return // values would flow back
		}
		after := room + b.room[u]
		if from == 0 {
			after = room - b.room[u]
		}
		now, then := max(room-want, want-room), max(after-want, want-after)
		gain := b.gain(u)
		if then <= slack && gain > 0 || now > slack && then < now {
			b.side[u] = 1 - from
			room = after
			moved = true
		}
	}
	for _, u := range piece {
		if b.side[u] == 1 {
			try(u, 1)
		}
	}
	for i := len(piece) - 1; i >= 0; i-- {
		if u := piece[i]; b.side[u] == 0 {
			try(u, 0)
		}
	}
	return moved
}

// gain is how many bytes fewer cross if a unit changes sides.
func (b *bisection) gain(u int32) int64 {
	m := b.x.M
	var gain int64
	mine := b.side[u]
	if mine == 1 {
		// It goes before the cut: what it makes crosses then if someone behind reads it, what it reads may cross no more.
		for _, v := range m.Outs(u) {
			if b.readBehind(v, u) {
				gain -= m.Bytes(v)
			}
		}
		for _, v := range m.Ins(u) {
			if p := m.Producer(v); p >= 0 && b.side[p] == 0 && !b.readBehind(v, u) {
				gain += m.Bytes(v)
			}
		}
		return gain
	}
	for _, v := range m.Outs(u) {
		if b.readBehind(v, u) {
			gain += m.Bytes(v)
		}
	}
	for _, v := range m.Ins(u) {
		if p := m.Producer(v); p >= 0 && b.side[p] == 0 && !b.readBehind(v, u) {
			gain -= m.Bytes(v)
		}
	}
	return gain
}

// readBehind says whether a unit behind the cut, but u, reads a value.
func (b *bisection) readBehind(v, u int32) bool {
	for _, r := range b.x.M.Readers(v) {
		if r != u && b.side[r] == 1 {
			return true
		}
	}
	return false
}
