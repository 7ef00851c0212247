package bound

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Replicas make cuts cheap: where a value is read that a replicable node makes, a processor may send for it, or for
// what it is made of and make it anew. Either way it must send for something.
//
// The family of a value w that no replica makes is w and what replicable nodes make of it, each such node counted
// for one of its inputs. If a node r reads a member of the family that comes of w by way of x₁, …, x_k, then a
// processor that runs r but does not own w's producer uploads one of w, x₁, …, x_k at least; one of them is
// downloaded where w is made, and one of them travels from there to r's device, though perhaps by way of a device
// in between, where a member was made. Families share no values, and what the readers on one processor
// are charged adds up to one upload at most, so the charges of all families are below what a plan pays.

// families knows, for every value, where it comes of.
type families struct {
	g    *ir.Graph
	soft []bool       // by node: replicas of it can be on any processor
	from []ir.ValueID // by value: the input that it counts for; -1: it is a root
}

func newFamilies(g *ir.Graph) *families {
	f := &families{g: g, soft: make([]bool, g.NumNodes()), from: make([]ir.ValueID, g.NumValues())}
	least := make([]int64, g.NumValues()) // by value: the least size on the way from its root
	depth := make([]int32, g.NumValues())
	for v := range ir.ValueID(g.NumValues()) {
		f.from[v], least[v] = -1, g.Bytes(v)
	}
	for n := range ir.NodeID(g.NumNodes()) {
		if f.soft[n] = f.replicable(n); !f.soft[n] {
			continue
		}
		best := ir.ValueID(-1)
		for _, v := range g.Inputs(n) {
			if best < 0 || least[v] > least[best] || least[v] == least[best] && depth[v] < depth[best] {
				best = v
			}
		}
		if best < 0 {
			continue
		}
		for _, v := range g.Outputs(n) {
			f.from[v], least[v], depth[v] = best, min(least[best], g.Bytes(v)), depth[best]+1
		}
	}
	return f
}

// replicable says whether a node can have replicas on processors that do not own it: those bring its group with them,
// all of which must be replicable then.
func (f *families) replicable(n ir.NodeID) bool {
	if id := f.g.Group(n); id != ir.NoGroup {
		for _, m := range f.g.Members(id) {
			if !f.g.Replicable(m) {
				return false
			}
		}
	}
	return f.g.Replicable(n)
}

// root is the value whose family v is in.
func (f *families) root(v ir.ValueID) ir.ValueID {
	for f.from[v] >= 0 {
		v = f.from[v]
	}
	return v
}

// way is what a processor that reads a member of a family may send for instead, all that the member comes of included.
type way struct {
	sizes  []int64 // of the members, distinct, ascending
	output bool    // some member is a graph output
}

func (f *families) way(v ir.ValueID) way {
	var w way
	for {
		w.sizes = append(w.sizes, f.g.Bytes(v))
		w.output = w.output || f.g.IsOutput(v)
		if f.from[v] < 0 {
			break
		}
		v = f.from[v]
	}
	slices.Sort(w.sizes)
	w.sizes = slices.Compact(w.sizes)
	return w
}

// passages are the ways of a problem, each once: what they cost between any two devices, and how long their longest part
// is between any two processors.
type passages struct {
	p       *ir.Problem
	routes  *ir.Routes
	devices int
	known   map[string]int32
	all     []passage
	size    map[int64]int32 // row of legs, in units of devices²
	legs    terms           // size·devices² + from·devices + to: channels that a route keeps busy
}

type passage struct {
	way
	longest []ir.Time // from processor · procs + to; MaxTime: no way
	price   []float64 // from device · devices + to: weights times loads of channels, at the weights last seen; +Inf: no way
}

func newPassages(p *ir.Problem, routes *ir.Routes) *passages {
	return &passages{p: p, routes: routes, devices: len(p.Platform.Devices), known: map[string]int32{}, size: map[int64]int32{}}
}

// add finds a way among all, and makes room for it if it is new.
func (s *passages) add(w way) int32 {
	key := make([]byte, 0, 8*len(w.sizes)+1)
	for _, x := range w.sizes {
		key = binary.LittleEndian.AppendUint64(key, uint64(x))
	}
	if w.output {
		key = append(key, 1)
	}
	if i, ok := s.known[string(key)]; ok {
		return i
	}
	i := int32(len(s.all))
	s.known[string(key)] = i
	s.all = append(s.all, passage{way: w, price: make([]float64, s.devices*s.devices), longest: s.longest(w)})
	return i
}

// longest finds the ways whose longest part is shortest.
func (s *passages) longest(w way) []ir.Time {
	pf := s.p.Platform
	p := len(pf.Processors)
	out := make([]ir.Time, p*p)
	for a := range p {
		for b := range p {
			from, to := &pf.Processors[a], &pf.Processors[b]
			least := ir.MaxTime
			for _, size := range w.sizes {
				var part ir.Time
				if from.Download != nil {
					part = from.Download.Time(size)
				}
				if to.Upload != nil {
					part = max(part, to.Upload.Time(size))
				}
				least = min(least, max(part, s.busiest(from.Device, to.Device, size)))
			}
			out[a*p+b] = least
		}
	}
	for k := range p {
		for a := range p {
			for b := range p {
				out[a*p+b] = min(out[a*p+b], max(out[a*p+k], out[k*p+b]))
			}
		}
	}
	return out
}

// busiest is the longest that a value of some size keeps a link busy between two devices.
func (s *passages) busiest(from, to ir.DeviceID, size int64) ir.Time {
	var most ir.Time
	if from == to {
		return 0
	}
	route := s.routes.Find(from, to, size)
	if route == nil {
		return ir.MaxTime
	}
	for _, k := range route {
		most = max(most, s.p.Platform.Links[k].Busy(size))
	}
	return most
}

// routed lists what values of some size load between all devices.
func (s *passages) routed(size int64, chans []ir.ChannelID) int32 {
	if row, ok := s.size[size]; ok {
		return row
	}
	row := int32(len(s.size))
	s.size[size] = row
	for a := range ir.DeviceID(s.devices) {
		for b := range ir.DeviceID(s.devices) {
			s.legs.row()
			route := s.routes.Find(a, b, size)
			if route == nil {
				s.legs.refuse()
			}
			for _, k := range route {
				s.legs.add(len(s.p.Platform.Processors)+int(chans[k]), s.p.Platform.Links[k].Busy(size), 1)
			}
		}
	}
	return row
}

// weigh computes all prices from the weights of the channels.
func (s *passages) weigh(chans []ir.ChannelID, weight []float64) {
	d := s.devices
	for i := range s.all {
		x := &s.all[i]
		for k := range x.price {
			x.price[k] = math.Inf(1)
		}
		for _, size := range x.sizes {
			from := int(s.routed(size, chans)) * d * d
			for k := range x.price {
				x.price[k] = min(x.price[k], s.legs.value(from+k, weight))
			}
		}
		if sink := s.p.Platform.Sink; x.output && sink != ir.NoDevice {
			for a := range d {
				x.price[a*d+int(sink)] = 0 // it travels there anyhow
			}
		}
		for k := range d {
			for a := range d {
				if via := x.price[a*d+k]; !math.IsInf(via, 1) {
					for b := range d {
						x.price[a*d+b] = min(x.price[a*d+b], via+x.price[k*d+b])
					}
				}
			}
		}
	}
}
