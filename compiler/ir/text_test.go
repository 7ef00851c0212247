package ir_test

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// camera is a problem in which every key of the schema occurs; sections stand in another order than the writer's.
const camera = `{"schema": "dnnsplit/graph/v1", "name": "camera", "future": [{"a": [1, null, "x"]}, -1.5e3, true],
"nodes": [
  {"name": "conv", "op": "Conv", "cost_us": [120.5, null, 8e0], "weights": ["w", "w"], "group": "g", "inputs": ["x", "x"], "outputs": ["c"]},
  {"name": "relu", "cost_us": [1, 2, 0.000001], "replicable": true, "outputs": ["r", "unused"], "inputs": ["c"], "group": "g", "color": "red"}],
"values": [
  {"name": "r", "bytes": 8, "graph_output": true},
  {"name": "x", "bytes": 6e2, "graph_input": true, "graph_output": null},
  {"name": "c", "bytes": 3211264, "resident_bytes": 64},
  {"name": "unused", "bytes": 0}],
"weights": [{"name": "w", "bytes": 37632}],
"source": "pi", "sink": null,
"links": [{"from": "pi", "to": "srv", "latency_us": 200, "bytes_per_us": 117.5, "medium": "wifi"},
          {"from": "srv", "to": "pi", "bytes_per_us": 1e-3}],
"processors": [
  {"name": "pi", "device": "pi"},
  {"name": "gpu", "device": "srv", "memory_bytes": 4e9, "launch_us": 60, "max_submodels": 0,
   "upload": {"latency_us": 10, "bytes_per_us": 12000}, "download": {"bytes_per_us": 1}, "kind": "gpu", "provider": "CUDA"},
  {"name": "cpu", "device": "srv", "max_submodels": 2, "upload": null}],
"devices": [{"name": "pi", "memory_bytes": 1e30}, {"name": "srv", "memory_bytes": 9007199254740993}]}`

type failer interface {
	Helper()
	Fatal(...any)
}

