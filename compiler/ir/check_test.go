package ir_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/graph/topo"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// diamond is a → (b, c) → d over values p, q, r. Host and npu share a device with 1000 bytes, far stands alone and
// can be reached but not left.
const diamond = `{"schema":"dnnsplit/graph/v1","name":"diamond",
"devices":[{"name":"home","memory_bytes":1000},{"name":"away"}],
"processors":[{"name":"host","device":"home","max_submodels":3},{"name":"npu","device":"home","memory_bytes":300},{"name":"far","device":"away"}],
"links":[{"from":"home","to":"away","bytes_per_us":1}],
"nodes":[
 {"name":"a","cost_us":[1,1,1],"inputs":["x"],"outputs":["p"],"weights":["w"],"replicable":true},
 {"name":"b","cost_us":[1,null,1],"inputs":["p"],"outputs":["q"],"weights":["w","u"]},
 {"name":"c","cost_us":[1,1,1],"inputs":["p"],"outputs":["r","spare"],"replicable":true,"group":"pair"},
 {"name":"d","cost_us":[1,1,1],"inputs":["q","r"],"outputs":["y"],"group":"pair"}],
"weights":[{"name":"w","bytes":100},{"name":"u","bytes":40}],
"values":[{"name":"x","bytes":10,"graph_input":true},{"name":"p","bytes":20},{"name":"q","bytes":30},{"name":"r","bytes":50},
 {"name":"spare","bytes":7},{"name":"y","bytes":5,"graph_output":true}]}`

const (
	host = ir.ProcID(iota)
	npu
	far
)

const (
	a = ir.NodeID(iota)
	b
	c
	d
)

func sub(q ir.ProcID, nodes ...ir.NodeID) ir.Submodel { return ir.Submodel{Processor: q, Nodes: nodes} }

func with(s ir.Submodel, replicas ...ir.NodeID) ir.Submodel {
	s.Replicas = replicas
	return s
}

// broken are the rules that a plan breaks, and all sentences.
func broken(err error) (rules []ir.Rule, text string) {
	var list diag.List
	if !errors.As(err, &list) && err != nil {
		list = diag.List{err}
	}
	for _, e := range list {
		var v *ir.Violation
		if !errors.As(e, &v) {
			return []ir.Rule{"?"}, e.Error()
		}
		rules = append(rules, v.Rule)
		text += v.Msg + "\n"
	}
	slices.Sort(rules)
	return slices.Compact(rules), text
}

