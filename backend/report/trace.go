package report

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// TraceFile is the name of the trace in a bundle.
const TraceFile = "trace.json"

// maxTraceNodes is how many nodes a trace shows one by one; viewers stall on more.
const maxTraceNodes = 100_000

// Trace is the predicted schedule in the Trace Event Format (N. Duca, D. Sinclair,
// "Trace Event Format", 2016), which Chrome, Perfetto and ONNX Runtime's tools
// open: a process for each device with a thread for each processor, a process
// with a thread for each directed link, arrows along every transfer, and a memory
// counter for each device. Times are microseconds.
func Trace(l *ir.Lowered, p *ir.Placement) ([]byte, error) {
	t := &trace{l: l, p: p, ids: backend.SubmodelIDs(l.Problem.Platform, p.Plan)}
	t.sides()
	t.threads()
	t.runs()
	t.hops()
	t.arrows()
	t.memory()
	return t.finish()
}

type trace struct {
	l      *ir.Lowered
	p      *ir.Placement
	ids    []string
	inputs [][]ir.ValueID // by sub-model: what it needs from outside, ascending
	maker  []int          // by ValueID: the sub-model that makes it for others, -1 for a graph input
	events []TraceEvent
	flows  int
}

func (t *trace) graph() *ir.Graph       { return t.l.Problem.Graph }
func (t *trace) platform() *ir.Platform { return t.l.Problem.Platform }

// sides finds what every sub-model needs from outside, and who makes what.
func (t *trace) sides() { t.inputs, t.maker = dataflow(t.graph(), t.p.Plan) }

// dataflow is, by sub-model, what it needs from outside, ascending, and by value
// the sub-model that makes it for others, -1 for a graph input.
func dataflow(g *ir.Graph, plan *ir.Plan) (inputs [][]ir.ValueID, maker []int) {
	maker = make([]int, g.NumValues())
	for v := range maker {
		maker[v] = -1
	}
	for i, s := range plan.Submodels {
		for _, n := range s.Nodes {
			for _, v := range g.Outputs(n) {
				maker[v] = i
			}
		}
	}
	has := make([]int, g.NumValues()) // 1 + the last sub-model that has it
	inputs = make([][]ir.ValueID, len(plan.Submodels))
	for i, s := range plan.Submodels {
		for _, nodes := range [][]ir.NodeID{s.Nodes, s.Replicas} {
			for _, n := range nodes {
				for _, v := range g.Outputs(n) {
					has[v] = i + 1
				}
			}
		}
		for _, nodes := range [][]ir.NodeID{s.Nodes, s.Replicas} {
			for _, n := range nodes {
				for _, v := range g.Inputs(n) {
					if has[v] != i+1 {
						has[v] = i + 1
						inputs[i] = append(inputs[i], v)
					}
				}
			}
		}
		slices.Sort(inputs[i])
	}
	return inputs, maker
}

func (t *trace) add(e TraceEvent) { t.events = append(t.events, e) }

// slice adds a stretch of time on a thread.
func (t *trace) slice(name, cat string, pid, tid int, from, to ir.Time, args any) {
	d := (to - from).Us()
	t.add(TraceEvent{Name: name, Cat: cat, Phase: "X", Ts: from.Us(), Dur: &d, Pid: pid, Tid: tid, Args: args})
}

func pidOf(d ir.DeviceID) int    { return int(d) + 1 }
func tidOf(p ir.ProcID) int      { return int(p) + 1 }
func tidOfLink(k ir.LinkID) int  { return int(k) + 1 }
func (t *trace) linksPid() int   { return len(t.platform().Devices) + 1 }
func (t *trace) pid(sub int) int { return pidOf(t.platform().Processors[t.proc(sub)].Device) }
func (t *trace) tid(sub int) int { return tidOf(t.proc(sub)) }
func (t *trace) proc(sub int) ir.ProcID {
	return t.p.Plan.Submodels[sub].Processor
}