func read(t failer, text string) *ir.Problem {
	t.Helper()
	p, err := ir.ReadProblem(strings.NewReader(text), "g.json")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func text(t failer, p *ir.Problem) string {
	t.Helper()
	var b bytes.Buffer
	if err := ir.WriteProblem(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadProblem(t *testing.T) {
	p := read(t, camera)
	g := p.Graph
	if g.Name != "camera" || g.NumNodes() != 2 || g.NumValues() != 4 || g.NumWeights() != 1 || g.NumGroups() != 1 {
		t.Fatalf("wrong counts: %q %d %d %d %d", g.Name, g.NumNodes(), g.NumValues(), g.NumWeights(), g.NumGroups())
	}
	const r, x, c, unused = 0, 1, 2, 3 // in the order of their entries
	for _, d := range []string{
		cmp.Diff([]ir.ValueID{x}, g.Inputs(0)),
		cmp.Diff([]ir.ValueID{c}, g.Outputs(0)),
		cmp.Diff([]ir.WeightID{0}, g.Weights(0)),
		cmp.Diff([]ir.ValueID{r, unused}, g.Outputs(1)),
		cmp.Diff([]ir.NodeID{1}, g.Consumers(c)),
		cmp.Diff([]ir.NodeID{0, 1}, g.Members(0)),
		cmp.Diff([]ir.Time{120_500_000, ir.Unsupported, 8_000_000}, p.Costs.Row(0)),
		cmp.Diff([]ir.Time{1_000_000, 2_000_000, 1}, p.Costs.Row(1)),
		cmp.Diff([]int64{8, 600, 3211264, 0}, []int64{g.Bytes(r), g.Bytes(x), g.Bytes(c), g.Bytes(unused)}),
		cmp.Diff([]int64{8, 600, 64, 0}, []int64{g.ResidentBytes(r), g.ResidentBytes(x), g.ResidentBytes(c), g.ResidentBytes(unused)}),
		cmp.Diff([]bool{true, false, false, true, true, false}, []bool{g.IsInput(x), g.IsOutput(x), g.IsInput(r), g.IsOutput(r), g.Replicable(1), g.Replicable(0)}),
		cmp.Diff(&ir.Platform{
			Devices: []ir.Device{{Name: "pi", MemoryBytes: ir.UnlimitedBytes}, {Name: "srv", MemoryBytes: 9007199254740993}},
			Processors: []ir.Processor{
				{Name: "pi", Device: 0, MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels},
				{
					Name: "gpu", Device: 1, MemoryBytes: 4e9, Launch: 60 * ir.Microsecond, MaxSubmodels: 0, Kind: "gpu", Provider: "CUDA",
					Upload: &ir.Copy{Latency: 10 * ir.Microsecond, BytesPerUs: 12000}, Download: &ir.Copy{BytesPerUs: 1},
				},
				{Name: "cpu", Device: 1, MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: 2},
			},
			Links: []ir.Link{
				{From: 0, To: 1, Copy: ir.Copy{Latency: 200 * ir.Microsecond, BytesPerUs: 117.5}, Medium: "wifi"},
				{From: 1, To: 0, Copy: ir.Copy{BytesPerUs: 1e-3}},
			},
			Source: 0, Sink: ir.NoDevice,
		}, p.Platform),
	} {
		if d != "" {
			t.Error(d)
		}
	}
	if p.Submodels != 1 || p.SubmodelLimit(0) != 1 || p.SubmodelLimit(1) != 0 || p.SubmodelLimit(2) != 2 {
		t.Error("wrong limits on sub-models")
	}
	again := text(t, p)
	if d := cmp.Diff(again, text(t, read(t, again))); d != "" {
		t.Errorf("writing what was read changes it: %s", d)
	}
}

// TestReadInPieces breaks the stream at every byte.
func TestReadInPieces(t *testing.T) {
	p, err := ir.ReadProblem(iotest.OneByteReader(strings.NewReader(camera)), "g.json")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(text(t, read(t, camera)), text(t, p)); d != "" {
		t.Error(d)
	}
	if _, err := ir.ReadProblem(io.MultiReader(strings.NewReader(camera[:200]), iotest.ErrReader(io.ErrUnexpectedEOF)), "g.json"); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a failing reader gives %v", err)
	}
}

func TestNames(t *testing.T) {
	p := read(t, `{"schema":"dnnsplit/graph/v1","devices":[{"name":"d\u00e9\n\"\\\/"}],
		"processors":[{"name":"\ud83d\ude00","device":"dé\n\"\\/"}],
		"nodes":[{"name":"\udcff\udc80","cost_us":[0],"outputs":["\u0000"]}],"values":[{"name":"\u0000","bytes":1}]}`)
	if p.Platform.Processors[0].Name != "😀" || p.Graph.NodeName(0) != "\xff\x80" || p.Graph.ValueName(0) != "\x00" {
		t.Errorf("names read as %q, %q, %q", p.Platform.Processors[0].Name, p.Graph.NodeName(0), p.Graph.ValueName(0))
	}
	again := read(t, text(t, p))
	if again.Graph.NodeName(0) != "\xff\x80" || again.Platform.Devices[0].Name != "dé\n\"\\/" {
		t.Error("names do not survive writing")
	}
}

func TestReadProblemErrors(t *testing.T) {
	const head = `{"schema":"dnnsplit/graph/v1","devices":[{"name":"d"},{"name":"e"}],`
	const procs = `"processors":[{"name":"p","device":"d"},{"name":"q","device":"d"}],`
	const values = `"values":[{"name":"x","bytes":1,"graph_input":true},{"name":"y","bytes":1}],`
	node := func(s string) string {
		return head + procs + values + `"nodes":[{"name":"n","cost_us":[1,1],"inputs":["x"],"outputs":["y"]` + s + `]}`
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", ``, "g.json:1:1: the file ends where an execution graph, a JSON object, should stand"},
		{"array", `[]`, `'[' stands where an execution graph`},
		{"schema", `{"schema":"dnnsplit/graph/v2"}`, `schema is "dnnsplit/graph/v2"`},
		{"cut", `{"schema":"dnnsplit/gr`, "the file ends inside a string"},
		{"trailing", head + procs + `"nodes":[],"values":[]} x`, "follows the end of the document"},
		{"no processors", head + `"processors":[],"nodes":[],"values":[]}`, "there are no processors"},
		{"no nodes", head + procs + `"values":[]}`, "nodes is missing"},
		{"null nodes", head + procs + `"values":[],"nodes":null}`, "nodes is missing"},
		{"section twice", head + `"devices":[],` + procs + `"nodes":[],"values":[]}`, `key "devices" comes twice`},
		{"device twice", `{"schema":"dnnsplit/graph/v1","devices":[{"name":"d"},{"name":"d"}],` + procs + `"nodes":[],"values":[]}`, `device "d": name is used twice`},
		{"processor device", head + `"processors":[{"name":"p","device":"z"}],"nodes":[],"values":[]}`, `processor "p": unknown device "z"`},
		{"processor twice", head + `"processors":[{"name":"p","device":"d"},{"name":"p","device":"d"}],"nodes":[],"values":[]}`, `processor "p": name is used twice`},
		{"source", head + procs + `"nodes":[],"values":[],"source":"z"}`, `source: unknown device "z"`},
		{"self link", head + procs + `"nodes":[],"values":[],"links":[{"from":"d","to":"d","bytes_per_us":1}]}`, `link 0: it leads from device "d" to itself`},
		{"link rate", head + procs + `"nodes":[],"values":[],"links":[{"from":"d","to":"e"}]}`, "link 0: bytes_per_us is missing"},
		{"zero rate", head + procs + `"nodes":[],"values":[],"links":[{"from":"d","to":"e","bytes_per_us":0}]}`, "must be positive"},
		{"rate text", head + procs + `"nodes":[],"values":[],"links":[{"from":"d","to":"e","bytes_per_us":"fast"}]}`, "bytes_per_us is not a number"},
		{"empty medium", head + procs + `"nodes":[],"values":[],"links":[{"from":"d","to":"e","bytes_per_us":1,"medium":""}]}`, "medium is empty"},
		{"negative", head + procs + `"nodes":[],"values":[{"name":"x","bytes":-1}]}`, "bytes must be at least 0, it is -1"},
		{"fraction", head + procs + `"nodes":[],"values":[{"name":"x","bytes":1.5}]}`, "bytes is not a whole number: 1.5"},
		{"not finite", head + procs + `"nodes":[],"values":[{"name":"x","bytes":NaN}]}`, "bytes is not a number"},
		{"octal", head + procs + `"nodes":[],"values":[{"name":"x","bytes":012}]}`, "bytes is not a number"},
		{"huge", head + procs + `"nodes":[],"values":[{"name":"x","bytes":1e99,"graph_input":true}]}`, "sizes add up to"},
		{"no producer", head + procs + `"nodes":[],"values":[{"name":"x","bytes":1}]}`, `value "x": no node produces it`},
		{"value twice", head + procs + `"nodes":[],"values":[{"name":"x","bytes":1},{"name":"x","bytes":1}]}`, `value "x": name is used twice`},
		{"flag", head + procs + `"nodes":[],"values":[{"name":"x","bytes":1,"graph_input":1}]}`, `value "x": graph_input is neither true nor false`},
		{"few costs", head + procs + values + `"nodes":[{"name":"n","cost_us":[1],"outputs":["y"]}]}`, `node "n": cost_us has 1 entries for 2 processors`},
		{"long cost", head + procs + values + `"nodes":[{"name":"n","cost_us":[1e13,1],"outputs":["y"]}]}`, "is more than 1e+12 us"},
		{"sum of costs", head + procs + values + `"nodes":[{"name":"n","cost_us":[1e12,1],"outputs":["y"]},{"name":"m","cost_us":[1e12,1]},{"name":"o","cost_us":[1e12,1]},{"name":"p","cost_us":[1e12,1]},{"name":"q","cost_us":[1e12,1]}]}`, "times add up to"},
		{"no name", node(`},{"cost_us":[1,1]}`), "node 1: name is missing"},
		{"empty name", node(`},{"name":"","cost_us":[1,1]}`), "node 1: name is empty"},
		{"empty name of a value", head + procs + `"nodes":[],"values":[{"name":"","bytes":1}]}`, "value 0: name is empty"},
		{"no list", node(`,"weights":{}`), `node "n": weights is not a list`},
		{"long number", head + procs + `"nodes":[],"values":[{"name":"x","bytes":1` + strings.Repeat("0", 2000) + `}]}`, "a number is too long"},
		{"node twice", node(`},{"name":"n","cost_us":[1,1]}`), `node "n": name is used twice`},
		{"unknown value", node(`},{"name":"m","cost_us":[1,1],"inputs":["z"]}`), `node "m": unknown value "z"`},
		{"unknown weight", node(`,"weights":["w"]}`), `node "n": unknown weight "w"`},
		{"two producers", node(`},{"name":"m","cost_us":[1,1],"outputs":["y"]}`), `node "m": its output "y" is a graph input or has another producer`},
		{"order", head + procs + values + `"nodes":[{"name":"m","cost_us":[1,1],"inputs":["y"]},{"name":"n","cost_us":[1,1],"outputs":["y"]}]}`, `node "m": its input "y" is produced by no earlier node`},
		{"empty group", node(`,"group":""}`), "group is empty"},
		{"bad escape", `{"\x":1}`, "unknown escape"},
		{"half a pair", `{"\ud83d":1}`, "half a surrogate pair"},
		{"not UTF-8", "{\"a\xff\":1}", "not UTF-8"},
		{"control", "{\"a\n\":1}", "control character"},
		{"deep", `{"a":` + strings.Repeat("[", 100_000), "nested deeper"},
		{"comma", `{"schema":"dnnsplit/graph/v1",}`, "stands where a key should"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ir.ReadProblem(strings.NewReader(c.text), "g.json")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "g.json") {
				t.Errorf("got %v, want g.json … %s", err, c.want)
			}
		})
	}
}

