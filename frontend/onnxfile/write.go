package onnxfile

import (
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxModelBytes is the largest encoded model that protobuf implementations read.
// A larger one has to keep weights in external data.
const MaxModelBytes = math.MaxInt32

// ErrTooLarge is the cause of the error for a model of more than MaxModelBytes.
var ErrTooLarge = errors.New("a protobuf message cannot exceed 2 GiB: move weights to external data")

// Draft describes a model to be written: the fields of the model message, with
// its graph where GraphAt says. What is written depends on nothing else, so equal
// drafts give equal bytes.
type Draft struct {
	Fields  []Field // of the model message, but for the graph
	GraphAt int     // the graph stands before Fields[GraphAt]; len(Fields): at the end
	Graph   []Field // of the graph
}

// Draft describes the model as it stands: it writes the bytes that were read,
// unless they held a message in several pieces or tags longer than needed. Its
// slices are shared with the model.
func (m *Model) Draft() *Draft {
	return &Draft{Fields: m.Fields, GraphAt: m.GraphAt, Graph: m.GraphFields}
}

// Size is the number of bytes that the field takes in its message.
func (f Field) Size() int64 {
	n := int64(protowire.SizeTag(f.Num)) + f.Body.Len()
	if f.Type == protowire.BytesType {
		n += int64(protowire.SizeVarint(uint64(f.Body.Len())))
	}
	return n
}

func sizeOf(fields []Field) int64 {
	var n int64
	for _, f := range fields {
		n += f.Size()
	}
	return n
}

// graphHead is the tag and length of the graph.
func (d *Draft) graphHead() []byte {
	b := protowire.AppendTag(nil, modelGraph, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(sizeOf(d.Graph)))
}

// Size is the number of bytes that WriteTo writes.
func (d *Draft) Size() int64 {
	return sizeOf(d.Fields) + int64(len(d.graphHead())) + sizeOf(d.Graph)
}

// WriteTo writes the encoded model, streaming chunks from their files. It fails
// with ErrTooLarge, before it writes anything, if Size exceeds MaxModelBytes.
func (d *Draft) WriteTo(w io.Writer) (int64, error) {
	if n := d.Size(); n > MaxModelBytes {
		return 0, fmt.Errorf("the model would take %d bytes: %w", n, ErrTooLarge)
	}
	if d.GraphAt < 0 || d.GraphAt > len(d.Fields) {
		return 0, fmt.Errorf("the graph cannot stand before field %d of %d", d.GraphAt, len(d.Fields))
	}
	c := copier{w: w}
	err := c.fields(d.Fields[:d.GraphAt])
	if err == nil {
		err = c.bytes(d.graphHead())
	}
	if err == nil {
		err = c.fields(d.Graph)
	}
	if err == nil {
		err = c.fields(d.Fields[d.GraphAt:])
	}
	if err == nil {
		err = c.flush()
	}
	return c.written, err
}

func (c *copier) fields(fields []Field) error {
	for _, f := range fields {
		if err := c.head(f); err != nil {
			return err
		}
		if err := c.chunk(f.Body); err != nil {
			return err
		}
	}
	return nil
}