type nameArgs struct {
	Name string `json:"name"`
}

type sortArgs struct {
	Index int `json:"sort_index"`
}

// threads names processes and threads: devices and processors that do something,
// and links that carry something.
func (t *trace) threads() {
	pf := t.platform()
	used := make([]bool, len(pf.Processors))
	busy := make([]bool, len(pf.Devices))
	for i := range t.p.Plan.Submodels {
		used[t.proc(i)] = true
		busy[pf.Processors[t.proc(i)].Device] = true
	}
	process := func(pid int, name string) {
		t.add(TraceEvent{Name: "process_name", Phase: "M", Pid: pid, Args: nameArgs{name}})
		t.add(TraceEvent{Name: "process_sort_index", Phase: "M", Pid: pid, Args: sortArgs{pid}})
	}
	thread := func(pid, tid int, name string) {
		t.add(TraceEvent{Name: "thread_name", Phase: "M", Pid: pid, Tid: tid, Args: nameArgs{name}})
		t.add(TraceEvent{Name: "thread_sort_index", Phase: "M", Pid: pid, Tid: tid, Args: sortArgs{tid}})
	}
	for d, dev := range pf.Devices {
		if busy[d] {
			process(pidOf(ir.DeviceID(d)), dev.Name)
		}
	}
	for i, p := range pf.Processors {
		if used[i] {
			thread(pidOf(p.Device), tidOf(ir.ProcID(i)), p.Name)
		}
	}
	carries := make([]bool, len(pf.Links))
	for _, h := range t.p.Schedule.Hops {
		carries[h.Link] = true
	}
	if slices.Contains(carries, true) {
		process(t.linksPid(), "links")
	}
	for k, l := range pf.Links {
		if carries[k] {
			name := pf.Devices[l.From].Name + " -> " + pf.Devices[l.To].Name
			if l.Medium != "" {
				name += " (" + l.Medium + ")"
			}
			thread(t.linksPid(), tidOfLink(ir.LinkID(k)), name)
		}
	}
}

type runArgs struct {
	Processor  string `json:"processor"`
	Nodes      int    `json:"nodes"`
	Replicas   int    `json:"replicas,omitempty"`
	WeightMB   string `json:"weights"`
	PeakMemory string `json:"peak_activations"`
}

type copyArgs struct {
	Bytes int64 `json:"bytes"`
}

type nodeArgs struct {
	Op     string `json:"op"`
	Source string `json:"cost_from,omitempty"`
}

// runs shows each run with what it spends its time on: launch, uploads, nodes in
// their order, downloads.
func (t *trace) runs() {
	g, pf := t.graph(), t.platform()
	nodes := 0
	for _, s := range t.p.Plan.Submodels {
		nodes += len(s.Nodes) + len(s.Replicas)
	}
	for i, s := range t.p.Plan.Submodels {
		run, proc := t.p.Schedule.Runs[i], pf.Processors[s.Processor]
		pid, tid := t.pid(i), t.tid(i)
		t.slice(t.ids[i], "run", pid, tid, run.Start, run.End, runArgs{
			proc.Name, len(s.Nodes), len(s.Replicas), bytesText(t.p.Schedule.WeightOf[i]), bytesText(t.p.Schedule.PeakOf[i]),
		})
		at := run.Start
		step := func(name, cat string, d ir.Time, args any) {
			if d > 0 {
				t.slice(name, cat, pid, tid, at, at+d, args)
				at += d
			}
		}
		step("launch", "launch", proc.Launch, nil)
		if proc.Upload != nil {
			for _, v := range run.Uploads {
				step("upload "+g.ValueName(v), "upload", proc.Upload.Time(g.Bytes(v)), copyArgs{g.Bytes(v)})
			}
		}
		order := slices.Concat(s.Nodes, s.Replicas)
		slices.Sort(order)
		if nodes <= maxTraceNodes {
			for _, n := range order {
				step(g.NodeName(n), "node", t.l.Problem.Costs.Of(n, s.Processor), nodeArgs{g.Op(n), t.source(n, s.Processor)})
			}
		} else {
			var sum ir.Time
			for _, n := range order {
				sum += t.l.Problem.Costs.Of(n, s.Processor)
			}
			step("compute", "node", sum, nil)
		}
		if proc.Download != nil {
			for _, v := range run.Downloads {
				step("download "+g.ValueName(v), "download", proc.Download.Time(g.Bytes(v)), copyArgs{g.Bytes(v)})
			}
		}
	}
}

