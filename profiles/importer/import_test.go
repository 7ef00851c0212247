package importer_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/importer"
)

// importText imports texts as files of the names.
func importText(t testing.TB, m *importer.Model, o importer.Options, named ...string) (*importer.Result, error) {
	t.Helper()
	var files []importer.File
	for i := 0; i < len(named); i += 2 {
		files = append(files, importer.File{Name: named[i], R: strings.NewReader(named[i+1])})
	}
	return importer.Import(context.Background(), files, m, o)
}

func sample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// must imports a sample that is to be attributed whole.
func must(t *testing.T, m *importer.Model, o importer.Options, named ...string) *importer.Result {
	t.Helper()
	r, err := importText(t, m, o, named...)
	if err != nil {
		t.Fatal(err)
	}
	c := &r.Coverage
	if c.Attributed.Events != c.Events || math.Abs(c.Attributed.Us-c.Us) > 1e-9*c.Us {
		t.Errorf("%d of %d events attributed, %g of %g us; left out %+v", c.Attributed.Events, c.Events, c.Attributed.Us, c.Us, c.LeftOut)
	}
	// What is written is what was recorded, unit by unit.
	us := map[string]float64{}
	for _, e := range r.Entries {
		us[e.Signature] = e.MedianUs
	}
	sum := 0.0
	for _, u := range m.Units {
		sum += us[u.Signature]
	}
	if math.Abs(sum-c.Attributed.RunUs) > 1e-3 {
		t.Errorf("the entries of the model's units add up to %g us a run, the events to %g", sum, c.Attributed.RunUs)
	}
	var b strings.Builder
	f := profiles.CostFile{Processor: "p", Machine: r.Machine, Entries: r.Entries}
	if err := f.Encode(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := profiles.ReadCosts("costs.json", []byte(b.String())); err != nil {
		t.Fatal(err)
	}
	return r
}

func entry(t *testing.T, r *importer.Result, prefix string) profiles.CostEntry {
	t.Helper()
	for _, e := range r.Entries {
		if strings.HasPrefix(e.Signature, prefix) {
			return e
		}
	}
	t.Fatalf("no entry starts with %s in %v", prefix, r.Entries)
	return profiles.CostEntry{}
}

func TestORTUnfused(t *testing.T) {
	m := traced(t, residual(1))
	r := must(t, m, importer.Options{WarmUp: 1}, "p.json", sample(t, "ort_residual_disabled.json"))
	c := r.Coverage
	if f := c.Files[0]; f.Runs != 4 || f.WarmUp != 1 || f.Truncated || f.Format != importer.ORTProfile {
		t.Errorf("file: %+v", f)
	}
	if c.Timed != 8 || c.Own != 8 || len(c.Fused) != 0 {
		t.Errorf("nodes with time %d, own %d, fused %v", c.Timed, c.Own, c.Fused)
	}
	if len(c.LeftOut) != 1 || !c.LeftOut[0].Aside || c.LeftOut[0].Events != 8 {
		t.Errorf("left out: %+v", c.LeftOut)
	}
	if e := entry(t, r, "Relu("); e.Runs != 6 {
		t.Errorf("two nodes of one signature ran 3 times each: runs is %d", e.Runs)
	}
	if r.Machine["provider"] != "CPUExecutionProvider" {
		t.Errorf("machine: %v", r.Machine)
	}
}

func TestORTFused(t *testing.T) {
	m := traced(t, residual(1))
	r := must(t, m, importer.Options{WarmUp: 1}, "p.json", sample(t, "ort_residual_all.json"))
	got := map[string]string{}
	for _, f := range r.Coverage.Fused {
		got[f.Kernel] = strings.Join(f.Nodes, " ")
	}
	if got["r1_nchwc"] != "conv1 relu1" || got["c2_nchwc"] != "conv2 add1 relu2" || len(got) != 2 {
		t.Errorf("fused kernels: %v", got)
	}
	if r.Coverage.Timed != 8 {
		t.Errorf("%d of 8 nodes have a time: %+v", r.Coverage.Timed, r.Coverage.WithoutUs)
	}
}

// A group that is priced as one gets the whole time of the kernel.
func TestGroups(t *testing.T) {
	m := traced(t, residual(1))
	group := importer.Unit{Nodes: []int{2, 3, 4}, Signature: "Conv+Add+Relu(...)", Op: "Conv+Add+Relu", FLOPs: 1, Bytes: 1}
	m.Units = append(append(m.Units[:2:2], group), m.Units[5:]...)
	r := must(t, m, importer.Options{WarmUp: 1}, "p.json", sample(t, "ort_residual_all.json"))
	for _, f := range r.Coverage.Fused {
		if e := entry(t, r, "Conv+Add+Relu("); f.Kernel == "c2_nchwc" && (f.Units != 1 || math.Abs(e.MedianUs-f.RunUs) > 1e-6) {
			t.Errorf("the group costs %g us, its kernel took %+v", e.MedianUs, f)
		}
	}
	// Run one by one, its members are measured too.
	r = must(t, m, importer.Options{WarmUp: 1}, "p.json", sample(t, "ort_residual_disabled.json"))
	sum := entry(t, r, "Conv(float32[1,16").MedianUs + entry(t, r, "Add(").MedianUs
	if e := entry(t, r, "Conv+Add+Relu("); e.MedianUs <= sum {
		t.Errorf("the group costs %g us, two of its three nodes %g", e.MedianUs, sum)
	}
}

func TestORTNested(t *testing.T) {
	m := traced(t, branching())
	r := must(t, m, importer.Options{WarmUp: 1}, "p.json", sample(t, "ort_branching.json"))
	nested := false
	for _, l := range r.Coverage.LeftOut {
		if strings.HasPrefix(l.Reason, "inside another node") {
			nested = l.Aside && l.Events == 4 && l.Examples[0] == "then_add"
		}
	}
	if !nested {
		t.Errorf("the nodes of the branch are not set aside: %+v", r.Coverage.LeftOut)
	}
}

// A session that crashed leaves the file without its end.
func TestORTTruncated(t *testing.T) {
	m := traced(t, residual(1))
	whole := sample(t, "ort_residual_disabled.json")
	lastRun := strings.LastIndex(whole, "conv1_kernel_time")
	for _, cut := range []int{len(whole) - 3, lastRun + 200, lastRun - 200} {
		r := must(t, m, importer.Options{WarmUp: 1}, "p.json", whole[:cut])
		if f := r.Coverage.Files[0]; !f.Truncated || f.Runs < 2 || r.Coverage.Timed != 8 {
			t.Errorf("cut at %d of %d: %+v, %d nodes with time", cut, len(whole), f, r.Coverage.Timed)
		}
	}
	first := strings.Index(whole, "gap_kernel_time")
	r := must(t, m, importer.Options{WarmUp: 1}, "p.json", whole[:first])
	if f := r.Coverage.Files[0]; f.Runs != 0 || r.Coverage.Timed != 5 {
		t.Errorf("a run without an end: %+v, %d nodes with time", f, r.Coverage.Timed)
	}
}

// ort writes one event for each line "run name op index dur", in microseconds.
func ort(lines ...string) string {
	var b strings.Builder
	b.WriteString("[\n")
	at, run, begin := 100, "", 0
	end := func() {
		if run != "" {
			fmt.Fprintf(&b, `{"cat" : "Session","pid" :1,"tid" :1,"dur" :%d,"ts" :%d,"ph" : "X","name" :"model_run","args" : {}},`+"\n", at-begin, begin)
		}
	}
	for _, l := range lines {
		var r, name, op string
		var index, dur int
		if _, err := fmt.Sscan(l, &r, &name, &op, &index, &dur); err != nil {
			panic(err)
		}
		if r != run {
			end()
			run, begin = r, at
		}
		fmt.Fprintf(&b, `{"cat" : "Node","pid" :1,"tid" :1,"dur" :%d,"ts" :%d,"ph" : "X","name" :"%s_kernel_time","args" : {"op_name" : "%s","node_index" : "%d","provider" : "CPUExecutionProvider"}},`+"\n", dur, at, name, op, index)
		at += dur + 1
	}
	end()
	return strings.TrimSuffix(b.String(), ",\n") + "\n]\n"
}

func TestORTNames(t *testing.T) {
	m := traced(t, residual(1))
	text := ort("1 conv1 Conv 0 900", "2 conv1 Conv 0 10", "2 relu1 Relu 1 1", `2 conv2/Conv+Add"Fusion FusedConv 9 20`, "2 gap GlobalAveragePool 5 3", "2 InsertedCast_f Cast 12 2", "2 Transpose_token_4 Transpose 11 4",
		"2 flat Flatten 6 1", "2 Gemm_7 Gemm 7 5")
	r := must(t, m, importer.Options{WarmUp: 1}, "p.json", text)
	if e := entry(t, r, "Conv(float32[1,3"); e.MedianUs != 10 {
		t.Errorf("conv1 costs %g us", e.MedianUs)
	}
	if got := fmt.Sprint(r.Coverage.Notes); !strings.Contains(got, "1 kernel does the work of several units that may be placed apart; their time is divided by predicted work") {
		t.Errorf("notes: %s", got)
	}
	if len(r.Coverage.Fused) != 1 || strings.Join(r.Coverage.Fused[0].Nodes, " ") != "conv2 add1 relu2" {
		t.Errorf("fused: %+v", r.Coverage.Fused)
	}
	if e := entry(t, r, "Flatten("); e.MedianUs != 1+2+4 {
		t.Errorf("what the runtime inserts before Flatten belongs to it: %g us", e.MedianUs)
	}
	if e := entry(t, r, "Gemm("); e.MedianUs != 5 {
		t.Errorf("the unnamed node costs %g us", e.MedianUs)
	}
}

// The whole model without profiling took 100 us.
func TestScale(t *testing.T) {
	r := must(t, traced(t, residual(1)), importer.Options{WarmUp: 1, WholeUs: 100}, "p.json", sample(t, "ort_residual_disabled.json"))
	if math.Abs(r.Coverage.Attributed.RunUs-100) > 1e-6 {
		t.Errorf("times add up to %g us", r.Coverage.Attributed.RunUs)
	}
}

func TestORTProviders(t *testing.T) {
	m := traced(t, residual(1))
	text := strings.Replace(sample(t, "ort_residual_disabled.json"), `"x"`, "", 1)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.Contains(l, "conv") {
			lines[i] = strings.Replace(l, "CPUExecutionProvider", "CUDAExecutionProvider", 1)
		}
	}
	text = strings.Join(lines, "\n")
	if _, err := importText(t, m, importer.Options{WarmUp: 1}, "p.json", text); err == nil || !strings.Contains(err.Error(), "--provider") {
		t.Errorf("two providers: %v", err)
	}
	r, err := importText(t, m, importer.Options{WarmUp: 1, Provider: "CUDAExecutionProvider"}, "p.json", text)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Entries) != 2 || r.Coverage.Timed != 2 || len(r.Coverage.WithoutUs) != 1 || len(r.Coverage.WithoutUs[0].Nodes) != 6 {
		t.Errorf("%d entries, %d nodes with time, without: %+v", len(r.Entries), r.Coverage.Timed, r.Coverage.WithoutUs)
	}
	if _, err := importText(t, m, importer.Options{Provider: "QNNExecutionProvider"}, "p.json", text); err == nil || !strings.Contains(err.Error(), "no kernel ran on provider QNN") {
		t.Errorf("a provider that is not there: %v", err)
	}
}

