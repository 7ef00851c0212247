package onnxfile

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// chain is a model of n nodes in a row, each with an attribute, and a weight at
// every fourth.
func chain(n int) *onnxpb.ModelProto {
	g := &onnxpb.GraphProto{Name: proto.String("chain")}
	for i := range n {
		node := &onnxpb.NodeProto{
			Input:  []string{fmt.Sprintf("/model/layer.%d/output_0", i)},
			Output: []string{fmt.Sprintf("/model/layer.%d/output_0", i+1)},
			Name:   proto.String(fmt.Sprintf("/model/layer.%d/Op", i)), OpType: proto.String("Concat"),
			Attribute: []*onnxpb.AttributeProto{{
				Name: proto.String("axis"), I: proto.Int64(1), Type: onnxpb.AttributeProto_INT.Enum(),
			}},
		}
		if i%4 == 0 {
			w := fmt.Sprintf("model.layer.%d.weight", i)
			node.Input = append(node.Input, w)
			g.Initializer = append(g.Initializer, &onnxpb.TensorProto{
				Name: &w, Dims: []int64{16}, DataType: proto.Int32(1), RawData: make([]byte, 64),
			})
		}
		g.Node = append(g.Node, node)
	}
	return &onnxpb.ModelProto{
		IrVersion: proto.Int64(8), Graph: g,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1_000, 20_000, 50_000} {
		b.Run(fmt.Sprint(n, " nodes"), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "m.onnx")
			raw, err := proto.Marshal(chain(n))
			if err == nil {
				err = os.WriteFile(path, raw, 0o666)
			}
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := Open(context.Background(), path, Options{})
				if err != nil {
					b.Fatal(err)
				}
				_ = m.Close()
			}
		})
	}
}

func BenchmarkWriteTo(b *testing.B) {
	path := filepath.Join(b.TempDir(), "m.onnx")
	raw, err := proto.Marshal(chain(50_000))
	if err == nil {
		err = os.WriteFile(path, raw, 0o666)
	}
	if err != nil {
		b.Fatal(err)
	}
	m, err := Open(context.Background(), path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Draft().WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
