package compiler

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// A broken invariant becomes a sentence that asks for a report.
func TestCatch(t *testing.T) {
	broken := func() (err error) {
		defer catch(&err)
		diag.Bugf("node %d is in no part", 7)
		return nil
	}
	const want = "internal error: node 7 is in no part; please report it with the model's structure"
	if err := broken(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A placement file of such a size is not read.
func TestHugePlacement(t *testing.T) {
	path := filepath.Join(t.TempDir(), "placement.yaml")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPlacement(path); err == nil || !strings.HasPrefix(err.Error(), path+": it has more than ") {
		t.Error(err)
	}
}

// A model without arithmetic tells no rate of it.
func TestPipeEdgeWithoutWork(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		PipeEdgeModels:      "tiny: {layers: 1, mem_MB: [1], parameters_in: 1, parameters_out: [1]}\n",
		PipeEdgeDeviceTypes: "fast: {bw_Mbps: 1000, mem_MB: 512, model_profiles: {tiny: [{batch_size: 1, dtype: torch.float32, time_s: [0.1]}]}}\n",
		PipeEdgeDevices:     "fast: [a]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	m := onnxtest.New(onnxtest.Header{Opset: 17})
	g := m.Graph()
	g.Input("x", onnxtest.Float, 4)
	g.Output(g.Op("Identity", []string{"x"}, onnxtest.Outs("y")), onnxtest.Float, 4)
	path := filepath.Join(dir, "identity.onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPipeEdge(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := path + ": no floating-point work of it is known, so no rate can be told from times"
	if _, _, err := p.Fleet(t.Context(), PipeEdgeOptions{Model: "tiny"}, Options{Model: path}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A split whose search is interrupted says so where it keeps the best plan.
func TestInterruptedSplitNotes(t *testing.T) {
	m, err := onnxtest.Named("small/googlenet", 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Compile(ctx, Options{Model: path, Devices: "../profiles", KeepBest: true, NoWrite: true, Submodels: Auto, Progress: func(p Progress) {
		if strings.Contains(p.Step, "search") {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if ctx.Err() == nil {
		t.Fatal("there was no search")
	}
	if !slices.Contains(r.Notes, "the search was interrupted: this is the best plan so far") {
		t.Errorf("notes are %q", r.Notes)
	}
}
