package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/bench"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/dnnsplit/dnnsplit/profiles"
)

func write(t *testing.T, name string) string {
	t.Helper()
	m, err := onnxtest.Named(name, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(name)+".onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// reread writes a cost file and reads it back.
func reread(t *testing.T, c *profiles.CostFile) *profiles.CostFile {
	t.Helper()
	var b bytes.Buffer
	if err := c.Encode(&b); err != nil {
		t.Fatal(err)
	}
	out, err := profiles.ReadCosts("costs.json", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := out.Encode(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("what was written is not what is read: %v", err)
	}
	return out
}

// A profile has an entry for every unit of the model, a run of the whole, and
// goes on where it was interrupted.
func TestProfile(t *testing.T) {
	runtimetest.ORT(t)
	path := write(t, "small/squeezenet1_1")
	saves := 0
	stop := errors.New("stop")
	var partial *profiles.CostFile
	o := Options{Models: []string{path}, Processor: "p", Optimization: runtime.All, Confidence: 0.9, Save: func(c *profiles.CostFile) error {
		saves++
		partial = reread(t, c)
		return stop
	}}
	if _, err := Run(context.Background(), o); !errors.Is(err, stop) || saves != 1 {
		t.Fatalf("%v after %d saves", err, saves)
	}
	if len(partial.SubmodelRuns) == 0 {
		t.Fatal("the first batch saved nothing")
	}
	o.Save, o.Base = nil, partial
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Kept == 0 || r.Measured == 0 {
		t.Errorf("%d measured and %d kept: it did not go on", r.Measured, r.Kept)
	}
	m := r.Models[0]
	if m.Signatures == 0 || m.Signatures != r.Signatures || !(m.MeasuredUs > 0) || !(m.PredictedUs > 0) || !(m.AloneUs > 0) {
		t.Errorf("%+v", m)
	}
	whole, stretches := 0, 0
	for _, run := range r.File.SubmodelRuns {
		if run.Whole {
			whole++
		} else if len(run.Units) > 1 {
			stretches++
		}
	}
	if whole != 1 || stretches < 4 || r.Agreement.Stretches < stretches {
		t.Errorf("%d whole models and %d stretches", whole, stretches)
	}
	if r.File.Parameters.LaunchUs == nil || r.File.Machine["runtime"] == "" || r.File.Machine["threads"] != "1" {
		t.Errorf("%+v, %v", r.File.Parameters, r.File.Machine)
	}

	// All is known now.
	o.Base = reread(t, r.File)
	again, err := Run(context.Background(), o)
	if err != nil || again.Measured != 0 {
		t.Fatalf("%v; %d measured again", err, again.Measured)
	}
	// Another machine's numbers are not mixed in, nor another processor's.
	o.Threads = 2
	if _, err := Run(context.Background(), o); err == nil {
		t.Error("measurements with one and two threads are mixed")
	}
	o.Threads, o.Processor = 0, "q"
	if _, err := Run(context.Background(), o); err == nil {
		t.Error("measurements of two processors are mixed")
	}
}

// Beside a copy the model is measured again, and how much longer that takes is kept.
func TestBeside(t *testing.T) {
	runtimetest.ORT(t)
	cpus, err := runtime.BoundCPUs()
	if err != nil || len(cpus) < 2 {
		t.Skip("two cores are needed")
	}
	o := Options{
		Models: []string{write(t, "small/squeezenet1_1")}, Processor: "p", Optimization: runtime.All, Confidence: 0.9,
		CPUs: cpus[:1], Beside: cpus[1:2],
	}
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	p := r.File.Parameters
	if p.Busy == nil || *p.Busy < 1 || p.Error == nil || p.LaunchSpreadUs == nil || *p.LaunchUs < *p.WarmLaunchUs {
		t.Errorf("%+v", p)
	}
	both := 0
	for _, run := range r.File.SubmodelRuns {
		if run.Whole && run.Shared {
			both++
		}
	}
	if both != 1 {
		t.Errorf("%d runs beside a copy, want 1", both)
	}
	o.Base = reread(t, r.File)
	if again, err := Run(context.Background(), o); err != nil || again.Measured != 0 {
		t.Errorf("%v; %d measured again", err, again.Measured)
	}
}

// The parameters that are not in any equation: what a launch costs more in a split
// than in a profile, how busy devices slow down, how far predictions are off.
func TestParameters(t *testing.T) {
	launch, warm := 41.0, 1.0
	c := &profiles.CostFile{Processor: "p", Parameters: profiles.Parameters{LaunchUs: &launch, WarmLaunchUs: &warm}}
	units := []profiles.UnitCount{{Signature: "a", Count: 1}, {Signature: "b", Count: 1}}
	for i, s := range []string{"a", "b"} {
		c.Entries = append(c.Entries, profiles.CostEntry{Signature: s, Op: "Conv", MedianUs: 1, Runs: 1})
		c.SubmodelRuns = append(c.SubmodelRuns, profiles.SubmodelRun{Units: units[i : i+1], Inputs: 1, Outputs: 1, MedianUs: 1001, Runs: 1})
	}
	c.SubmodelRuns = append(c.SubmodelRuns,
		profiles.SubmodelRun{Units: units, Inputs: 1, Outputs: 1, MedianUs: 2201, Runs: 1},
		profiles.SubmodelRun{Units: units, Inputs: 1, Outputs: 1, MedianUs: 2001, Runs: 1, Whole: true},
		profiles.SubmodelRun{Units: units, Inputs: 1, Outputs: 1, MedianUs: 2401.2, Runs: 1, Whole: true, Shared: true},
		profiles.SubmodelRun{Units: units, Inputs: 1, Outputs: 2, MedianUs: 2241, Runs: 1, Shared: true},
	)
	Calibrate(c)
	p := c.Parameters
	if *p.LaunchUs != 41 || *p.WarmLaunchUs != 1 {
		t.Errorf("launches of %v and %v us, want what was measured, 41 and 1", *p.LaunchUs, *p.WarmLaunchUs)
	}
	if p.Busy == nil || math.Abs(*p.Busy-1.2) > 1e-9 {
		t.Errorf("busy is %v, want 1.2", *p.Busy)
	}
	a := Explain(c)
	if e := a.Whole[""]; math.Abs(e) > 0.01 {
		t.Errorf("the whole model is predicted with an error of %v", e)
	}
	if p.Error == nil || *p.Error < 0.005 || *p.Error > 0.2 || math.Abs(*p.Error-a.StretchMedian) > 1e-4 {
		t.Errorf("the costs state an error of %v, stretches are off by %v", *p.Error, a.StretchMedian)
	}
}

// A launch costs what stretches take longer after others than right after themselves.
func TestLaunchOfStretches(t *testing.T) {
	warm := 2.0
	c := &profiles.CostFile{Processor: "p", Parameters: profiles.Parameters{LaunchUs: &warm, WarmLaunchUs: &warm}}
	for i, s := range []string{"a", "b", "c"} {
		c.Entries = append(c.Entries, profiles.CostEntry{Signature: s, Op: "Conv", MedianUs: 100, Runs: 1})
		c.SubmodelRuns = append(c.SubmodelRuns, profiles.SubmodelRun{
			Units: []profiles.UnitCount{{Signature: s, Count: 2}}, Inputs: 1, Outputs: 1, MedianUs: 202, FirstUs: 232 + float64(10*i), Runs: 1,
		})
	}
	c.SubmodelRuns = append(c.SubmodelRuns, profiles.SubmodelRun{Units: []profiles.UnitCount{{Signature: "a", Count: 1}}, MedianUs: 102, FirstUs: 902, Runs: 1})
	Calibrate(c)
	if p := c.Parameters; *p.LaunchUs != 42 || *p.LaunchSpreadUs != 10 || *p.WarmLaunchUs != 2 {
		t.Errorf("launches of %v ± %v and %v us, want 42 ± 10 and 2", *p.LaunchUs, *p.LaunchSpreadUs, *p.WarmLaunchUs)
	}
	if again := reread(t, c); again.SubmodelRuns[0].FirstUs == 0 {
		t.Error("the file does not keep first runs")
	}
}

func TestAllSignatures(t *testing.T) {
	runtimetest.ORT(t)
	o := Options{Models: []string{write(t, "small/googlenet_bn")}, Processor: "p", Optimization: runtime.All, Confidence: 0.9, AllSignatures: true}
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]bool{}
	for _, e := range r.File.Entries {
		ops[e.Op] = true
	}
	for _, want := range []string{"Conv", "Relu", "Concat"} {
		if !ops[want] {
			t.Errorf("there is no entry of %s alone", want)
		}
	}
	if r.Signatures <= r.Models[0].Signatures {
		t.Errorf("%d signatures, %d of groups", r.Signatures, r.Models[0].Signatures)
	}
}

func TestCancel(t *testing.T) {
	runtimetest.ORT(t)
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{Models: []string{write(t, "small/squeezenet1_1")}, Processor: "p", Progress: func(_ string, done float64) {
		if done > 0 {
			cancel()
		}
	}}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// synthetic is a file of runs of a chain whose true costs are known: alone every
// operation takes twice as long as inside, since its tensors are rearranged.
func synthetic(noise float64) (c *profiles.CostFile, cost []float64, names []string) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 24
	const launch, value, perByte = 3.0, 0.5, 1e-4
	c = &profiles.CostFile{Processor: "p"}
	for i := range n {
		names = append(names, string(rune('a'+i)))
		cost = append(cost, 20+rng.Float64()*400)
		c.Entries = append(c.Entries, profiles.CostEntry{Signature: names[i], Op: "Conv", MedianUs: 1, Runs: 1})
	}
	run := func(from, to int, whole bool) {
		r := profiles.SubmodelRun{Inputs: 1, InputBytes: int64(1000 * (from + 1)), Outputs: 1, OutputBytes: int64(1000 * (to + 1)), Runs: 9, Whole: whole, Model: "m"}
		us := launch + 2*value + perByte*float64(r.InputBytes+r.OutputBytes)
		for i := from; i < to; i++ {
			r.Units = append(r.Units, profiles.UnitCount{Signature: names[i], Count: 1})
			us += cost[i]
		}
		if to-from == 1 {
			us += cost[from]
		}
		r.MedianUs = us * (1 + noise*rng.NormFloat64())
		c.SubmodelRuns = append(c.SubmodelRuns, r)
	}
	for size := 1; size < n; size *= 2 {
		for at := 0; at < n; at += size {
			run(at, min(n, at+size), false)
		}
		for at := size / 2; size > 1 && at < n; at += size {
			run(at, min(n, at+size), false)
		}
	}
	run(0, n, true)
	return c, cost, names
}

// Calibration finds what explains stretches and whole, although every operation
// takes twice as long alone.
func TestCalibrate(t *testing.T) {
	c, cost, names := synthetic(0.01)
	Calibrate(c)
	a := Explain(c)
	if e := math.Abs(a.Whole["m"]); e > 0.02 {
		t.Errorf("the whole is predicted with an error of %.1f%%", 100*e)
	}
	if a.StretchMedian > 0.03 {
		t.Errorf("stretches are predicted with errors of %.1f%%", 100*a.StretchMedian)
	}
	for i, e := range c.Entries {
		if e.Signature != names[i] {
			t.Fatal("entries are out of order")
		}
		if off := math.Abs(e.MedianUs-cost[i]) / cost[i]; off > 0.35 {
			t.Errorf("%s costs %.1f us, found %.1f", names[i], cost[i], e.MedianUs)
		}
	}
	if c.Parameters.LaunchUs == nil || math.Abs(*c.Parameters.Scale-1) > 0.05 {
		t.Errorf("%+v", c.Parameters)
	}
	// The same runs give the same file, whatever their order.
	again, _, _ := synthetic(0.01)
	slices.Reverse(again.SubmodelRuns)
	Calibrate(again)
	for i := range c.Entries {
		if math.Abs(again.Entries[i].MedianUs-c.Entries[i].MedianUs) > 1e-4*c.Entries[i].MedianUs {
			t.Fatalf("%v in another order, %v before", again.Entries[i].MedianUs, c.Entries[i].MedianUs)
		}
	}
}

func TestCalibrateWithoutRuns(t *testing.T) {
	c := &profiles.CostFile{Entries: []profiles.CostEntry{{Signature: "a", Op: "Conv", MedianUs: 7, Runs: 1}}}
	Calibrate(c)
	if c.Entries[0].MedianUs != 7 || c.Parameters.LaunchUs != nil {
		t.Errorf("%+v", c)
	}
}

func TestPieceTakesFasterHalf(t *testing.T) {
	p := &piece{rounds: []float64{10, 30, 10.1, 25, 9.9, 40}}
	if us, _ := p.result(); us != 10 {
		t.Errorf("%v us, want 10", us)
	}
	if !p.certain(0.02) || p.certain(0.001) {
		t.Error("certain of the wrong spread")
	}
}

func TestStretches(t *testing.T) {
	order := []ir.NodeID{0, 1, 2, 3, 4, 5, 6, 7}
	cost := []float64{1, 1, 1, 1, 10, 1, 1, 1}
	for parts := 2; parts <= 8; parts++ {
		for _, offset := range []float64{0, 0.5} {
			cut := stretches(order, cost, parts, offset)
			if !slices.Equal(slices.Concat(cut...), order) {
				t.Errorf("%d parts lose nodes: %v", parts, cut)
			}
			for _, part := range cut {
				if len(part) == 0 {
					t.Errorf("%d parts: one is empty: %v", parts, cut)
				}
			}
			if len(cut) < 2 || len(cut) > parts+1 {
				t.Errorf("%d parts asked for, %d made", parts, len(cut))
			}
		}
	}
}

// Both orders put every node after those that it reads from.
func TestOrders(t *testing.T) {
	b := ir.NewBuilder("diamond")
	x := b.Value(ir.Value{Name: "x", Bytes: 1, Input: true})
	v := func(name string) ir.ValueID { return b.Value(ir.Value{Name: name, Bytes: 1}) }
	y, l1, l2, r1, z := v("y"), v("l1"), v("l2"), v("r1"), v("z")
	b.Node(ir.Node{Name: "a", Op: "A", Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{y}})
	b.Node(ir.Node{Name: "l1", Op: "A", Inputs: []ir.ValueID{y}, Outputs: []ir.ValueID{l1}})
	b.Node(ir.Node{Name: "r1", Op: "A", Inputs: []ir.ValueID{y}, Outputs: []ir.ValueID{r1}})
	b.Node(ir.Node{Name: "l2", Op: "A", Inputs: []ir.ValueID{l1}, Outputs: []ir.ValueID{l2}})
	b.Node(ir.Node{Name: "join", Op: "A", Inputs: []ir.ValueID{l2, r1}, Outputs: []ir.ValueID{z}})
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	if got := depthFirst(g); !slices.Equal(got, []ir.NodeID{0, 1, 3, 2, 4}) {
		t.Errorf("depth first: %v", got)
	}
	if got := inOrder(g); !slices.Equal(got, []ir.NodeID{0, 1, 2, 3, 4}) {
		t.Errorf("in order: %v", got)
	}
}

// A split that is run feeds what its sub-models take into the cost file, and the
// next prediction is nearer to it.
func TestLoop(t *testing.T) {
	runtimetest.ORT(t)
	fleet := t.TempDir()
	path := write(t, "small/three_towers")
	device := `schema: dnnsplit/device/v1
name: host
memory: 4GiB
processors:
  - {name: a, kind: cpu, peak: {float32: 1MFLOP/s}, memory_bandwidth: 1MB/s, costs: [host.costs.json]}
  - {name: b, kind: cpu, peak: {float32: 1MFLOP/s}, memory_bandwidth: 1MB/s, costs: [host.costs.json]}
source: made up for a test
`
	file := filepath.Join(fleet, "host.costs.json")
	if err := os.WriteFile(filepath.Join(fleet, "host.yaml"), []byte(device), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(file, &profiles.CostFile{Processor: "host"}); err != nil {
		t.Fatal(err)
	}
	var seen []Round
	r, rounds, err := Loop(context.Background(), LoopOptions{
		Compile: compiler.Options{Model: path, Devices: fleet, Submodels: 2, SkipAuto: true, Output: filepath.Join(fleet, "out")},
		Bench:   bench.Options{Optimization: runtime.All, Time: time.Millisecond},
		Error:   1e-6, Rounds: 3, Progress: func(x Round) { seen = append(seen, x) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(rounds) == 0 || len(rounds) > 3 || !slices.Equal(seen, rounds) {
		t.Fatalf("%v, told of %v", rounds, seen)
	}
	if first := rounds[0]; first.PredictedUs < 2*first.MeasuredUs {
		t.Fatalf("the made-up peaks are no worse than the truth: %+v", first)
	}
	if last := rounds[len(rounds)-1]; math.Abs(last.Error) >= math.Abs(rounds[0].Error) {
		t.Errorf("nothing was learnt: %+v after %+v", last, rounds[0])
	}
	if r.Options.Output != filepath.Join(fleet, "out") {
		t.Errorf("the result would be written to %s", r.Options.Output)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := profiles.ReadCosts(file, data)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.SubmodelRuns) == 0 || len(c.Entries) == 0 || !c.SubmodelRuns[0].Shared {
		t.Errorf("%d runs and %d entries were fed back", len(c.SubmodelRuns), len(c.Entries))
	}
}

// Probes make fits for operators that no model had.
func TestProbes(t *testing.T) {
	runtimetest.ORT(t)
	r, err := Run(context.Background(), Options{Models: []string{write(t, "small/squeezenet1_1")}, Processor: "p", Optimization: runtime.All, Confidence: 0.9, Probes: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Notes) > 0 {
		t.Errorf("%q", r.Notes)
	}
	fitted := map[string]bool{}
	for _, f := range r.File.Fits() {
		fitted[f.Op] = true
	}
	for _, op := range []string{"LRN", "Conv", "Conv+Relu", "MaxPool", "Softmax", "MatMul", "LayerNormalization", "Add"} {
		if !fitted[op] {
			t.Errorf("there is no fit of %s", op)
		}
	}
	if len(r.Models) != 1 {
		t.Errorf("the report has %d models", len(r.Models))
	}
}

// Copies at the edges can explain all that operations on memory alone take; the
// operations cost something all the same.
func TestCalibrateKeepsMemoryBound(t *testing.T) {
	c := &profiles.CostFile{}
	conv, launch := "Conv", 0.5
	c.Parameters.LaunchUs = &launch
	c.Entries = append(c.Entries, profiles.CostEntry{Signature: conv, MedianUs: 500})
	for i := range int64(6) {
		bytes := (i + 1) * 100_000
		name := fmt.Sprintf("Relu %d", i)
		c.Entries = append(c.Entries, profiles.CostEntry{Signature: name, MedianUs: 10 * float64(i+1)})
		c.SubmodelRuns = append(
			c.SubmodelRuns,
			profiles.SubmodelRun{Units: []profiles.UnitCount{{Signature: name, Count: 1}}, Inputs: 1, InputBytes: bytes, Outputs: 1, OutputBytes: bytes, MedianUs: 10 * float64(i+1)},
			profiles.SubmodelRun{Units: []profiles.UnitCount{{Signature: conv, Count: i + 1}}, Inputs: 1, InputBytes: bytes, Outputs: 1, OutputBytes: bytes, MedianUs: 510 * float64(i+1)},
		)
	}
	Calibrate(c)
	for i, e := range c.Entries[1:] {
		if least := 1.9 * float64(i+1); e.MedianUs < least || e.MedianUs > 10*float64(i+1) {
			t.Errorf("%s costs %v us, want from %v to %v", e.Signature, e.MedianUs, least, 10*(i+1))
		}
	}
}

// Cost files of another processor, or of none, are not learned from.
func TestCostFilesThatDoNotFit(t *testing.T) {
	s := &session{Options: Options{Processor: "pi", Base: &profiles.CostFile{Processor: "phone.cpu"}}, eng: runtime.OpenGo()}
	const other = "the file holds costs of processor phone.cpu, not of pi: write to another file"
	if err := s.openFile(); err == nil || err.Error() != other {
		t.Errorf("%v, want %s", err, other)
	}
	path := write(t, "small/squeezenet1_1")
	r, err := compiler.Compile(t.Context(), compiler.Options{Model: path, Devices: "../../profiles", NoWrite: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const none = " has no cost file to learn from runs: make one with dnnsplit profile and name it under costs in its device profile"
	if err := Feed(r, &bench.Measurement{}); err == nil || !strings.HasPrefix(err.Error(), "processor ") || !strings.HasSuffix(err.Error(), none) {
		t.Errorf("%v, want processor ...%s", err, none)
	}
}

// A model that only passes its input on has nothing to measure.
func TestNothingToMeasure(t *testing.T) {
	runtimetest.ORT(t)
	m := onnxtest.New(onnxtest.Header{Opset: 17})
	m.Graph().Input("x", onnxtest.Float, 1)
	m.Graph().Output("x", onnxtest.Float, 1)
	path := filepath.Join(t.TempDir(), "pass.onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), Options{Models: []string{path}, Processor: "pi", Save: func(*profiles.CostFile) error { return nil }})
	if err == nil || err.Error() != path+": it has no operations to measure" {
		t.Error(err)
	}
}
