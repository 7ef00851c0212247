//go:build cgo && (linux || darwin)

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

/*
#include "ort_calls.h"
*/
import "C"

func ptr[T any](p *T) unsafe.Pointer { return unsafe.Pointer(p) }

// ONNX Runtime's enumerations.
const (
	ortSequential, ortParallel = 0, 1
	ortLogFatal                = 4
)

var ortLevel = [...]C.int{Disabled: 0, Basic: 1, Extended: 2, All: 99}

type ortSession struct {
	eng     *ortEngine
	path    string
	in, out []Port

	mu      sync.RWMutex // held for reading while a run is under way
	session *C.OrtSession
}

func (e *ortEngine) Load(m Model, o Options) (Session, error) {
	if m.Data == nil {
		if st, err := os.Stat(m.Path); err != nil {
			return nil, &diag.Error{File: m.Path, Msg: "cannot be read", Err: reason(err)}
		} else if st.IsDir() {
			return nil, &diag.Error{File: m.Path, Msg: "is a folder, not an ONNX file"}
		}
	} else if len(m.Data) == 0 {
		return nil, &diag.Error{File: m.Path, Msg: "is empty"}
	}
	opts, err := ortOptions(m, o)
	if err != nil {
		return nil, &diag.Error{File: m.Path, Msg: "ONNX Runtime refuses the options", Err: err}
	}
	defer C.ReleaseSessionOptions(opts)

	s := &ortSession{eng: e, path: m.Path}
	if m.Data != nil {
		err = status(C.CreateSession(ptr(&m.Data[0]), C.size_t(len(m.Data)), e.env, &s.session, opts))
	} else {
		path := C.CString(m.Path)
		defer C.free(ptr(path))
		err = status(C.CreateSessionFromFile(path, e.env, &s.session, opts))
	}
	if err != nil {
		return nil, &diag.Error{File: m.Path, Msg: "ONNX Runtime cannot load it", Err: trimPath(err, m.Path)}
	}
	if err := s.describe(); err != nil {
		_ = s.Close()
		return nil, &diag.Error{File: m.Path, Msg: "ONNX Runtime cannot describe it", Err: err}
	}
	return s, nil
}

// reason is the cause in an *os.PathError, whose path stands in the message already.
func reason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// trimPath drops ONNX Runtime's own naming of the file, which the error gives once already.
func trimPath(err error, path string) error {
	msg := strings.TrimPrefix(err.Error(), "Load model from "+path+" failed:")
	return fmt.Errorf("%s", strings.TrimSpace(msg))
}

func threads(n int) C.int {
	switch {
	case n == 0:
		return 1
	case n < 0:
		return 0
	}
	return C.int(n)
}

// ortOptions makes the session options; the caller releases them.
func ortOptions(m Model, o Options) (*C.OrtSessionOptions, error) {
	if int(o.Optimization) >= len(ortLevel) {
		return nil, fmt.Errorf("there is no optimisation %s", o.Optimization)
	}
	var opts *C.OrtSessionOptions
	if err := status(C.CreateSessionOptions(&opts)); err != nil {
		return nil, err
	}
	mode := C.int(ortSequential)
	if o.Parallel {
		mode = ortParallel
	}
	set := func(key, value string) *C.OrtStatus {
		k, v := C.CString(key), C.CString(value)
		defer C.free(ptr(k))
		defer C.free(ptr(v))
		return C.AddSessionConfigEntry(opts, k, v)
	}
	steps := []func() *C.OrtStatus{
		func() *C.OrtStatus { return C.SetSessionLogSeverityLevel(opts, ortLogFatal) },
		func() *C.OrtStatus { return C.SetSessionGraphOptimizationLevel(opts, ortLevel[o.Optimization]) },
		func() *C.OrtStatus { return C.SetSessionExecutionMode(opts, mode) },
		func() *C.OrtStatus { return C.SetIntraOpNumThreads(opts, threads(o.IntraOpThreads)) },
		func() *C.OrtStatus { return C.SetInterOpNumThreads(opts, threads(o.InterOpThreads)) },
	}
	if o.RestAfterRun {
		steps = append(steps, func() *C.OrtStatus { return set("session.force_spinning_stop", "1") })
	}
	if m.Data != nil && m.Folder != "" {
		steps = append(steps, func() *C.OrtStatus {
			return set("session.model_external_initializers_file_folder_path", m.Folder)
		})
	}
	if o.ProfilePrefix != "" {
		steps = append(steps, func() *C.OrtStatus {
			prefix := C.CString(o.ProfilePrefix)
			defer C.free(ptr(prefix))
			return C.EnableProfiling(opts, prefix)
		})
	}
	steps = append(steps, func() *C.OrtStatus { return appendProvider(opts, o.Provider) })
	for _, step := range steps {
		if err := status(step()); err != nil {
			C.ReleaseSessionOptions(opts)
			return nil, err
		}
	}
	return opts, nil
}

