package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// program is a bundle made ready to run: everything that a run looks up stands in
// tables. It does not change.
type program struct {
	workers [][]*step // by worker: its runs of one inference, in order
	steps   []*step   // in the manifest's order
	values  []value
	inputs  []runtime.Held // by value, nil for all but graph inputs
	// arrivals counts the pairs of a value and a device where it is needed.
	arrivals int
	atStart  []delivery // of graph inputs
	ends     []int      // arrivals that an inference ends with: graph outputs at the sink
	network  *network   // nil: links cost nothing
}

// step is a run of a sub-model.
type step struct {
	index   int // in the manifest
	session runtime.Session
	call    runtime.Call
	in, out []int // values, in the session's order
	needs   []int // arrivals of its inputs
	sends   []delivery
	worker  int
}

// value is a tensor that goes from one sub-model to others, or out.
type value struct {
	name    string
	uses    int32 // sub-models that read it, one more if it is a graph output
	isInput bool
}

// delivery says that a value, once it is made, is to arrive somewhere.
type delivery struct {
	value   int
	arrival int
	way     route // nil: at once
}

// arrivalKey is a value in the memory of a device.
type arrivalKey struct {
	value  int
	device string
}

// builder makes a program.
type builder struct {
	p         *program
	m         *backend.Manifest
	places    []place // by worker
	ids       map[string]int
	arrival   map[arrivalKey]int
	bytes     map[string]int64 // sizes of values, by name
	transfers map[string][]backend.Transfer
}

// newProgram loads the sub-models on their workers' threads. feed and outputs are
// the graph inputs, and outputs of the model on them. The caller closes the program.
func newProgram(ctx context.Context, eng runtime.Engine, dir string, m *backend.Manifest, places []place, workers []*runtime.Thread, options []runtime.Options, feed map[string]*runtime.Value, outputs map[string]*runtime.Value, emulate bool) (*program, error) {
	b := &builder{
		p: &program{workers: make([][]*step, len(places))}, m: m, places: places,
		ids: map[string]int{}, arrival: map[arrivalKey]int{}, bytes: map[string]int64{}, transfers: map[string][]backend.Transfer{},
	}
	if emulate {
		b.p.network = newNetwork(m.Links)
	}
	b.describe(feed, outputs)
	byProcessor := map[string]int{}
	for i, p := range places {
		byProcessor[p.Processor] = i
	}
	for i, s := range m.Submodels {
		w := byProcessor[s.Processor]
		path := filepath.Join(dir, s.File)
		st := &step{index: i, worker: w}
		var err error
		workers[w].Do(func() { st.session, err = eng.Load(runtime.Model{Path: path}, options[w]) })
		if err == nil {
			b.p.steps = append(b.p.steps, st)
			b.p.workers[w] = append(b.p.workers[w], st)
			if err = b.ports(st, path); err == nil {
				st.call, err = st.session.Prepare(ctx)
			}
		}
		if err != nil {
			b.p.close()
			return nil, err
		}
	}
	if err := b.connect(eng, feed); err != nil {
		b.p.close()
		return nil, err
	}
	return b.p, nil
}

// close frees the sessions and inputs. Nothing may run any more.
func (p *program) close() {
	for _, s := range p.steps {
		if s.call != nil {
			s.call.Close()
		}
		_ = s.session.Close() // it never fails
	}
	for _, h := range p.inputs {
		if h != nil {
			h.Release()
		}
	}
}

// describe finds sizes and planned transfers.
func (b *builder) describe(feed, outputs map[string]*runtime.Value) {
	for name, v := range outputs {
		b.bytes[name] = v.SizeBytes()
	}
	for _, in := range b.m.Inputs {
		if v := feed[in.Tensor]; v != nil {
			b.bytes[in.Tensor] = v.SizeBytes()
		}
		b.transfers[in.Tensor] = append(b.transfers[in.Tensor], in.Transfers...)
	}
	for _, e := range b.m.Edges {
		b.bytes[e.Tensor] = e.Bytes
		b.transfers[e.Tensor] = append(b.transfers[e.Tensor], e.Transfers...)
	}
	for _, out := range b.m.Outputs {
		for _, t := range out.Transfers {
			if !slices.ContainsFunc(b.transfers[out.Tensor], func(u backend.Transfer) bool { return u.For == t.For }) {
				b.transfers[out.Tensor] = append(b.transfers[out.Tensor], out.Transfers...)
				break
			}
		}
	}
}

// id is the number of a value.
func (b *builder) id(name string) int {
	if i, ok := b.ids[name]; ok {
		return i
	}
	i := len(b.p.values)
	b.ids[name] = i
	b.p.values = append(b.p.values, value{name: name})
	return i
}

// ports numbers the values that a sub-model takes and gives.
func (b *builder) ports(st *step, path string) error {
	for _, port := range st.session.Inputs() {
		st.in = append(st.in, b.id(port.Name))
	}
	for _, port := range st.session.Outputs() {
		v := b.id(port.Name)
		if slices.Contains(st.out, v) {
			return &diag.Error{File: path, Value: port.Name, Msg: "the sub-model gives this output twice"}
		}
		st.out = append(st.out, v)
	}
	return nil
}