func TestCheckPlan(t *testing.T) {
	for _, x := range []struct {
		name string
		subs []ir.Submodel
		want []ir.Rule
		says string
	}{
		{"whole", []ir.Submodel{sub(host, a, b, c, d)}, nil, ""},
		{"chain", []ir.Submodel{sub(host, a, b), sub(npu, c, d)}, nil, ""},
		{"two runs", []ir.Submodel{sub(host, a), sub(host, b), sub(npu, c, d)}, nil, ""},
		{"replica", []ir.Submodel{sub(host, a, b), with(sub(npu, c, d), a)}, nil, ""},
		{"empty", []ir.Submodel{sub(host, a, b, c, d), sub(npu)}, []ir.Rule{ir.RuleEmpty}, "sub-model 1 (npu) owns no node"},
		{"twice", []ir.Submodel{sub(host, a, b), sub(npu, a, c, d)}, []ir.Rule{ir.RuleOwnedTwice}, `node "a" is in sub-model 0 (host) and in sub-model 1 (npu)`},
		{"twice in one", []ir.Submodel{sub(host, a, a, b, c, d)}, []ir.Rule{ir.RuleOwnedTwice}, `sub-model 0 (host) holds node "a" twice`},
		{"own replica", []ir.Submodel{with(sub(host, a, b, c, d), a)}, []ir.Rule{ir.RuleOwnedTwice}, `holds node "a" twice`},
		{"not replicable", []ir.Submodel{sub(host, a, b), with(sub(far, c, d), b)}, []ir.Rule{ir.RuleNotReplicable}, `node "b", which is not replicable`},
		{"unsupported", []ir.Submodel{sub(npu, a, b, c, d)}, []ir.Rule{ir.RuleUnsupported}, `node "b" cannot run on npu`},
		{"unplaced", []ir.Submodel{sub(host, a, b, c)}, []ir.Rule{ir.RuleUnplaced}, `node "d" is in no sub-model`},
		{"group", []ir.Submodel{sub(host, a, b, c), sub(npu, d)}, []ir.Rule{ir.RuleGroup}, `group "pair": node "c" is on host, node "d" on npu`},
		{"group of a replica", []ir.Submodel{sub(host, a, b), with(sub(npu), c), sub(host, c, d)}, []ir.Rule{ir.RuleEmpty, ir.RuleGroup}, `group "pair": sub-model 1 (npu) has a replica of node "c" but not node "d"`},
		{"cycle", []ir.Submodel{sub(host, a, c, d), sub(far, b)}, []ir.Rule{ir.RuleCycle, ir.RuleUnreachable}, "sub-models wait for each other: sub-model 0 (host) -> sub-model 1 (far) -> sub-model 0 (host)"},
		{"order", []ir.Submodel{sub(host, b, c, d), sub(host, a)}, []ir.Rule{ir.RuleCycle}, "sub-model 0 (host) -> sub-model 1 (host) -> sub-model 0 (host)"},
		{"too many", []ir.Submodel{sub(host, a, b), sub(npu, c), sub(npu, d)}, []ir.Rule{ir.RuleSubmodels}, "processor npu has 2 sub-models, it may have 1"},
		{"no way back", []ir.Submodel{sub(far, a), sub(host, b, c, d)}, []ir.Rule{ir.RuleUnreachable}, `value "p" must go from device away to home, no link leads there`},
		{"no such processor", []ir.Submodel{sub(9, a, b, c, d)}, []ir.Rule{ir.RuleUnsupported}, "there is no processor 9"},
		{"no such node", []ir.Submodel{sub(host, a, b, c, d, 77)}, []ir.Rule{ir.RuleUnplaced}, "sub-model 0 (host): there is no node 77"},
		{"not in order", []ir.Submodel{sub(host, b, a, c, d)}, []ir.Rule{ir.RuleOwnedTwice}, "sub-model 0 (host): its nodes are not in order"},
	} {
		t.Run(x.name, func(t *testing.T) {
			rules, text := broken(ir.CheckPlan(read(t, diamond), &ir.Plan{Submodels: x.subs}))
			if diff := cmp.Diff(x.want, rules); diff != "" || !strings.Contains(text, x.says) {
				t.Errorf("%s\n%s", diff, text)
			}
		})
	}
}

func TestMemory(t *testing.T) {
	p := read(t, diamond)
	for _, x := range []struct {
		name           string
		subs           []ir.Submodel
		weights, peaks []int64
		procs          []int64
	}{
		// x 10, a: +p 20 = 30; x dies: 20; b: +q 30 = 50; c: +r 50 +spare 7 = 107; p and spare die: 80; d: +y 5 = 85
		{"whole", []ir.Submodel{sub(host, a, b, c, d)}, []int64{140}, []int64{107}, []int64{247, 0, 0}},
		// host: as above up to b, p and q leave: 50.  npu: p and q 50; c: +57 = 107; d: 80 + 5 (q outside, p dead)
		{"chain", []ir.Submodel{sub(host, a, b), sub(npu, c, d)}, []int64{140, 0}, []int64{50, 107}, []int64{190, 107, 0}},
		// the copy of a on npu needs x instead of p: x and q 40; a: 60; x dies: 50; c: 107; p, spare die: 80; d: 85
		{"replica", []ir.Submodel{sub(host, a, b), with(sub(npu, c, d), a)}, []int64{140, 100}, []int64{50, 107}, []int64{190, 207, 0}},
		// host, first run: a: 30.  p stays in memory for the second: p 20, b: 50.  w counts in both.
		{"two runs", []ir.Submodel{sub(host, a), sub(host, b), sub(npu, c, d)}, []int64{100, 140, 0}, []int64{30, 50, 107}, []int64{290, 107, 0}},
		// runs a | c | b | d on host: p stays over c's run for b, r over b's for d.
		// c: p 20 + r 50 + spare 7 = 77, spare dies; b: p 20 + q 30, and r 50 stays: 100; d: 85
		{"stays", []ir.Submodel{sub(host, a), sub(host, c), sub(host, b), sub(host, d)}, []int64{100, 0, 140, 0}, []int64{30, 77, 50, 85}, []int64{340, 0, 0}},
	} {
		t.Run(x.name, func(t *testing.T) {
			plan := &ir.Plan{Submodels: x.subs}
			m := ir.MeasureMemory(p, plan, ir.Connect(p.Graph, plan))
			if diff := cmp.Diff([][]int64{x.weights, x.peaks, x.procs, {x.procs[0] + x.procs[1], x.procs[2]}}, [][]int64{m.Weights, m.Peak, m.Processors, m.Devices}); diff != "" {
				t.Error(diff)
			}
		})
	}
	plan := &ir.Plan{Submodels: []ir.Submodel{sub(host, a, b), with(sub(npu, c, d), a)}}
	p.Platform.Processors[npu].MemoryBytes, p.Platform.Devices[0].MemoryBytes = 206, 396
	rules, text := broken(ir.CheckPlan(p, plan))
	if diff := cmp.Diff([]ir.Rule{ir.RuleDeviceMemory, ir.RuleProcMemory}, rules); diff != "" ||
		!strings.Contains(text, "processor npu needs 207 bytes, 1 byte more than its 206 bytes") || !strings.Contains(text, "device home needs 397 bytes, 1 byte more than its 396 bytes") {
		t.Error(diff, text)
	}
	p.Platform.Processors[npu].MemoryBytes, p.Platform.Devices[0].MemoryBytes = 207, 397
	if err := ir.CheckPlan(p, plan); err != nil {
		t.Error(err)
	}
}

