package measure

import (
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// Probes are common operators at several sizes, for models whose operators are in
// none of those that were measured. They are nodes of one model that have nothing
// to do with one another, so that the fits of their operators get enough points.

// images and rows are the sizes of tensors that networks have: channels with
// height and width, and rows with columns.
func images() [][2]int64 {
	return [][2]int64{{32, 112}, {64, 56}, {192, 56}, {256, 28}, {512, 14}, {1024, 7}}
}

func rows() [][2]int64 {
	return [][2]int64{{1, 1000}, {32, 256}, {128, 512}, {128, 768}, {384, 768}, {128, 3072}}
}

// probeFile is the name of the probes in reports and cost files.
const probeFile = "probes.onnx"

// probes measures the probes.
func (s *session) probes() error {
	dir, err := os.MkdirTemp("", "dnnsplit-probes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // only temporary files are left behind
	body, err := proto.Marshal(probeModel())
	if err != nil {
		return err
	}
	path := filepath.Join(dir, probeFile)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return err
	}
	// What the user says of shapes and inputs is not about the probes.
	own := *s
	own.Compile, own.Inputs = compiler.Options{}, verify.Options{}
	m, err := own.open(path, false, 0, 0)
	if err != nil {
		return err
	}
	defer m.close()
	w, err := m.whole() // it makes the inputs
	if err != nil {
		return err
	}
	w.close()
	order := inOrder(m.graph())
	alone := make([][]ir.NodeID, len(order))
	for i := range order {
		alone[i] = order[i : i+1]
	}
	return m.measure(alone, nil, "probes", 0, 0)
}

// prober builds the model.
type prober struct {
	g     *onnxpb.GraphProto
	count int
}

func probeModel() *onnxpb.ModelProto {
	p := &prober{g: &onnxpb.GraphProto{Name: proto.String("probes")}}
	for _, s := range images() {
		c, h := s[0], s[1]
		x := []int64{1, c, h, h}
		p.one("LRN", x, integer("size", 5))
		p.one("MaxPool", x, integers("kernel_shape", 3, 3), integers("strides", 2, 2))
		p.one("AveragePool", x, integers("kernel_shape", 3, 3), integers("pads", 1, 1, 1, 1))
		p.one("GlobalAveragePool", x)
		for _, op := range []string{"Relu", "Sigmoid", "Tanh", "HardSwish"} {
			p.one(op, x)
		}
		p.two("Add", x)
		p.two("Mul", x)
		p.two("Concat", x, integer("axis", 1))
		p.normalization(x)
		out := min(c, 256)
		p.conv(x, out, 1, 1, false)
		p.conv(x, out, 1, 1, true)
		p.conv(x, min(c, 128), 3, 1, true)
		p.conv(x, c, 3, c, false)
	}
	// First layers, few channels and large kernels.
	p.window([]int64{1, 3, 224, 224}, 64, 7, 2)
	p.window([]int64{1, 3, 224, 224}, 32, 3, 2)
	p.window([]int64{1, 3, 224, 224}, 64, 3, 1)
	p.window([]int64{1, 3, 112, 112}, 64, 7, 2)
	p.window([]int64{1, 3, 320, 320}, 24, 3, 2)
	p.window([]int64{1, 1, 128, 128}, 32, 5, 1)
	for _, s := range [][3]int64{{16, 64, 56}, {32, 128, 28}, {48, 192, 14}, {64, 256, 14}} {
		x := []int64{1, s[0], s[2], s[2]}
		p.window(x, s[1], 1, 1)
		p.window(x, s[1], 3, 1)
		p.window(x, s[1], 5, 1)
	}
	p.window([]int64{1, 256, 14, 14}, 32, 1, 1)
	p.window([]int64{1, 480, 14, 14}, 16, 1, 1)
	p.window([]int64{1, 128, 56, 56}, 16, 1, 1)
	for _, s := range rows() {
		x := []int64{1, s[0], s[1]}
		p.one("Softmax", x, integer("axis", -1))
		p.one("Erf", x)
		p.one("Exp", x)
		p.one("Sqrt", x)
		p.one("ReduceMean", x, integers("axes", -1))
		p.one("Transpose", x, integers("perm", 0, 2, 1))
		p.node("LayerNormalization", []string{p.input(x), p.weight(s[1]), p.weight(s[1])}, integer("axis", -1))
		p.node("MatMul", []string{p.input(x), p.weight(s[1], min(s[1], 512))})
	}
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}},
		Graph:       p.g,
	}
}

