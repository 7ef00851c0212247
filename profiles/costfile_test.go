package profiles

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func number(v float64) *float64 { return &v }

func encode(t interface {
	Helper()
	Fatal(...any)
}, c *CostFile,
) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEncodeCosts(t *testing.T) {
	c := &CostFile{
		Processor: "pi", Source: "a <test> & more",
		Machine:    map[string]string{"runtime": "ONNX Runtime 1.30.0", "cpu": "Cortex-A76", "threads": "4"},
		Parameters: Parameters{LaunchUs: number(12.5), Upload: &CopyCost{1, 12000}},
		Entries: []CostEntry{
			{Signature: "b", Op: "Gelu", Domain: "com.microsoft", Elem: ir.Float16, FLOPs: 1e9, Bytes: 5, MedianUs: 0.25, SpreadUs: 1e-7, Runs: 100},
			{Signature: "a", Op: "Conv", Elem: ir.Float32, Runs: 1},
		},
	}
	const want = `{
 "schema": "dnnsplit/costs/v1",
 "processor": "pi",
 "machine": {"cpu":"Cortex-A76","runtime":"ONNX Runtime 1.30.0","threads":"4"},
 "source": "a <test> & more",
 "parameters": {"launch_us":12.5,"upload":{"latency_us":1,"bytes_per_us":12000}},
 "entries": [
  {"signature":"a","op":"Conv","domain":"","elem":"float32","flops":0,"bytes":0,"median_us":0,"spread_us":0,"runs":1},
  {"signature":"b","op":"Gelu","domain":"com.microsoft","elem":"float16","flops":1000000000,"bytes":5,"median_us":0.25,"spread_us":1e-7,"runs":100}
 ]
}
`
	got := encode(t, c)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !json.Valid(got) {
		t.Error("not valid JSON")
	}
	if c.Entries[0].Signature != "b" {
		t.Error("Encode sorts the entries of its receiver")
	}
}