// source says what the cost of a node rests on; "" if that is not known.
func (t *trace) source(n ir.NodeID, p ir.ProcID) string {
	if i := int(n)*len(t.platform().Processors) + int(p); i < len(t.l.Sources) {
		return t.l.Sources[i].String()
	}
	return ""
}

type hopArgs struct {
	Bytes    int64   `json:"bytes"`
	For      string  `json:"for"`
	ArriveUs float64 `json:"arrive_us"`
}

// hops shows how long each transfer occupies its link. It arrives later, by the latency.
func (t *trace) hops() {
	g, pf := t.graph(), t.platform()
	for _, h := range t.p.Schedule.Hops {
		t.slice(g.ValueName(h.Value), "transfer", t.linksPid(), tidOfLink(h.Link), h.Start, h.Free,
			hopArgs{g.Bytes(h.Value), pf.Devices[h.For].Name, h.Arrive.Us()})
	}
}

// place is a moment on a thread.
type place struct {
	pid, tid int
	at       ir.Time
}

// arrow connects two places; viewers bind its ends to the slices there.
func (t *trace) arrow(name string, from, to place) {
	t.flows++
	t.add(TraceEvent{Name: name, Cat: "flow", Phase: "s", Ts: from.at.Us(), Pid: from.pid, Tid: from.tid, ID: t.flows})
	t.add(TraceEvent{Name: name, Cat: "flow", Phase: "f", Ts: to.at.Us(), Pid: to.pid, Tid: to.tid, ID: t.flows, Bind: "e"})
}

// arrows follows every value from the run that makes it over its hops to the runs
// that use it.
func (t *trace) arrows() {
	g, pf, s := t.graph(), t.platform(), t.p.Schedule
	type leg struct {
		value ir.ValueID
		dest  ir.DeviceID
	}
	arrived := map[leg]place{} // where the last hop towards a device was
	for _, h := range s.Hops {
		k := leg{h.Value, h.For}
		hop := place{t.linksPid(), tidOfLink(h.Link), h.Start}
		from, ok := arrived[k]
		if m := t.maker[h.Value]; !ok && m >= 0 {
			from, ok = t.endOf(m), true
		}
		if ok {
			t.arrow(g.ValueName(h.Value), from, hop)
		}
		arrived[k] = hop
	}
	for i, values := range t.inputs {
		to := place{t.pid(i), t.tid(i), s.Runs[i].Start}
		for _, v := range values {
			from, ok := arrived[leg{v, pf.Processors[t.proc(i)].Device}]
			if m := t.maker[v]; !ok && m >= 0 {
				from, ok = t.endOf(m), true
			}
			if ok {
				t.arrow(g.ValueName(v), from, to)
			}
		}
	}
}

// endOf is a place just inside the end of a run, where an arrow binds to it.
func (t *trace) endOf(sub int) place {
	r := t.p.Schedule.Runs[sub]
	return place{t.pid(sub), t.tid(sub), max(r.Start, r.End-ir.Nanosecond)}
}

// memoryArgs are the bands of a device's memory counter.
type memoryArgs struct {
	Weights     float64 `json:"weights MB"`
	Activations float64 `json:"activations MB"`
	Kept        float64 `json:"kept MB"`
}

