package profiles

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fileWithRuns() *CostFile {
	return &CostFile{
		Processor: "p",
		Entries: []CostEntry{
			{Signature: "b", Op: "Relu", MedianUs: 2, Runs: 3},
			{Signature: "a", Op: "Conv", MedianUs: 5, Runs: 3},
		},
		SubmodelRuns: []SubmodelRun{
			{Units: []UnitCount{{"a", 2}, {"b", 1}}, Inputs: 1, InputBytes: 10, Outputs: 2, OutputBytes: 20, MedianUs: 12, SpreadUs: 0.5, Runs: 9, Model: "m.onnx", Whole: true},
			{Units: []UnitCount{{"b", 1}}, Inputs: 1, InputBytes: 5, Outputs: 1, OutputBytes: 5, MedianUs: 2, Runs: 7, Shared: true},
		},
	}
}

func encodeText(t *testing.T, c *CostFile) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRunsRoundTrip(t *testing.T) {
	text := encodeText(t, fileWithRuns())
	got, err := ReadCosts("c.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := fileWithRuns()
	want.SubmodelRuns = sortedRuns(want.SubmodelRuns)
	if d := cmp.Diff(want.SubmodelRuns, got.SubmodelRuns); d != "" {
		t.Error(d)
	}
	if again := encodeText(t, got); again != text {
		t.Errorf("%s\nbecomes\n%s", text, again)
	}
}

// Newer runs replace those that hold the same, and others are added.
func TestMergeRuns(t *testing.T) {
	c := fileWithRuns()
	newer := &CostFile{Entries: []CostEntry{{Signature: "c", Op: "Add", MedianUs: 1, Runs: 1}}, SubmodelRuns: []SubmodelRun{
		{Units: []UnitCount{{"b", 1}}, Inputs: 1, InputBytes: 5, Outputs: 1, OutputBytes: 5, MedianUs: 3, Runs: 8, Shared: true},
		{Units: []UnitCount{{"b", 1}}, Inputs: 1, InputBytes: 5, Outputs: 1, OutputBytes: 5, MedianUs: 4, Runs: 8},
		{Units: []UnitCount{{"c", 1}}, MedianUs: 1, Runs: 1},
	}}
	if err := c.Merge(newer); err != nil {
		t.Fatal(err)
	}
	if len(c.SubmodelRuns) != 4 {
		t.Errorf("%d runs, want 4", len(c.SubmodelRuns))
	}
	medians := map[float64]bool{}
	for _, r := range c.SubmodelRuns {
		medians[r.MedianUs] = true
	}
	if medians[2] || !medians[3] || !medians[4] || !medians[12] || !medians[1] {
		t.Errorf("medians %v", medians)
	}
	if _, err := ReadCosts("c.json", []byte(encodeText(t, c))); err != nil {
		t.Error(err)
	}
}

func TestRunErrors(t *testing.T) {
	for want, change := range map[string]func(*CostFile){
		`sub-model run 1: "A" has no entry`:                          func(c *CostFile) { c.SubmodelRuns[0].Units[0].Signature = "A" },
		"sub-model run 1: its units must ascend":                     func(c *CostFile) { c.SubmodelRuns[0].Units[1].Signature = "a" },
		"sub-model run 1: it has no units":                           func(c *CostFile) { c.SubmodelRuns[0].Units = nil },
		"a unit is there 0 times, expected at least once":            func(c *CostFile) { c.SubmodelRuns[0].Units[0].Count = 0 },
		"runs is 0, expected at least 1":                             func(c *CostFile) { c.SubmodelRuns[0].Runs = 0 },
		"numbers and sizes of inputs and outputs must be at least 0": func(c *CostFile) { c.SubmodelRuns[0].InputBytes = -1 },
		"median_us is -1, expected microseconds from 0 to 1e+12":     func(c *CostFile) { c.SubmodelRuns[0].MedianUs = -1 },
		"sub-model run 3 is there twice":                             func(c *CostFile) { c.SubmodelRuns = append(c.SubmodelRuns, c.SubmodelRuns[0]) },
	} {
		c := fileWithRuns()
		change(c)
		if err := c.Encode(&bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	good := encodeText(t, fileWithRuns())
	for _, r := range []struct{ old, new, want string }{
		{`[[0,2],[1,1]]`, `[[0,2],[7,1]]`, "a sub-model run names entry 7, there are 2"},
		{`[[0,2],[1,1]]`, `[[0,2],[1]]`, "expected [entry, count]"},
		{`[[0,2],[1,1]]`, `[[1,2],[0,1]]`, "a sub-model run: its units must ascend"},
		{`[[0,2],[1,1]]`, `{}`, "expected a list"},
		{`"whole":true`, `"whole":1`, "expected true or false"},
		{`"inputs":1`, `"inputs":-1`, "at least 0"},
		{`"runs":9`, `"rums":9`, "did you mean"},
		{`"submodel_runs": [`, `"submodel_runs": [{"units":[[1,1]],"inputs":1,"input_bytes":5,"outputs":1,"output_bytes":5,"median_us":2,"runs":7,"shared":true},`, "this sub-model run is there twice"},
	} {
		text := strings.Replace(good, r.old, r.new, 1)
		if text == good {
			t.Fatalf("%s is not in\n%s", r.old, good)
		}
		if _, err := ReadCosts("c.json", []byte(text)); err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: %v, want %q", r.new, err, r.want)
		}
	}
}
