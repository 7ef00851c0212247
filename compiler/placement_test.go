package compiler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func readPlacementText(t *testing.T, text string) (*Placement, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "placement.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return ReadPlacement(path)
}

const everyKey = `# all that a placement can say
schema: dnnsplit/placement/v1
objective: throughput
submodels: auto
source: pi
sink: server
seed: 18446744073709551615
time_limit: 1m30s
inline: never
weights: external
shape:
  batch: 4
  image: [1, 3, 224, 224]
only: [pi, server.gpu]
pin:
  - {nodes: '^head/', processor: server.gpu}
forbid:
  - nodes: "^stem/"
    processor: server.gpu
same: ['^layer1/', ^layer2/]
reuse: old.split/manifest.json
place:
  - processor: pi
    nodes: [conv1, "conv1: 2", '3', true]
`

// TestPlacementApply reads every key and puts it into options that hold some
// values already.
func TestPlacementApply(t *testing.T) {
	p, err := readPlacementText(t, everyKey)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Sink: "jetson", Pins: []Rule{{"^a", "pi"}}, Dims: map[string]int64{"batch": 1},
	}
	p.Apply(&o, func(flag string) bool { return flag == "sink" })
	want := Options{
		Objective: ir.Throughput, Submodels: Auto, Source: "pi", Sink: "jetson", Seed: 1<<64 - 1,
		TimeLimit: 90 * time.Second, KeepFunctions: true, Weights: backend.WeightsExternal,
		Dims: map[string]int64{"batch": 1}, Inputs: map[string][]int64{"image": {1, 3, 224, 224}},
		Only: []string{"pi", "server.gpu"},
		Pins: []Rule{{"^a", "pi"}, {"^head/", "server.gpu"}}, Forbids: []Rule{{"^stem/", "server.gpu"}},
		Same: []string{"^layer1/", "^layer2/"}, Reuse: filepath.Join(filepath.Dir(p.path), "old.split/manifest.json"),
		Place: []Placed{{"pi", []string{"conv1", "conv1: 2", "3", "true"}}}, PlacementFile: p.path,
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Error(diff)
	}
}

// TestPlacementRoundTrip writes what was read and reads it again, with names that
// YAML would take for something else.
func TestPlacementRoundTrip(t *testing.T) {
	p, err := readPlacementText(t, everyKey)
	if err != nil {
		t.Fatal(err)
	}
	p.Place = append(p.Place, PlacementNodes{"gpu", []string{
		"yes", "~", "a: b", "- x", "# c", "*a", "&a", "!t", "{", "[1]", "1e3", "0x1F", "1:30", "2026-01-01", "a\tb", "層/畳み込み", "\\", `"`, " x ", "x-", "null", "<<", "%a", "@x", "`x", "a\u2028b", "a\u0085b", "\u00a0", "1_000", "0o7", ".5", ".inf", "a,b", "'",
	}})
	q, err := readPlacementText(t, string(p.Encode("made\nby a test")))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Encode(""))
	}
	if diff := cmp.Diff(fmt.Sprint(p.Shape), fmt.Sprint(q.Shape)); diff != "" {
		t.Error(diff)
	}
	p.Shape, q.Shape = nil, nil
	if diff := cmp.Diff(p, q, cmpopts.IgnoreUnexported(Placement{})); diff != "" {
		t.Error(diff)
	}
}

// TestPlacementErrors wants file, line and column of what is wrong.
func TestPlacementErrors(t *testing.T) {
	const head = "schema: dnnsplit/placement/v1\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", `its schema is "", want "dnnsplit/placement/v1"`},
		{"schema", "schema: dnnsplit/fleet/v1\n", `:1:1: its schema is "dnnsplit/fleet/v1"`},
		{"unknown key", head + "pins: []\n", `:2:1: it is not valid: unknown field "pins"`},
		{"twice", head + "seed: 1\nseed: 2\n", `:3:1: it is not valid: mapping key "seed" already defined`},
		{"objective", head + "objective: speed\n", `:2:12: objective: want latency or throughput, not "speed"`},
		{"submodels", head + "submodels: many\n", ":2:12: submodels: want a number"},
		{"time limit", head + "time_limit: 10\n", `:2:13: time_limit: want a time such as 10s, not "10"`},
		{"inline", head + "inline: always\n", ":2:9: inline: want auto or never"},
		{"weights", head + "weights: nowhere\n", ":2:10: weights: "},
		{"shape", head + "shape: {batch: -1}\n", ":2:9: shape of \"batch\": -1 is no extent"},
		{"shape list", head + "shape:\n  x: [1, a]\n", ":3:3: shape of \"x\": a is no extent"},
		{"pattern", head + "pin:\n  - {nodes: '(', processor: a}\n", ":3:13: pin: error parsing regexp"},
		{"rule", head + "forbid:\n  - {nodes: a}\n", ":2:1: forbid: an entry needs nodes and processor"},
		{"place", head + "place:\n  - {processor: a}\n", ":2:1: place: an entry needs processor and nodes"},
		{"type", head + "same: 7\n", ":2:7: it is not valid: int was used where sequence is expected"},
		{"syntax", head + "same: [a\n", ":2:7: "},
		{"alias", head + "same: [&a x, *a]\n", ":2:8: \"&\" is not read here"},
		{"bytes", "\xff", "it is not UTF-8 text"},
		{"deep", head + "same: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested more than 16 deep"},
		{"keys", head + "shape: {" + strings.Repeat("a: 1, ", 20_000) + "}", "more than 10000 keys"},
		{"deep blocks", head + deepBlocks(100), "nested more than 16 deep"},
	} {
		_, err := readPlacementText(t, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.want)
		}
	}
	if _, err := ReadPlacement(t.TempDir()); err == nil || !strings.Contains(err.Error(), "it is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

func deepBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func FuzzPlacement(f *testing.F) {
	f.Add([]byte(everyKey))
	f.Add([]byte("schema: dnnsplit/placement/v1\nshape: {a: [1, {b: c}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &Placement{path: "p.yaml"}
		text, err := parseYAML("p.yaml", data, p, yaml.Strict())
		if err != nil {
			return
		}
		p.text = text
		if p.check() != nil {
			return
		}
		var o Options
		p.Apply(&o, nil)
		again := &Placement{}
		if _, err := parseYAML("p.yaml", p.Encode(""), again, yaml.Strict()); err != nil {
			t.Errorf("what was written cannot be read: %v\n%s", err, p.Encode(""))
		}
	})
}
