package compiler_test

import (
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// TestCutVariants cuts every small model with its weights stored in other ways: as
// Constant nodes, in typed fields, and as inputs that callers may replace.
func TestCutVariants(t *testing.T) {
	t.Parallel()
	runtimetest.ORT(t)
	for k, v := range []struct {
		name   string
		change func(m *onnxtest.Model)
	}{
		{"constants", (*onnxtest.Model).WeightsAsConstants},
		{"typed", (*onnxtest.Model).TypedWeights},
		{"inputs", (*onnxtest.Model).WeightsAsInputs},
	} {
		for i, c := range onnxtest.All() {
			if race.Skips(i+k, 9) { // another share in each way
				continue
			}
			if c.Tags&(onnxtest.NoRun|onnxtest.Unrepeatable|onnxtest.ExternalData) != 0 || refusals[c.Name] != "" {
				continue
			}
			m := c.Build(1)
			if replaceable(m) {
				continue // its weights are inputs already
			}
			t.Run(v.name+"/"+c.Name, func(t *testing.T) {
				t.Parallel() // writing waits for the disk
				v.change(m)
				path := filepath.Join(t.TempDir(), "m.onnx")
				if err := m.WriteFile(path); err != nil {
					t.Fatal(err)
				}
				_, rep, err := corpus.VerifyCut(t.Context(), path, t.TempDir(), corpus.Scatter, 7, verify.Options{Trials: 1, Levels: []runtime.Level{}})
				switch {
				case err != nil:
					t.Error(err)
				case !rep.Equal:
					t.Errorf("the split computes something else: %+v", rep)
				}
			})
		}
	}
}

// replaceable says whether a weight is listed as an input.
func replaceable(m *onnxtest.Model) bool {
	stored := map[string]bool{}
	for _, w := range m.Structure().GetGraph().GetInitializer() {
		stored[w.GetName()] = true
	}
	for _, in := range m.Structure().GetGraph().GetInput() {
		if stored[in.GetName()] {
			return true
		}
	}
	return false
}
