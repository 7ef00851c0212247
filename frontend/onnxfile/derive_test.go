package onnxfile

import (
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// TestWithNodes mixes nodes of the model, which keep their bytes, with a new one
// that takes over a tensor whose contents stay in the file.
func TestWithNodes(t *testing.T) {
	big := &onnxpb.TensorProto{Dims: []int64{2000}, DataType: proto.Int32(2), RawData: make([]byte, 2000)}
	src := chain(4)
	src.Graph.Node[3].Attribute = append(src.Graph.Node[3].Attribute, &onnxpb.AttributeProto{Name: proto.String("value"), T: big})
	m := opened(t, src, Options{})
	old := m.Proto.Graph.Node
	added := &onnxpb.NodeProto{OpType: proto.String("Constant"), Attribute: []*onnxpb.AttributeProto{
		{Name: proto.String("value"), T: old[3].Attribute[1].T},
	}}
	opset := &onnxpb.OperatorSetIdProto{Domain: proto.String("local"), Version: proto.Int64(2)}
	info := &onnxpb.ValueInfoProto{Name: proto.String("inner")}
	d, err := m.WithNodes([]*onnxpb.NodeProto{added, old[2], old[0]}, Additions{[]*onnxpb.OperatorSetIdProto{opset}, []*onnxpb.ValueInfoProto{info}})
	if err != nil {
		t.Fatal(err)
	}
	want := proto.Clone(src).(*onnxpb.ModelProto)
	want.Graph.Node = []*onnxpb.NodeProto{
		{OpType: added.OpType, Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value"), T: big}}},
		src.Graph.Node[2], src.Graph.Node[0],
	}
	want.OpsetImport = append(want.OpsetImport, opset)
	want.Graph.ValueInfo = append(want.Graph.ValueInfo, info)
	got := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(written(t, d.Draft()), got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if r := d.Tensor(added.Attribute[0].T); r == nil || r.Data.Len() != 2000 {
		t.Errorf("the tensor of the new node is %+v", r)
	}
	if len(m.Proto.Graph.Node) != 4 || len(m.Proto.OpsetImport) != 1 || len(m.Proto.Graph.ValueInfo) != len(src.Graph.ValueInfo) {
		t.Error("the model that it was made from has changed")
	}
}

func TestFiles(t *testing.T) {
	dir, _ := dataFile(t)
	path := save(t, dir, "m.onnx", marshal(t, withInitializers(outside("location", "w.bin"), outside("location", "./w.bin"))))
	want := []string{path, filepath.Join(dir, "w.bin")}
	if got := mustOpen(t, path, Options{}).Files(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
