package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// mixer is an engine whose sub-models mix their inputs into numbers, so that
// whatever runs at the wrong time, on the wrong values or twice changes the
// outputs. It counts what it holds and notes what is released twice.
type mixer struct {
	models map[string]*mixed // by file
	held   atomic.Int64
	twice  atomic.Bool
}

// mixed is a sub-model.
type mixed struct {
	eng     *mixer
	seed    uint64
	in, out []string
	spin    int   // how long it takes
	err     error // what its runs fail with
	busy    atomic.Bool
}

type mixedHeld struct {
	eng   *mixer
	v     uint64
	freed atomic.Bool
}

func (h *mixedHeld) Value() (*runtime.Value, error) { return number(h.v) }

func (h *mixedHeld) Release() {
	if h.freed.Swap(true) {
		h.eng.twice.Store(true)
	}
	h.eng.held.Add(-1)
}

func number(v uint64) (*runtime.Value, error) {
	return runtime.NewTensor(ir.Uint64, []int64{1}, binary.LittleEndian.AppendUint64(nil, v))
}

func (e *mixer) Name() string              { return "mixer" }
func (e *mixer) Check(runtime.Model) error { return nil }

func (e *mixer) Load(m runtime.Model, _ runtime.Options) (runtime.Session, error) {
	return e.models[filepath.Base(m.Path)], nil
}

func (e *mixer) hold(v uint64) *mixedHeld {
	e.held.Add(1)
	return &mixedHeld{eng: e, v: v}
}

func (e *mixer) Hold(v *runtime.Value) (runtime.Held, error) {
	return e.hold(binary.LittleEndian.Uint64(v.Data)), nil
}

func ports(names []string) []runtime.Port {
	list := make([]runtime.Port, len(names))
	for i, n := range names {
		list[i].Name = n
	}
	return list
}

func (m *mixed) Inputs() []runtime.Port  { return ports(m.in) }
func (m *mixed) Outputs() []runtime.Port { return ports(m.out) }

func (m *mixed) Run(context.Context, map[string]*runtime.Value) ([]*runtime.Value, error) {
	return nil, errors.New("it is only run by its call")
}

func (m *mixed) Time(context.Context, map[string]*runtime.Value, int, int) ([]time.Duration, error) {
	return nil, errors.New("it is only run by its call")
}
func (m *mixed) Prepare(context.Context) (runtime.Call, error) { return mixedCall{m}, nil }
func (m *mixed) Close() error                                  { return nil }

// mix is what a sub-model's output number i is.
func (m *mixed) mix(in []uint64, i int) uint64 {
	h := m.seed*0x9E3779B97F4A7C15 + uint64(i)
	for _, v := range in {
		h = (h ^ v) * 0xD6E8FEB86659FD93
		h ^= h >> 32
	}
	return h
}

type mixedCall struct{ *mixed }

func (c mixedCall) Close() {}

func (c mixedCall) Run(in, out []runtime.Held) error {
	if c.busy.Swap(true) {
		return errors.New("a sub-model runs twice at a time")
	}
	defer c.busy.Store(false)
	if c.err != nil {
		return c.err
	}
	values := make([]uint64, len(in))
	for i, h := range in {
		h, ok := h.(*mixedHeld)
		if !ok || h.freed.Load() {
			return errors.New("an input is not there any more")
		}
		values[i] = h.v
	}
	for start := time.Now(); time.Since(start) < time.Duration(c.spin)*time.Microsecond; {
	}
	for i := range out {
		out[i] = c.eng.hold(c.mix(values, i))
	}
	return nil
}

// plan is sub-models on processors and what they compute.
type plan struct {
	eng    *mixer
	m      *backend.Manifest
	places []place
	feed   map[string]*runtime.Value
	all    map[string]*runtime.Value // values by name
	want   map[string]uint64         // graph outputs
}