// device is where a step runs. Without emulated links all is one device.
func (b *builder) device(st *step) string {
	if b.p.network == nil {
		return ""
	}
	return b.places[st.worker].device
}

// arrivalOf is the number of the arrival of a value at a device.
func (b *builder) arrivalOf(v int, device string) int {
	k := arrivalKey{v, device}
	i, ok := b.arrival[k]
	if !ok {
		i = b.p.arrivals
		b.p.arrivals++
		b.arrival[k] = i
	}
	return i
}

// connect finds who needs what and how it gets there.
func (b *builder) connect(eng runtime.Engine, feed map[string]*runtime.Value) error {
	p := b.p
	maker := make([]*step, len(p.values))
	for _, st := range p.steps {
		for _, v := range st.out {
			if maker[v] != nil {
				return &diag.Error{
					File: b.m.Submodels[st.index].File, Value: p.values[v].name,
					Msg: fmt.Sprintf("sub-models %s and %s both make this value", b.m.Submodels[maker[v].index].ID, b.m.Submodels[st.index].ID),
				}
			}
			maker[v] = st
		}
	}
	p.inputs = make([]runtime.Held, len(p.values))
	needed := map[int][]string{} // by value: devices where it is needed
	need := func(v int, device string) int {
		if !slices.Contains(needed[v], device) {
			needed[v] = append(needed[v], device)
		}
		return b.arrivalOf(v, device)
	}
	for _, st := range p.steps {
		for _, v := range st.in {
			p.values[v].uses++
			st.needs = append(st.needs, need(v, b.device(st)))
			if maker[v] != nil {
				continue
			}
			name := p.values[v].name
			given := feed[name]
			if given == nil {
				return &diag.Error{File: b.m.Submodels[st.index].File, Value: name, Msg: "the sub-model needs this value, but it is no graph input and no sub-model before it makes it"}
			}
			p.values[v].isInput = true
			if p.inputs[v] == nil {
				h, err := eng.Hold(given)
				if err != nil {
					return &diag.Error{Value: name, Msg: "input cannot be given", Err: err}
				}
				p.inputs[v] = h
			}
		}
	}
	if err := b.order(maker); err != nil {
		return err
	}
	b.outputs(maker, need)
	return b.routes(maker, needed)
}

// order makes sure that an inference comes to an end: each worker runs its
// sub-models in the manifest's order, and none may wait for what comes after it.
func (b *builder) order(maker []*step) error {
	ended := make([]bool, len(b.p.steps))
	next := make([]int, len(b.p.workers))
	for progress := true; progress; {
		progress = false
		for w, steps := range b.p.workers {
			for next[w] < len(steps) && b.waitsFor(steps[next[w]], maker, ended) < 0 {
				ended[steps[next[w]].index] = true
				next[w]++
				progress = true
			}
		}
	}
	for w, steps := range b.p.workers {
		if next[w] == len(steps) {
			continue
		}
		st := steps[next[w]]
		v := b.waitsFor(st, maker, ended)
		return &diag.Error{
			File: b.m.Submodels[st.index].File, Value: b.p.values[v].name,
			Msg: fmt.Sprintf("in the manifest's order of sub-models %s waits for this value for ever: %s, which makes it, never gets its turn", b.m.Submodels[st.index].ID, b.m.Submodels[maker[v].index].ID),
		}
	}
	return nil
}

// waitsFor is an input of a step that is still to be made, -1 if there is none.
func (b *builder) waitsFor(st *step, maker []*step, ended []bool) int {
	for _, v := range st.in {
		if maker[v] != nil && !ended[maker[v].index] {
			return v
		}
	}
	return -1
}

// outputs keeps graph outputs to the end of an inference and has them arrive at the sink.
func (b *builder) outputs(maker []*step, need func(v int, device string) int) {
	for _, out := range b.m.Outputs {
		v, ok := b.ids[out.Tensor]
		if !ok || maker[v] == nil {
			continue // it is a graph input
		}
		if slices.Contains(out.Kept, backend.KeptRepeated) {
			continue
		}
		b.p.values[v].uses++
		device := b.device(maker[v])
		if b.p.network != nil && len(out.Transfers) > 0 {
			device = out.Transfers[0].For
		}
		b.p.ends = append(b.p.ends, need(v, device))
	}
}

// routes finds the way of every value to every device that needs it.
func (b *builder) routes(maker []*step, needed map[int][]string) error {
	for v := range b.p.values {
		for _, device := range needed[v] {
			d := delivery{value: v, arrival: b.arrivalOf(v, device)}
			name := b.p.values[v].name
			if b.p.network != nil {
				var err error
				if d.way, err = b.p.network.to(device, b.bytes[name], b.transfers[name]); err != nil {
					return err
				}
				if len(d.way) == 0 && maker[v] != nil && b.device(maker[v]) != device {
					return &diag.Error{Value: name, Msg: fmt.Sprintf("the manifest plans no transfer of it to device %s, where it is needed", device)}
				}
			}
			if st := maker[v]; st != nil {
				st.sends = append(st.sends, d)
			} else {
				b.p.atStart = append(b.p.atStart, d)
			}
		}
	}
	return nil
}
