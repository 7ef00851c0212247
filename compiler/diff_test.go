package compiler_test

import (
	"encoding/json"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/google/go-cmp/cmp"
)

// splitOf is a manifest with one sub-model for each processor a, b, ...
func splitOf(nodes, replicas map[string][]string, edges []backend.Edge) *backend.Manifest {
	m := &backend.Manifest{Options: json.RawMessage(`{"seed":1}`), Edges: edges}
	for _, p := range []string{"a", "b"} {
		m.Devices = append(m.Devices, backend.Device{Name: p})
		proc := backend.Processor{Name: p, Device: p, MemoryBytes: int64(10 * len(nodes[p]))}
		if len(nodes[p]) > 0 {
			proc.Submodels = []string{p}
			m.Submodels = append(m.Submodels, backend.Submodel{ID: p, Processor: p, NodeNames: nodes[p], ReplicaNames: replicas[p]})
		}
		m.Processors = append(m.Processors, proc)
	}
	return m
}

// TestDiff compares two splits of two versions of a model: nodes that moved, came
// and went, replicas, and tensors that travel otherwise.
func TestDiff(t *testing.T) {
	before := splitOf(map[string][]string{"a": {"n1", "n2", "n3"}, "b": {"n4", "old"}}, map[string][]string{"b": {"n1"}},
		[]backend.Edge{{Tensor: "t3", Bytes: 8, From: "a", To: []string{"b"}}, {Tensor: "t1", Bytes: 4, From: "a", To: []string{"b"}}})
	after := splitOf(map[string][]string{"a": {"n1"}, "b": {"n2", "n3", "n4", "new"}}, map[string][]string{"b": {"n1", "n1"}},
		[]backend.Edge{{Tensor: "t1", Bytes: 6, From: "a", To: []string{"b"}}, {Tensor: "t5", Bytes: 2, From: "b", To: []string{"a"}}})
	after.Options = json.RawMessage(`{"seed":2,"objective":"throughput"}`)
	d := compiler.DiffManifests(before, after)
	got := struct {
		Options  []compiler.OptionChange
		Moved    []compiler.Move
		Gone     []compiler.PlacedNodes
		New      []compiler.PlacedNodes
		Kept     int
		Replicas []compiler.ReplicaChange
		Edges    []compiler.EdgeChange
		Memory   []compiler.MemoryChange
	}{d.Options, d.Moved, d.Gone, d.New, d.Kept, d.Replicas, d.Edges, d.Memory}
	want := got
	want.Options = []compiler.OptionChange{{Name: "objective", Before: "", After: "throughput"}, {Name: "seed", Before: "1", After: "2"}}
	want.Moved = []compiler.Move{{From: "a", To: "b", Nodes: []string{"n2", "n3"}}}
	want.Gone = []compiler.PlacedNodes{{Processor: "b", Nodes: []string{"old"}}}
	want.New = []compiler.PlacedNodes{{Processor: "b", Nodes: []string{"new"}}}
	want.Kept = 2
	want.Replicas = []compiler.ReplicaChange{{Processor: "b", Gone: []string{}, New: []string{"n1"}}}
	ab := func(bytes int64) *compiler.EdgeEnds {
		return &compiler.EdgeEnds{From: "a", To: []string{"b"}, Bytes: bytes}
	}
	want.Edges = []compiler.EdgeChange{
		{Tensor: "t3", Before: ab(8)},
		{Tensor: "t1", Before: ab(4), After: ab(6)},
		{Tensor: "t5", After: &compiler.EdgeEnds{From: "b", To: []string{"a"}, Bytes: 2}},
	}
	want.Memory = []compiler.MemoryChange{{Name: "a", Before: 30, After: 10}, {Name: "b", Before: 20, After: 40}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Same() || !compiler.DiffManifests(before, before).Same() {
		t.Error("Same is wrong")
	}
}
