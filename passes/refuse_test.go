package passes

import (
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// labels is a problem that bounds on paths leave open: along each path processors
// can be chosen, but not for all nodes together.
const labels = `{"schema":"dnnsplit/graph/v1","name":"choice","devices":[{"name":"d0"},{"name":"d1"},{"name":"d2"}],
"processors":[{"name":"p0","device":"d0","memory_bytes":215},{"name":"p1","device":"d1"},{"name":"p2","device":"d2","memory_bytes":80}],
"links":[{"from":"d2","to":"d0","latency_us":0,"bytes_per_us":100}],"sink":"d0",
"nodes":[
 {"name":"n0","cost_us":[8,5,null],"weights":["w0"],"inputs":["x"],"outputs":["v0"]},
 {"name":"n1","cost_us":[7,4,1],"inputs":["x","v0"],"outputs":["v1"]},
 {"name":"n2","cost_us":[null,8,8],"weights":["w2"],"inputs":["v0","x"],"outputs":["v2"]},
 {"name":"n3","cost_us":[null,4,3],"group":"g0","inputs":["v0"],"outputs":["v3"]},
 {"name":"n4","cost_us":[9,3,9],"weights":["w4"],"inputs":["v1"],"outputs":["v4"]}],
"weights":[{"name":"w0","bytes":80},{"name":"w2","bytes":50},{"name":"w4","bytes":40}],
"values":[{"name":"x","bytes":10,"graph_input":true},{"name":"v0","bytes":10,"graph_output":true},{"name":"v1","bytes":60},{"name":"v2","bytes":50},{"name":"v3","bytes":60},{"name":"v4","bytes":90,"graph_output":true}]}`

// What no labelling of the nodes with processors satisfies is proved to have no plan.
func TestGapProvesInfeasible(t *testing.T) {
	p, err := ir.ReadProblem(strings.NewReader(labels), "labels.json")
	if err != nil {
		t.Fatal(err)
	}
	p.Submodels = 1
	j := newJob(t.Context(), p, Options{Workers: 1})
	for _, run := range []func(*job) error{supported, bounds} {
		if err := run(j); err != nil {
			t.Fatal(err)
		}
	}
	e, ok := IsInfeasible(gap(j))
	if !ok || !e.Proved || !strings.Contains(e.Error(), "no choice of processors lets every value travel and every two neighbours fit into memory") {
		t.Errorf("%+v", e)
	}
}

// Tables of passes that contradict their constraints.
func TestCheckOrder(t *testing.T) {
	passes := []pass{{name: "a"}, {name: "b"}}
	for _, c := range []struct {
		table       []pass
		constraints []constraint
		want        string
	}{
		{passes, []constraint{{"a", "b", "b uses a"}}, ""},
		{passes, []constraint{{"b", "a", "a uses b"}}, "pass b must come before a: a uses b"},
		{passes, []constraint{{"a", "c", "c uses a"}}, "a constraint names pass a or c, which there is not"},
		{[]pass{{name: "a"}, {name: "a"}}, nil, "pass a stands twice"},
	} {
		got := ""
		if err := checkOrder(c.table, c.constraints); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// A plan that states what it does not take, or that a bound contradicts, is found out.
func TestVerifyPlan(t *testing.T) {
	p, err := ir.ReadProblem(strings.NewReader(`{"schema":"dnnsplit/graph/v1","devices":[{"name":"d"}],"processors":[{"name":"p","device":"d"}],
"nodes":[{"name":"a","cost_us":[2],"inputs":["x"],"outputs":["y"]}],"values":[{"name":"x","bytes":1,"graph_input":true},{"name":"y","bytes":1,"graph_output":true}]}`), "one.json")
	if err != nil {
		t.Fatal(err)
	}
	plan := &ir.Plan{Submodels: []ir.Submodel{{Nodes: []ir.NodeID{0}}}, Latency: 2 * ir.Microsecond, Bottleneck: 2 * ir.Microsecond}
	j := newJob(t.Context(), p, Options{})
	refused := func(want string) {
		t.Helper()
		if err := j.verify(plan); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := j.verify(plan); err != nil {
		t.Error(err)
	}
	j.bound = 3 * ir.Microsecond
	refused("the lower bound 3000000 is above a plan's value 2000000")
	plan.Bottleneck = 1
	refused("the plan states latency 2000000 and bottleneck 1, they are 2000000 and 2000000")
}

// A fleet of more processors than a search has slots for gets a plan, too, also where the fastest ones come last.
func TestManyProcessors(t *testing.T) {
	p, err := gen.Make("towers", 20, 80, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Place(t.Context(), p, Options{TimeLimit: 50 * time.Millisecond, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.CheckPlan(p, got.Plan); err != nil {
		t.Error(err)
	}
}