// TestTimesReadBack writes times at the edges of what float64 can tell apart.
func TestTimesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cost := ir.Micros(math.Ldexp(rapid.Float64Range(0.5, 1).Draw(t, "mantissa"), rapid.IntRange(-25, 39).Draw(t, "exponent")))
		small := ir.Time(rapid.Int64Range(0, 1<<51).Draw(t, "picoseconds"))
		p := read(t, `{"schema":"dnnsplit/graph/v1","devices":[{"name":"d"}],"processors":[{"name":"p","device":"d"}],
			"nodes":[{"name":"n","cost_us":[0]},{"name":"m","cost_us":[0]}],"values":[]}`)
		p.Costs.Set(0, 0, cost)
		p.Costs.Set(1, 0, small)
		q, err := ir.ReadProblem(strings.NewReader(text(t, p)), "g.json")
		if err != nil {
			t.Fatal(err)
		}
		if q.Costs.Of(0, 0) != cost || q.Costs.Of(1, 0) != small {
			t.Fatalf("%d and %d ps read back as %d and %d", cost, small, q.Costs.Of(0, 0), q.Costs.Of(1, 0))
		}
	})
}

func TestPlanText(t *testing.T) {
	p := read(t, camera)
	plan := &ir.Plan{
		Objective: ir.Throughput, Latency: 1_234_567_890_123, Bottleneck: 7, LowerBound: 3,
		Submodels: []ir.Submodel{{Processor: 0, Nodes: []ir.NodeID{0}}, {Processor: 1, Nodes: []ir.NodeID{1}, Replicas: []ir.NodeID{0}}},
	}
	var b bytes.Buffer
	if err := ir.WritePlan(&b, p, plan); err != nil {
		t.Fatal(err)
	}
	const want = `{"schema":"dnnsplit/plan/v1","graph":"camera","objective":"throughput",
"submodels":[
 {"processor":"pi","nodes":["conv"],"replicas":[]},
 {"processor":"gpu","nodes":["relu"],"replicas":["conv"]}],
"latency_us":1234567.890123,"bottleneck_us":0.000007,"lower_bound_us":0.000003,"proven_optimal":false}
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
	again, err := ir.ReadPlan(&b, "p.json", p)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(plan, again); d != "" {
		t.Error(d)
	}
	for _, c := range []struct{ text, want string }{
		{`{}`, `schema is "", not "dnnsplit/plan/v1": this is no plan`},
		{`{"schema":"dnnsplit/plan/v1","graph":"camera"}`, "submodels is missing"},
		{`{"schema":"dnnsplit/plan/v1","graph":"other","submodels":[]}`, `the plan is for graph "other", this one is "camera"`},
		{`{"schema":"dnnsplit/plan/v1","objective":"cost"`, `unknown objective "cost"`},
		{`{"submodels":[{"processor":"tpu"`, `sub-model 0: unknown processor "tpu"`},
		{`{"submodels":[{"processor":"pi","nodes":["z"]`, `sub-model 0: unknown node "z"`},
		{`{"submodels":[{"processor":"pi"}]`, `sub-model 0: nodes is missing`},
		{`{"submodels":[{"nodes":[]}]`, `sub-model 0: processor is missing`},
	} {
		if _, err := ir.ReadPlan(strings.NewReader(c.text), "p.json", p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want … %s", c.text, err, c.want)
		}
	}
}

func FuzzReadProblem(f *testing.F) {
	f.Add([]byte(camera))
	f.Add([]byte(`{"schema":"dnnsplit/graph/v1","devices":[{"name":"d"}],"processors":[{"name":"p","device":"d"}],"nodes":[],"values":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ir.ReadProblem(bytes.NewReader(data), "g.json")
		if err != nil {
			return
		}
		first := text(t, p)
		q, err := ir.ReadProblem(strings.NewReader(first), "g.json")
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if second := text(t, q); first != second {
			t.Fatalf("not the same after reading back:\n%s\n%s", first, second)
		}
	})
}
