package export_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// fixture is a model on disk and a bundle beside it.
type fixture struct {
	model, bundle string
	manifest      *backend.Manifest
	feed          map[string]*runtime.Value
}

// bundleOf builds a model by name, cuts it and draws inputs.
func bundleOf(t *testing.T, name string, cut corpus.Cut) *fixture {
	t.Helper()
	m, err := onnxtest.Named(name, 1)
	if err != nil {
		t.Fatal(err)
	}
	return bundleFrom(t, m, cut)
}

func bundleFrom(t *testing.T, m *onnxtest.Model, cut corpus.Cut) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{model: filepath.Join(dir, "model.onnx"), bundle: filepath.Join(dir, "out")}
	if err := m.WriteFile(f.model); err != nil {
		t.Fatal(err)
	}
	res, err := corpus.CutModel(context.Background(), f.model, f.bundle, cut, 7, frontend.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.manifest = res.Manifest
	values, err := m.Inputs(3, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.feed = map[string]*runtime.Value{}
	for _, v := range values {
		f.feed[v.Name] = valueOf(v)
	}
	return f
}

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

// export runs one export of the fixture.
func (f *fixture) export(t *testing.T, to string, change func(*export.Options)) *export.Result {
	t.Helper()
	r, err := f.try(to, change)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range r.Files {
		if _, err := os.Stat(filepath.Join(r.Output, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
	return r
}

func (f *fixture) try(to string, change func(*export.Options)) (*export.Result, error) {
	o := export.Options{Bundle: f.bundle, To: to}
	if change != nil {
		change(&o)
	}
	return export.Run(context.Background(), o)
}

// run runs a model as it stands and returns its outputs by name.
func run(t *testing.T, eng runtime.Engine, path string, feed map[string]*runtime.Value) map[string]*runtime.Value {
	t.Helper()
	s, err := eng.Load(runtime.Model{Path: path}, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Run(context.Background(), feed)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*runtime.Value{}
	for i, p := range s.Outputs() {
		out[p.Name] = got[i]
	}
	return out
}

// sameValues compares results bit for bit.
func sameValues(t *testing.T, what string, want, got map[string]*runtime.Value) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%s: %d outputs, want %d", what, len(got), len(want))
	}
	for name, w := range want {
		if d := verify.Compare(w, got[name]); !d.Equal() {
			t.Errorf("%s: output %q differs: %+v", what, name, d)
		}
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantError wants an error that holds all of the texts.
func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one about %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error is %q, want one about %q", err, text)
		}
	}
}
