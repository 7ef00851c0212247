package onnxfile

import (
	"context"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// Options bound what a file may cost to read. The zero value means the defaults.
type Options struct {
	InlineBytes int64 // contents of tensors up to this size are decoded (default 1 KiB)
	MaxDepth    int   // nesting of graphs in graphs (default 64)
	MaxNodes    int   // nodes, nested graphs and functions included (default 10 million)
	MaxBytes    int64 // decoded structure without tensor contents (default 2 GiB)
}

// Open reads the structure of the ONNX file at path. Errors are *diag.Error
// naming the file, and node or value where there is one.
func Open(ctx context.Context, path string, o Options) (*Model, error) { panic("skeleton") }

// Close closes the files. Chunks of the model cannot be read afterwards.
func (m *Model) Close() error { panic("skeleton") }

// Tensor returns what is known of the contents of t, which must be part of
// m.Proto: an initializer, or a tensor in an attribute at any depth.
func (m *Model) Tensor(t *onnxpb.TensorProto) *Tensor { return m.tensors[t] }

// Values returns the elements of t as raw little-endian bytes (the layout of
// raw_data: bools one byte each, sub-byte types packed, low nibble first),
// whatever field holds them. It fails if there are more than max bytes, on
// strings, and where contents and dims disagree.
func (m *Model) Values(t *onnxpb.TensorProto, max int64) ([]byte, error) { panic("skeleton") }

// Strings returns the elements of a string tensor of at most max bytes.
func (m *Model) Strings(t *onnxpb.TensorProto, max int64) ([][]byte, error) { panic("skeleton") }
