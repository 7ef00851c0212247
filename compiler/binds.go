package compiler

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes"
)

// Kinds of Bind.
const (
	BindOperator  = "operator" // the processor does not support an operator
	BindRule      = "rule"     // a pin, a prohibition or an earlier placement rules it out
	BindGroup     = "group"    // a node that must share the processor cannot run there
	BindMemory    = "memory"   // memory is short
	BindLimit     = "limit"    // no plan has the node there, for other limits than memory
	BindNode      = "node"     // the node itself is slower there
	BindOthers    = "others"   // other nodes go elsewhere for its sake, and are slower there
	BindTransfer  = "transfer" // values go over links that do not in the plan
	BindCopy      = "copy"     // values go in and out of processors' memories that do not in the plan
	BindLaunch    = "launch"   // sub-models start that do not in the plan
	BindBusiest   = "busiest"  // what sets the throughput then
	bindTransfers = 3          // transfers that are named
)

// Bind is one thing that stands against a processor for a node.
type Bind struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
	// Us is the time that it adds to the work of the plan, in microseconds. Work on
	// several processors and links overlaps: the sum over all binds is not the
	// difference between two latencies.
	Us float64 `json:"us,omitempty"`
	// Bytes is how much memory is missing, of Processor or else of Device; of a
	// transfer, the size of Value.
	Bytes     int64  `json:"bytes,omitempty"`
	Processor string `json:"processor,omitempty"`
	Device    string `json:"device,omitempty"`
	Value     string `json:"value,omitempty"`
	From      string `json:"from,omitempty"` // device
	To        string `json:"to,omitempty"`   // device
}

// barred says what keeps a node off a processor: its operators, a rule, or a node that must be on the same processor.
func (r *Result) barred(at ir.NodeID, p ir.ProcID) []Bind {
	problem := r.Lowered.Problem
	if problem.Costs.Of(at, p) == ir.Unsupported {
		return []Bind{r.unsupported(at, p)}
	}
	g := problem.Graph
	if g.Group(at) == ir.NoGroup {
		return nil
	}
	var binds []Bind
	for _, m := range g.Members(g.Group(at)) {
		if m != at && problem.Costs.Of(m, p) == ir.Unsupported {
			b := r.unsupported(m, p)
			b.Kind = BindGroup
			b.Text = fmt.Sprintf("group %q shares a processor, and node %q cannot be there: %s", g.GroupName(g.Group(at)), g.NodeName(m), b.Text)
			return append(binds, b)
		}
	}
	return binds
}

// unsupported says why a node has no cost on a processor.
func (r *Result) unsupported(at ir.NodeID, p ir.ProcID) Bind {
	name := r.Fleet.Platform.Processors[p].Name
	for _, k := range r.Lowered.Members[at] {
		if n := &r.Analysis.Nodes[k]; !r.Fleet.Supports(p, n.Domain, n.Type) {
			return Bind{Kind: BindOperator, Processor: name, Text: fmt.Sprintf("its profile does not support operator %s of node %q", n.Op, n.Name)}
		}
	}
	names := r.Lowered.NamesOf(at)
	means := func(target string) bool {
		on, err := r.Fleet.Target(target)
		return err == nil && slices.Contains(on, p)
	}
	rule := func(flag string, rules []Rule, bars func(Rule) bool) string {
		for _, e := range rules {
			re, err := regexp.Compile(e.Pattern)
			if err == nil && bars(e) && slices.ContainsFunc(names, re.MatchString) {
				return fmt.Sprintf("%s '%s=%s' rules it out", flag, e.Pattern, e.Processor)
			}
		}
		return ""
	}
	b := Bind{Kind: BindRule, Processor: name}
	if len(r.Options.Only) > 0 && !slices.ContainsFunc(r.Options.Only, means) {
		b.Text = "--only " + strings.Join(r.Options.Only, " --only ") + " rules it out"
		return b
	}
	if b.Text = rule("--pin", r.Options.Pins, func(e Rule) bool { return !means(e.Processor) }); b.Text != "" {
		return b
	}
	if b.Text = rule("--forbid", r.Options.Forbids, func(e Rule) bool { return means(e.Processor) }); b.Text != "" {
		return b
	}
	byName := r.nodesByName()
	for _, e := range r.Options.Place {
		placed := func(named string) bool { n, ok := byName[named]; return ok && n == at }
		if e.Processor != name && slices.ContainsFunc(e.Nodes, placed) {
			b.Text = fmt.Sprintf("the placement file puts it on %s", e.Processor)
			return b
		}
	}
	if r.Options.Reuse != "" {
		b.Text = fmt.Sprintf("--reuse %s keeps it where it was", r.Options.Reuse)
		return b
	}
	return Bind{Kind: BindOperator, Processor: name, Text: "its profile supports no kernel for what the node does"}
}