// drawPlan draws sub-models that read any values before them, on up to three
// processors of up to two devices.
func drawPlan(t *rapid.T) *plan {
	p := &plan{eng: &mixer{models: map[string]*mixed{}}, m: &backend.Manifest{}, feed: map[string]*runtime.Value{}, all: map[string]*runtime.Value{}, want: map[string]uint64{}}
	var values []string
	given := map[string]uint64{}
	device := map[string]string{} // where a value is made
	add := func(name string, v uint64, where string) {
		values = append(values, name)
		given[name], device[name] = v, where
		p.all[name], _ = number(v)
	}
	for i := range rapid.IntRange(1, 2).Draw(t, "inputs") {
		name := fmt.Sprintf("x%d", i)
		add(name, uint64(i)+7, "d0")
		p.feed[name] = p.all[name]
		p.m.Inputs = append(p.m.Inputs, backend.Input{Tensor: name})
	}
	for w := range rapid.IntRange(1, 3).Draw(t, "processors") {
		p.places = append(p.places, place{Mapping: Mapping{Processor: fmt.Sprintf("p%d", w)}, device: fmt.Sprintf("d%d", w%2)})
	}
	latency := float64(rapid.IntRange(0, 60).Draw(t, "latency"))
	for _, l := range [][2]string{{"d0", "d1"}, {"d1", "d0"}} {
		p.m.Links = append(p.m.Links, backend.Link{From: l[0], To: l[1], LatencyUs: latency, BytesPerUs: 4, Medium: "air"})
	}
	both := func(name string) []backend.Transfer {
		from := device[name]
		to := map[string]string{"d0": "d1", "d1": "d0"}[from]
		return []backend.Transfer{{From: from, To: to, For: to}}
	}
	for i := range p.m.Inputs {
		p.m.Inputs[i].Transfers = both(p.m.Inputs[i].Tensor)
	}
	for i := range rapid.IntRange(1, 14).Draw(t, "sub-models") {
		at := p.places[rapid.IntRange(0, len(p.places)-1).Draw(t, "processor")]
		s := &mixed{eng: p.eng, seed: uint64(i) + 1, spin: rapid.SampledFrom([]int{0, 0, 0, 5, 40}).Draw(t, "takes")}
		s.in = rapid.SliceOfNDistinct(rapid.SampledFrom(values), 1, min(3, len(values)), rapid.ID[string]).Draw(t, "reads")
		var in []uint64
		for _, v := range s.in {
			in = append(in, given[v])
		}
		id := fmt.Sprintf("s%d", i)
		for k := range rapid.IntRange(1, 2).Draw(t, "outputs") {
			name := fmt.Sprintf("%s.%d", id, k)
			s.out = append(s.out, name)
			add(name, s.mix(in, k), at.device)
			e := backend.Edge{Tensor: name, From: id, Bytes: 8, Transfers: both(name)}
			p.m.Edges = append(p.m.Edges, e)
			if rapid.IntRange(0, 3).Draw(t, "is an output") == 0 {
				p.m.Outputs = append(p.m.Outputs, backend.Output{Tensor: name, From: &id})
				p.want[name] = given[name]
			}
		}
		p.eng.models[id] = s
		p.m.Submodels = append(p.m.Submodels, backend.Submodel{ID: id, File: id, Processor: at.Processor, Inputs: s.in, Outputs: s.out})
	}
	return p
}

// program loads a plan.
func (p *plan) program(workers []*runtime.Thread, emulate bool) (*program, error) {
	return newProgram(context.Background(), p.eng, "", p.m, p.places, workers, make([]runtime.Options, len(workers)), p.feed, p.all, emulate)
}

// startWorkers starts n threads on any cores, with processors of Go's for all of them, as Run does.
func startWorkers(t *testing.T, n int) []*runtime.Thread {
	before := goruntime.GOMAXPROCS(0)
	goruntime.GOMAXPROCS(before + n + 2)
	var workers []*runtime.Thread
	for range n {
		workers = append(workers, runtime.StartThread(nil))
	}
	t.Cleanup(func() {
		for _, w := range workers {
			w.Stop()
		}
		goruntime.GOMAXPROCS(before)
	})
	return workers
}

// Any plan comes to its end, one inference at a time and in a pipeline, computes
// what it should and leaves nothing behind.
func TestBatchPlans(t *testing.T) {
	workers := startWorkers(t, 3)
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		prog, err := p.program(workers[:len(p.places)], rapid.Bool().Draw(t, "links"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for range 2 { // a program is run many times
			polite := len(p.places) > goruntime.NumCPU() || rapid.Bool().Draw(t, "polite")
			b := prog.newBatch(ctx, rapid.IntRange(1, 24).Draw(t, "inferences"), rapid.IntRange(1, 6).Draw(t, "window"), polite, rapid.Bool().Draw(t, "record"))
			b.keep = true
			if err := b.run(workers); err != nil {
				t.Fatal(err)
			}
			p.check(t, b)
		}
		prog.close()
		if n := p.eng.held.Load(); n != 0 || p.eng.twice.Load() {
			t.Fatalf("%d values are still held; one was released twice: %v", n, p.eng.twice.Load())
		}
	})
}

