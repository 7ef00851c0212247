package compiler

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

func valueOf(v onnxtest.Value) *runtime.Value {
	if v.Seq != nil {
		out := runtime.NewSequence()
		for _, item := range v.Seq {
			out.Items = append(out.Items, valueOf(item))
		}
		return out
	}
	return &runtime.Value{Kind: ir.Tensor, Elem: ir.ElemType(v.Type), Shape: v.Dims, Data: v.Data, Strings: v.Strings}
}

// profiled runs a model with profiling on and returns the file that was written;
// "" where the engine cannot run it.
func profiled(t *testing.T, eng runtime.Engine, m *onnxtest.Model, path string, level runtime.Level, runs int) string {
	t.Helper()
	values, err := m.Inputs(3, nil)
	if err != nil {
		return ""
	}
	feed := map[string]*runtime.Value{}
	for _, v := range values {
		feed[v.Name] = valueOf(v)
	}
	prefix := filepath.Join(filepath.Dir(path), level.String())
	s, err := eng.Load(runtime.Model{Path: path}, runtime.Options{Optimization: level, ProfilePrefix: prefix})
	if err != nil {
		return ""
	}
	for range runs {
		if _, err := s.Run(context.Background(), feed); err != nil {
			_ = s.Close()
			return ""
		}
	}
	_ = s.Close()
	files, err := filepath.Glob(prefix + "_*.json")
	if err != nil || len(files) != 1 {
		t.Fatalf("profiles written: %v, %v", files, err)
	}
	return files[0]
}

// symbols binds the symbolic extents of a model as its inputs have them.
func symbols(m *onnxtest.Model) map[string]int64 {
	dims := m.Bindings()
	delete(dims, "?")
	for _, in := range m.Structure().GetGraph().GetInput() {
		for _, d := range in.GetType().GetTensorType().GetShape().GetDim() {
			name := d.GetDimParam()
			if _, ok := dims[name]; !ok && name != "" && !strings.ContainsAny(name, " +*") {
				dims[name] = 2
			}
		}
	}
	return dims
}

// Whatever the runtime makes of a model, every event of its profile is attributed,
// and the costs add up to what it took.
func TestImportEverything(t *testing.T) {
	eng := runtimetest.ORT(t)
	ran := 0
	for _, c := range onnxtest.All() {
		if c.Tags&onnxtest.NoRun != 0 {
			continue
		}
		m := c.Build(1)
		path := filepath.Join(t.TempDir(), "model.onnx")
		if err := m.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		for _, level := range []runtime.Level{runtime.Disabled, runtime.All} {
			file := profiled(t, eng, m, path, level, 3)
			if file == "" {
				continue
			}
			o := Options{Model: path, Dims: symbols(m)}
			r, err := ImportProfiles(context.Background(), o, ImportOptions{Profiles: []string{file}, Processor: "p", WarmUp: 1})
			if err != nil {
				// Models that are constant leave nothing to attribute.
				if !strings.Contains(err.Error(), "no event of a node") && !strings.Contains(err.Error(), "no node of the model has a cost") {
					t.Errorf("%s, optimisation %s: %v", c.Name, level, err)
				}
				continue
			}
			ran++
			v := &r.Coverage
			for _, l := range v.LeftOut {
				if l.Reason == "of constants and other nodes that nothing depends on that is placed" {
					v.Events -= l.Events
					v.Us -= l.Us
				}
			}
			if v.Attributed.Events != v.Events || math.Abs(v.Attributed.Us-v.Us) > 1e-6 {
				t.Errorf("%s, optimisation %s: %d of %d events attributed; left out: %+v; notes: %q", c.Name, level, v.Attributed.Events, v.Events, v.LeftOut, v.Notes)
			}
			if level == runtime.Disabled && len(v.WithoutUs) > 0 {
				t.Errorf("%s runs as it stands, but has nodes without time: %+v", c.Name, v.WithoutUs)
			}
		}
	}
	if ran < 100 {
		t.Errorf("only %d profiles were imported", ran)
	}
}
