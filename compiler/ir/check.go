package ir

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/gonum/graph/path"
	"gonum.org/v1/gonum/graph/topo"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Rule names a rule of the execution model that makes a plan feasible.
type Rule string

// The rules, in the order in which they are checked.
const (
	RuleEmpty         Rule = "empty"              // every sub-model owns a node
	RuleOwnedTwice    Rule = "owned-twice"        // every node has one owner, and one copy at most in a sub-model
	RuleNotReplicable Rule = "not-replicable"     // replicas are of replicable nodes
	RuleUnsupported   Rule = "unsupported"        // nodes are on processors that support them
	RuleUnplaced      Rule = "unplaced"           // every node has an owner
	RuleGroup         Rule = "group-split"        // groups share a processor; replicas come with their group
	RuleCycle         Rule = "cycle"              // sub-models do not wait for each other
	RuleSubmodels     Rule = "too-many-submodels" // no processor has more than it may
	RuleProcMemory    Rule = "processor-memory"
	RuleDeviceMemory  Rule = "device-memory"
	RuleUnreachable   Rule = "unreachable" // links lead wherever a value must go
)

// Violation is one broken rule, with a sentence that names what breaks it.
type Violation struct {
	Rule Rule
	Msg  string
}

func (v *Violation) Error() string { return v.Msg }

// perRule is how many violations of one rule are kept.
const perRule = 5

type checker struct {
	p    *Problem
	plan *Plan
	w    *Wiring
	list diag.List
	seen map[Rule]int
}

// CheckPlan tests every rule that makes a plan feasible. The error, if any, is a
// *Violation or a diag.List of them, at most five of a rule.
func CheckPlan(p *Problem, plan *Plan) error {
	c := checker{p: p, plan: plan, seen: map[Rule]int{}}
	if !c.indices() {
		return c.list.Err()
	}
	c.w = Connect(p.Graph, plan)
	c.nodes()
	c.groups()
	c.order()
	c.limits()
	c.reach()
	return c.list.Err()
}

func (c *checker) add(rule Rule, format string, args ...any) {
	if c.seen[rule]++; c.seen[rule] <= perRule {
		c.list = append(c.list, &Violation{rule, fmt.Sprintf(format, args...)})
	}
}

func (c *checker) label(s int) string {
	return fmt.Sprintf("sub-model %d (%s)", s, c.p.Platform.Processors[c.plan.Submodels[s].Processor].Name)
}

func (c *checker) name(n NodeID) string { return fmt.Sprintf("node %q", c.p.Graph.NodeName(n)) }

// indices checks what all later checks rely on.
func (c *checker) indices() bool {
	for i, s := range c.plan.Submodels {
		if s.Processor < 0 || int(s.Processor) >= len(c.p.Platform.Processors) {
			c.add(RuleUnsupported, "sub-model %d: there is no processor %d", i, s.Processor)
			continue
		}
		for _, list := range [][]NodeID{s.Nodes, s.Replicas} {
			if !slices.IsSorted(list) {
				c.add(RuleOwnedTwice, "%s: its nodes are not in order", c.label(i))
			}
			for _, n := range list {
				if n < 0 || int(n) >= c.p.Graph.NumNodes() {
					c.add(RuleUnplaced, "%s: there is no node %d", c.label(i), n)
				}
			}
		}
	}
	return len(c.list) == 0
}

func (c *checker) nodes() {
	for i := range c.plan.Submodels {
		s := &c.plan.Submodels[i]
		if len(s.Nodes) == 0 {
			c.add(RuleEmpty, "%s owns no node", c.label(i))
		}
		for k, n := range s.Nodes {
			switch o := c.w.Owner[n]; {
			case o != int32(i):
				c.add(RuleOwnedTwice, "%s is in %s and in %s", c.name(n), c.label(int(o)), c.label(i))
			case k > 0 && s.Nodes[k-1] == n:
				c.add(RuleOwnedTwice, "%s holds %s twice", c.label(i), c.name(n))
			}
		}
		for k, n := range s.Replicas {
			switch {
			case c.w.Owner[n] == int32(i) || k > 0 && s.Replicas[k-1] == n:
				c.add(RuleOwnedTwice, "%s holds %s twice", c.label(i), c.name(n))
			case !c.p.Graph.Replicable(n):
				c.add(RuleNotReplicable, "%s has a replica of %s, which is not replicable", c.label(i), c.name(n))
			}
		}
		for _, n := range c.w.Held(i) {
			if c.p.Costs.Of(n, s.Processor) == Unsupported {
				c.add(RuleUnsupported, "%s cannot run on %s", c.name(n), c.p.Platform.Processors[s.Processor].Name)
			}
		}
	}
	for n, o := range c.w.Owner {
		if o < 0 {
			c.add(RuleUnplaced, "%s is in no sub-model", c.name(NodeID(n)))
		}
	}
}