// Kernels on an accelerator follow the event of the node that started them.
func TestORTKernels(t *testing.T) {
	m := traced(t, branching())
	text := strings.Replace(ort("1 r Relu 0 5", "1 rs ReduceSum 1 6", "1 gt Greater 2 7", "1 ifn If 3 8"), "\n"+`{"cat" : "Node","pid" :1,"tid" :1,"dur" :6`,
		"\n"+`{"cat" : "Kernel","pid" :1,"tid" :1,"dur" :30,"ts" :0,"ph" : "X","name" :"relu_kernel","args" : {"stream" : "1"}},`+
			"\n"+`{"cat" : "Kernel","pid" :1,"tid" :1,"dur" :12,"ts" :0,"ph" : "X","name" :"relu_kernel","args" : {"stream" : "1"}},`+"\n"+`{"cat" : "Node","pid" :1,"tid" :1,"dur" :6`, 1)
	r := must(t, m, importer.Options{WarmUp: 0}, "p.json", text)
	if e := entry(t, r, "Relu("); e.MedianUs != 42 {
		t.Errorf("the node took %g us on the accelerator, want 42", e.MedianUs)
	}
}

func TestShapes(t *testing.T) {
	text := sample(t, "ort_residual_disabled.json")
	text = strings.ReplaceAll(text, `{"float":[1,`, `{"float":[8,`)
	_, err := importText(t, traced(t, residual("batch")), importer.Options{WarmUp: 1}, "p.json", text)
	if err == nil || !strings.Contains(err.Error(), "it ran with other shapes than the model's here; bind them with --shape: node \"conv1\" made float32[8,16,64,64] in the profile, and makes float32[1,16,64,64] with the shapes that costs are for") {
		t.Errorf("a profile of another batch: %v", err)
	}
}

