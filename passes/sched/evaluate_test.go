package sched_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// relay is x → u → p → v → q, with s → t beside it. near and its gpu share device a; c is reached over b only.
// gpu: launch 4, upload 1 + n/10, download 2 + n/5.  a→b: 3 + n/2, b→c: n/4, both on one medium with c→a: 1 + n.
const relay = `{"schema":"dnnsplit/graph/v1","name":"relay",
"devices":[{"name":"a"},{"name":"b"},{"name":"c"}],
"processors":[{"name":"near","device":"a","max_submodels":0},
 {"name":"gpu","device":"a","max_submodels":0,"launch_us":4,"upload":{"latency_us":1,"bytes_per_us":10},"download":{"latency_us":2,"bytes_per_us":5}},
 {"name":"far","device":"c","max_submodels":0}],
"links":[{"from":"a","to":"b","latency_us":3,"bytes_per_us":2,"medium":"air"},{"from":"b","to":"c","bytes_per_us":4,"medium":"air"},
 {"from":"c","to":"a","latency_us":1,"bytes_per_us":1,"medium":"air"}],
"source":"a","sink":"a",
"nodes":[
 {"name":"u","cost_us":[10,2,1],"inputs":["x"],"outputs":["p"],"replicable":true},
 {"name":"v","cost_us":[10,3,1],"inputs":["p"],"outputs":["q"]},
 {"name":"s","cost_us":[7,2,1],"inputs":["x","p"],"outputs":["t"]}],
"values":[{"name":"x","bytes":20,"graph_input":true},{"name":"p","bytes":8},{"name":"q","bytes":10,"graph_output":true},{"name":"t","bytes":4,"graph_output":true}]}`

func problem(t *testing.T, text string) *ir.Problem {
	t.Helper()
	p, err := ir.ReadProblem(strings.NewReader(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	near = ir.ProcID(iota)
	gpu
	far
)

func TestEvaluate(t *testing.T) {
	const u, v, s = 0, 1, 2
	sub := func(q ir.ProcID, nodes ...ir.NodeID) ir.Submodel { return ir.Submodel{Processor: q, Nodes: nodes} }
	for _, x := range []struct {
		name                string
		subs                []ir.Submodel
		latency, bottleneck float64
		runs                [][2]float64
	}{
		{"near", []ir.Submodel{sub(near, u, v, s)}, 27, 27, [][2]float64{{0, 27}}},
		// 4 + upload x 3 + 2+3+2 + download q 4 and t 2.8
		{"gpu", []ir.Submodel{sub(gpu, u, v, s)}, 20.8, 20.8, [][2]float64{{0, 20.8}}},
		// u on near 0..10, p is in a's memory; gpu: 4 + p 1.8 + x 3 + 3+2 + 4+2.8 = 20.6
		{"shared host", []ir.Submodel{sub(near, u), sub(gpu, v, s)}, 30.6, 20.6, [][2]float64{{0, 10}, {10, 30.6}}},
		// gpu runs u, then v and s, with x and p in its memory: 4+3+2 = 9, then 4 + 3+2 + 6.8
		{"stays", []ir.Submodel{sub(gpu, u), sub(gpu, v, s)}, 24.8, 24.8, [][2]float64{{0, 9}, {9, 24.8}}},
		// x: a→b 0..10, there 13; b→c 13..18.  far: 18..21.  q: c→a 21..31, there 32; t waits: 31..35, there 36.
		// the medium is busy for 10 + 5 + 10 + 4
		{"far", []ir.Submodel{sub(far, u, v, s)}, 36, 29, [][2]float64{{18, 21}}},
		// u on near 0..10, s 10..17.  p: a→b 10..14, there 17; b→c 17..19.  v on far 19..20; q: c→a 20..30, there 31
		{"medium", []ir.Submodel{sub(near, u), sub(far, v), sub(near, s)}, 31, 17, [][2]float64{{0, 10}, {19, 20}, {10, 17}}},
		// the copy of u on far needs x, not p: x 0..10, 13, 13..18; far: 18..20; q: 20..30, 31
		{"replica", []ir.Submodel{sub(near, u, s), {Processor: far, Nodes: []ir.NodeID{v}, Replicas: []ir.NodeID{u}}}, 31, 25, [][2]float64{{0, 17}, {18, 20}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			r, err := sched.Evaluate(problem(t, relay), &ir.Plan{Submodels: x.subs})
			if err != nil {
				t.Fatal(err)
			}
			var runs [][2]float64
			for _, run := range r.Runs {
				runs = append(runs, [2]float64{run.Start.Us(), run.End.Us()})
			}
			if diff := cmp.Diff([]any{x.latency, x.bottleneck, x.runs}, []any{r.Latency.Us(), r.Bottleneck.Us(), runs}); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, x := range []struct {
		subs []ir.Submodel
		want string
	}{
		{[]ir.Submodel{sub(near, u, v)}, `node "s" is in no sub-model`},
		{[]ir.Submodel{sub(near, v, s), sub(near, u)}, "waits for itself"},
	} {
		if _, err := sched.Evaluate(problem(t, relay), &ir.Plan{Submodels: x.subs}); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("got %v, want … %s", err, x.want)
		}
	}
}

// TestRounds has everything happen at one instant: what ends later in the same instant still goes before a lower
// place in the queue, and only what is already under way stays.
func TestRounds(t *testing.T) {
	// Links of zero bytes take no time: z (index 2) arrives at b at once, and lets k run, which makes low (index 0)
	// ready at the same instant as high (index 1).  high has taken the link b→a by then: 0..5, low 5..6.
	p := problem(t, `{"schema":"dnnsplit/graph/v1","name":"rounds","devices":[{"name":"a"},{"name":"b"}],
		"processors":[{"name":"pa","device":"a","max_submodels":0},{"name":"pb","device":"b","max_submodels":0},{"name":"pc","device":"b","max_submodels":0}],
		"links":[{"from":"a","to":"b","bytes_per_us":1},{"from":"b","to":"a","bytes_per_us":1}],
		"nodes":[{"name":"h","cost_us":[9,0,0],"outputs":["high","more"]},{"name":"z","cost_us":[0,9,9],"outputs":["zero"]},
		 {"name":"k","cost_us":[9,0,0],"inputs":["zero"],"outputs":["low"]},
		 {"name":"end","cost_us":[0,9,9],"inputs":["high","low","more"]}],
		"values":[{"name":"low","bytes":1},{"name":"high","bytes":5},{"name":"zero","bytes":0},{"name":"more","bytes":2}]}`)
	plan := &ir.Plan{Submodels: []ir.Submodel{
		{Processor: 1, Nodes: []ir.NodeID{0}}, {Processor: 0, Nodes: []ir.NodeID{1}}, {Processor: 2, Nodes: []ir.NodeID{2}}, {Processor: 0, Nodes: []ir.NodeID{3}},
	}}
	r, err := sched.Evaluate(p, plan)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range r.Hops {
		got = append(got, p.Graph.ValueName(h.Value)+" "+h.Start.String())
	}
	if diff := cmp.Diff([]string{"zero 0.000 us", "high 0.000 us", "low 5.000 us", "more 6.000 us"}, got); diff != "" {
		t.Error(diff)
	}
}
