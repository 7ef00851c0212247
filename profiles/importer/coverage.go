package importer

import (
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Coverage says what became of the events of a profile and of the nodes of a model.
type Coverage struct {
	Files []FileCoverage `json:"files"`

	Events     int64       `json:"events"` // that were recorded, but for those set aside
	Us         float64     `json:"us"`     // of these
	Attributed Attributed  `json:"attributed"`
	Ways       []Way       `json:"ways"`     // how layers were attributed
	LeftOut    []LeftOut   `json:"left_out"` // events that were set aside, and those that could not be attributed
	Nodes      int         `json:"nodes"`    // of the model
	Timed      int         `json:"nodes_with_time"`
	Own        int         `json:"nodes_with_own_time"`
	Fused      []Fused     `json:"fused"`        // kernels that do the work of several nodes
	Dropped    []string    `json:"dropped"`      // nodes that the runtime does not run
	WithoutUs  []NodesLack `json:"without_time"` // nodes
	Notes      []string    `json:"notes"`
}

// FileCoverage is what is known of a file.
type FileCoverage struct {
	File      string  `json:"file"`
	Format    Format  `json:"format"`
	Runs      int     `json:"runs"`    // complete ones
	WarmUp    int     `json:"warm_up"` // of them left out
	Truncated bool    `json:"truncated"`
	RunUs     float64 `json:"run_us"`     // median of a run, 0 if the file does not tell
	KernelsUs float64 `json:"kernels_us"` // sum over the kernels of their medians
	Scale     float64 `json:"scale"`      // that times were multiplied by
}

// Attributed is what was attributed to nodes.
type Attributed struct {
	Events int64   `json:"events"`
	Us     float64 `json:"us"`     // of all these events
	RunUs  float64 `json:"run_us"` // in a run, summed over files
}

// Way is a manner of attribution.
type Way struct {
	How     string  `json:"how"`
	Kernels int     `json:"kernels"`
	RunUs   float64 `json:"run_us"`
}

// Fused is a kernel that does the work of several nodes.
type Fused struct {
	Kernel string   `json:"kernel"`
	RunUs  float64  `json:"run_us"`
	Nodes  []string `json:"nodes"`
	Units  int      `json:"units"` // among which its time is divided
}

// NodesLack lists nodes that have no time for one reason.
type NodesLack struct {
	Reason string   `json:"reason"`
	Nodes  []string `json:"nodes"`
}

type coverage struct {
	Coverage
	m      *Model
	unitOf []int
	left   leftOut
	ways   [len(howNames)]Way
	seen   map[string]bool // fused kernels
	states []nodeState     // by node, the best over the files
}

func newCoverage(m *Model) *coverage {
	c := &coverage{m: m, unitOf: make([]int, len(m.Nodes)), seen: map[string]bool{}, states: make([]nodeState, len(m.Nodes))}
	for u := range m.Units {
		for _, i := range m.Units[u].Nodes {
			c.unitOf[i] = u
		}
	}
	c.Nodes = len(m.Nodes)
	c.Fused, c.Dropped, c.WithoutUs, c.Notes = []Fused{}, []string{}, []NodesLack{}, []string{}
	return c
}

// add counts a file.
func (c *coverage) add(a *attribution, scale float64) {
	t := a.t
	c.Files = append(c.Files, FileCoverage{
		File: t.file, Format: t.format, Runs: t.runs, WarmUp: t.warmUp, Truncated: t.truncated, RunUs: t.runUs, KernelsUs: a.runSum(), Scale: scale,
	})
	c.Notes = append(append(c.Notes, t.notes...), a.notes...)
	for _, l := range t.left.list {
		o := c.left.add(l.Reason, "", l.Events, l.Us)
		o.Aside = l.Aside
		for _, e := range l.Examples {
			c.left.add(l.Reason, e, 0, 0)
		}
	}
	fused := map[int][]int{} // by layer: nodes without a layer of their own
	for i := range a.m.Nodes {
		if a.state[i] == inFused {
			fused[a.fused[i]] = append(fused[a.fused[i]], i)
		}
		c.states[i] = better(c.states[i], a.state[i])
	}
	for l := range t.layers {
		x := &t.layers[l]
		c.Events += x.events
		c.Us += x.totalUs
		if a.how[l] == unresolved {
			why := a.why[l]
			if why == "" {
				why = "names no node of the model"
			}
			c.left.add(why, x.name, x.events, x.totalUs)
			continue
		}
		c.Attributed.Events += x.events
		c.Attributed.Us += x.totalUs
		c.Attributed.RunUs += float64(x.us * scale)
		c.ways[a.how[l]].Kernels++
		c.ways[a.how[l]].RunUs += float64(x.us * scale)
		if nodes := append(slices.Clone(a.of[l]), fused[l]...); len(nodes) > 1 && !c.seen[x.name] {
			c.seen[x.name] = true
			slices.Sort(nodes)
			f := Fused{Kernel: x.name, RunUs: float64(x.us * scale), Nodes: []string{}}
			units := map[int]bool{}
			for _, i := range nodes {
				units[c.unitOf[i]] = true
				f.Nodes = append(f.Nodes, a.m.Nodes[i].Label)
			}
			f.Units = len(units)
			c.Fused = append(c.Fused, f)
		}
	}
}

// better is the state that says more.
func better(a, b nodeState) nodeState {
	if slices.Index(stateOrder[:], a) > slices.Index(stateOrder[:], b) {
		return a
	}
	return b
}

var stateOrder = [...]nodeState{noTime, elsewhere, dropped, inFused, hasOwn}

func (c *coverage) finish() Coverage {
	lack := func(reason, node string) {
		i := slices.IndexFunc(c.WithoutUs, func(l NodesLack) bool { return l.Reason == reason })
		if i < 0 {
			i = len(c.WithoutUs)
			c.WithoutUs = append(c.WithoutUs, NodesLack{Reason: reason})
		}
		c.WithoutUs[i].Nodes = append(c.WithoutUs[i].Nodes, node)
	}
	for i, s := range c.states {
		switch label := c.m.Nodes[i].Label; s {
		case hasOwn:
			c.Timed++
			c.Own++
		case inFused:
			c.Timed++
		case dropped:
			c.Dropped = append(c.Dropped, label)
		case elsewhere:
			lack("they ran on another provider", label)
		case noTime:
			lack("no event names them", label)
		}
	}
	for h, w := range c.ways {
		if w.Kernels > 0 {
			w.How = howNames[h]
			c.Ways = append(c.Ways, w)
		}
	}
	c.LeftOut = append([]LeftOut{}, c.left.list...)
	split := 0
	for _, f := range c.Fused {
		if f.Units > 1 {
			split++
		}
	}
	if split > 0 {
		verb := "does"
		if split > 1 {
			verb = "do"
		}
		c.Notes = append(c.Notes, fmt.Sprintf("%s %s the work of several units that may be placed apart; their time is divided by predicted work", diag.Count(split, "kernel", "kernels"), verb))
	}
	return c.Coverage
}