func TestEncodeRefuses(t *testing.T) {
	ok := CostEntry{Signature: "s", Op: "Conv", Elem: ir.Float32, Runs: 1}
	with := func(change func(*CostEntry)) *CostFile {
		e := ok
		change(&e)
		return &CostFile{Entries: []CostEntry{e}}
	}
	for want, c := range map[string]*CostFile{
		"entry \"\\xff\": signature, op, domain or kernel is not UTF-8":         with(func(e *CostEntry) { e.Signature = "\xff" }),
		"entry \"s\": op is empty, expected an op type such as Conv":            with(func(e *CostEntry) { e.Op = "" }),
		"entry \"s\": median_us is NaN, expected microseconds from 0 to 1e+12":  with(func(e *CostEntry) { e.MedianUs = math.NaN() }),
		"entry \"s\": spread_us is +Inf, expected microseconds from 0 to 1e+12": with(func(e *CostEntry) { e.SpreadUs = math.Inf(1) }),
		"entry \"s\": elem is type99, which is no element type":                 with(func(e *CostEntry) { e.Elem = 99 }),
		"entry \"s\" is there twice":                                            {Entries: []CostEntry{ok, ok}},
		"the text \"\\xff\" is not UTF-8":                                       {Machine: map[string]string{"cpu": "\xff"}},
		"scale is 0, expected a number from 0.001 to 1000":                      {Parameters: Parameters{Scale: number(0)}},
		"busy is 0.5, expected a number from 1 to 1000":                         {Parameters: Parameters{Busy: number(0.5)}},
		"error is 2, expected a share from 0 to 1":                              {Parameters: Parameters{Error: number(2)}},
		"bytes_per_us is NaN, expected a number such as 12000":                  {Parameters: Parameters{Download: &CopyCost{0, math.NaN()}}},
		"launch_us is -1, expected microseconds from 0 to 1e+12":                {Parameters: Parameters{LaunchUs: number(-1)}},
		"entry \"s\": runs is 0, expected at least 1":                           with(func(e *CostEntry) { e.Runs = 0 }),
		"entry \"s\": bytes is -1, expected at least 0":                         with(func(e *CostEntry) { e.Bytes = -1 }),
	} {
		if err := c.Encode(&bytes.Buffer{}); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestMergeCosts(t *testing.T) {
	c := &CostFile{
		Processor: "pi", Machine: map[string]string{"cpu": "A76"}, Parameters: Parameters{LaunchUs: number(1), Scale: number(2)},
		Entries: []CostEntry{{Signature: "b", Op: "Conv", MedianUs: 1, Runs: 1}, {Signature: "d", Op: "Conv", MedianUs: 1, Runs: 1}},
	}
	newer := &CostFile{
		Processor: "other", Machine: map[string]string{"threads": "4", "cpu": "A76"}, Source: "second run", Parameters: Parameters{LaunchUs: number(3)},
		Entries: []CostEntry{{Signature: "d", Op: "Conv", MedianUs: 2, Runs: 1}, {Signature: "a", Op: "Conv", MedianUs: 2, Runs: 1}},
	}
	if err := c.Merge(newer); err != nil {
		t.Fatal(err)
	}
	want := &CostFile{
		Processor: "pi", Machine: map[string]string{"cpu": "A76", "threads": "4"}, Source: "second run", Parameters: Parameters{LaunchUs: number(3), Scale: number(2)},
		Entries: []CostEntry{{Signature: "a", Op: "Conv", MedianUs: 2, Runs: 1}, {Signature: "b", Op: "Conv", MedianUs: 1, Runs: 1}, {Signature: "d", Op: "Conv", MedianUs: 2, Runs: 1}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	err := c.Merge(&CostFile{Machine: map[string]string{"cpu": "A53"}, Entries: []CostEntry{{Signature: "z"}}})
	if err == nil || err.Error() != `measured with another machine or runtime: cpu is "A76" there and "A53" here; write to another file` {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("a refused merge changes the file\n%s", diff)
	}
}

// drawCosts is any cost file that Encode accepts.
func drawCosts(t *rapid.T) *CostFile {
	text := rapid.String()
	us := rapid.Float64Range(0, ir.MaxMicros)
	optional := func(name string, g *rapid.Generator[float64]) *float64 {
		if rapid.Bool().Draw(t, name) {
			return number(g.Draw(t, name))
		}
		return nil
	}
	way := func(name string) *CopyCost {
		if rapid.Bool().Draw(t, name) {
			return &CopyCost{us.Draw(t, "latency"), rapid.Float64Range(1e-6, 1e15).Draw(t, "rate")}
		}
		return nil
	}
	c := &CostFile{Processor: text.Draw(t, "processor"), Source: text.Draw(t, "source")}
	if rapid.Bool().Draw(t, "machine") {
		c.Machine = rapid.MapOf(text, text).Draw(t, "machine")
	}
	c.Parameters = Parameters{
		LaunchUs: optional("launch", us), LaunchSpreadUs: optional("spread", us), WarmLaunchUs: optional("warm", us), Upload: way("upload"), Download: way("download"),
		Scale: optional("scale", rapid.Float64Range(1e-3, 1e3)), Busy: optional("busy", rapid.Float64Range(1, 1e3)), Error: optional("error", rapid.Float64Range(0, 1)),
	}
	for _, s := range rapid.SliceOfNDistinct(text, 0, 5, rapid.ID[string]).Draw(t, "signatures") {
		c.Entries = append(c.Entries, CostEntry{
			Signature: "s" + s, Op: "o" + text.Draw(t, "op"), Domain: canonicalDomain(text.Draw(t, "domain")), Kernel: text.Draw(t, "kernel"),
			Elem:  ir.ElemType(rapid.IntRange(0, int(ir.Int2)).Draw(t, "elem")),
			FLOPs: rapid.Int64Range(0, math.MaxInt64).Draw(t, "flops"), Bytes: rapid.Int64Range(0, math.MaxInt64).Draw(t, "bytes"),
			MedianUs: us.Draw(t, "median"), SpreadUs: us.Draw(t, "spread"), Runs: rapid.Int64Range(1, math.MaxInt64).Draw(t, "runs"),
		})
	}
	return c
}

func TestCostsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCosts(t)
		data := encode(t, c)
		back, err := ReadCosts("x", data)
		if err != nil {
			t.Fatalf("%v in\n%s", err, data)
		}
		slices.SortFunc(c.Entries, func(a, b CostEntry) int { return strings.Compare(a.Signature, b.Signature) })
		if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		if !bytes.Equal(data, encode(t, back)) {
			t.Fatal("encoding again gives other bytes")
		}
	})
}

func TestReadCostsBounds(t *testing.T) {
	deep := `{"x": ` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}"
	if _, err := ReadCosts("x", []byte(deep)); err == nil || !strings.Contains(err.Error(), "nested more than 100 deep") {
		t.Errorf("error %v", err)
	}
	many := `{"entries": [` + strings.Repeat("1,", 100_000) + "1]}"
	if _, err := ReadCosts("x", []byte(many)); err == nil || len(err.Error()) > 10_000 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
	if _, err := ReadCosts("x", make([]byte, maxCostBytes+1)); err == nil || err.Error() != "x: the file is larger than 67108864 bytes, too large for a cost file" {
		t.Errorf("error %v", err)
	}
	if _, err := ReadCosts("x", []byte("{\n\"\xff\": 1}")); err == nil || err.Error() != "x:2:2: the file is not UTF-8 text" {
		t.Errorf("error %v", err)
	}
}

// TestReadmeExample reads the cost file that README.md shows.
func TestReadmeExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(readme), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	c, err := ReadCosts("README.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Entries) != 1 || c.Parameters.Upload == nil || c.Parameters.scale() != 0.97 {
		t.Errorf("costs %+v", c)
	}
}