// pinned is the problem with a node on one processor.
func pinned(p *ir.Problem, at ir.NodeID, to ir.ProcID) *ir.Problem {
	q := *p
	q.Costs = p.Costs.Clone()
	for k := range p.Platform.Processors {
		if ir.ProcID(k) != to {
			q.Costs.Set(at, ir.ProcID(k), ir.Unsupported)
		}
	}
	return &q
}

// roomy is a problem without limits on the memory of a processor and its device.
func roomy(p *ir.Problem, at ir.ProcID) *ir.Problem {
	q, pf := *p, *p.Platform
	pf.Devices, pf.Processors = slices.Clone(pf.Devices), slices.Clone(pf.Processors)
	pf.Processors[at].MemoryBytes = ir.UnlimitedBytes
	pf.Devices[pf.Processors[at].Device].MemoryBytes = ir.UnlimitedBytes
	q.Platform = &pf
	return &q
}

// tight says whether a processor cannot hold all nodes together: where it can, its memory does not bind.
func tight(p *ir.Problem, at ir.ProcID) bool {
	plan := &ir.Plan{Submodels: []ir.Submodel{{Processor: at, Nodes: make([]ir.NodeID, p.Graph.NumNodes())}}}
	for i := range plan.Submodels[0].Nodes {
		plan.Submodels[0].Nodes[i] = ir.NodeID(i)
	}
	return len(passes.Shortages(p, plan)) > 0
}

// memoryBinds places a problem without limits on the memory of a processor and its
// device. If the plan is better than value, or value is 0 because there is none, it says
// how much memory that plan lacks.
func (r *Result) memoryBinds(ctx context.Context, p *ir.Problem, at ir.ProcID, value ir.Time) []Bind {
	if !tight(p, at) {
		return nil
	}
	free, err := passes.Place(ctx, roomy(p, at), r.searchOptions())
	if err != nil || value > 0 && free.Plan.Value() >= value {
		return nil
	}
	gain := ""
	if value > 0 {
		gain = fmt.Sprintf(", which would take %.1f us", free.Plan.Value().Us())
	}
	var binds []Bind
	for _, s := range passes.Shortages(p, free.Plan) {
		b := Bind{Kind: BindMemory, Bytes: s.Bytes}
		var where string
		if s.Processor != ir.NoProc {
			b.Processor = p.Platform.Processors[s.Processor].Name
			where = "processor " + b.Processor
		} else {
			b.Device = p.Platform.Devices[s.Device].Name
			where = "device " + b.Device
		}
		b.Text = fmt.Sprintf("%s is %s of memory short for the best plan with the node there%s", where, diag.Bytes(s.Bytes), gain)
		if value > 0 {
			b.Us = (value - free.Plan.Value()).Us()
		}
		binds = append(binds, b)
	}
	return binds
}

// searchOptions are those of the search for one processor.
func (r *Result) searchOptions() passes.Options {
	o := r.Options.passes()
	o.Auto = false
	return o
}

// infeasible says what stands against any plan of a problem, by the search's error.
func (r *Result) infeasible(ctx context.Context, p *ir.Problem, at ir.ProcID, err error) []Bind {
	binds := r.memoryBinds(ctx, p, at, 0)
	e, ok := passes.IsInfeasible(err)
	if !ok {
		return append(binds, Bind{Kind: BindLimit, Text: err.Error()})
	}
	reasons := e.Reasons
	if len(binds) > 0 {
		reasons = reasons[:min(len(reasons), 1)] // what follows are other ways to make room
	}
	for _, text := range reasons {
		binds = append(binds, Bind{Kind: BindLimit, Text: text})
	}
	return binds
}

// work is where the time of a plan goes, in picoseconds of work.
type work struct {
	node, others, links, copies, launches ir.Time
}

func (r *Result) workOf(p *ir.Problem, at ir.NodeID, placed *ir.Placement) work {
	var w work
	pf := p.Platform
	for i, s := range placed.Plan.Submodels {
		proc := &pf.Processors[s.Processor]
		w.launches += proc.Launch
		for _, list := range [][]ir.NodeID{s.Nodes, s.Replicas} {
			for _, n := range list {
				if n == at {
					w.node += r.Lowered.Problem.Costs.Of(n, s.Processor)
				} else {
					w.others += r.Lowered.Problem.Costs.Of(n, s.Processor)
				}
			}
		}
		run := &placed.Schedule.Runs[i]
		if proc.Upload != nil {
			for _, v := range run.Uploads {
				w.copies += proc.Upload.Time(p.Graph.Bytes(v))
			}
		}
		if proc.Download != nil {
			for _, v := range run.Downloads {
				w.copies += proc.Download.Time(p.Graph.Bytes(v))
			}
		}
	}
	for _, h := range placed.Schedule.Hops {
		w.links += pf.Links[h.Link].Time(p.Graph.Bytes(h.Value))
	}
	return w
}