// check holds the times and outputs of a batch against the plan.
func (p *plan) check(t *rapid.T, b *batch) {
	if len(b.outputs) != len(p.want) {
		t.Fatalf("%d outputs, want %d", len(b.outputs), len(p.want))
	}
	for name, v := range b.outputs {
		if got := binary.LittleEndian.Uint64(v.Data); got != p.want[name] {
			t.Fatalf("output %s is %x, want %x", name, got, p.want[name])
		}
	}
	for j := range b.count {
		if b.ended[j] < b.started[j] {
			t.Fatalf("inference %d begins at %v and ends at %v", j, b.started[j], b.ended[j])
		}
		if b.runs == nil {
			continue
		}
		for _, st := range b.p.steps {
			at := b.runs[j][st.index]
			if at.from < b.started[j] || at.to < at.from || at.to > b.ended[j] {
				t.Fatalf("inference %d, from %v to %v, runs %s from %v to %v", j, b.started[j], b.ended[j], p.m.Submodels[st.index].ID, at.from, at.to)
			}
		}
	}
}

// chain is two sub-models on two processors, the second after the first.
func chain() *plan {
	x, _ := number(1)
	eng := &mixer{models: map[string]*mixed{}}
	eng.models["a"] = &mixed{eng: eng, in: []string{"x"}, out: []string{"y"}}
	eng.models["b"] = &mixed{eng: eng, in: []string{"y"}, out: []string{"z"}}
	return &plan{
		eng: eng,
		m: &backend.Manifest{
			Submodels: []backend.Submodel{{ID: "a", File: "a", Processor: "p"}, {ID: "b", File: "b", Processor: "q"}},
			Inputs:    []backend.Input{{Tensor: "x"}}, Outputs: []backend.Output{{Tensor: "z"}},
		},
		places: []place{{Mapping: Mapping{Processor: "p"}}, {Mapping: Mapping{Processor: "q"}}},
		feed:   map[string]*runtime.Value{"x": x}, all: map[string]*runtime.Value{"x": x},
	}
}

// A sub-model that fails ends the batch, on workers that wait as well; so does the context.
func TestBatchEnds(t *testing.T) {
	workers := startWorkers(t, 2)
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		fail string // sub-model
		want error
	}{{"the first fails", "a", broken}, {"the last fails", "b", broken}, {"out of time", "", context.DeadlineExceeded}} {
		p := chain()
		if c.fail != "" {
			p.eng.models[c.fail].err = broken
		}
		prog, err := p.program(workers, false)
		if err != nil {
			t.Fatal(err)
		}
		limit := time.Minute
		if c.fail == "" {
			limit = 5 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		if err := prog.newBatch(ctx, 1_000_000, 3, false, false).run(workers); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		cancel()
		prog.close()
		if n := p.eng.held.Load(); n != 0 || p.eng.twice.Load() {
			t.Errorf("%s: %d values are still held; one was released twice: %v", c.name, n, p.eng.twice.Load())
		}
	}
}

// Sub-models in an order in which one waits for ever are refused, not run.
func TestProgramOrder(t *testing.T) {
	workers := startWorkers(t, 2)
	for _, c := range []struct {
		name   string
		change func(p *plan)
		want   string
	}{
		{"on one processor, in the wrong order", func(p *plan) {
			slices.Reverse(p.m.Submodels)
			p.m.Submodels[0].Processor, p.m.Submodels[1].Processor = "p", "p"
		}, `value "y": in the manifest's order of sub-models b waits for this value for ever: a, which makes it, never gets its turn`},
		{"in a ring", func(p *plan) { p.eng.models["a"].in = []string{"z"} }, "waits for this value for ever"},
		{"two that make one value", func(p *plan) { p.eng.models["b"].out = []string{"y"}; p.eng.models["b"].in = []string{"x"} }, `value "y": sub-models a and b both make this value`},
		{"one that makes a value twice", func(p *plan) { p.eng.models["a"].out = []string{"y", "y"} }, `value "y": the sub-model gives this output twice`},
		{"one whose input nothing makes", func(p *plan) { p.eng.models["b"].in = []string{"y", "ghost"} }, `value "ghost": the sub-model needs this value, but it is no graph input and no sub-model before it makes it`},
	} {
		p := chain()
		c.change(p)
		if _, err := p.program(workers, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if n := p.eng.held.Load(); n != 0 {
			t.Errorf("%s: %d values are still held", c.name, n)
		}
	}
	apart := chain()
	apart.places[0].device, apart.places[1].device = "c", "d"
	const want = `value "y": the manifest plans no transfer of it to device d, where it is needed`
	if _, err := apart.program(workers, true); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	p := chain() // the manifest's order is that of each processor only
	slices.Reverse(p.m.Submodels)
	prog, err := p.program(workers, false)
	if err != nil {
		t.Fatal(err)
	}
	prog.close()
}