func (p *prober) name(prefix string) string {
	p.count++
	return fmt.Sprintf("%s%d", prefix, p.count)
}

func floats(name string, dims []int64) *onnxpb.ValueInfoProto {
	var shape *onnxpb.TensorShapeProto
	if dims != nil {
		shape = &onnxpb.TensorShapeProto{}
		for _, n := range dims {
			shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}})
		}
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(ir.Float32)), Shape: shape},
	}}}
}

func (p *prober) input(dims []int64) string {
	name := p.name("x")
	p.g.Input = append(p.g.Input, floats(name, dims))
	return name
}

// weight is a stored tensor of halves.
func (p *prober) weight(dims ...int64) string {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	name := p.name("w")
	data := make([]byte, 4*n)
	for i := int64(3); i < 4*n; i += 4 {
		data[i] = 0x3f // 0.5 in little endian is 00 00 00 3f
	}
	p.g.Initializer = append(p.g.Initializer, &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(ir.Float32)), Dims: dims, RawData: data})
	return name
}

// inner adds a node whose output is not one of the model's.
func (p *prober) inner(op string, inputs []string, attributes ...*onnxpb.AttributeProto) string {
	out := p.name("y")
	p.g.Node = append(p.g.Node, &onnxpb.NodeProto{Name: proto.String(op + out), OpType: proto.String(op), Input: inputs, Output: []string{out}, Attribute: attributes})
	return out
}

func (p *prober) node(op string, inputs []string, attributes ...*onnxpb.AttributeProto) {
	p.g.Output = append(p.g.Output, floats(p.inner(op, inputs, attributes...), nil))
}

func (p *prober) one(op string, x []int64, attributes ...*onnxpb.AttributeProto) {
	p.node(op, []string{p.input(x)}, attributes...)
}

func (p *prober) two(op string, x []int64, attributes ...*onnxpb.AttributeProto) {
	p.node(op, []string{p.input(x), p.input(x)}, attributes...)
}

func (p *prober) normalization(x []int64) {
	c := x[1]
	p.node("BatchNormalization", []string{p.input(x), p.weight(c), p.weight(c), p.weight(c), p.weight(c)})
}

// conv is a convolution with a bias, that keeps height and width.
func (p *prober) conv(x []int64, out, kernel, groups int64, relu bool) {
	pad := kernel / 2
	inputs := []string{p.input(x), p.weight(out, x[1]/groups, kernel, kernel), p.weight(out)}
	attributes := []*onnxpb.AttributeProto{integers("kernel_shape", kernel, kernel), integers("pads", pad, pad, pad, pad), integer("group", groups)}
	if !relu {
		p.node("Conv", inputs, attributes...)
		return
	}
	p.node("Relu", []string{p.inner("Conv", inputs, attributes...)})
}

// window is a convolution with a bias and a Relu, as models begin with.
func (p *prober) window(x []int64, out, kernel, stride int64) {
	pad := kernel / 2
	inputs := []string{p.input(x), p.weight(out, x[1], kernel, kernel), p.weight(out)}
	p.node("Relu", []string{p.inner("Conv", inputs, integers("kernel_shape", kernel, kernel), integers("pads", pad, pad, pad, pad), integers("strides", stride, stride))})
}

func integer(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func integers(name string, v ...int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}
