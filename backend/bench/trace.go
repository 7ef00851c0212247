package bench

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/report"
)

// tracer lays out two groups of processes, the measured one before the predicted
// one: in each a process for every device with a thread for every processor, and
// a process with a thread for every link that carries something.
type tracer struct {
	m      *backend.Manifest
	events []report.TraceEvent
	flows  int
}

// side is one of the two groups.
type side struct {
	label string // behind the names of processes
	base  int    // pid of the first device
}

// Trace is the measured timeline of one inference, the one of median latency, and
// the predicted timeline of the manifest below it, both from 0 on, in the Trace
// Event Format that Chrome and Perfetto open. Times are microseconds.
func (m *Measurement) Trace() ([]byte, error) {
	t := &tracer{m: m.Manifest}
	j := m.median()
	measured := side{" (measured)", 1}
	predicted := side{" (predicted)", len(m.Manifest.Devices) + 2}
	runs := map[string]backend.Span{}
	planned := map[string]backend.Span{}
	for i, s := range m.Manifest.Submodels {
		planned[s.ID] = s.Predicted
		if m.traced != nil {
			at := m.traced.runs[j][i]
			begin := m.traced.started[j]
			runs[s.ID] = backend.Span{StartUs: inMicros(at.from - begin), EndUs: inMicros(at.to - begin)}
		}
	}
	t.side(measured, runs)
	if m.traced != nil {
		t.movements(measured, m.traced, j)
	}
	t.side(predicted, planned)
	t.transfers(predicted)
	return t.finish(m.Report)
}

// median is the inference of median latency.
func (m *Measurement) median() int {
	if m.traced == nil {
		return 0
	}
	us := m.traced.latencies()
	order := make([]int, len(us))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case us[a] < us[b]:
			return -1
		case us[a] > us[b]:
			return 1
		}
		return 0
	})
	return order[len(order)/2]
}

func (t *tracer) add(e report.TraceEvent) { t.events = append(t.events, e) }

func (t *tracer) slice(name, cat string, pid, tid int, at backend.Span, args any) {
	d := at.EndUs - at.StartUs
	t.add(report.TraceEvent{Name: name, Cat: cat, Phase: "X", Ts: at.StartUs, Dur: &d, Pid: pid, Tid: tid, Args: args})
}

type traceName struct {
	Name string `json:"name"`
}

type traceOrder struct {
	Index int `json:"sort_index"`
}

func (t *tracer) process(pid int, name string) {
	t.add(report.TraceEvent{Name: "process_name", Phase: "M", Pid: pid, Args: traceName{name}})
	t.add(report.TraceEvent{Name: "process_sort_index", Phase: "M", Pid: pid, Args: traceOrder{pid}})
}

func (t *tracer) thread(pid, tid int, name string) {
	t.add(report.TraceEvent{Name: "thread_name", Phase: "M", Pid: pid, Tid: tid, Args: traceName{name}})
	t.add(report.TraceEvent{Name: "thread_sort_index", Phase: "M", Pid: pid, Tid: tid, Args: traceOrder{tid}})
}

// where is the process and thread of a processor, numbered from 1.
func (t *tracer) where(s side, processor string) (pid, tid int) {
	for i, p := range t.m.Processors {
		if p.Name == processor {
			return s.base + slices.IndexFunc(t.m.Devices, func(d backend.Device) bool { return d.Name == p.Device }), i + 1
		}
	}
	return s.base, 0
}

// runArgs are shown of a run.
type runArgs struct {
	Nodes    int `json:"nodes"`
	Replicas int `json:"replicas"`
}