// memory counts what each device holds over time: weights from the start, the
// peak of a run's activations while it runs, and what stays on a processor for a
// later run.
func (t *trace) memory() {
	pf, s := t.platform(), t.p.Schedule
	type change struct {
		at         ir.Time
		device     ir.DeviceID
		activation int64
		kept       int64
	}
	weights := make([]int64, len(pf.Devices))
	busy := make([]bool, len(pf.Devices))
	kept := t.kept()
	changes := make([]change, 0, 2*(len(t.p.Plan.Submodels)+len(kept)))
	for i := range t.p.Plan.Submodels {
		d := pf.Processors[t.proc(i)].Device
		weights[d] += s.WeightOf[i]
		busy[d] = true
		r := s.Runs[i]
		changes = append(changes, change{at: r.Start, device: d, activation: s.PeakOf[i]}, change{at: r.End, device: d, activation: -s.PeakOf[i]})
	}
	for _, k := range kept {
		d := pf.Processors[t.proc(k.from)].Device
		changes = append(changes, change{at: s.Runs[k.from].End, device: d, kept: k.bytes}, change{at: s.Runs[k.to].Start, device: d, kept: -k.bytes})
	}
	slices.SortStableFunc(changes, func(a, b change) int {
		switch {
		case a.at != b.at:
			return int(min(1, max(-1, a.at-b.at)))
		case a.device != b.device:
			return int(a.device - b.device)
		}
		return 0
	})
	now := make([]memoryArgs, len(pf.Devices))
	const mb = 1e6
	type total struct{ activation, kept int64 }
	sum := make([]total, len(pf.Devices))
	counter := func(d ir.DeviceID, at ir.Time) {
		now[d] = memoryArgs{float64(weights[d]) / mb, float64(sum[d].activation) / mb, float64(sum[d].kept) / mb}
		t.add(TraceEvent{Name: "memory", Phase: "C", Ts: at.Us(), Pid: pidOf(d), Args: now[d]})
	}
	for d := range pf.Devices {
		if busy[d] {
			counter(ir.DeviceID(d), 0)
		}
	}
	for i, c := range changes {
		sum[c.device].activation += c.activation
		sum[c.device].kept += c.kept
		if i+1 == len(changes) || changes[i+1].at != c.at || changes[i+1].device != c.device {
			counter(c.device, c.at)
		}
	}
}

// keeping is a value that stays in a processor's memory between two runs.
type keeping struct {
	from, to int // sub-models of one processor
	bytes    int64
}

// kept finds the values that stay in a processor's memory, from the run that made
// or uploaded them to the last one that needs them.
func (t *trace) kept() []keeping {
	type spot struct {
		value ir.ValueID
		proc  ir.ProcID
	}
	first := map[spot]int{}
	last := map[spot]int{}
	var order []spot
	for i, s := range t.p.Plan.Submodels {
		for _, v := range t.inputs[i] {
			k := spot{v, s.Processor}
			if _, ok := first[k]; ok {
				if _, seen := last[k]; !seen {
					order = append(order, k)
				}
				last[k] = i
			} else {
				first[k] = i
			}
		}
		for _, n := range s.Nodes {
			for _, v := range t.graph().Outputs(n) {
				first[spot{v, s.Processor}] = i
			}
		}
	}
	out := make([]keeping, 0, len(order))
	for _, k := range order {
		out = append(out, keeping{first[k], last[k], t.graph().ResidentBytes(k.value)})
	}
	return out
}

// traceInfo is what the file says of itself.
type traceInfo struct {
	Model        string  `json:"model"`
	Kind         string  `json:"kind"`
	Objective    string  `json:"objective"`
	LatencyUs    float64 `json:"latency_us"`
	BottleneckUs float64 `json:"bottleneck_us"`
}

// finish writes what was laid out.
func (t *trace) finish() ([]byte, error) {
	plan := t.p.Plan
	return EncodeTrace(traceInfo{t.graph().Name, "predicted", plan.Objective.String(), plan.Latency.Us(), plan.Bottleneck.Us()}, t.events)
}
