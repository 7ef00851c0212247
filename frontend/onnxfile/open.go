package onnxfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// Options bound what a file may cost to read. The zero value means the defaults.
type Options struct {
	InlineBytes int64 // contents of tensors up to this size are decoded (default 1 KiB); negative: none
	MaxDepth    int   // nesting of graphs in graphs (default 64, at most 1000)
	MaxNodes    int   // nodes, nested graphs and functions included (default 10 million)
	MaxBytes    int64 // decoded structure without tensor contents (default 2 GiB)
}

func (o Options) withDefaults() Options {
	o.InlineBytes = cmp.Or(o.InlineBytes, 1<<10)
	o.MaxDepth = min(cmp.Or(o.MaxDepth, 64), 1000)
	o.MaxNodes = cmp.Or(o.MaxNodes, 10_000_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 2<<30)
	return o
}

// Open reads the structure of the ONNX file at path. Errors are *diag.Error, or
// a diag.List of them where several tensors are at fault, naming the file, and
// node or value where there is one. Close the model when its chunks have been
// read.
//
// All tensors have been checked when Open returns: contents and dims agree, and
// external data is there, inside the model's folder and long enough.
func Open(ctx context.Context, path string, o Options) (*Model, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, &diag.Error{File: path, Msg: "the model cannot be read", Err: cause(err)}
	case info.IsDir():
		return nil, &diag.Error{File: path, Msg: "it is a folder: name the .onnx file in it"}
	case !info.Mode().IsRegular():
		return nil, &diag.Error{File: path, Msg: "it is no regular file: copy the model to a file first"}
	case info.Size() == 0:
		return nil, &diag.Error{File: path, Msg: "it is empty: not an ONNX model"}
	}
	set := &files{}
	m := &Model{Path: path, files: set}
	f := set.add(path, info, func() (*os.File, error) { return os.Open(path) })
	if _, err := f.acquire(); err != nil {
		return nil, &diag.Error{File: path, Msg: "the model cannot be read", Err: cause(err)}
	}
	defer f.release()
	d := &decoder{
		ctx: ctx, o: o.withDefaults(), m: m, f: f, s: onnxSchemas(), nodeAt: -1,
		w: window{src: f, size: f.size}, index: map[*onnxpb.TensorProto]int{},
	}
	if err = d.decode(); err == nil {
		err = d.settle()
	}
	if err != nil {
		err = d.explain(err)
		_ = m.Close() // it was only read
		return nil, err
	}
	return m, nil
}

// cause strips from a file error what the message around it says already.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// explain makes an error of the decoder one that the user can act on.
func (d *decoder) explain(err error) error {
	if d.ctx.Err() != nil {
		return &diag.Error{File: d.m.Path, Msg: "reading it was stopped", Err: d.ctx.Err()}
	}
	var list diag.List
	if errors.As(err, &list) {
		for _, e := range list {
			var x *diag.Error
			if errors.As(e, &x) {
				x.File = d.m.Path
			}
		}
		return list
	}
	var dm *damage
	if errors.As(err, &dm) || errors.Is(err, errNoGraph) {
		n := int(min(d.f.size, sniffLen))
		head := make([]byte, n)
		if _, err := d.f.ReadAt(head, 0); err == nil {
			if what := sniff(head); what != "" {
				return &diag.Error{File: d.m.Path, Msg: "not an ONNX model: it is " + what}
			}
		}
	}
	var e *diag.Error
	switch {
	case errors.As(err, &e):
		e.File = d.m.Path
		if dm != nil {
			e.Msg = "the file is damaged"
		}
		return e
	case dm != nil && d.m.Proto.Graph == nil && dm.short && (dm.at > 0 || d.f.size < 1<<10):
		return &diag.Error{File: d.m.Path, Msg: "the file is cut off", Err: err}
	case dm != nil && d.m.Proto.Graph == nil:
		return &diag.Error{File: d.m.Path, Msg: "not an ONNX model, or it is cut off or damaged", Err: err}
	case dm != nil:
		return &diag.Error{File: d.m.Path, Msg: "the file is damaged", Err: err}
	case errors.Is(err, errNoGraph):
		return &diag.Error{File: d.m.Path, Msg: fmt.Sprint(err)}
	}
	return &diag.Error{File: d.m.Path, Err: err}
}

// Close closes the files and ends what StartDigest began. Chunks of the model cannot
// be read afterwards.
func (m *Model) Close() error { return m.files.close() }

// Tensor returns what is known of the contents of t, which must be part of
// m.Proto: an initializer, or a tensor in an attribute at any depth. It returns
// nil for any other.
func (m *Model) Tensor(t *onnxpb.TensorProto) *Tensor { return m.tensors[t] }

// Files lists the files of the model, itself first and then those of external
// data in the order of first use, as paths that start like Path.
func (m *Model) Files() []string {
	m.files.mu.Lock()
	defer m.files.mu.Unlock()
	names := make([]string, len(m.files.all))
	for i, f := range m.files.all {
		names[i] = f.name
	}
	return names
}
