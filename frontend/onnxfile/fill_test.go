package onnxfile

import (
	"math"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fill replaces every tensor in the copy of an opened model's structure by what
// its Raw chunk decodes to, and checks that nothing but contents was missing.
func fill(t testing.TB, m *Model, orig, copied protoreflect.Message) {
	t.Helper()
	if p, ok := orig.Interface().(*onnxpb.TensorProto); ok {
		r := m.Tensor(p)
		if r == nil {
			t.Fatalf("tensor %q is unknown to the model", p.GetName())
		}
		raw, err := r.Raw.ReadAll(math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		whole := &onnxpb.TensorProto{}
		if err := proto.Unmarshal(raw, whole); err != nil {
			t.Fatal(err)
		}
		if len(p.FloatData)+len(p.Int32Data)+len(p.StringData)+len(p.Int64Data)+len(p.RawData)+len(p.DoubleData)+len(p.Uint64Data) > 0 && !proto.Equal(whole, p) {
			t.Errorf("tensor %q: some contents are decoded, but not all", p.GetName())
		}
		to := copied.Interface().(*onnxpb.TensorProto)
		bare := proto.Clone(whole).(*onnxpb.TensorProto)
		for _, x := range []*onnxpb.TensorProto{bare, to} {
			x.FloatData, x.Int32Data, x.StringData, x.Int64Data = nil, nil, nil, nil
			x.RawData, x.DoubleData, x.Uint64Data = nil, nil, nil
		}
		if !proto.Equal(bare, to) {
			t.Errorf("tensor %q: the decoded header differs", p.GetName())
		}
		proto.Reset(to)
		proto.Merge(to, whole)
		return
	}
	orig.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				fill(t, m, v.List().Get(i).Message(), copied.Mutable(f).List().Get(i).Message())
			}
		default:
			fill(t, m, v.Message(), copied.Mutable(f).Message())
		}
		return true
	})
}
