package onnxfile

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ... %s", err, want)
	}
}

// Drafts that cannot be written are refused before anything is.
func TestDraftRefuses(t *testing.T) {
	large := &Draft{Graph: []Field{BytesField(graphInitializer, Chunk{n: 3 << 30})}}
	_, err := large.WriteTo(io.Discard)
	refused(t, err, "the model would take 3221225484 bytes: a protobuf message cannot exceed 2 GiB: move weights to external data")
	if !errors.Is(err, ErrTooLarge) {
		t.Error("the cause is not ErrTooLarge")
	}
	_, err = (&Draft{GraphAt: 2, Fields: []Field{BytesField(2, Bytes([]byte("p")))}}).WriteTo(io.Discard)
	refused(t, err, "the graph cannot stand before field 2 of 1")
}

// greedy says that it took more than it was offered.
type greedy struct{ io.Writer }

func (greedy) WriteRange(r Range) (int64, error) { return r.n + 1, nil }

func TestCopyToGreedyWriter(t *testing.T) {
	m := opened(t, &onnxpb.ModelProto{Graph: &onnxpb.GraphProto{
		Initializer: []*onnxpb.TensorProto{{Name: proto.String("w"), DataType: proto.Int32(1), Dims: []int64{1 << 20}, RawData: make([]byte, 4<<20)}},
	}}, Options{})
	_, err := m.Draft().WriteTo(greedy{io.Discard})
	refused(t, err, "bytes were taken")
}

// Messages of other formats, contents of types that the standard does not have,
// and files that are closed.
func TestOpenedModelRefuses(t *testing.T) {
	m := opened(t, &onnxpb.ModelProto{Graph: &onnxpb.GraphProto{}}, Options{})
	_, err := m.Encode(&emptypb.Empty{}, nil)
	refused(t, err, "a message of type *emptypb.Empty is no part of an ONNX model")
	_, err = (&Tensor{Proto: &onnxpb.TensorProto{DataType: proto.Int32(99)}, DataField: tensorInt32s, stored: -1}).RawData()
	refused(t, err, "its element type 99 is unknown, so its int32_data cannot be converted")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = m.Digest(t.Context())
	refused(t, err, "cannot read the model")
}
