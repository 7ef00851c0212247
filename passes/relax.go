package passes

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// relax names changes of the problem after which a plan is found, with what each limit would have to be: more
// sub-models, more memory and how much of it where, groups that would have to be split, nodes that would have to run
// elsewhere, links.
func relax(j *job) []string {
	var reasons []string
	add := func(way string) {
		if way != "" && j.ctx.Err() == nil {
			reasons = append(reasons, way)
		}
	}
	add(j.relaxSubmodels())
	add(j.relaxMemory())
	add(j.relaxGroups())
	add(j.relaxPlaces())
	add(j.relaxLinks())
	return reasons
}

// quickly looks for any plan of a problem; nil if none is found.
func (j *job) quickly(p *ir.Problem, lists bool) *ir.Plan {
	k := newJob(j.ctx, p, Options{Objective: j.o.Objective})
	k.pass = "relax"
	steps := []func(*job) error{singles, fit}
	if lists {
		steps = append(steps, baselines)
	}
	if p.Graph.NumNodes() <= relaxNodes {
		steps = append(steps, func(k *job) error { k.decide(k.ctx, relaxSteps); return nil })
	}
	for _, step := range steps {
		if step(k) != nil || k.best != nil {
			break
		}
	}
	return k.best
}

// relaxSubmodels finds the fewest sub-models for each processor that would do.
func (j *job) relaxSubmodels() string {
	limited := j.p.Submodels != 0
	for _, q := range j.p.Platform.Processors {
		limited = limited || q.MaxSubmodels > 0
	}
	if !limited || j.p.Graph.NumNodes() > slowNodes {
		return ""
	}
	pf := *j.p.Platform
	pf.Processors = slices.Clone(pf.Processors)
	free := *j.p
	free.Platform = &pf
	at := func(limit int) *ir.Plan {
		free.Submodels = limit
		for q, e := range j.p.Platform.Processors {
			if e.MaxSubmodels > 0 && (limit == 0 || e.MaxSubmodels < limit) {
				pf.Processors[q].MaxSubmodels = limit
			}
		}
		return j.quickly(&free, true)
	}
	if at(0) == nil {
		return ""
	}
	for limit := j.p.Submodels + 1; j.p.Submodels != 0 && limit <= j.p.Submodels+4; limit++ {
		if at(limit) != nil {
			return fmt.Sprintf("it would fit with up to %d sub-models for each processor", limit)
		}
	}
	return "it would fit with more sub-models for each processor: allow any number"
}

// slowNodes is the number of nodes from which on a single try takes time.
const slowNodes = 50_000

// relaxMemory finds little more memory that would do: on one processor, or everywhere by the same share.
func (j *job) relaxMemory() string {
	pf := j.p.Platform
	var best string
	least := ir.UnlimitedBytes
	consider := func(plan *ir.Plan) {
		if extra, text := j.lacks(plan); text != "" && extra < least {
			least, best = extra, text
		}
	}
	with := func(change func(q int, e *ir.Processor, d *ir.Device)) *ir.Plan {
		wide := *j.p
		to := *pf
		to.Processors, to.Devices = slices.Clone(pf.Processors), slices.Clone(pf.Devices)
		wide.Platform = &to
		for q := range to.Processors {
			change(q, &to.Processors[q], &to.Devices[to.Processors[q].Device])
		}
		return j.quickly(&wide, false)
	}
	percents := []int64{1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000}
	if j.p.Graph.NumNodes() > slowNodes {
		percents = []int64{20, 100, 500}
	}
	for _, percent := range percents {
		plan := with(func(q int, e *ir.Processor, d *ir.Device) {
			e.MemoryBytes = more(pf.Processors[q].MemoryBytes, percent)
			d.MemoryBytes = more(pf.Devices[e.Device].MemoryBytes, percent)
		})
		if plan != nil {
			consider(plan)
			break
		}
		if j.ctx.Err() != nil {
			return ""
		}
	}
	if j.p.Graph.NumNodes() > slowNodes/10 || len(pf.Processors) > 16 {
		return best
	}
	for only := range pf.Processors {
		at := func(limit int64) *ir.Plan {
			return with(func(q int, e *ir.Processor, d *ir.Device) {
				if q == only {
					added := limit - min(limit, e.MemoryBytes)
					e.MemoryBytes = limit
					d.MemoryBytes += min(added, ir.UnlimitedBytes-d.MemoryBytes)
				}
			})
		}
		e := &pf.Processors[only]
		low := min(e.MemoryBytes, pf.Devices[e.Device].MemoryBytes) // no plan is known
		plan := at(ir.UnlimitedBytes)
		for tries := 0; plan != nil && tries < 8; tries++ {
			consider(plan)
			high := ir.MeasureMemory(j.p, plan, ir.Connect(j.p.Graph, plan)).Processors[only]
			plan = nil
			for high-low > max(1, low/100) && plan == nil && j.ctx.Err() == nil {
				mid := low + (high-low)/2
				if plan = at(mid); plan == nil {
					low = mid
				}
			}
		}
	}
	return best
}

