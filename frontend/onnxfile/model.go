// Package onnxfile reads and writes ONNX files without holding their weights.
//
// Open decodes the structure of a model: every message but the contents of large
// tensors, which stay in the file as byte ranges. What is read is written back
// from those ranges byte for byte: nodes, tensors and unknown fields are never
// rebuilt. A Model is immutable and safe for concurrent use.
package onnxfile

import (
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// Model is an opened ONNX file.
type Model struct {
	// Path is the file as the caller named it.
	Path string

	// Proto is the decoded model. In tensors whose contents exceed
	// Options.InlineBytes the contents are absent (raw_data, the typed fields):
	// Tensor says where they are. So are unknown fields of the model and of its
	// graph that exceed 64 KiB: Fields and GraphFields hold them. Must not be changed.
	Proto *onnxpb.ModelProto

	// Fields are the fields of the model message in file order, but for the
	// graph (number 7), and GraphFields those of the graph. A graph field of
	// number 1 is a node, 5 an initializer, and so on; the i-th field of a
	// number is the i-th entry of the repeated field in Proto.Graph. Bodies are
	// left in the file.
	Fields      []Field
	GraphFields []Field
	// GraphAt says where the graph stands: before Fields[GraphAt].
	GraphAt int

	tensors map[*onnxpb.TensorProto]*Tensor
	files   *files
}

// Field is one encoded field of a message, as it stands in the source or as it shall be written.
type Field struct {
	Num  protowire.Number
	Type protowire.Type
	// Body is what follows the tag: of a length-delimited field (protowire.BytesType)
	// the contents without the length; of any other the encoded value.
	Body Chunk
}

// Tensor says where the contents of a stored tensor are.
type Tensor struct {
	Proto *onnxpb.TensorProto // contents absent if they are large
	Raw   Chunk               // the encoded TensorProto as it stands in the file, contents included

	// Data holds the contents: of a tensor with raw_data or external data its
	// elements, little endian; of one with a typed field the encoding of that
	// field's values (packed). Strings: the encoded string_data fields.
	Data Chunk
	// DataField is the number of the field that holds the contents: 9 for raw_data,
	// 4, 5, 7, 10 or 11 for the typed ones, 6 for strings, 13 for external data,
	// 0 for a tensor without contents (zero elements).
	DataField protowire.Number
	// External is the location, relative to the model's folder; "" unless DataField is 13.
	External string

	elems  int64 // product of dims
	stored int64 // size in raw_data; -1 if it is not known
}