func TestConnect(t *testing.T) {
	p := read(t, diamond)
	w := ir.Connect(p.Graph, &ir.Plan{Submodels: []ir.Submodel{sub(host, a, b), with(sub(npu, c, d), a)}})
	const x, pp, q, y = 0, 1, 2, 5
	for _, diff := range []string{
		cmp.Diff([]int32{0, 0, 1, 1}, w.Owner),
		cmp.Diff([]ir.NodeID{a, c, d}, w.Held(1)),
		cmp.Diff([]ir.ValueID{x, q}, w.Needs(1)),
		cmp.Diff([]ir.ValueID{q}, w.Produces(0)),
		cmp.Diff([]ir.ValueID{y}, w.Produces(1)),
		cmp.Diff([]int32{0, 1}, w.Users(x)),
		cmp.Diff(0, len(w.Users(pp))),
	} {
		if diff != "" {
			t.Error(diff)
		}
	}
}

func TestRoutes(t *testing.T) {
	link := func(from, to ir.DeviceID, latency ir.Time, rate float64) ir.Link {
		return ir.Link{From: from, To: to, Copy: ir.Copy{Latency: latency * ir.Microsecond, BytesPerUs: rate}}
	}
	pf := &ir.Platform{Devices: make([]ir.Device, 5), Links: []ir.Link{
		link(0, 2, 9, 1), // slow but direct: 9 + n
		link(0, 1, 2, 4), // in two hops: 4 + n/2
		link(1, 2, 2, 4),
		link(1, 2, 2, 4), // the same again: the lower index wins
		link(2, 3, 0, 1e9),
		link(0, 3, 9, 1), // as fast as 0→2→3 for nothing: fewer hops win
	}}
	r := ir.NewRoutes(pf)
	for _, x := range []struct {
		from, to ir.DeviceID
		size     int64
		want     []ir.LinkID
	}{
		{0, 2, 100, []ir.LinkID{1, 2}},
		{0, 2, 0, []ir.LinkID{1, 2}},
		{0, 1, 1, []ir.LinkID{1}},
		{1, 3, 8, []ir.LinkID{2, 4}},
		{3, 0, 1, nil},
		{0, 4, 1, nil},
		{2, 2, 1, []ir.LinkID{}},
	} {
		for range 2 { // found, then remembered
			if diff := cmp.Diff(x.want, r.Find(x.from, x.to, x.size)); diff != "" {
				t.Errorf("%d to %d, %d bytes: %s", x.from, x.to, x.size, diff)
			}
		}
	}
	pf.Links[1].Latency = 100 * ir.Microsecond
	if diff := cmp.Diff([]ir.LinkID{5}, ir.NewRoutes(pf).Find(0, 3, 0)); diff != "" {
		t.Errorf("of equal routes: %s", diff)
	}
}

func TestView(t *testing.T) {
	v := read(t, diamond).Graph.View()
	order, err := topo.Sort(v)
	if err != nil || len(order) != 4 || order[0].ID() != int64(a) || order[3].ID() != int64(d) {
		t.Errorf("order %v, %v", order, err)
	}
	if !v.HasEdgeFromTo(0, 2) || v.HasEdgeFromTo(2, 0) || !v.HasEdgeBetween(2, 0) || v.Edge(0, 3) != nil || v.Edge(1, 3).To().ID() != 3 || v.Node(4) != nil {
		t.Error("wrong edges")
	}
	if n := v.To(3).Len(); n != 2 {
		t.Errorf("%d edges lead to d", n)
	}
}
