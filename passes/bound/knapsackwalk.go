package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// shares are the sets of units that processors of one kind may own, as walks: unit by unit, in the order of loader,
// a walk leaves the unit out or takes it in, from state to state. A state is what the accounts that are open stand at.
// Nothing here depends on prices or on the supposed bottleneck.
type shares struct {
	order []int32 // units, one a layer
	layer []int32 // by layer, one more than there are units: its first state; the last layer has one state

	// By arc, 2·state when it leaves the unit out, 2·state+1 when it takes it in.
	to   []int32 // -1: not possible
	load []ir.Time
	need []ir.Time // the longest part of what it sends for
	toll []int32   // first of its tolls; the list ends where the next arc's begins
	fare []int32   // what it brings onto channels, index of trips

	before []int32 // by state: first of its entering arcs; the list ends where that of the next state begins
	enter  []int32
	owner  []int32 // by arc: its state's layer
}

// Standings of an account: what a walk may still have to pay for a value.
const (
	paid   = iota // nothing more
	inside        // it is made in the set: the first reader that is left out costs a download
	beyond        // it is made elsewhere: the first reader that is taken in costs an upload
)

// account is the charge for a family.
type account struct {
	made    int32 // position of the unit that makes the root; -1: the caller
	readers []charge
	last    [3]int32 // by standing: the position after which nothing more can be due
	most    ir.Time  // the largest charge
}

type charge struct {
	at         int32 // position
	up, down   ir.Time
	need, lack ir.Time // the longest part of an upload's way, of a download's
	trip       int32   // what an upload brings onto channels; -1: nothing
	leave      int32   // what a download does
}

// walks builds the states and arcs for processors like q. accounts are sorted by their first positions; out is, by
// position, what graph outputs cost; trip, by position, what they bring onto channels. Where a layer would have more than
// mostStates states, accounts of little cost are left out.
func (s *shares) walks(cost, out []ir.Time, trip [][]int32, accounts []account, mostStates int) {
	units := len(cost)
	events := make([][]int32, units) // by position: accounts that something happens to
	for i, a := range accounts {
		if a.made >= 0 {
			events[a.made] = append(events[a.made], int32(i))
		}
		for _, c := range a.readers {
			events[c.at] = append(events[c.at], int32(i))
		}
	}
	slot := make([]int8, len(accounts)) // while it is open: where a state has its standing; -1: not open
	for i := range slot {
		slot[i] = -1
	}
	var open []int32 // accounts
	next := make([]int32, len(accounts))
	codes, coming := []uint64{0}, []uint64(nil)
	known := map[uint64]int32{}
	s.layer = append(s.layer, 0)
	for at := range int32(units) {
		// What happens here.
		var here []int32
		for _, i := range events[at] {
			a := &accounts[i]
			if slot[i] < 0 {
				if k := free(slot, open); k >= 0 && (a.made == at || a.made < 0 && a.readers[0].at == at) {
					slot[i] = k
					open = append(open, i)
					if a.made < 0 {
						for j := range codes {
							codes[j] = codes[j]&^(3<<(2*k)) | beyond<<(2*k)
						}
					}
				} else {
					continue // it is left out
				}
			}
			here = append(here, i)
		}
		coming = coming[:0]
		clear(known)
		first := int32(len(s.to) / 2)
		base := first + int32(len(codes))
		for _, code := range codes {
			for in := range 2 {
				c := code
				var load, need ir.Time
				s.toll = append(s.toll, int32(len(s.fare)))
				s.owner = append(s.owner, at)
				if in == 1 {
					if cost[at] == ir.Unsupported {
						s.to, s.load, s.need = append(s.to, -1), append(s.load, 0), append(s.need, 0)
						continue
					}
					load = cost[at] + out[at]
					s.fare = append(s.fare, trip[at]...)
				}
				for _, i := range here {
					a := &accounts[i]
					shift := 2 * slot[i]
					stand := c >> shift & 3
					if a.made == at {
						stand = beyond - uint64(in)
					} else if r := a.readers[next[i]]; stand == beyond && in == 1 && (r.up > 0 || r.need > 0 || r.trip >= 0) {
						load += r.up
						need = max(need, r.need)
						if r.trip >= 0 {
							s.fare = append(s.fare, r.trip)
						}
						stand = paid
					} else if stand == inside && in == 0 && (r.down > 0 || r.lack > 0 || r.leave >= 0) {
						load += r.down
						need = max(need, r.lack)
						if r.leave >= 0 {
							s.fare = append(s.fare, r.leave)
						}
						stand = paid
					}
					if a.last[stand] <= at {
						stand = paid
					}
					c = c&^(3<<shift) | stand<<shift
				}
				t, ok := known[c]
				if !ok {
					t = int32(len(coming))
					known[c] = t
					coming = append(coming, c)
				}
				s.to, s.load, s.need = append(s.to, base+t), append(s.load, load), append(s.need, need)
			}
		}
		for _, i := range here {
			if accounts[i].made != at {
				next[i]++
			}
		}
		open = slices.DeleteFunc(open, func(i int32) bool {
			if accounts[i].last[inside] <= at && accounts[i].last[beyond] <= at {
				slot[i] = -1
				return true
			}
			return false
		})
		for len(coming) > mostStates {
			k := 0
			for j, i := range open {
				if accounts[i].most < accounts[open[k]].most {
					k = j
				}
			}
			shift := 2 * slot[open[k]]
			slot[open[k]] = -1
			open = slices.Delete(open, k, k+1)
			clear(known)
			fresh := coming[:0:0]
			moved := make([]int32, len(coming))
			for j, c := range coming {
				c &^= 3 << shift
				t, ok := known[c]
				if !ok {
					t = int32(len(fresh))
					known[c] = t
					fresh = append(fresh, c)
				}
				moved[j] = t
			}
			for j := 2 * first; j < int32(len(s.to)); j++ {
				if s.to[j] >= 0 {
					s.to[j] = base + moved[s.to[j]-base]
				}
			}
			coming = append(coming[:0], fresh...)
		}
		s.layer = append(s.layer, base)
		codes, coming = coming, codes
	}
	s.toll = append(s.toll, int32(len(s.fare)))
	s.index(len(codes))
}

// free is a place for one more account's standing; -1: there is none.
func free(slot []int8, open []int32) int8 {
	var taken uint32
	for _, i := range open {
		taken |= 1 << slot[i]
	}
	for k := range int8(30) {
		if taken>>k&1 == 0 {
			return k
		}
	}
	return -1
}

// index lists the entering arcs of all states; there are ends states in the last layer.
func (s *shares) index(ends int) {
	states := int(s.layer[len(s.layer)-1]) + ends
	s.before = make([]int32, states+1)
	for _, t := range s.to {
		if t >= 0 {
			s.before[t+1]++
		}
	}
	for t := range states {
		s.before[t+1] += s.before[t]
	}
	s.enter = make([]int32, s.before[states])
	at := slices.Clone(s.before)
	for i, t := range s.to {
		if t >= 0 {
			s.enter[at[t]] = int32(i)
			at[t]++
		}
	}
}
