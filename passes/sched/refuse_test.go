package sched_test

import (
	"fmt"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Costs that can be added up once, and not once more for each replica.
func TestReplicasOverflow(t *testing.T) {
	const copies = 5
	nodes, values := `{"name":"a","cost_us":[1e12],"inputs":["x"],"outputs":["y"],"replicable":true}`, `{"name":"x","bytes":1,"graph_input":true},{"name":"y","bytes":1,"graph_output":true}`
	plan := &ir.Plan{Submodels: []ir.Submodel{{Nodes: []ir.NodeID{0}}}}
	for i := range copies {
		nodes += fmt.Sprintf(`,{"name":"b%d","cost_us":[1],"inputs":["y"],"outputs":["z%d"]}`, i, i)
		values += fmt.Sprintf(`,{"name":"z%d","bytes":1,"graph_output":true}`, i)
		plan.Submodels = append(plan.Submodels, ir.Submodel{Nodes: []ir.NodeID{ir.NodeID(1 + i)}})
	}
	p := problem(t, `{"schema":"dnnsplit/graph/v1","devices":[{"name":"d"}],"processors":[{"name":"p","device":"d"}],"nodes":[`+nodes+`],"values":[`+values+`]}`)
	if _, err := sched.Evaluate(p, plan); err != nil {
		t.Errorf("without replicas: %v", err)
	}
	for i := range copies {
		plan.Submodels[1+i].Replicas = []ir.NodeID{0}
	}
	const want = "the replicas of sub-model 4 take more time than can be scheduled"
	if _, err := sched.Evaluate(p, plan); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