// side adds the runs of one group, and arrows along the tensors.
func (t *tracer) side(s side, runs map[string]backend.Span) {
	for i, d := range t.m.Devices {
		named := false
		for k, p := range t.m.Processors {
			if p.Device != d.Name || len(p.Submodels) == 0 {
				continue
			}
			if !named {
				t.process(s.base+i, d.Name+s.label)
				named = true
			}
			t.thread(s.base+i, k+1, p.Name)
		}
	}
	at := map[string]report.TraceEvent{}
	for _, sub := range t.m.Submodels {
		span, ok := runs[sub.ID]
		if !ok {
			continue
		}
		pid, tid := t.where(s, sub.Processor)
		t.slice(sub.ID, "run", pid, tid, span, runArgs{sub.Nodes, sub.Replicas})
		at[sub.ID] = t.events[len(t.events)-1]
	}
	for _, e := range t.m.Edges {
		from, ok := at[e.From]
		if !ok {
			continue
		}
		for _, id := range e.To {
			to := at[id]
			t.flows++
			t.add(report.TraceEvent{Name: e.Tensor, Cat: "flow", Phase: "s", Ts: from.Ts + *from.Dur, Pid: from.Pid, Tid: from.Tid, ID: t.flows})
			t.add(report.TraceEvent{Name: e.Tensor, Cat: "flow", Phase: "f", Ts: to.Ts, Pid: to.Pid, Tid: to.Tid, ID: t.flows, Bind: "e"})
		}
	}
}

// linkThreads names the links of a group.
func (t *tracer) linkThreads(s side) (pid int) {
	pid = s.base + len(t.m.Devices)
	if len(t.m.Links) > 0 {
		t.process(pid, "links"+s.label)
	}
	for i, l := range t.m.Links {
		t.thread(pid, i+1, l.From+" → "+l.To)
	}
	return pid
}

// hopArgs are shown of a transfer.
type hopArgs struct {
	ArriveUs float64 `json:"arrive_us"`
}

// movements adds the transfers over emulated links of inference j.
func (t *tracer) movements(s side, b *batch, j int) {
	if b.p.network == nil {
		return
	}
	pid := t.linkThreads(s)
	begin := b.started[j]
	for _, mv := range b.moved {
		if mv.inference == j {
			t.slice(b.p.values[mv.value].name, "transfer", pid, mv.hop.link+1,
				backend.Span{StartUs: inMicros(mv.at.start - begin), EndUs: inMicros(mv.at.free - begin)}, hopArgs{inMicros(mv.at.arrive - begin)})
		}
	}
}

// transfers adds the transfers that the manifest predicts.
func (t *tracer) transfers(s side) {
	if len(t.m.Links) == 0 {
		return
	}
	pid := t.linkThreads(s)
	one := func(tensor string, list []backend.Transfer) {
		for _, tr := range list {
			i := slices.IndexFunc(t.m.Links, func(l backend.Link) bool { return l.From == tr.From && l.To == tr.To })
			if i >= 0 {
				free := max(tr.Predicted.EndUs-t.m.Links[i].LatencyUs, tr.Predicted.StartUs)
				t.slice(tensor, "transfer", pid, i+1, backend.Span{StartUs: tr.Predicted.StartUs, EndUs: free}, hopArgs{tr.Predicted.EndUs})
			}
		}
	}
	for _, in := range t.m.Inputs {
		one(in.Tensor, in.Transfers)
	}
	for _, e := range t.m.Edges {
		one(e.Tensor, e.Transfers)
	}
	for _, out := range t.m.Outputs {
		if !slices.ContainsFunc(t.m.Edges, func(e backend.Edge) bool { return e.Tensor == out.Tensor }) {
			one(out.Tensor, out.Transfers)
		}
	}
}

// traceInfo is what the file says of itself.
type traceInfo struct {
	Model       string  `json:"model"`
	Kind        string  `json:"kind"`
	MeasuredUs  float64 `json:"measured_us"`
	PredictedUs float64 `json:"predicted_us"`
}

// finish writes what was laid out.
func (t *tracer) finish(r *Report) ([]byte, error) {
	return report.EncodeTrace(traceInfo{t.m.Model.File, "measured and predicted", r.Latency.MedianUs, t.m.Prediction.LatencyUs}, t.events)
}