func (c *checker) groups() {
	g := c.p.Graph
	where := func(n NodeID) ProcID {
		if o := c.w.Owner[n]; o >= 0 {
			return c.plan.Submodels[o].Processor
		}
		return NoProc
	}
	procName := func(n NodeID) string { return c.p.Platform.Processors[where(n)].Name }
	for id := range GroupID(g.NumGroups()) {
		first := NoNode
		for _, n := range g.Members(id) {
			switch {
			case where(n) == NoProc:
			case first == NoNode:
				first = n
			case where(n) != where(first):
				c.add(RuleGroup, "group %q: %s is on %s, %s on %s", g.GroupName(id), c.name(first), procName(first), c.name(n), procName(n))
			}
		}
	}
	for i := range c.plan.Submodels {
		held := c.w.Held(i)
		for _, n := range c.plan.Submodels[i].Replicas {
			if g.Group(n) == NoGroup {
				continue
			}
			for _, m := range g.Members(g.Group(n)) {
				if _, ok := slices.BinarySearch(held, m); !ok {
					c.add(RuleGroup, "group %q: %s has a replica of %s but not %s", g.GroupName(g.Group(n)), c.label(i), c.name(n), c.name(m))
					break
				}
			}
		}
	}
}

// order checks that data edges and the order of each processor form a DAG.
func (c *checker) order() {
	var edges [][2]int32
	for i := range c.plan.Submodels {
		if j := c.w.Previous[i]; j >= 0 {
			edges = append(edges, [2]int32{j, int32(i)})
		}
		for _, v := range c.w.Needs(i) {
			if n := c.p.Graph.Producer(v); n != NoNode && c.w.Owner[n] >= 0 && c.w.Owner[n] != int32(i) {
				edges = append(edges, [2]int32{c.w.Owner[n], int32(i)})
			}
		}
	}
	quotient := NewView(len(c.plan.Submodels), edges)
	if _, err := topo.Sort(quotient); err == nil {
		return
	}
	loop := shortestCycle(quotient)
	names := make([]string, 0, len(loop)+1)
	for _, s := range loop {
		names = append(names, c.label(s))
	}
	c.add(RuleCycle, "sub-models wait for each other: %s", strings.Join(append(names, names[0]), " -> "))
}

// shortestCycle is a shortest one through the least vertex that is on any.
func shortestCycle(v *View) []int {
	least := int64(-1)
	for _, part := range topo.TarjanSCC(v) {
		for _, n := range part {
			if len(part) > 1 && (least < 0 || n.ID() < least) {
				least = n.ID()
			}
		}
	}
	shortest := path.DijkstraFrom(v.Node(least), v)
	var loop []int
	for to := v.To(least); to.Next(); {
		if nodes, _ := shortest.To(to.Node().ID()); len(nodes) > 0 && (loop == nil || len(nodes) < len(loop)) {
			loop = loop[:0]
			for _, n := range nodes {
				loop = append(loop, int(n.ID()))
			}
		}
	}
	return loop
}

func (c *checker) limits() {
	pf := c.p.Platform
	count := make([]int, len(pf.Processors))
	for _, s := range c.plan.Submodels {
		count[s.Processor]++
	}
	m := MeasureMemory(c.p, c.plan, c.w)
	for q, e := range pf.Processors {
		if limit := c.p.SubmodelLimit(ProcID(q)); limit > 0 && count[q] > limit {
			c.add(RuleSubmodels, "processor %s has %d sub-models, it may have %d", e.Name, count[q], limit)
		}
		if used := m.Processors[q]; used > e.MemoryBytes {
			c.add(RuleProcMemory, "processor %s needs %s, %s more than its %s", e.Name, diag.Bytes(used), diag.Bytes(used-e.MemoryBytes), diag.Bytes(e.MemoryBytes))
		}
	}
	for d, e := range pf.Devices {
		if used := m.Devices[d]; used > e.MemoryBytes {
			c.add(RuleDeviceMemory, "device %s needs %s, %s more than its %s", e.Name, diag.Bytes(used), diag.Bytes(used-e.MemoryBytes), diag.Bytes(e.MemoryBytes))
		}
	}
}

// reach checks that every value can travel to where it is needed.
func (c *checker) reach() {
	routes := NewRoutes(c.p.Platform)
	for v := range ValueID(c.p.Graph.NumValues()) {
		origin, goals := Travels(c.p, c.plan, c.w, v, nil)
		for _, b := range goals {
			if routes.Find(origin, b, c.p.Graph.Bytes(v)) == nil {
				c.add(RuleUnreachable, "value %q must go from device %s to %s, no link leads there", c.p.Graph.ValueName(v),
					c.p.Platform.Devices[origin].Name, c.p.Platform.Devices[b].Name)
			}
		}
	}
}

// Travels says from which device a value is sent and to which others, ascending, appended to goals.
// A value that is everywhere, or whose producer no sub-model owns, is not sent.
func Travels(p *Problem, plan *Plan, w *Wiring, v ValueID, goals []DeviceID) (origin DeviceID, to []DeviceID) {
	pf := p.Platform
	on := func(s int32) DeviceID { return pf.Processors[plan.Submodels[s].Processor].Device }
	if n := p.Graph.Producer(v); n == NoNode {
		origin = pf.Source
	} else if w.Owner[n] >= 0 {
		origin = on(w.Owner[n])
	} else {
		origin = NoDevice
	}
	if origin == NoDevice {
		return origin, goals
	}
	start := len(goals)
	for _, s := range w.Users(v) {
		goals = append(goals, on(s))
	}
	if p.Graph.IsOutput(v) && pf.Sink != NoDevice {
		goals = append(goals, pf.Sink)
	}
	slices.Sort(goals[start:])
	out := goals[:start]
	for i, b := range goals[start:] {
		if b != origin && (i == 0 || goals[start+i-1] != b) {
			out = append(out, b)
		}
	}
	return origin, out
}
