package backend

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// description is the manifest in the making.
type description struct {
	c     *cut
	p     *ir.Placement
	order []int    // sub-models (indices in the plan) in execution order
	stems []string // by index in the plan: id and file name without extension
	runAt []int    // by index in the plan: place among its processor's runs
	data  map[int]*store
}

func newDescription(c *cut, p *ir.Placement) (*description, error) {
	if len(p.Schedule.Runs) != len(p.Plan.Submodels) {
		diag.Bugf("the schedule has %d runs for %d sub-models", len(p.Schedule.Runs), len(p.Plan.Submodels))
	}
	d := &description{c: c, p: p, data: map[int]*store{}}
	d.stems = SubmodelIDs(c.l.Problem.Platform, c.plan)
	d.executionOrder()
	for _, part := range c.parts {
		for _, v := range slices.Concat(part.inputs, part.outputs) {
			if err := c.x.checkName(c.x.names[v]); err != nil {
				return nil, err
			}
		}
	}
	for _, list := range [][]*onnxpb.ValueInfoProto{c.x.graph.GetInput(), c.x.graph.GetOutput()} {
		for _, v := range list {
			if err := c.x.checkName(v.GetName()); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// checkName refuses names that JSON cannot hold.
func (x *index) checkName(name string) error {
	if utf8.ValidString(name) {
		return nil
	}
	return &diag.Error{File: x.m.Path, Value: name, Msg: "it crosses a boundary of a sub-model, but its name is not valid UTF-8, so the manifest cannot hold it: rename it"}
}

// executionOrder sorts the sub-models topologically over their data and each
// processor's order; among those that are ready the one that starts first goes
// first.
func (d *description) executionOrder() {
	c := d.c
	n := len(c.parts)
	waits := make([]int, n)
	after := make([][]int, n)
	edge := func(a, b int) {
		after[a] = append(after[a], b)
		waits[b]++
	}
	last := map[ir.ProcID]int{}
	d.runAt = make([]int, n)
	for i, s := range c.plan.Submodels {
		if j, ok := last[s.Processor]; ok {
			edge(j, i)
			d.runAt[i] = d.runAt[j] + 1
		}
		last[s.Processor] = i
	}
	for i, p := range c.parts {
		for _, v := range p.inputs {
			if from := c.maker(v); from >= 0 {
				edge(int(from), i)
			}
		}
	}
	earlier := func(a, b int) int {
		return cmp.Or(cmp.Compare(d.p.Schedule.Runs[a].Start, d.p.Schedule.Runs[b].Start), cmp.Compare(a, b))
	}
	var ready []int
	for i, w := range waits {
		if w == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		i := slices.MinFunc(ready, earlier)
		ready = slices.DeleteFunc(ready, func(j int) bool { return j == i })
		d.order = append(d.order, i)
		for _, j := range after[i] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	if len(d.order) != n {
		diag.Bugf("the sub-models of the plan wait for one another in a circle")
	}
}

// SubmodelIDs are the ids of a plan's sub-models, by index in the plan: the names
// of their files without extension.
func SubmodelIDs(pf *ir.Platform, plan *ir.Plan) []string {
	procs := make([]string, len(pf.Processors))
	counts := make([]int, len(pf.Processors))
	for i, p := range pf.Processors {
		procs[i] = p.Name
	}
	for _, s := range plan.Submodels {
		counts[s.Processor]++
	}
	stems := fileStems(procs, counts)
	ids := make([]string, len(plan.Submodels))
	for i, s := range plan.Submodels {
		ids[i] = stems[s.Processor][0]
		stems[s.Processor] = stems[s.Processor][1:]
	}
	return ids
}

// dataFile notes that a sub-model has external weights; i is its place in the order.
func (d *description) dataFile(i int, s *store) { d.data[i] = s }

func (d *description) manifest(o Options) *Manifest {
	c, x := d.c, d.c.x
	m := &Manifest{
		Schema:    ManifestSchema,
		Tool:      Tool{"dnnsplit", o.ToolVersion},
		Model:     Model{File: filepath.Base(x.m.Path), Data: d.sourceData(), Inputs: []Tensor{}, Outputs: []Tensor{}},
		Options:   o.Recorded,
		Submodels: []Submodel{}, Edges: []Edge{}, Inputs: []Input{}, Outputs: []Output{},
		Files: []File{}, Notes: append([]string{}, c.l.Notes...),
	}
	if m.Options == nil {
		m.Options = json.RawMessage("{}")
	}
	d.hardware(m)
	m.Links = d.links()
	for i, s := range d.order {
		m.Submodels = append(m.Submodels, d.submodel(i, s))
	}
	transfers := d.transfers()
	d.edges(m, transfers)
	d.boundary(m, transfers)
	m.Prediction = d.prediction()
	if n := len(x.m.Proto.GetTrainingInfo()); n > 0 {
		m.Notes = append(m.Notes, "training_info is about the whole model and is left out of the sub-models")
	}
	return m
}

// sourceData lists the source's external data files that the sub-models take weights from.
func (d *description) sourceData() []string {
	var out []string
	for i := range d.order {
		s := d.data[i]
		if s == nil {
			continue
		}
		for _, r := range s.ranges {
			if r.from != "" {
				out = append(out, path.Clean(r.from))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func limit(n int64) *int64 {
	if n == ir.UnlimitedBytes {
		return nil
	}
	return &n
}

func (d *description) hardware(m *Manifest) {
	pf, s := d.c.l.Problem.Platform, d.p.Schedule
	ids := make([][]string, len(pf.Processors))
	for i, sub := range d.c.plan.Submodels {
		ids[sub.Processor] = append(ids[sub.Processor], d.stems[i])
	}
	used := make([]int64, len(pf.Devices))
	m.Devices, m.Processors = []Device{}, []Processor{}
	for i, p := range pf.Processors {
		q := Processor{
			Name: p.Name, Device: pf.Devices[p.Device].Name, Kind: p.Kind, Provider: p.Provider,
			Submodels: append([]string{}, ids[i]...), MemoryLimitBytes: limit(p.MemoryBytes),
		}
		if i < len(s.ProcBytes) {
			q.MemoryBytes = s.ProcBytes[i]
		}
		if i < len(s.ProcLoad) {
			q.BusyUs = s.ProcLoad[i].Us()
		}
		used[p.Device] += q.MemoryBytes
		m.Processors = append(m.Processors, q)
	}
	for i, dev := range pf.Devices {
		m.Devices = append(m.Devices, Device{Name: dev.Name, MemoryBytes: used[i], MemoryLimitBytes: limit(dev.MemoryBytes)})
	}
}

// links lists the links that the schedule uses, in the platform's order.
func (d *description) links() []Link {
	pf := d.c.l.Problem.Platform
	used := make([]bool, len(pf.Links))
	for _, h := range d.p.Schedule.Hops {
		used[h.Link] = true
	}
	var out []Link
	for i, l := range pf.Links {
		if used[i] {
			out = append(out, Link{pf.Devices[l.From].Name, pf.Devices[l.To].Name, l.Latency.Us(), l.BytesPerUs, l.Medium})
		}
	}
	return out
}

func (d *description) submodel(i, plan int) Submodel {
	c := d.c
	part, sub, run := c.parts[plan], c.plan.Submodels[plan], d.p.Schedule.Runs[plan]
	s := Submodel{
		ID: d.stems[plan], File: d.stems[plan] + ".onnx",
		Processor: c.l.Problem.Platform.Processors[sub.Processor].Name, Order: d.runAt[plan],
		Nodes: part.count(owned), Replicas: part.count(replica), Constants: part.count(constant),
		Inputs: d.namesOf(part.inputs), Outputs: d.namesOf(part.outputs),
		Predicted: Span{run.Start.Us(), run.End.Us()},
		NodeNames: []string{}, ReplicaNames: []string{},
	}
	if d.data[i] != nil {
		s.Data = &File{File: d.data[i].location}
	}
	if plan < len(d.p.Schedule.WeightOf) {
		s.WeightBytes = d.p.Schedule.WeightOf[plan]
	}
	if plan < len(d.p.Schedule.PeakOf) {
		s.PeakActivationBytes = d.p.Schedule.PeakOf[plan]
	}
	for _, n := range sub.Nodes {
		s.NodeNames = append(s.NodeNames, c.l.NamesOf(n)...)
	}
	for _, n := range sub.Replicas {
		s.ReplicaNames = append(s.ReplicaNames, c.l.NamesOf(n)...)
	}
	return s
}

func (d *description) namesOf(list []valueID) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = d.c.x.names[v]
	}
	return out
}

func (d *description) tensor(v valueID) Tensor {
	t := d.c.typeOf(v)
	return Tensor{Name: d.c.x.names[v], Dtype: dtypeOf(t), Shape: shapeOf(t)}
}

func dtypeOf(t ir.Type) string {
	if t.Kind == ir.Tensor {
		return t.Elem.String()
	}
	return t.Kind.String()
}

func shapeOf(t ir.Type) Shape {
	if t.Kind != ir.Tensor && t.Kind != ir.SparseTensor || t.Rank < 0 {
		return nil
	}
	out := make(Shape, len(t.Shape))
	for i, dim := range t.Shape {
		out[i] = Dim(dim)
	}
	return out
}

// transfers are the hops of every value, in the schedule's order.
func (d *description) transfers() map[ir.ValueID][]ir.Hop {
	out := map[ir.ValueID][]ir.Hop{}
	for _, h := range d.p.Schedule.Hops {
		out[h.Value] = append(out[h.Value], h)
	}
	return out
}

// describeHops turns the hops towards the devices that pass into manifest entries.
func (d *description) describeHops(hops []ir.Hop, pass func(ir.DeviceID) bool) []Transfer {
	pf := d.c.l.Problem.Platform
	out := []Transfer{}
	for _, h := range hops {
		if pass(h.For) {
			l := pf.Links[h.Link]
			out = append(out, Transfer{
				From: pf.Devices[l.From].Name, To: pf.Devices[l.To].Name, For: pf.Devices[h.For].Name,
				Predicted: Span{h.Start.Us(), h.Arrive.Us()},
			})
		}
	}
	return out
}

// edges lists the tensors between sub-models by producer, in execution order, and
// its outputs' order.
func (d *description) edges(m *Manifest, transfers map[ir.ValueID][]ir.Hop) {
	c := d.c
	place := make([]int, len(c.parts))
	for i, s := range d.order {
		place[s] = i
	}
	for _, s := range d.order {
		for _, v := range c.parts[s].outputs {
			users := c.consumers[v]
			if len(users) == 0 {
				continue
			}
			id := c.values[v]
			if id == noValue {
				diag.Bugf("value %q goes from one sub-model to another, but the graph does not have it", c.x.names[v])
			}
			t := d.tensor(v)
			e := Edge{Tensor: t.Name, Dtype: t.Dtype, Shape: t.Shape, Bytes: c.l.Problem.Graph.Bytes(id), From: d.stems[s]}
			users = slices.Clone(users)
			slices.SortFunc(users, func(a, b int32) int { return cmp.Compare(place[a], place[b]) })
			for _, u := range users {
				e.To = append(e.To, d.stems[u])
			}
			e.Transfers = d.describeHops(transfers[id], func(dev ir.DeviceID) bool {
				return slices.ContainsFunc(users, func(u int32) bool { return d.device(int(u)) == dev })
			})
			end := d.p.Schedule.Runs[s].End.Us()
			e.Predicted = Span{end, end}
			for k, t := range e.Transfers {
				if k == 0 || t.Predicted.StartUs < e.Predicted.StartUs {
					e.Predicted.StartUs = t.Predicted.StartUs
				}
				e.Predicted.EndUs = max(e.Predicted.EndUs, t.Predicted.EndUs)
			}
			m.Edges = append(m.Edges, e)
		}
	}
}

// device is where a sub-model runs.
func (d *description) device(plan int) ir.DeviceID {
	return d.c.l.Problem.Platform.Processors[d.c.plan.Submodels[plan].Processor].Device
}

// boundary lists the graph's own inputs and outputs.
func (d *description) boundary(m *Manifest, transfers map[ir.ValueID][]ir.Hop) {
	c, x := d.c, d.c.x
	hops := func(v valueID) []ir.Hop {
		if c.values[v] == noValue {
			return nil
		}
		return transfers[c.values[v]]
	}
	takers := map[valueID][]string{}
	for _, s := range d.order {
		for _, v := range c.parts[s].inputs {
			if x.kind[v] == fromInput {
				takers[v] = append(takers[v], d.stems[s])
			}
		}
	}
	sink := c.l.Problem.Platform.Sink
	for _, in := range x.graph.GetInput() {
		v, ok := x.ids[in.GetName()]
		if !ok || x.kind[v] != fromInput {
			continue
		}
		m.Model.Inputs = append(m.Model.Inputs, d.tensor(v))
		m.Inputs = append(m.Inputs, Input{
			Tensor: x.names[v], To: append([]string{}, takers[v]...),
			Transfers: d.describeHops(hops(v), func(ir.DeviceID) bool { return true }),
		})
	}
	seen := map[valueID]bool{}
	for _, out := range x.graph.GetOutput() {
		v := x.ids[out.GetName()]
		o := Output{Tensor: x.names[v], Transfers: d.describeHops(hops(v), func(dev ir.DeviceID) bool { return dev == sink })}
		switch x.kind[v] {
		case fromInput:
			o.Kept = append(o.Kept, KeptInput)
			if !seen[v] {
				m.Notes = append(m.Notes, fmt.Sprintf("output %q is the graph input of that name: no sub-model makes it", o.Tensor))
			}
		default:
			id := d.stems[c.maker(v)]
			o.From = &id
			if c.isConstant(v) {
				o.Kept = append(o.Kept, KeptConstant)
				if !seen[v] {
					m.Notes = append(m.Notes, fmt.Sprintf("output %q is constant: sub-model %q puts it out from a copy", o.Tensor, id))
				}
			}
		}
		if seen[v] {
			o.Kept = append(o.Kept, KeptRepeated)
			m.Notes = append(m.Notes, fmt.Sprintf("output %q is listed more than once: a sub-model puts it out once", o.Tensor))
		}
		seen[v] = true
		m.Outputs = append(m.Outputs, o)
		m.Model.Outputs = append(m.Model.Outputs, d.tensor(v))
	}
}

func (d *description) prediction() Prediction {
	plan := d.p.Plan
	p := Prediction{
		Objective: plan.Objective.String(), LatencyUs: plan.Latency.Us(), BottleneckUs: plan.Bottleneck.Us(),
		LowerBoundUs: plan.LowerBound.Us(), ProvenOptimal: plan.ProvenOptimal,
		SingleProcessorUs: NamedTimes{}, Baselines: NamedTimes{}, CostSources: d.sources(),
	}
	if v := plan.Value(); v > 0 {
		p.Gap = round(float64(v-plan.LowerBound) / float64(v))
	}
	time := func(b ir.Baseline) *float64 {
		if !b.Feasible {
			return nil
		}
		us := b.Latency.Us()
		if plan.Objective == ir.Throughput {
			us = b.Bottleneck.Us()
		}
		return &us
	}
	for i, q := range d.c.l.Problem.Platform.Processors {
		e := NamedTime{Name: q.Name}
		if i < len(d.p.Single) {
			e.Us = time(d.p.Single[i])
		}
		p.SingleProcessorUs = append(p.SingleProcessorUs, e)
	}
	for _, b := range d.p.Baselines {
		p.Baselines = append(p.Baselines, NamedTime{b.Name, time(b)})
	}
	if a := d.p.Auto; a != nil {
		p.AutoSubmodels = &AutoSubmodels{a.Latency.Us(), a.Bottleneck.Us(), len(a.Submodels)}
	}
	return p
}

// sources weighs what costs rest on by the predicted time of every node, replicas included.
func (d *description) sources() CostSources {
	l := d.c.l
	procs := len(l.Problem.Platform.Processors)
	var sum [ir.Measured + 1]ir.Time // whole picoseconds: the sum is the same on every machine
	var total ir.Time
	add := func(n ir.NodeID, p ir.ProcID) {
		t := l.Problem.Costs.Of(n, p)
		from := ir.Roofline
		if i := int(n)*procs + int(p); i < len(l.Sources) {
			from = l.Sources[i]
		}
		sum[from] += t
		total += t
	}
	for _, s := range d.c.plan.Submodels {
		for _, n := range s.Nodes {
			add(n, s.Processor)
		}
		for _, n := range s.Replicas {
			add(n, s.Processor)
		}
	}
	if total == 0 {
		return CostSources{}
	}
	share := func(s ir.CostSource) float64 { return round(float64(sum[s]) / float64(total)) }
	return CostSources{share(ir.Measured), share(ir.Fitted), share(ir.Roofline)}
}

// round cuts a share to six digits.
func round(x float64) float64 { return math.Round(x*1e6) / 1e6 }
