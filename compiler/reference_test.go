package compiler_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// With --weights reference the bundle shares the source's data files, ONNX
// Runtime loads it, and whoever changes them later is found out.
func TestWeightsReference(t *testing.T) {
	requireORT(t)
	dir := t.TempDir()
	model, data, out := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "w.bin"), filepath.Join(dir, "out")
	m := onnxtest.Weights(1, 1<<20)
	m.External(onnxtest.External{Location: "w.bin", MinBytes: 1024})
	if err := m.WriteFile(model); err != nil {
		t.Fatal(err)
	}
	o := compiler.Options{
		Model: model, Output: out, Weights: backend.WeightsReference,
		Pins: []compiler.Rule{{Pattern: "^t0", Processor: "edge-server.gpu"}, {Pattern: "^t1", Processor: "jetson-orin-nano.gpu"}},
	}
	for range 2 { // the second run replaces the first one's bundle and leaves the source alone
		if _, _, err := bundleOf(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	a, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.Stat(filepath.Join(out, "w.bin")); err != nil || !os.SameFile(a, b) {
		t.Errorf("the bundle has a file of its own: %v", err)
	}
	if list, err := filepath.Glob(filepath.Join(out, "*.data")); err != nil || len(list) > 0 {
		t.Errorf("there are copies of weights: %v, %v", list, err)
	}
	check := func() *verify.Report {
		r, err := verify.Run(t.Context(), verify.Options{Bundle: out, Model: model})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := check(); !r.Equal {
		t.Errorf("the split computes something else: %+v", r)
	}
	f, err := os.OpenFile(data, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1, 2, 3, 4}, 64); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r := check(); r.Equal {
		t.Error("a change of the shared data goes unnoticed")
	}

	o.Model, o.Pins = write(t, "weights=1MiB"), nil
	if _, _, err := bundleOf(t.Context(), o); err == nil || !strings.Contains(err.Error(), "external data") {
		t.Errorf("without external data the error is %v", err)
	}
}