// slower says what makes a plan with the node on processor to worse than the plan: the work that it adds, the most first.
func (r *Result) slower(p *ir.Problem, at ir.NodeID, from, to ir.ProcID, other *ir.Placement) []Bind {
	var binds []Bind
	add := func(b Bind, extra ir.Time) {
		if extra > 0 {
			b.Us = extra.Us()
			binds = append(binds, b)
		}
	}
	a, b := r.workOf(p, at, r.Placement), r.workOf(p, at, other)
	name := func(q ir.ProcID) string { return p.Platform.Processors[q].Name }
	add(Bind{Kind: BindNode, Processor: name(to), Text: fmt.Sprintf("the node itself takes %.1f us more than on %s", (b.node - a.node).Us(), name(from))}, b.node-a.node)
	moved := "replicas change"
	switch n := r.moved(at, other.Plan); {
	case n == 1:
		moved = "1 other node moves"
	case n > 1:
		moved = fmt.Sprintf("%d other nodes move", n)
	}
	add(Bind{Kind: BindOthers, Text: fmt.Sprintf("%s for its sake, and other nodes take %.1f us more", moved, (b.others - a.others).Us())}, b.others-a.others)
	add(Bind{Kind: BindCopy, Text: fmt.Sprintf("copies between hosts' and processors' memories take %.1f us more", (b.copies - a.copies).Us())}, b.copies-a.copies)
	add(Bind{Kind: BindLaunch, Text: fmt.Sprintf("starts of sub-models take %.1f us more", (b.launches - a.launches).Us())}, b.launches-a.launches)
	if b.links > a.links {
		binds = append(binds, r.transfers(p, other)...)
	}
	slices.SortStableFunc(binds, func(x, y Bind) int { return cmp.Compare(y.Us, x.Us) })
	if other.Plan.Objective == ir.Throughput {
		binds = append([]Bind{busiest(p, other)}, binds...)
	}
	return binds
}

// transfers are the longest hops of a placement that the plan does not have, one a value and link.
func (r *Result) transfers(p *ir.Problem, other *ir.Placement) []Bind {
	type hop struct {
		value ir.ValueID
		link  ir.LinkID
	}
	had := map[hop]bool{}
	for _, h := range r.Placement.Schedule.Hops {
		had[hop{h.Value, h.Link}] = true
	}
	var binds []Bind
	for _, h := range other.Schedule.Hops {
		if had[hop{h.Value, h.Link}] {
			continue
		}
		had[hop{h.Value, h.Link}] = true
		l := &p.Platform.Links[h.Link]
		size := p.Graph.Bytes(h.Value)
		b := Bind{
			Kind: BindTransfer, Us: l.Time(size).Us(), Bytes: size, Value: p.Graph.ValueName(h.Value),
			From: p.Platform.Devices[l.From].Name, To: p.Platform.Devices[l.To].Name,
		}
		b.Text = fmt.Sprintf("value %q, %s, goes from %s to %s in %.1f us", b.Value, diag.Bytes(size), b.From, b.To, b.Us)
		binds = append(binds, b)
	}
	slices.SortStableFunc(binds, func(x, y Bind) int {
		return cmp.Or(cmp.Compare(y.Us, x.Us), strings.Compare(x.Value, y.Value))
	})
	return binds[:min(len(binds), bindTransfers)]
}

// moved counts the nodes, but for one, that another plan has on another processor.
func (r *Result) moved(at ir.NodeID, other *ir.Plan) (count int) {
	on := make([]ir.ProcID, r.Lowered.Problem.Graph.NumNodes())
	for _, s := range r.Placement.Plan.Submodels {
		for _, n := range s.Nodes {
			on[n] = s.Processor
		}
	}
	for _, s := range other.Submodels {
		for _, n := range s.Nodes {
			if n != at && on[n] != s.Processor {
				count += len(r.Lowered.NamesOf(n))
			}
		}
	}
	return count
}

// busiest is the processor or channel whose load is the largest.
func busiest(p *ir.Problem, placed *ir.Placement) Bind {
	b := Bind{Kind: BindBusiest}
	most := ir.Time(-1)
	what := ""
	for q, t := range placed.Schedule.ProcLoad {
		if t > most {
			most, what, b.Processor = t, "processor "+p.Platform.Processors[q].Name, p.Platform.Processors[q].Name
		}
	}
	_, channels := p.Platform.Channels()
	for c, t := range placed.Schedule.LinkLoad {
		if t > most {
			most, what, b.Processor = t, "link "+channels[c], ""
		}
	}
	b.Us = most.Us()
	b.Text = fmt.Sprintf("%s would be busy for %.1f us of each inference", what, b.Us)
	return b
}