// Shortage is memory that a plan needs and that is not there: of a processor, or of a device.
type Shortage struct {
	Processor ir.ProcID   // NoProc: of the device
	Device    ir.DeviceID // whose processors together need too much, or that of Processor
	Bytes     int64       // > 0
}

// Shortages are the limits on memory that a plan breaks: processors first, each in
// order. The plan must be sound otherwise.
func Shortages(p *ir.Problem, plan *ir.Plan) []Shortage {
	need := ir.MeasureMemory(p, plan, ir.Connect(p.Graph, plan))
	var list []Shortage
	for q, e := range p.Platform.Processors {
		if k := need.Processors[q] - e.MemoryBytes; k > 0 {
			list = append(list, Shortage{ir.ProcID(q), e.Device, k})
		}
	}
	for d, e := range p.Platform.Devices {
		if k := need.Devices[d] - e.MemoryBytes; k > 0 {
			list = append(list, Shortage{ir.NoProc, ir.DeviceID(d), k})
		}
	}
	return list
}

// lacks is how much more memory a plan needs than there is, in all and in words; "" if it fits.
func (j *job) lacks(plan *ir.Plan) (extra int64, text string) {
	var where []string
	for _, s := range Shortages(j.p, plan) {
		extra += s.Bytes
		if s.Processor != ir.NoProc {
			where = append(where, fmt.Sprintf("%s for processor %q", diag.Bytes(s.Bytes), j.p.Platform.Processors[s.Processor].Name))
		} else {
			where = append(where, fmt.Sprintf("%s for device %q", diag.Bytes(s.Bytes), j.p.Platform.Devices[s.Device].Name))
		}
	}
	if len(where) == 0 {
		return 0, ""
	}
	return extra, "it would fit with more memory: " + strings.Join(where, ", ")
}

// relaxGroups lets the nodes of groups run apart.
func (j *job) relaxGroups() string {
	g := j.p.Graph
	if g.NumGroups() == 0 || g.NumNodes() > slowNodes {
		return ""
	}
	free := *j.p
	free.Graph = g.Ungrouped()
	what := j.broken(j.quickly(&free, true), ir.RuleGroup)
	if what == "" {
		return ""
	}
	return "it would fit if groups might be split: " + what
}

// relaxPlaces lets every node run everywhere, at the price of the slowest processor that may run it.
func (j *job) relaxPlaces() string {
	if j.p.Graph.NumNodes() > slowNodes {
		return ""
	}
	wide := *j.p
	wide.Costs = j.p.Costs.Clone()
	for n := range ir.NodeID(j.p.Graph.NumNodes()) {
		row := j.p.Costs.Row(n)
		for q, c := range row {
			if c == ir.Unsupported {
				wide.Costs.Set(n, ir.ProcID(q), max(0, slices.Max(row)))
			}
		}
	}
	what := j.broken(j.quickly(&wide, true), ir.RuleUnsupported)
	if what == "" {
		return ""
	}
	return "it would fit if nodes might run elsewhere: " + what
}

// relaxLinks joins all devices.
func (j *job) relaxLinks() string {
	pf := *j.p.Platform
	if len(pf.Devices) > 100 || j.p.Graph.NumNodes() > slowNodes {
		return ""
	}
	joined := map[[2]ir.DeviceID]bool{}
	for _, l := range pf.Links {
		joined[[2]ir.DeviceID{l.From, l.To}] = true
	}
	pf.Links = slices.Clone(pf.Links)
	for a := range ir.DeviceID(len(pf.Devices)) {
		for b := range ir.DeviceID(len(pf.Devices)) {
			if a != b && !joined[[2]ir.DeviceID{a, b}] {
				pf.Links = append(pf.Links, ir.Link{From: a, To: b, Copy: ir.Copy{BytesPerUs: 1000}})
			}
		}
	}
	wide := *j.p
	wide.Platform = &pf
	what := j.broken(j.quickly(&wide, true), ir.RuleUnreachable)
	if what == "" {
		return ""
	}
	return "it would fit with more links: " + what
}

// broken lists what a plan of a relaxed problem breaks of a rule; "" if nothing.
func (j *job) broken(plan *ir.Plan, rule ir.Rule) string {
	if plan == nil {
		return ""
	}
	var list diag.List
	if err := ir.CheckPlan(j.p, plan); !errors.As(err, &list) {
		list = diag.List{err}
	}
	var what []string
	for _, err := range list {
		var v *ir.Violation
		if errors.As(err, &v) && v.Rule == rule {
			what = append(what, v.Msg)
		}
	}
	if len(what) > namedNodes {
		what = append(what[:namedNodes], "and more")
	}
	return strings.Join(what, ", ")
}

// more is a limit raised by some percent.
func more(limit, percent int64) int64 {
	if limit > ir.UnlimitedBytes/(100+percent) {
		return ir.UnlimitedBytes
	}
	return limit * (100 + percent) / 100
}
