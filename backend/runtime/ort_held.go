//go:build cgo && (linux || darwin)

package runtime

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

/*
#include "ort_calls.h"
*/
import "C"

// ortHeld is an OrtValue.
type ortHeld struct {
	eng *ortEngine
	v   *C.OrtValue
}

func (e *ortEngine) Hold(v *Value) (Held, error) {
	c, err := e.toORT(v)
	if err != nil {
		return nil, err
	}
	return &ortHeld{e, c}, nil
}

func (h *ortHeld) Value() (*Value, error) { return h.eng.fromORT(h.v) }

func (h *ortHeld) Release() {
	if h.v != nil {
		C.ReleaseOrtValue(h.v)
		h.v = nil
	}
}

// ortPrepared holds a run's arguments in C memory, so that a run passes pointers only.
type ortPrepared struct {
	s        *ortSession
	ctx      context.Context
	options  *C.OrtRunOptions
	names    []*C.char // inputs, then outputs
	in, out  []*C.OrtValue
	inNames  []*C.char // of the inputs that are given in this run
	outNames []*C.char
	stop     func()
}

func (s *ortSession) Prepare(ctx context.Context) (Call, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.session == nil {
		return nil, &diag.Error{File: s.path, Msg: "the session is closed"}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &ortPrepared{s: s, ctx: ctx, in: make([]*C.OrtValue, 0, len(s.in)), out: make([]*C.OrtValue, len(s.out)), inNames: make([]*C.char, 0, len(s.in))}
	for _, ports := range [][]Port{s.in, s.out} {
		for _, p := range ports {
			c.names = append(c.names, C.CString(p.Name)) // a name without zero bytes: it came from C
		}
	}
	c.outNames = c.names[len(s.in):]
	if err := status(C.CreateRunOptions(&c.options)); err != nil {
		c.free()
		return nil, &diag.Error{File: s.path, Msg: "ONNX Runtime cannot prepare a run", Err: err}
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		C.ReleaseOrtStatus(C.RunOptionsSetTerminate(c.options))
	})
	c.stop = func() {
		if !stop() {
			<-stopped
		}
	}
	return c, nil
}

func (c *ortPrepared) Run(in, out []Held) error {
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	if c.s.session == nil {
		return &diag.Error{File: c.s.path, Msg: "the session is closed"}
	}
	if len(in) != len(c.s.in) || len(out) != len(c.s.out) {
		diag.Bugf("a run of %s has %d inputs and %d outputs, not %d and %d", c.s.path, len(c.s.in), len(c.s.out), len(in), len(out))
	}
	if len(out) == 0 {
		return c.ctx.Err() // ONNX Runtime refuses to compute nothing
	}
	c.in, c.inNames = c.in[:0], c.inNames[:0]
	for i, h := range in {
		if h == nil {
			if c.s.in[i].Type.Kind != ir.Optional {
				return &diag.Error{File: c.s.path, Value: c.s.in[i].Name, Msg: "input is not given"}
			}
			continue
		}
		v, ok := h.(*ortHeld)
		if !ok || v.v == nil {
			return &diag.Error{File: c.s.path, Value: c.s.in[i].Name, Msg: "input cannot be given to ONNX Runtime", Err: fmt.Errorf("it is not in its memory")}
		}
		c.in, c.inNames = append(c.in, v.v), append(c.inNames, c.names[i])
	}
	clear(c.out)
	if err := status(C.RunOrtSessionWithOptions(c.s.session, unsafe.SliceData(c.in), unsafe.SliceData(c.inNames), C.int(len(c.in)),
		unsafe.SliceData(c.out), unsafe.SliceData(c.outNames), C.int(len(c.out)), c.options)); err != nil {
		if cause := c.ctx.Err(); cause != nil {
			return cause
		}
		return &diag.Error{File: c.s.path, Msg: "ONNX Runtime cannot run it", Err: err}
	}
	for i, v := range c.out {
		out[i] = &ortHeld{c.s.eng, v}
	}
	return nil
}

func (c *ortPrepared) Close() {
	if c.stop != nil {
		c.stop()
	}
	c.free()
}

func (c *ortPrepared) free() {
	for _, name := range c.names {
		C.free(ptr(name))
	}
	if c.options != nil {
		C.ReleaseRunOptions(c.options)
	}
	c.names, c.options, c.stop = nil, nil, nil
}