// appendProvider adds the execution provider of the given name. Every provider
// falls back to the CPU for what it cannot run.
func appendProvider(opts *C.OrtSessionOptions, provider string) *C.OrtStatus {
	switch provider {
	case "", "CPUExecutionProvider":
		return nil
	case "CUDAExecutionProvider":
		var cuda *C.OrtCUDAProviderOptionsV2
		if st := C.CreateCUDAProviderOptions(&cuda); st != nil {
			return st
		}
		defer C.ReleaseCUDAProviderOptions(cuda)
		return C.AppendExecutionProviderCUDAV2(opts, cuda)
	case "TensorrtExecutionProvider":
		var trt *C.OrtTensorRTProviderOptionsV2
		if st := C.CreateTensorRTProviderOptions(&trt); st != nil {
			return st
		}
		defer C.ReleaseTensorRTProviderOptions(trt)
		return C.AppendExecutionProviderTensorRTV2(opts, trt)
	}
	// The generic call knows providers by their short names.
	name := C.CString(strings.TrimSuffix(provider, "ExecutionProvider"))
	defer C.free(ptr(name))
	return C.AppendExecutionProvider(opts, name, nil, nil, 0)
}

// describe reads the names and types of inputs and outputs.
func (s *ortSession) describe() error {
	var n C.size_t
	if err := status(C.SessionGetInputCount(s.session, &n)); err != nil {
		return err
	}
	for i := C.size_t(0); i < n; i++ {
		var name *C.char
		var info *C.OrtTypeInfo
		if err := status(C.SessionGetInputName(s.session, i, &name)); err != nil {
			return err
		}
		if err := status(C.SessionGetInputTypeInfo(s.session, i, &info)); err != nil {
			return err
		}
		port, err := s.eng.describePort(name, info)
		if err != nil {
			return err
		}
		s.in = append(s.in, port)
	}
	if err := status(C.SessionGetOutputCount(s.session, &n)); err != nil {
		return err
	}
	for i := C.size_t(0); i < n; i++ {
		var name *C.char
		var info *C.OrtTypeInfo
		if err := status(C.SessionGetOutputName(s.session, i, &name)); err != nil {
			return err
		}
		if err := status(C.SessionGetOutputTypeInfo(s.session, i, &info)); err != nil {
			return err
		}
		port, err := s.eng.describePort(name, info)
		if err != nil {
			return err
		}
		s.out = append(s.out, port)
	}
	return nil
}

// describePort takes over name and info and frees them.
func (e *ortEngine) describePort(name *C.char, info *C.OrtTypeInfo) (Port, error) {
	defer C.ReleaseTypeInfo(info)
	p := Port{Name: C.GoString(name)}
	if err := status(C.FreeWithDefaultORTAllocator(ptr(name))); err != nil {
		return p, err
	}
	var kind C.int
	if err := status(C.GetONNXTypeFromTypeInfo(info, &kind)); err != nil {
		return p, err
	}
	p.Type = ir.Type{Kind: kindOf(kind), Rank: -1}
	if p.Type.Kind != ir.Tensor && p.Type.Kind != ir.SparseTensor {
		return p, nil
	}
	var shape *C.OrtTensorTypeAndShapeInfo
	if err := status(C.CastTypeInfoToTensorInfo(info, &shape)); err != nil || shape == nil {
		return p, err
	}
	elem, dims, err := tensorShape(shape)
	if err != nil {
		return p, err
	}
	p.Type.Elem = elem
	if C.dnnsplit_has_shape(e.api, shape) == 0 {
		return p, nil
	}
	p.Type.Rank, p.Type.Shape = len(dims), make([]ir.Dim, len(dims))
	if len(dims) == 0 {
		return p, nil
	}
	symbols := make([]*C.char, len(dims)) // owned by info
	if err := status(C.dnnsplit_symbolic_dimensions(e.api, shape, &symbols[0], C.size_t(len(symbols)))); err != nil {
		return p, err
	}
	for i, n := range dims {
		p.Type.Shape[i] = ir.Dim{N: max(n, -1)}
		if n < 0 && symbols[i] != nil {
			p.Type.Shape[i].Sym = C.GoString(symbols[i])
		}
	}
	return p, nil
}

func (s *ortSession) Inputs() []Port  { return s.in }
func (s *ortSession) Outputs() []Port { return s.out }

