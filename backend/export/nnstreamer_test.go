package export_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
)

var (
	padPattern   = regexp.MustCompile(`^([tmd]\d+)\.((?:sink|src)_\d+)?$`)
	namePattern  = regexp.MustCompile(`name=(\S+)`)
	portPattern  = regexp.MustCompile(`(?:dest-)?port=(\d+)`)
	modelPattern = regexp.MustCompile(`model=(\S+)`)
)

// checkPipelines reads the launch lines as GStreamer would: names are unique and
// known, every edgesrc has an edgesink in a pipeline that starts before it, every
// sub-model is run once, and each model gets its tensors in its own order.
func checkPipelines(t *testing.T, f *fixture, r *export.Result) {
	t.Helper()
	var files []string
	for _, line := range strings.Split(strings.TrimSpace(r.Text), "\n") {
		_, rest, _ := strings.Cut(line, "$(cat ")
		files = append(files, strings.Trim(strings.TrimSuffix(rest, ")"), "'"))
	}
	listening := map[string]bool{}
	models := map[string]int{}
	sources, sinks := 0, 0
	for _, file := range files {
		text := read(t, r.Output, file)
		names := map[string]bool{}
		for _, m := range namePattern.FindAllStringSubmatch(text, -1) {
			if names[m[1]] {
				t.Errorf("%s: two elements are called %q", file, m[1])
			}
			names[m[1]] = true
		}
		sources += strings.Count(text, "appsrc ")
		sinks += strings.Count(text, "appsink ")
		var ready []string
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			elements := strings.Split(line, " ! ")
			for k, e := range elements {
				word, _, _ := strings.Cut(e, " ")
				if m := padPattern.FindStringSubmatch(word); m != nil {
					if !names[m[1]] {
						t.Errorf("%s: %q refers to nothing", file, e)
					}
					if k != 0 && k != len(elements)-1 {
						t.Errorf("%s: %q stands in the middle", file, line)
					}
					continue
				}
				switch word {
				case "edgesrc":
					if port := portPattern.FindStringSubmatch(e)[1]; !listening[port] {
						t.Errorf("%s: nobody listens on port %s yet", file, port)
					}
				case "edgesink":
					ready = append(ready, portPattern.FindStringSubmatch(e)[1])
				case "tensor_filter":
					models[modelPattern.FindStringSubmatch(e)[1]]++
				case "queue", "tee", "tensor_mux", "tensor_demux", "appsrc", "appsink", "fakesink":
				default:
					if !strings.HasPrefix(word, "other/tensors,format=static") {
						t.Errorf("%s: element %q", file, word)
					}
				}
			}
		}
		for _, port := range ready {
			if listening[port] {
				t.Errorf("%s: port %s is taken", file, port)
			}
			listening[port] = true
		}
	}
	for _, s := range f.manifest.Submodels {
		if models[s.File] != 1 {
			t.Errorf("sub-model %q runs %d times", s.ID, models[s.File])
		}
	}
	if sources == 0 || sinks == 0 {
		t.Errorf("%d sources, %d sinks", sources, sinks)
	}
}

func TestNNStreamer(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  corpus.Cut
	}{{"small/squeezenet1_1", corpus.Shatter}, {"small/resnet18", corpus.Thirds}, {"small/squeezenet1_1", corpus.Whole}, {"odd/external-one-file", corpus.Thirds}} {
		t.Run(c.name, func(t *testing.T) {
			f := bundleOf(t, c.name, c.cut)
			checkPipelines(t, f, f.export(t, "nnstreamer", func(o *export.Options) { o.Port = 7000 }))
		})
	}
}

// A branch that comes back together: the mux has the model's own order, and dims
// are innermost first.
func TestNNStreamerLines(t *testing.T) {
	f := bundleOf(t, "small/googlenet", corpus.Thirds)
	r := f.export(t, "nnstreamer", func(o *export.Options) { o.Hosts = map[string]string{"p1": "10.0.0.1"} })
	first := read(t, r.Output, "p1.launch")
	if !strings.Contains(first, "dimensions=(string)64:64:3:1,types=(string)float32") {
		t.Errorf("no innermost-first dimensions in\n%s", first)
	}
	if !strings.Contains(first, "edgesink host=10.0.0.1 port=5001") {
		t.Errorf("no edgesink in\n%s", first)
	}
	if i := slices.Index(r.Files, f.manifest.Submodels[0].File); i < 0 {
		t.Errorf("the model is not among the files: %q", r.Files)
	}
}

// Free dimensions are bound by the user, and the models that go with the lines say
// so; run one after the other they compute what the model does.
func TestNNStreamerBindsShapes(t *testing.T) {
	eng := runtimetest.ORT(t)
	const name = "small/gpt2"
	f := bundleOf(t, name, corpus.Thirds)
	dims := map[string]int64{}
	for _, list := range [][]backend.Tensor{f.manifest.Model.Inputs, f.manifest.Model.Outputs} {
		for _, in := range list {
			for i, d := range in.Shape {
				if v := f.feed[in.Name]; d.N < 0 && v != nil {
					dims[d.Sym] = v.Shape[i]
				}
			}
		}
	}
	if len(dims) == 0 {
		t.Fatal("nothing is free in " + name)
	}
	r := f.export(t, "nnstreamer", func(o *export.Options) { o.Dims = dims })
	checkPipelines(t, f, r)
	values := map[string]*runtime.Value{}
	for name, v := range f.feed {
		values[name] = widen(v)
	}
	for _, s := range f.manifest.Submodels {
		loaded, err := eng.Load(runtime.Model{Path: filepath.Join(r.Output, s.File)}, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		feed := map[string]*runtime.Value{}
		for i, p := range loaded.Inputs() { // in the order of the mux
			for _, d := range p.Type.Shape {
				if d.N < 1 {
					t.Errorf("%s: input %q has shape %v", s.ID, p.Name, p.Type.Shape)
				}
			}
			feed[p.Name] = values[s.Inputs[i]]
		}
		got, err := loaded.Run(t.Context(), feed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range loaded.Outputs() {
			values[s.Outputs[i]] = got[i]
		}
		loaded.Close()
	}
	want := run(t, eng, f.model, f.feed)
	got := map[string]*runtime.Value{}
	for name, v := range want {
		want[name], got[name] = widen(v), values[name]
	}
	sameValues(t, name, want, got)
}

func TestNNStreamerRefuses(t *testing.T) {
	f := bundleOf(t, "small/gpt2", corpus.Shatter)
	_, err := f.try("nnstreamer", func(o *export.Options) {
		o.Shapes = map[string][]int64{f.manifest.Model.Inputs[0].Name: {1, 2, 3, 4, 5, 6}}
	})
	wantError(t, err, "a shape of 6 extents is given", "is not static", filepath.Join(f.bundle, "manifest.json"))
	g := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	rewrite(t, g, func(text string) string {
		return strings.ReplaceAll(text, `"dtype":"float32"`, `"dtype":"bool"`)
	})
	_, err = g.try("nnstreamer", nil)
	wantError(t, err, "of type bool")
	_, err = g.try("nnstreamer", func(o *export.Options) { o.Hosts = map[string]string{"moon": "x"} })
	wantError(t, err, `a host is given for "moon", which is no device of the bundle`)
}
