package compiler_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// referring are options that split a model with external data in dir into two
// sub-models that refer to the data, in the bundle dir/out.
func referring(t *testing.T, dir string) compiler.Options {
	t.Helper()
	model := filepath.Join(dir, "m.onnx")
	m := onnxtest.Weights(1, 1<<20)
	m.External(onnxtest.External{Location: "w.bin", MinBytes: 1024})
	if err := m.WriteFile(model); err != nil {
		t.Fatal(err)
	}
	return compiler.Options{
		Model: model, Output: filepath.Join(dir, "out"), Weights: backend.WeightsReference, SkipAuto: true,
		Pins: []compiler.Rule{{Pattern: "^t0", Processor: "edge-server.gpu"}, {Pattern: "^t1", Processor: "jetson-orin-nano.gpu"}},
	}
}

// overwrite changes four bytes of a file in place.
func overwrite(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1, 2, 3, 4}, 64); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// With --weights reference the bundle shares the source's data files, ONNX
// Runtime loads it, and whoever changes or removes them later is found out.
func TestWeightsReference(t *testing.T) {
	runtimetest.ORT(t)
	dir := t.TempDir()
	o := referring(t, dir)
	data, shared := filepath.Join(dir, "w.bin"), filepath.Join(o.Output, "w.bin")
	for range 2 { // the second run replaces the first one's bundle and leaves the source alone
		if _, _, err := bundleOf(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(o.Output, "manifest.json"))
	if want := "the sub-models share data files with the source by hard links: who writes into one of them changes both"; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("the manifest does not say that %s: %v", want, err)
	}
	a, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.Stat(shared); err != nil || !os.SameFile(a, b) {
		t.Errorf("the bundle has a file of its own: %v", err)
	}
	if list, err := filepath.Glob(filepath.Join(o.Output, "*.data")); err != nil || len(list) > 0 {
		t.Errorf("there are copies of weights: %v, %v", list, err)
	}
	check := func() *verify.Report {
		r, err := verify.Run(t.Context(), verify.Options{Bundle: o.Output, Model: o.Model})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := check(); !r.Equal {
		t.Errorf("the split computes something else: %+v", r)
	}

	// A file that takes the place of the source's, as most programs write, is
	// another one: the bundle keeps its own. One that is written to is not.
	body, err := os.ReadFile(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(data, body, 0o666); err != nil {
		t.Fatal(err)
	}
	overwrite(t, data)
	if now, err := os.ReadFile(shared); err != nil || !bytes.Equal(now, body) {
		t.Errorf("the bundle's data are the new file's: %v", err)
	}
	if r := check(); r.Equal {
		t.Error("the source has other weights, and nobody notices")
	}
	if err := os.WriteFile(data, body, 0o666); err != nil {
		t.Fatal(err)
	}
	if r := check(); !r.Equal {
		t.Errorf("the split computes something else: %+v", r)
	}
	overwrite(t, shared)
	if r := check(); r.Equal {
		t.Error("a change of the shared data goes unnoticed")
	}
	if err := os.Remove(shared); err != nil {
		t.Fatal(err)
	}
	if r, err := verify.Run(t.Context(), verify.Options{Bundle: o.Output, Model: o.Model}); (err == nil && r.Equal) || (err != nil && !strings.Contains(err.Error(), shared)) {
		t.Errorf("that the data are gone is told as %v", err)
	}

	for location, want := range map[string]string{
		"data/w.bin":    `the weights are in "data/w.bin", in a folder of their own: sub-models can refer only to data files beside the model; move the file there, or choose other --weights`,
		"manifest.json": `the weights are in "manifest.json", which is the name of a file of the bundle: rename it, or choose other --weights`,
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "data"), 0o777); err != nil {
			t.Fatal(err)
		}
		o := referring(t, dir)
		m := onnxtest.Weights(1, 1<<20)
		m.External(onnxtest.External{Location: location, MinBytes: 1024})
		if err := m.WriteFile(o.Model); err != nil {
			t.Fatal(err)
		}
		if _, _, err := bundleOf(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	o.Model, o.Pins = write(t, "weights=1MiB"), nil
	if _, _, err := bundleOf(t.Context(), o); err == nil || !strings.Contains(err.Error(), "external data") {
		t.Errorf("without external data the error is %v", err)
	}
}

// TestExportReference exports a bundle that shares its data with the source. What
// comes out loads, has files of its own, and is refused once the data have changed.
func TestExportReference(t *testing.T) {
	eng := runtimetest.ORT(t)
	dir := t.TempDir()
	o := referring(t, dir)
	if _, _, err := bundleOf(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "w.bin"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.Stat(filepath.Join(dir, "w.bin"))
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{"triton", "nnstreamer", "annotated"}
	for _, to := range targets {
		out := filepath.Join(dir, to)
		if _, err := export.Run(t.Context(), export.Options{Bundle: o.Output, To: to, Output: out}); err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		models, copies := 0, 0
		err := filepath.WalkDir(out, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil || e.IsDir():
				return err
			case filepath.Ext(path) == ".onnx":
				models++
				s, err := eng.Load(runtime.Model{Path: path}, runtime.Options{})
				if err != nil {
					t.Errorf("%s: %s does not load: %v", to, path, err)
					return nil
				}
				return s.Close()
			case e.Name() == "w.bin":
				copies++
				info, err := os.Stat(path)
				if err != nil {
					return err
				}
				if body, err := os.ReadFile(path); err != nil || !bytes.Equal(body, want) || os.SameFile(info, source) {
					t.Errorf("%s: %s is no copy of the data: %v", to, path, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if models == 0 || copies == 0 {
			t.Errorf("%s: there are %d models and %d data files", to, models, copies)
		}
	}
	overwrite(t, filepath.Join(o.Output, "w.bin"))
	for _, to := range targets {
		out := filepath.Join(dir, to+"2")
		_, err := export.Run(t.Context(), export.Options{Bundle: o.Output, To: to, Output: out})
		if err == nil || !strings.Contains(err.Error(), "changed") {
			t.Errorf("%s: with other data the error is %v", to, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: changed data are exported", to)
		}
	}
}
