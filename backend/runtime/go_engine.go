package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	"google.golang.org/protobuf/proto"
	"gorgonia.org/tensor"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// The pure-Go engine computes with onnx-go and gorgonia, which know some forty
// operators of 2019 and have traps that give wrong results without a word. So
// nothing of a model reaches them as it stands: go_plan.go works out every shape
// and rewrites the model into few operators in forms that are known to be right,
// and refuses the rest. What it avoids in that way:
//
//   - a value info of a graph input cuts the input off: zeros flow
//   - a graph output that is also read inside reads back as zeros
//   - a node that reads a value twice loses one of its operands
//   - vectors are broadcast along any dimension that happens to fit
//   - Gemm adds into the memory of its third input; LeakyRelu and
//     BatchNormalization work in place and are merged if they read the same value
//   - Conv takes its pads in another order than ONNX has them
//   - opset and domain are ignored, symbolic dimensions dropped
//   - inputs are set by place, which fails if an initializer is listed as one
//   - panics: they are recovered, which takes a machine of our own (go_vm.go)
//
// A model is decoded anew for every run, since a run may change its weights.

// goVersion is the version of onnx-go that the rewriting was tested with.
const goVersion = "0.5.0"

// goEngine serialises runs: gorgonia numbers its nodes in a package variable.
type goEngine struct{ mu sync.Mutex }

// OpenGo returns the pure-Go engine. It needs nothing on the machine and runs
// float32 models of plain operators: see Engine.Check. It knows no optimisation
// levels, threads and providers.
func OpenGo() Engine { return &goEngine{} }

func (e *goEngine) Name() string { return "onnx-go " + goVersion + " (pure Go)" }

func (e *goEngine) Check(m Model) error {
	g, err := readGoModel(m)
	if err != nil {
		return err
	}
	return g.check()
}

func (e *goEngine) Load(m Model, o Options) (Session, error) {
	switch {
	case o.Provider != "" && o.Provider != "CPUExecutionProvider":
		return nil, &diag.Error{File: m.Path, Msg: fmt.Sprintf("the pure-Go engine has no %s", o.Provider)}
	case o.ProfilePrefix != "":
		return nil, &diag.Error{File: m.Path, Msg: "the pure-Go engine writes no profiles"}
	}
	g, err := readGoModel(m)
	if err != nil {
		return nil, err
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	return &goSession{eng: e, g: g}, nil
}

type goSession struct {
	eng *goEngine
	g   *goModel

	mu     sync.RWMutex
	closed bool
}

func (s *goSession) Inputs() []Port  { return s.g.inputs }
func (s *goSession) Outputs() []Port { return s.g.outputs }

func (s *goSession) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.g = true, &goModel{path: s.g.path, inputs: s.g.inputs, outputs: s.g.outputs}
	return nil
}

func (s *goSession) Run(ctx context.Context, feed map[string]*Value) ([]*Value, error) {
	out, _, err := s.run(ctx, feed)
	return out, err
}

func (s *goSession) Time(ctx context.Context, feed map[string]*Value, warmUp, runs int) ([]time.Duration, error) {
	times := make([]time.Duration, 0, max(runs, 0))
	for i := range warmUp + runs {
		_, took, err := s.run(ctx, feed)
		if err != nil {
			return nil, err
		}
		if i >= warmUp {
			times = append(times, took)
		}
	}
	return times, nil
}

// run computes once. It stops between two operations when ctx is done.
func (s *goSession) run(ctx context.Context, feed map[string]*Value) ([]*Value, time.Duration, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	fail := func(msg string, err error) error { return &diag.Error{File: s.g.path, Msg: msg, Err: err} }
	if s.closed {
		return nil, 0, fail("the session is closed", nil)
	}
	p, err := s.g.plan(feed)
	if err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	var results []tensor.Tensor
	var took time.Duration
	if len(p.nodes) > 0 { // else every output is a stored value
		body, err := proto.Marshal(p.model())
		if err != nil {
			diag.Bugf("%s: the rewritten model cannot be encoded: %v", s.g.path, err)
		}
		s.eng.mu.Lock()
		results, took, err = compute(ctx, body, p.inputs)
		s.eng.mu.Unlock()
		if cause := ctx.Err(); cause != nil {
			return nil, 0, cause
		}
		if err != nil {
			return nil, 0, fail("the pure-Go engine cannot run it", err)
		}
	}
	out := make([]*Value, len(s.g.outputs))
	for i, port := range s.g.outputs {
		at, ok := p.results[port.Name]
		if !ok {
			out[i] = p.constant(port.Name)
			continue
		}
		if out[i], err = fromGo(results[at], p.shapes[port.Name]); err != nil {
			return nil, 0, &diag.Error{File: s.g.path, Value: port.Name, Msg: "the pure-Go engine gives a damaged output", Err: err}
		}
	}
	return out, took, nil
}

// compute decodes and runs a model, and turns panics into errors.
func compute(ctx context.Context, body []byte, inputs []*goTensor) (results []tensor.Tensor, took time.Duration, err error) {
	defer func() {
		if r := recover(); r != nil {
			results, err = nil, fmt.Errorf("onnx-go panicked: %v", r)
		}
	}()
	backend := gorgonnx.NewGraph()
	m := onnx.NewModel(backend)
	if err := m.UnmarshalBinary(body); err != nil {
		return nil, 0, err
	}
	if len(m.Input) != len(inputs) {
		return nil, 0, errors.New("onnx-go sees other inputs than it was given")
	}
	for i, in := range inputs {
		shape := make([]int, len(in.shape))
		for k, n := range in.shape {
			shape[k] = int(n)
		}
		data := append([]float32{}, in.floats...) // ops may work in place
		if err := m.SetInput(i, tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))); err != nil {
			return nil, 0, err
		}
	}
	graph, err := backend.GetExprGraph()
	if err != nil {
		return nil, 0, err
	}
	backend.SetVM(&goMachine{ctx, graph})
	start := time.Now()
	if err := backend.Run(); err != nil {
		return nil, 0, err
	}
	took = time.Since(start)
	results, err = m.GetOutputTensors()
	return results, took, err
}

// fromGo copies a result out, in row-major order, and checks its shape.
func fromGo(t tensor.Tensor, want []int64) (*Value, error) {
	d, ok := t.(*tensor.Dense)
	if !ok {
		return nil, fmt.Errorf("it is no dense tensor but %T", t)
	}
	if d.RequiresIterator() {
		d = d.Materialize().(*tensor.Dense)
	}
	n, _ := ir.Elements(want)
	var floats []float32
	switch data := d.Data().(type) {
	case []float32:
		floats = data
	case float32:
		floats = []float32{data}
	default:
		return nil, fmt.Errorf("it holds %T", data)
	}
	if int64(len(floats)) != n {
		return nil, fmt.Errorf("it has %d elements instead of %d", len(floats), n)
	}
	return NewTensor(ir.Float32, append([]int64{}, want...), encodeFloats(floats))
}
