package importer

import (
	"cmp"
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/dense"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// nodeTime is what the profiles say of a node.
type nodeTime struct {
	us, spread float64
	runs       int64
	alone      bool // its layers hold it and nothing else
	state      nodeState
}

// share divides the time of layers among nodes. Layers that have nodes in common
// are one sum; it is divided by predicted work, because a kernel that does the work
// of several nodes does not say how much is whose. Work is that of the roofline
// without the overhead of an operation, of which a fused kernel has one.
func (a *attribution) share(work func(n *Node) float64) []nodeTime {
	times := make([]nodeTime, len(a.m.Nodes))
	sets := dense.NewSets(len(a.t.layers))
	// Copies add to a node and join nothing.
	main := func(layers []int) int {
		for _, l := range layers {
			if a.how[l] != byNeighbour {
				return l
			}
		}
		return -1
	}
	for i := range a.m.Nodes {
		first := main(a.taken[i])
		for _, l := range a.taken[i] {
			if first >= 0 && a.how[l] != byNeighbour {
				sets.Join(l, first)
			}
		}
	}
	members := make([][]int, len(a.t.layers)) // by root
	for i := range a.m.Nodes {
		l := main(a.taken[i])
		if a.state[i] == inFused {
			l = a.fused[i]
		}
		if l >= 0 {
			r := sets.Find(l)
			members[r] = append(members[r], i)
		}
		times[i].state = a.state[i]
	}
	sum := make([]nodeTime, len(a.t.layers))
	for l := range a.t.layers {
		if a.how[l] != unresolved && a.how[l] != byNeighbour {
			sum[sets.Find(l)].add(&a.t.layers[l])
		}
	}
	for r, nodes := range members {
		if len(nodes) == 0 {
			continue
		}
		weights := make([]float64, len(nodes))
		total := 0.0
		for k, i := range nodes {
			weights[k] = max(work(&a.m.Nodes[i]), 0)
			total += weights[k]
		}
		for k, i := range nodes {
			part := 1 / float64(len(nodes))
			if total > 0 {
				part = weights[k] / total
			}
			t := &times[i]
			t.us, t.spread, t.runs = float64(part*sum[r].us), float64(part*sum[r].spread), sum[r].runs
			t.alone = len(nodes) == 1
		}
	}
	for l := range a.t.layers {
		if a.how[l] == byNeighbour && len(a.of[l]) > 0 {
			t := &times[a.of[l][0]]
			t.add(&a.t.layers[l])
		}
	}
	for i := range times {
		if times[i].state == dropped {
			times[i].runs, times[i].alone = int64(max(a.t.runs-a.t.warmUp, 1)), true
		}
	}
	return times
}

func (t *nodeTime) add(l *layer) {
	t.us += l.us
	t.spread += l.spreadUs
	if t.runs == 0 || l.runs < t.runs {
		t.runs = l.runs
	}
}

// tally collects the times of one signature.
type tally struct {
	entry profiles.CostEntry
	us    []float64 // one for each unit and file
	sum   float64
	wide  float64
	runs  int64
}

// entries makes one entry for each signature: the mean over the units that have it,
// so that the sum over the model is what was measured.
func entries(m *Model, files [][]nodeTime) []profiles.CostEntry {
	bySignature := map[string]*tally{}
	add := func(e profiles.CostEntry, us, spread float64, runs int64) {
		if e.Signature == "" || !(us >= 0) || math.IsInf(us, 0) {
			return
		}
		t := bySignature[e.Signature]
		if t == nil {
			t = &tally{entry: e}
			bySignature[e.Signature] = t
		}
		t.us = append(t.us, us)
		t.sum += us
		t.wide += spread
		t.runs += max(runs, 1)
	}
	for _, times := range files {
		for u := range m.Units {
			unit := &m.Units[u]
			var us, spread float64
			runs, covered := int64(0), len(unit.Nodes) > 0
			for _, i := range unit.Nodes {
				t := &times[i]
				covered = covered && t.state != noTime && t.state != elsewhere
				us += t.us
				spread += t.spread
				if runs == 0 || t.runs < runs {
					runs = t.runs
				}
			}
			if covered {
				add(profiles.CostEntry{
					Signature: unit.Signature, Op: unit.Op, Domain: unit.Domain, Elem: unit.Elem, FLOPs: unit.FLOPs, Bytes: unit.Bytes,
				}, us, spread, runs)
			}
			if len(unit.Nodes) < 2 {
				continue
			}
			// A node of a group that ran by itself is measured as what it is elsewhere.
			for _, i := range unit.Nodes {
				if t, n := &times[i], &m.Nodes[i]; t.state == hasOwn && t.alone {
					add(n.entry(), t.us, t.spread, t.runs)
				}
			}
		}
	}
	out := make([]profiles.CostEntry, 0, len(bySignature))
	for _, t := range bySignature {
		n := float64(len(t.us))
		e := t.entry
		e.MedianUs, e.SpreadUs, e.Runs = digits(t.sum/n), digits(t.wide/n), t.runs
		if len(t.us) > 1 {
			_, between := quartiles(t.us)
			e.SpreadUs = digits(max(t.wide/n, between))
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b profiles.CostEntry) int { return cmp.Compare(a.Signature, b.Signature) })
	return out
}

// digits rounds microseconds to the picosecond, beyond which costs do not go.
func digits(us float64) float64 { return math.Round(us*1e6) / 1e6 }

func (n *Node) entry() profiles.CostEntry {
	return profiles.CostEntry{Signature: n.Signature, Op: n.Op, Domain: n.Domain, Elem: n.Elem, FLOPs: n.FLOPs, Bytes: n.Bytes}
}