func TestWrongModel(t *testing.T) {
	_, err := importText(t, traced(t, branching()), importer.Options{WarmUp: 1}, "p.json", sample(t, "ort_residual_disabled.json"))
	if err == nil || !strings.Contains(err.Error(), "another model") {
		t.Errorf("the profile of another model: %v", err)
	}
}

func TestTensorRT(t *testing.T) {
	m := traced(t, residual(1))
	for _, c := range []struct{ name, layers string }{
		{"names only", ""},
		{"list of names", "trt_layers_names.json"},
		{"metadata", "trt_layers_detailed.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := []string{"profile.json", sample(t, "trt_profile.json")}
			if c.layers != "" {
				files = append([]string{c.layers, sample(t, c.layers)}, files...)
			}
			r, err := importText(t, m, importer.Options{}, files...)
			if err != nil {
				t.Fatal(err)
			}
			if r.Coverage.Timed != 8 || len(r.Coverage.LeftOut) != 1 || !strings.Contains(r.Coverage.LeftOut[0].Reason, "runtime itself") {
				t.Errorf("%d nodes have a time, without %+v, left out %+v", r.Coverage.Timed, r.Coverage.WithoutUs, r.Coverage.LeftOut)
			}
			got := map[string]string{}
			for _, f := range r.Coverage.Fused {
				got[f.Kernel] = strings.Join(f.Nodes, " ")
			}
			want := map[string]string{
				"conv1 + relu1":            "conv1 relu1",
				"conv2 + PWN(add1, relu2)": "conv2 add1 relu2",
				"{ForeignNode[flat...(Unnamed Layer* 7) [Fully Connected]]}": "flat Gemm#7",
			}
			for k, nodes := range want {
				if got[k] != nodes {
					t.Errorf("kernel %s: nodes %q, want %q", k, got[k], nodes)
				}
			}
			if us := r.Coverage.Attributed.RunUs; math.Abs(us-97) > 1e-9 {
				t.Errorf("the layers take %g us a run, want 97", us)
			}
			// The copy of the input belongs to the convolution that reads it.
			if e := entry(t, r, "Conv(float32[1,3"); e.MedianUs < 3 || e.MedianUs > 18.5+3 {
				t.Errorf("the first convolution costs %g us", e.MedianUs)
			}
			if r.Machine["runtime"] != "TensorRT" || entry(t, r, "GlobalAveragePool").Runs != 500 {
				t.Errorf("machine %v, entry %+v", r.Machine, entry(t, r, "GlobalAveragePool"))
			}
		})
	}
}