func (s *ortSession) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		C.ReleaseOrtSession(s.session)
		s.session = nil
	}
	return nil
}

func (s *ortSession) Run(ctx context.Context, feed map[string]*Value) ([]*Value, error) {
	var results []*Value
	err := s.with(ctx, feed, func(c *ortCall) error {
		if err := c.run(); err != nil {
			return err
		}
		results = make([]*Value, len(c.out))
		for i, v := range c.out {
			got, err := s.eng.fromORT(v)
			if err != nil {
				return &diag.Error{File: s.path, Value: s.out[i].Name, Msg: "output cannot be taken out of ONNX Runtime", Err: err}
			}
			results[i] = got
		}
		return nil
	})
	return results, err
}

func (s *ortSession) Time(ctx context.Context, feed map[string]*Value, warmUp, runs int) ([]time.Duration, error) {
	times := make([]time.Duration, 0, max(runs, 0))
	err := s.with(ctx, feed, func(c *ortCall) error {
		for i := 0; i < warmUp+runs; i++ {
			start := time.Now()
			if err := c.run(); err != nil {
				return err
			}
			if took := time.Since(start); i >= warmUp {
				times = append(times, took)
			}
			c.releaseOutputs()
		}
		return nil
	})
	return times, err
}

// ortCall is a run made ready: names and values as ONNX Runtime takes them.
type ortCall struct {
	s                 *ortSession
	ctx               context.Context
	options           *C.OrtRunOptions
	in, out           []*C.OrtValue
	inNames, outNames []*C.char
}

// with makes a call ready, lets do use it, and frees everything.
func (s *ortSession) with(ctx context.Context, feed map[string]*Value, do func(*ortCall) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.session == nil {
		return &diag.Error{File: s.path, Msg: "the session is closed"}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &ortCall{s: s, ctx: ctx}
	defer c.release()
	for _, p := range s.in {
		if feed[p.Name] == nil && p.Type.Kind != ir.Optional {
			return &diag.Error{File: s.path, Value: p.Name, Msg: "input is not given"}
		}
	}
	names := make([]string, 0, len(feed))
	for name := range feed {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if err := callable(name); err != nil {
			return &diag.Error{File: s.path, Value: name, Msg: "input cannot be given", Err: err}
		}
		v, err := s.eng.toORT(feed[name])
		if err != nil {
			return &diag.Error{File: s.path, Value: name, Msg: "input cannot be given to ONNX Runtime", Err: err}
		}
		c.in = append(c.in, v)
		c.inNames = append(c.inNames, C.CString(name))
	}
	c.out = make([]*C.OrtValue, len(s.out))
	for _, p := range s.out {
		c.outNames = append(c.outNames, C.CString(p.Name))
	}
	if err := status(C.CreateRunOptions(&c.options)); err != nil {
		return &diag.Error{File: s.path, Msg: "ONNX Runtime cannot prepare a run", Err: err}
	}

	// A run is stopped from beside it. The watcher must be gone before the options are.
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		C.ReleaseOrtStatus(C.RunOptionsSetTerminate(c.options))
	})
	defer func() {
		if !stop() {
			<-stopped
		}
	}()
	return do(c)
}

func first[T any](s []T) *T {
	if len(s) == 0 {
		return nil
	}
	return &s[0]
}

func (c *ortCall) run() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if len(c.out) == 0 {
		return nil // ONNX Runtime refuses to compute nothing
	}
	err := status(C.RunOrtSessionWithOptions(c.s.session, first(c.in), first(c.inNames), C.int(len(c.in)),
		first(c.out), first(c.outNames), C.int(len(c.out)), c.options))
	if err == nil {
		return nil
	}
	if cause := c.ctx.Err(); cause != nil {
		return cause
	}
	return &diag.Error{File: c.s.path, Msg: "ONNX Runtime cannot run it", Err: err}
}

func (c *ortCall) releaseOutputs() {
	for i, v := range c.out {
		if v != nil {
			C.ReleaseOrtValue(v)
			c.out[i] = nil
		}
	}
}

func (c *ortCall) release() {
	c.releaseOutputs()
	for _, v := range c.in {
		C.ReleaseOrtValue(v)
	}
	for _, name := range c.inNames {
		C.free(ptr(name))
	}
	for _, name := range c.outNames {
		C.free(ptr(name))
	}
	if c.options != nil {
		C.ReleaseRunOptions(c.options)
	}
}

// callable says whether name can be passed to C.
func callable(name string) error {
	if strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("its name holds a zero byte, which ends a name in C")
	}
	return nil
}
