package importer_test

import (
	"math"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/profiles/importer"
)

// A file, however broken, is imported or refused with one sentence; what is imported
// is sane.
func check(t *testing.T, m *importer.Model, files ...string) {
	r, err := importText(t, m, importer.Options{WarmUp: 1}, files...)
	if err != nil {
		if msg := err.Error(); msg == "" || strings.Contains(msg, "\n") && !strings.Contains(strings.Join(files, ""), "\\n") {
			t.Fatalf("the error is no sentence: %q", msg)
		}
		return
	}
	c := &r.Coverage
	if c.Attributed.Events > c.Events || c.Timed > c.Nodes || c.Attributed.Us > c.Us*(1+1e-9)+1e-9 {
		t.Fatalf("coverage: %+v", c)
	}
	for _, e := range r.Entries {
		if e.Signature == "" || e.Runs < 1 || !(e.MedianUs >= 0) || math.IsInf(e.MedianUs, 0) || !(e.SpreadUs >= 0) {
			t.Fatalf("entry: %+v", e)
		}
	}
}

func FuzzORT(f *testing.F) {
	m := traced(f, residual(1))
	nested := traced(f, branching())
	for _, name := range []string{"ort_residual_all.json", "ort_residual_disabled.json", "ort_branching.json"} {
		text := sample(f, name)
		f.Add(text)
		f.Add(text[:len(text)/2])
	}
	f.Add(ort("1 conv1 Conv 0 900", "2 conv1 Conv 0 10", `2 a"b Relu 1 1`))
	f.Fuzz(func(t *testing.T, text string) {
		check(t, m, "p.json", "["+text)
		check(t, nested, "p.json", text)
	})
}

func FuzzTensorRT(f *testing.F) {
	m := traced(f, residual(1))
	for _, layers := range []string{"trt_layers_names.json", "trt_layers_detailed.json"} {
		f.Add(sample(f, "trt_profile.json"), sample(f, layers))
	}
	f.Fuzz(func(t *testing.T, profile, layers string) {
		check(t, m, "p.json", profile)
		check(t, m, "l.json", layers, "p.json", profile)
	})
}

func FuzzOpenVINO(f *testing.F) {
	m := traced(f, residual(1))
	for _, name := range []string{"ov_detailed.csv", "ov_average.csv", "ov_old.csv", "ov_detailed.json", "ov_average.json"} {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) { check(t, m, "p", text) })
}
