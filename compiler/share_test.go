package compiler

import (
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// TestShare gives points plans that were found for others, but none of more sub-models
// than they may have.
func TestShare(t *testing.T) {
	kind := func(o ir.Objective, most int) Options { return Options{Objective: o, Submodels: most} }
	kinds := []Options{kind(ir.Latency, 1), kind(ir.Latency, Auto), kind(ir.Throughput, 1), kind(ir.Throughput, 2), kind(ir.Throughput, Auto)}
	point := func(o string, latency, bottleneck float64, on ...string) SweepPoint {
		return SweepPoint{Objective: o, LatencyUs: latency, BottleneckUs: bottleneck, PerSecond: 1e6 / bottleneck, Runs: len(on), Processors: on}
	}
	points := []SweepPoint{
		point("latency", 20, 12, "a", "b"),
		point("latency", 18, 14, "a", "b", "a"),
		point("throughput", 26, 26, "a"),
		{Objective: "throughput", Infeasible: "nothing was found", Processors: []string{}},
		point("throughput", 30, 9, "a", "b", "a", "b"),
	}
	share(points, kinds)
	for i, want := range []string{"a b", "a b a", "a b", "a b", "a b a b"} {
		if got := strings.Join(points[i].Processors, " "); got != want || points[i].Runs != len(points[i].Processors) || points[i].Infeasible != "" {
			t.Errorf("point %d: %+v, want one on %s", i, points[i], want)
		}
	}
	if points[2].Objective != "throughput" || points[2].BottleneckUs != 12 || points[0].Objective != "latency" {
		t.Errorf("%+v", points)
	}
}