func TestOpenVINO(t *testing.T) {
	m := traced(t, residual(1))
	for _, c := range []struct {
		file string
		runs int64
	}{{"ov_detailed.csv", 2}, {"ov_average.csv", 1}, {"ov_old.csv", 1}, {"ov_detailed.json", 2}, {"ov_average.json", 1}} {
		t.Run(c.file, func(t *testing.T) {
			r, err := importText(t, m, importer.Options{}, c.file, sample(t, c.file))
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range r.Coverage.LeftOut {
				if l.Reason != "of the runtime itself" {
					t.Errorf("left out: %+v", l)
				}
			}
			if r.Coverage.Timed != 8 {
				t.Errorf("%d nodes have a time, without: %+v", r.Coverage.Timed, r.Coverage.WithoutUs)
			}
			got := map[string]string{}
			for _, f := range r.Coverage.Fused {
				got[f.Kernel] = strings.Join(f.Nodes, " ")
			}
			if got["conv1"] != "conv1 relu1" || got["conv2"] != "conv2 add1 relu2" {
				t.Errorf("fused: %v", got)
			}
			if e := entry(t, r, "GlobalAveragePool("); e.Runs != c.runs || math.Abs(e.MedianUs-12) > 1e-9 {
				t.Errorf("the pooling costs %g us over %d runs, want 12 over %d", e.MedianUs, e.Runs, c.runs)
			}
			if e := entry(t, r, "Gemm("); math.Abs(e.MedianUs-(8+3)) > 1e-9 {
				t.Errorf("the product costs %g us with the copy before it, want 11", e.MedianUs)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	m := traced(t, residual(1))
	deep := strings.Repeat("[", 1000)
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty"},
		{"text", "hello", "format is not known"},
		{"other JSON", `{"a":1}`, "format is not known"},
		{"other array", `[1,2,3]`, "format is not known"},
		{"memory statistics", "#name,input_sizes,initializers_sizes,total_dynamic_sizes,total_temp_allocations\nx_1,0,0,256,0\n", "no times"},
		{"no node", `[{"cat":"Session","name":"model_run","ts":1,"dur":2,"args":{}}]`, "no event of a node"},
		{"deep", `[{"cat":"Node","name":"x","args":{"a":` + deep + `}}]`, "nested more than"},
		{"layers alone", sample(t, "trt_layers_names.json"), "--exportProfile"},
		{"no layer", `[{"count":3}]`, "holds no layer"},
		{"no time", `[{"count":3},{"name":"conv1"}]`, "holds no layer"},
		{"columns", "layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)\nx;EXECUTED;Convolution\ny;EXECUTED;Convolution;jit;1;1\n", "columns"},
		{"time", "layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)\nx;EXECUTED;Convolution;jit;soon;1\n", "no time"},
		{"nothing ran", "layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)\nx;NOT_RUN;Convolution;jit;0;0\n", "no node in it ran"},
		{"no column of times", "layerName;execStatus\n", "the header names no column realTime"},
		{"another header", "layerNames;execStatus\n", "expected the header layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)"},
		{"not UTF-8", "layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)\n\xff;EXECUTED;Convolution;jit;1;1\n", "p.json:2: the line is not UTF-8 text"},
		{"long line", "layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)\n" + strings.Repeat("x", 300_000), "the line is longer than 262144 bytes"},
		{"odd byte", `[{"cat":"Node","dur":3 @}]`, "not valid JSON: '@' is unexpected"},
		{"bracket for a value", `[{"cat":"Node","x":]}]`, "not valid JSON: ']' is unexpected"},
		{"number for a key", `[{"cat":"Node",5}]`, `not valid JSON: expected a key, found "5"`},
		{"no value", `[{"cat":"Node","name":}]`, "not valid JSON: expected a value, found '}'"},
		{"open text", `[{"cat":"Node","name":"x` + "\n" + `{"cat":"Node","ts":1}]`, "not valid JSON: a text does not end in its line"},
		{"negative time", `[{"cat":"Node","name":"x","ts":3,"dur":-7}]`, "not valid JSON: an event has the time 3 and the duration -7"},
		{"no nodes", `{"report_type":"average","avg_performance":{}}`, "no nodes"},
	} {
		_, err := importText(t, m, importer.Options{WarmUp: 1}, "p.json", c.text)
		switch {
		case err == nil:
			t.Errorf("%s: no error", c.name)
		case !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: %v; want a sentence with %q", c.name, err, c.want)
		}
	}
	if _, err := importText(t, m, importer.Options{}); err == nil || err.Error() != "no profile is named" {
		t.Errorf("no profile: %v", err)
	}
	_, err := importText(t, m, importer.Options{}, "a.csv", sample(t, "ov_average.csv"), "b.json", sample(t, "trt_profile.json"))
	if err == nil || !strings.Contains(err.Error(), "import them apart") {
		t.Errorf("two formats: %v", err)
	}
}

// TestPartlyRead wants a note about each part of a profile that is not used.
func TestPartlyRead(t *testing.T) {
	m := traced(t, residual(1))
	whole := ort("1 conv1 Conv 0 900", "2 conv1 Conv 0 10")
	for _, c := range []struct{ name, text, want string }{
		{"a line that cannot be read", strings.Replace(whole, "[\n", "[\n{\"cat\":\"Node\", 7},\n", 1), `p.json: left out lines that cannot be read, 1 in all, the first is line 2: not valid JSON: expected a key, found "7"`},
		{"TensorRT without its end", `[{"count":3},{"name":"conv1","averageMs":1}`, "p.json: the file ends before its array does; what is whole was read"},
		{"OpenVINO", "layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)\nconv1;EXECUTED;Convolution;jit;1;1\nrelu1;NOT_RUN;Relu;undef;0;0\n", "p.json: 1 row of nodes that were fused into others or optimised out have no time"},
	} {
		r, err := importText(t, m, importer.Options{WarmUp: 1}, "p.json", c.text)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := strings.Join(r.Coverage.Notes, "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: notes %s, want %s", c.name, got, c.want)
		}
	}
}
