package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/report"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

const device = `schema: dnnsplit/device/v1
name: NAME
memory: 4GiB
processors:
  - name: a
    kind: cpu
    peak: {float32: 1GFLOP/s}
    memory_bandwidth: 1GB/s
  - name: b
    kind: cpu
    peak: {float32: 1GFLOP/s}
    memory_bandwidth: 1GB/s
source: made up for a test
`

// split splits a model of the catalogue over devices of two processors each.
func split(t *testing.T, name string, devices []string, pins ...compiler.Rule) (dir, model string) {
	t.Helper()
	work := t.TempDir()
	m, err := onnxtest.Named(name, 1)
	if err != nil {
		t.Fatal(err)
	}
	model = filepath.Join(work, "model.onnx")
	if err := m.WriteFile(model); err != nil {
		t.Fatal(err)
	}
	fleet := filepath.Join(work, "fleet")
	if err := os.Mkdir(fleet, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if err := os.WriteFile(filepath.Join(fleet, d+".yaml"), []byte(strings.ReplaceAll(device, "NAME", d)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(devices) > 1 {
		text := "schema: dnnsplit/fleet/v1\nsource: " + devices[0] + "\nsink: " + devices[0] + "\ndefault_link: {bandwidth: 1GB/s, latency: 100us}\n"
		if err := os.WriteFile(filepath.Join(fleet, "fleet.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := compiler.Compile(context.Background(), compiler.Options{
		Model: model, Devices: fleet, Output: filepath.Join(work, "out"), Submodels: compiler.Auto, Pins: pins,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Write(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r.Options.Output, model
}

func run(t *testing.T, o Options) *Measurement {
	t.Helper()
	o.Time = time.Millisecond // the least: as many rounds as there must be
	o.Optimization = runtime.All
	m, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBench(t *testing.T) {
	runtimetest.ORT(t)
	dir, model := split(t, "small/three_towers", []string{"host"})
	m := run(t, Options{Bundle: dir})
	r := m.Report
	if !r.Agree || len(r.Outputs) != 2 {
		t.Errorf("outputs: %+v", r.Outputs)
	}
	if len(m.Manifest.Submodels) < 2 {
		t.Fatalf("the model was not cut: %d sub-models", len(m.Manifest.Submodels))
	}
	for _, x := range append(slices.Concat(r.Whole, r.Parallel), r.Latency, r.Interval) {
		if !(x.MedianUs > 0) || x.LowUs > x.MedianUs || x.HighUs < x.MedianUs || x.Samples == 0 {
			t.Errorf("%s: %+v", x.Name, x)
		}
	}
	if len(r.Whole) != 2 || r.BestWhole == "" || len(r.Submodels) != len(m.Manifest.Submodels) {
		t.Errorf("%+v", r)
	}
	for i, s := range r.Submodels {
		p := m.Manifest.Submodels[i].Predicted
		if s.Samples == 0 || !(s.MedianUs > 0) || s.PipelineSamples == 0 || !(s.PipelineUs > 0) || s.PredictedUs != p.EndUs-p.StartUs || s.Error == nil {
			t.Errorf("%+v", s)
		}
	}
	if r.Latency.PredictedUs == nil || *r.Latency.PredictedUs != m.Manifest.Prediction.LatencyUs || r.Latency.Speedup == nil || r.Interval.Speedup == nil {
		t.Errorf("%+v", r.Latency)
	}
	if r.Copies == nil || !(r.Copies.MedianUs > 0) || r.Copies.Speedup == nil {
		t.Errorf("copies of the whole: %+v", r.Copies)
	}
	for _, w := range r.Whole {
		if w.Beside == nil || !(*w.Beside > 0) {
			t.Errorf("%s beside copies: %v", w.Name, w.Beside)
		}
	}
	if r.Model != model {
		t.Errorf("the model is %s, want %s", r.Model, model)
	}
	checkTrace(t, m)
}

// checkTrace reads the trace back: every sub-model ran once in either group, and
// arrows start where a run ends.
func checkTrace(t *testing.T, m *Measurement) map[string]int {
	t.Helper()
	text, err := m.Trace()
	if err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []report.TraceEvent `json:"traceEvents"`
	}
	if err := json.Unmarshal(text, &trace); err != nil {
		t.Fatal(err)
	}
	slices := map[string]int{}
	begun, ended := map[int]bool{}, map[int]bool{}
	for _, e := range trace.TraceEvents {
		switch e.Phase {
		case "X":
			slices[e.Cat+" "+e.Name]++
			if *e.Dur < 0 || e.Ts < 0 {
				t.Errorf("%+v", e)
			}
		case "s":
			begun[e.ID] = true
		case "f":
			ended[e.ID] = true
		}
	}
	for _, s := range m.Manifest.Submodels {
		if slices["run "+s.ID] != 2 {
			t.Errorf("sub-model %s runs %d times in the trace, want once measured and once predicted", s.ID, slices["run "+s.ID])
		}
	}
	if len(begun) == 0 || len(begun) != len(ended) {
		t.Errorf("%d arrows begin, %d end", len(begun), len(ended))
	}
	return slices
}

// Links that are emulated carry what the manifest plans, and nothing is there
// before its link has brought it.
func TestEmulateLinks(t *testing.T) {
	runtimetest.ORT(t)
	dir, _ := split(t, "small/three_towers", []string{"left", "right"}, compiler.Rule{Pattern: "^text/", Processor: "right.a"})
	m := run(t, Options{Bundle: dir, EmulateLinks: true, SkipParallel: true})
	if !m.Report.Agree || len(m.Manifest.Links) == 0 {
		t.Fatalf("agree %v, links %v", m.Report.Agree, m.Manifest.Links)
	}
	carried := 0
	for name, n := range checkTrace(t, m) {
		if strings.HasPrefix(name, "transfer ") {
			carried++
			if n%2 != 0 {
				t.Errorf("%s is there %d times, want as often measured as predicted", name, n)
			}
		}
	}
	if carried == 0 {
		t.Error("no transfer is in the trace")
	}
	if got := m.Report.Latency.MinUs; got < 200 {
		t.Errorf("an inference that sends tensors there and back over links of 100 us takes %v us", got)
	}
}

// A part with other weights is found out.
func TestDifferentOutputs(t *testing.T) {
	runtimetest.ORT(t)
	dir, model := split(t, "small/squeezenet1_1", []string{"host"})
	other, err := onnxtest.Named("small/squeezenet1_1", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.WriteFile(model); err != nil {
		t.Fatal(err)
	}
	m, err := Run(context.Background(), Options{Bundle: dir, Time: time.Millisecond, Tolerance: 1e-9, SkipParallel: true, SkipPipeline: true})
	if err != nil {
		t.Fatal(err)
	}
	if m.Report.Agree {
		t.Error("outputs of another model count as equal")
	}
}

func TestBenchErrors(t *testing.T) {
	runtimetest.ORT(t)
	if _, err := Run(context.Background(), Options{Bundle: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "manifest.json") {
		t.Errorf("a folder without a manifest: %v", err)
	}
	dir, _ := split(t, "small/squeezenet1_1", []string{"host"})
	if _, err := Run(context.Background(), Options{Bundle: dir, Map: []Mapping{{Processor: "gpu", CPUs: []int{0}}}}); err == nil || !strings.Contains(err.Error(), "host.a") {
		t.Errorf("an unknown processor: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, Options{Bundle: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPlaces(t *testing.T) {
	m := &backend.Manifest{Processors: []backend.Processor{
		{Name: "a", Device: "x", Submodels: []string{"a"}}, {Name: "b", Device: "x", Submodels: []string{"b"}}, {Name: "c", Device: "y"},
	}}
	text := func(list []place) string {
		var parts []string
		for _, p := range list {
			parts = append(parts, p.Processor+"="+runtime.FormatCPUs(p.CPUs))
		}
		return strings.Join(parts, " ")
	}
	for _, c := range []struct {
		given     []Mapping
		available []int
		want      string
		shared    bool
	}{
		{nil, []int{0, 1}, "a=0 b=1", false},
		{nil, []int{0, 1, 2, 3, 4}, "a=0-1 b=2-4", false},
		{nil, []int{3}, "a=3 b=3", true},
		{[]Mapping{{Processor: "b", CPUs: []int{0}}}, []int{0, 1, 2}, "a=1-2 b=0", false},
		{[]Mapping{{Processor: "c", CPUs: []int{2}}}, []int{0, 1, 2}, "a=0 b=1 c=2", false},
		{[]Mapping{{Processor: "a", CPUs: []int{0}}, {Processor: "b", CPUs: []int{0}}}, []int{0, 1}, "a=0 b=0", true},
		{[]Mapping{{Processor: "a", CPUs: []int{0, 1}}}, []int{0, 1}, "a=0-1 b=0-1", true},
	} {
		list, shared, err := places(m, c.given, c.available)
		if err != nil || text(list) != c.want || shared != c.shared {
			t.Errorf("%v of %v: %s (shared %v), %v; want %s", c.given, c.available, text(list), shared, err, c.want)
		}
	}
	for _, bad := range []struct {
		given []Mapping
		want  string
	}{
		{[]Mapping{{Processor: "d", CPUs: []int{0}}}, "--map d: the bundle has no such processor; there are a, b, c"},
		{[]Mapping{{Processor: "a", CPUs: []int{9}}}, "--map a: this program may not use core 9, only 0-1"},
		{[]Mapping{{Processor: "a", CPUs: []int{0}}, {Processor: "a", CPUs: []int{1}}}, "--map names processor a twice"},
	} {
		if _, _, err := places(m, bad.given, []int{0, 1}); err == nil || err.Error() != bad.want {
			t.Errorf("%v: %v, want %s", bad.given, err, bad.want)
		}
	}
}

func TestParseMapping(t *testing.T) {
	m, err := ParseMapping("jetson.gpu=0-1,4:CUDAExecutionProvider")
	if err != nil || m.Processor != "jetson.gpu" || !slices.Equal(m.CPUs, []int{0, 1, 4}) || m.Provider != "CUDAExecutionProvider" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range []string{"", "a", "=0", "a=", "a=x", "a=3-1", "a=0,,1"} {
		if _, err := ParseMapping(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Transfers queue on a link, and on a medium that links share.
func TestRoutes(t *testing.T) {
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	net := newNetwork([]backend.Link{
		{From: "a", To: "b", LatencyUs: 10, BytesPerUs: 100, Medium: "air"},
		{From: "b", To: "a", LatencyUs: 10, BytesPerUs: 100, Medium: "air"},
		{From: "b", To: "c", LatencyUs: 1, BytesPerUs: 1000},
	})
	planned := []backend.Transfer{{From: "a", To: "b", For: "c"}, {From: "b", To: "c", For: "c"}, {From: "a", To: "b", For: "b"}}
	toC, err := net.to("c", 2000, planned)
	if err != nil || len(toC) != 2 {
		t.Fatal(toC, err)
	}
	if at := toC.send(us(5), nil); at != us(5+20+10+2+1) {
		t.Errorf("the first arrives at %v", at)
	}
	back, err := net.to("a", 1000, []backend.Transfer{{From: "b", To: "a", For: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if at := back.send(us(6), nil); at != us(25+10+10) { // waits for the medium
		t.Errorf("the second arrives at %v", at)
	}
	net.reset()
	if at := back.send(us(6), nil); at != us(6+10+10) {
		t.Errorf("on an idle medium it arrives at %v", at)
	}
	const want = "the manifest does not describe the link from a to c: it was written by an older version, split again"
	if _, err := net.to("c", 1, []backend.Transfer{{From: "a", To: "c", For: "c"}}); err == nil || err.Error() != want {
		t.Errorf("a link that is not described: %v, want %s", err, want)
	}
}

// What a measurement here is not, beside the prediction.
func TestNotes(t *testing.T) {
	b := &bench{m: &backend.Manifest{
		Processors: []backend.Processor{{Name: "jetson.gpu", Provider: "CUDAExecutionProvider", Submodels: []string{"s"}}},
		Edges:      []backend.Edge{{Transfers: make([]backend.Transfer, 2)}},
		Inputs:     []backend.Input{{Transfers: make([]backend.Transfer, 1)}},
	}, report: &Report{}}
	if p := b.processor(place{Mapping: Mapping{Processor: "jetson.gpu", CPUs: []int{0}}}); p.Provider != "CPUExecutionProvider" || p.Submodels != 1 {
		t.Errorf("%+v", p)
	}
	b.noteTransfers()
	want := []string{
		"processor jetson.gpu has CUDAExecutionProvider in its profile; here it is the CPU, unless --map gives a provider",
		"the prediction counts 3 transfers over links, which cost nothing here: --emulate-links makes them cost what the fleet says",
	}
	if !slices.Equal(b.report.Notes, want) {
		t.Errorf("notes are %q, want %q", b.report.Notes, want)
	}
}

// Processors that share a core are said to.
func TestSharedCores(t *testing.T) {
	runtimetest.ORT(t)
	dir, _ := split(t, "small/three_towers", []string{"host"})
	available, err := runtime.BoundCPUs()
	if err != nil {
		t.Fatal(err)
	}
	one := available[:1]
	b, err := prepare(t.Context(), Options{Bundle: dir, Map: []Mapping{{Processor: "host.a", CPUs: one}, {Processor: "host.b", CPUs: one}}})
	if b != nil {
		defer b.close()
	}
	if err != nil {
		t.Fatal(err)
	}
	const want = "cores stand for several processors each: what the split takes here is more than it would on processors of their own"
	if !slices.Contains(b.report.Notes, want) {
		t.Errorf("notes are %q, want %q", b.report.Notes, want)
	}
}

// A bundle without sub-models has nothing to measure.
func TestNothingToRun(t *testing.T) {
	dir, model := split(t, "small/squeezenet1_1", []string{"host"})
	m, err := backend.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	input := m.Model.Inputs[0]
	m.Submodels, m.Edges, m.Model.Outputs = []backend.Submodel{}, []backend.Edge{}, []backend.Tensor{input}
	m.Inputs = []backend.Input{{Tensor: input.Name, To: []string{}, Transfers: []backend.Transfer{}}}
	m.Outputs = []backend.Output{{Tensor: input.Name, Kept: []string{backend.KeptInput}, Transfers: []backend.Transfer{}}}
	for i := range m.Processors {
		m.Processors[i].Submodels = []string{}
	}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, backend.ManifestFile), body, 0o666); err != nil {
		t.Fatal(err)
	}
	want := dir + ": the bundle has no sub-models to run"
	if _, err := Run(t.Context(), Options{Bundle: dir}); err == nil || err.Error() != want {
		t.Errorf("%s: %v, want %s", model, err, want)
	}
}
