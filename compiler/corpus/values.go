package corpus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// TestInputs reads the first test data set beside an ONNX conformance model,
// test_data_set_0/input_N.pb: TensorProto, SequenceProto or OptionalProto, as
// the N-th graph input is declared. It is nil if there is none.
func TestInputs(ctx context.Context, model string) (map[string]*runtime.Value, error) {
	dir := filepath.Join(filepath.Dir(model), "test_data_set_0")
	if _, err := os.Stat(dir); err != nil {
		return nil, nil
	}
	m, err := onnxfile.Open(ctx, model, onnxfile.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	values := map[string]*runtime.Value{}
	for i, in := range m.Proto.GetGraph().GetInput() {
		path := filepath.Join(dir, fmt.Sprintf("input_%d.pb", i))
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue // an initializer that is listed as an input, or one left to its default
		} else if err != nil {
			return nil, err
		}
		r := valueReader{ctx}
		v, err := r.value(data, in.GetType())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		values[in.GetName()] = v
	}
	return values, nil
}

type valueReader struct{ ctx context.Context }

// Field numbers of onnx-data.proto: elem_type is 2 in both messages; what they
// hold stands at the number for its kind.
const (
	dataTensor        = 3
	dataSequenceInSeq = 5
	dataSequenceInOpt = 5
)

func (r valueReader) value(data []byte, t *onnxpb.TypeProto) (*runtime.Value, error) {
	switch kind := t.GetValue().(type) {
	case *onnxpb.TypeProto_TensorType:
		return r.tensor(data)
	case *onnxpb.TypeProto_SequenceType:
		v := &runtime.Value{Kind: ir.Sequence}
		return v, eachField(data, func(num protowire.Number, body []byte) error {
			if num != dataTensor && num != dataSequenceInSeq {
				return nil
			}
			item, err := r.value(body, kind.SequenceType.GetElemType())
			v.Items = append(v.Items, item)
			return err
		})
	case *onnxpb.TypeProto_OptionalType:
		v := &runtime.Value{Kind: ir.Optional}
		return v, eachField(data, func(num protowire.Number, body []byte) error {
			if num != dataTensor && num != dataSequenceInOpt {
				return nil
			}
			item, err := r.value(body, kind.OptionalType.GetElemType())
			v.Items = append(v.Items, item)
			return err
		})
	}
	return nil, fmt.Errorf("an input of this kind cannot be read")
}

// eachField calls f with the length-delimited fields of a message.
func eachField(data []byte, f func(protowire.Number, []byte) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if typ == protowire.BytesType {
			body, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if err := f(num, body); err != nil {
				return err
			}
			data = data[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, data); n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
	}
	return nil
}

// tensor decodes a TensorProto by way of a model that has it as its initializer,
// so that the file reader, which knows every spelling of contents, does the work.
func (r valueReader) tensor(data []byte) (*runtime.Value, error) {
	t := &onnxpb.TensorProto{}
	if err := proto.Unmarshal(data, t); err != nil {
		return nil, err
	}
	t.Name = proto.String("t")
	model := &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{t}}}
	text, err := proto.Marshal(model)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "dnnsplit-tensor-*.onnx")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	m, err := onnxfile.Open(r.ctx, f.Name(), onnxfile.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	stored := m.Proto.GetGraph().GetInitializer()[0]
	elem := ir.ElemType(t.GetDataType())
	if elem == ir.String {
		raw, err := m.Strings(stored, 1<<30)
		if err != nil {
			return nil, err
		}
		list := make([]string, len(raw))
		for i, s := range raw {
			list[i] = string(s)
		}
		return runtime.NewStrings(t.GetDims(), list)
	}
	raw, err := m.Values(stored, 1<<30)
	if err != nil {
		return nil, err
	}
	return runtime.NewTensor(elem, t.GetDims(), raw)
}
