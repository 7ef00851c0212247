package onnxfile

import "io"

// Draft describes a model to be written: the fields of the model message, with
// its graph where GraphAt says.
type Draft struct {
	Fields  []Field // of the model message, but for the graph
	GraphAt int     // the graph stands before Fields[GraphAt]; len(Fields): at the end
	Graph   []Field // of the graph
}

// Size is the number of bytes that WriteTo writes.
func (d *Draft) Size() int64 { panic("skeleton") }

// WriteTo writes the encoded model, streaming chunks from their files.
func (d *Draft) WriteTo(w io.Writer) (int64, error) { panic("skeleton") }
