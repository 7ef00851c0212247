package frontend_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// fuzzFleet is two processors, one of which lacks an operator.
func fuzzFleet(t testing.TB) *profiles.Fleet {
	t.Helper()
	fleet, err := profiles.LoadFS(fstest.MapFS{
		"a.yaml":     {Data: []byte("schema: dnnsplit/device/v1\nname: a\nmemory: 8GiB\nprocessors:\n  - {name: cpu, kind: cpu, provider: CPUExecutionProvider, peak: {float32: 10GFLOP/s}, memory_bandwidth: 10GB/s}\nsource: made up\n")},
		"b.yaml":     {Data: []byte("schema: dnnsplit/device/v1\nname: b\nmemory: 8GiB\nprocessors:\n  - {name: gpu, kind: gpu, provider: CUDAExecutionProvider, peak: {float32: 1TFLOP/s}, memory_bandwidth: 100GB/s, unsupported: [Loop]}\nsource: made up\n")},
		"fleet.yaml": {Data: []byte("schema: dnnsplit/fleet/v1\nlinks:\n  - {between: [a, b], bandwidth: 1Gbit/s, latency: 1ms}\n")},
	}, ".")
	if err != nil {
		t.Fatal(err)
	}
	return fleet
}

// maxFuzzBytes keeps mutated models small: what they break is structure.
const maxFuzzBytes = 64 << 10

// FuzzModel gives bytes to the whole front end. Whatever comes out must be a
// valid problem that accounts for each node of the model once.
func FuzzModel(f *testing.F) {
	for _, c := range onnxtest.Odd() {
		if c.Tags.Has(onnxtest.ExternalData) {
			continue
		}
		if b := c.Build(1).Bytes(); len(b) <= 8<<10 {
			f.Add(b)
		}
	}
	for _, b := range onnxtest.BadFiles() {
		if len(b.Bytes) <= 8<<10 {
			f.Add(b.Bytes)
		}
	}
	fleet := fuzzFleet(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxFuzzBytes {
			return
		}
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := onnxfile.Open(t.Context(), path, onnxfile.Options{MaxNodes: 2000})
		if err != nil {
			return
		}
		defer m.Close()
		a, err := frontend.Analyze(t.Context(), m, frontend.Options{MaxNodes: 2000})
		if err != nil {
			return
		}
		if total := len(a.Nodes) + a.Constant + a.Dead; total != len(a.Model.Proto.GetGraph().GetNode()) {
			t.Errorf("%d nodes run, %d are constant, %d dead: the model has %d", len(a.Nodes), a.Constant, a.Dead, len(a.Model.Proto.GetGraph().GetNode()))
		}
		l, err := a.Lower(t.Context(), fleet, frontend.LowerOptions{})
		if err != nil {
			return
		}
		if err := l.Problem.Validate(); err != nil {
			t.Error(err)
		}
		seen := map[int32]bool{}
		for _, members := range l.Members {
			for _, i := range members {
				if seen[i] {
					t.Errorf("node %d is in two units", i)
				}
				seen[i] = true
			}
		}
		if len(seen) != len(a.Nodes) {
			t.Errorf("%d of %d nodes are placed", len(seen), len(a.Nodes))
		}
	})
}
