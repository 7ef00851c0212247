package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// goCase is a model that the pure-Go engine runs.
type goCase struct {
	name  string
	opset int64
	in    map[string][]int64 // shapes of the inputs x, z
	out   []string
	w     []*onnxpb.TensorProto
	nodes []*onnxpb.NodeProto
	add   func(*onnxpb.ModelProto)
}

// random are n numbers from [-2,2), the same for the same seed.
func random(seed uint64, shape ...int64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	n, _ := ir.Elements(shape)
	v := make([]float32, n)
	for i := range v {
		v[i] = 4*rng.Float32() - 2
	}
	return floats(v...)
}

func weight(name string, shape ...int64) *onnxpb.TensorProto {
	return initializer(name, ir.Float32, shape, random(uint64(len(name))+uint64(name[0]), shape...))
}

// positive are weights from (0,2), for variances and logarithms.
func positive(name string, shape ...int64) *onnxpb.TensorProto {
	t := weight(name, shape...)
	for i := 0; i < len(t.RawData); i += 4 {
		f := math.Float32frombits(binary.LittleEndian.Uint32(t.RawData[i:]))
		binary.LittleEndian.PutUint32(t.RawData[i:], math.Float32bits(float32(math.Abs(float64(f)))+0.01))
	}
	return t
}

func ints(name string, v ...int64) *onnxpb.TensorProto {
	return initializer(name, ir.Int64, []int64{int64(len(v))}, int64s(v...))
}

func attrFloat(name string, v float32) *onnxpb.AttributeProto { return newFloat(name, v) }

func attrString(name, v string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func goCases() []goCase {
	x4 := map[string][]int64{"x": {2, 3, 7, 9}}
	x2 := map[string][]int64{"x": {3, 5}}
	in := func(names ...string) []string { return names }
	one := func(name string, shapes map[string][]int64, n *onnxpb.NodeProto, w ...*onnxpb.TensorProto) goCase {
		return goCase{name: name, in: shapes, out: []string{"y"}, w: w, nodes: []*onnxpb.NodeProto{n}}
	}
	y := in("y")
	var cases []goCase
	for _, op := range []string{"Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Relu", "Sigmoid", "Sign", "Sin", "Softplus", "Tanh", "Identity", "LeakyRelu"} {
		cases = append(cases, one(op, x4, node(op, in("x"), y)), one(op+" vector", map[string][]int64{"x": {4}}, node(op, in("x"), y)))
	}
	for _, op := range []string{"Log", "Sqrt"} {
		cases = append(cases, goCase{name: op, in: x2, out: y, nodes: []*onnxpb.NodeProto{node("Abs", in("x"), in("a")), node(op, in("a"), y)}})
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div"} {
		cases = append(cases,
			one(op+" channels", x4, node(op, in("x", "w"), y), positive("w", 3, 1, 1)),
			one(op+" reversed", x4, node(op, in("w", "x"), y), weight("w", 1, 3, 1, 1)),
			one(op+" square", map[string][]int64{"x": {4, 4}}, node(op, in("x", "w"), y), positive("w", 4)),
			one(op+" scalar", x2, node(op, in("x", "w"), y), initializer("w", ir.Float32, nil, floats(3))),
			one(op+" grows", map[string][]int64{"x": {3, 1}}, node(op, in("w", "w2"), in("y")), positive("w", 2, 3, 4), positive("w2", 3, 1)),
			one(op+" two inputs", map[string][]int64{"x": {2, 3}, "z": {2, 3}}, node(op, in("x", "z"), y)),
			one(op+" twice the same", x2, node(op, in("x", "x"), y)))
	}
	conv := func(attrs ...*onnxpb.AttributeProto) *onnxpb.NodeProto {
		return node("Conv", in("x", "w", "b"), y, attrs...)
	}
	cases = append(cases,
		one("Conv", x4, conv(), weight("w", 4, 3, 3, 2), weight("b", 4)),
		one("Conv without bias", x4, node("Conv", in("x", "w"), y, attrInts("kernel_shape", 1, 1)), weight("w", 4, 3, 1, 1)),
		one("Conv pads", x4, conv(attrInts("pads", 2, 1, 2, 1)), weight("w", 4, 3, 3, 3), weight("b", 4)),
		one("Conv strides", x4, conv(attrInts("strides", 2, 3), attrInts("pads", 1, 0, 1, 0)), weight("w", 4, 3, 3, 2), weight("b", 4)),
		one("Conv dilations", x4, conv(attrInts("dilations", 2, 3)), weight("w", 2, 3, 2, 2), weight("b", 2)),
		one("Conv same", map[string][]int64{"x": {1, 3, 8, 8}}, conv(attrString("auto_pad", "SAME_UPPER")), weight("w", 4, 3, 3, 3), weight("b", 4)),
		one("Conv valid", x4, conv(attrString("auto_pad", "VALID")), weight("w", 4, 3, 3, 3), weight("b", 4)),
		one("Conv to a point", map[string][]int64{"x": {1, 3, 4, 4}}, conv(), weight("w", 5, 3, 4, 4), weight("b", 5)),
		one("MaxPool", x4, node("MaxPool", in("x"), y, attrInts("kernel_shape", 3, 2), attrInts("strides", 2, 1))),
		one("MaxPool pads", x4, node("MaxPool", in("x"), y, attrInts("kernel_shape", 3, 5), attrInts("pads", 1, 2, 1, 2), attrInts("strides", 2, 2))),
		one("MaxPool ceil", x4, node("MaxPool", in("x"), y, attrInts("kernel_shape", 3, 3), attrInts("strides", 2, 2), attrInt("ceil_mode", 1))),
		one("MaxPool dilations of one", x4, node("MaxPool", in("x"), y, attrInts("kernel_shape", 2, 2), attrInts("dilations", 1, 1))),
		goCase{name: "MaxPool of negative numbers", in: x4, out: y, nodes: []*onnxpb.NodeProto{
			node("Exp", in("x"), in("e")), node("Neg", in("e"), in("n")),
			node("MaxPool", in("n"), y, attrInts("kernel_shape", 3, 3), attrInts("pads", 1, 1, 1, 1)),
		}},
		one("GlobalAveragePool", x4, node("GlobalAveragePool", in("x"), y)),
		one("GlobalAveragePool of one", map[string][]int64{"x": {1, 6, 5, 5}}, node("GlobalAveragePool", in("x"), y)),
		one("BatchNormalization", x4, node("BatchNormalization", in("x", "s", "b", "m", "v"), y, attrFloat("epsilon", 0.01)),
			weight("s", 3), weight("b", 3), weight("m", 3), positive("v", 3)),
		one("Gemm", x2, node("Gemm", in("x", "w", "b"), y), weight("w", 5, 4), weight("b", 4)),
		one("Gemm of a row", map[string][]int64{"x": {1, 5}}, node("Gemm", in("x", "w", "b"), y, attrInt("transB", 1)), weight("w", 4, 5), weight("b", 4)),
		one("Gemm to a column", x2, node("Gemm", in("x", "w", "b"), y), weight("w", 5, 1), weight("b", 1)),
		one("Gemm of a column", map[string][]int64{"x": {3, 1}}, node("Gemm", in("x", "w", "b"), y), weight("w", 1, 4), weight("b", 3, 1)),
		one("Gemm to one", map[string][]int64{"x": {1, 5}}, node("Gemm", in("x", "w"), y), weight("w", 5, 1)),
		one("Gemm all", map[string][]int64{"x": {5, 3}, "z": {3, 4}}, node("Gemm", in("x", "w", "z"), y, attrInt("transA", 1), attrFloat("alpha", .5), attrFloat("beta", 2)), weight("w", 5, 4)),
		one("Gemm of inputs", map[string][]int64{"x": {2, 3}, "z": {4, 3}}, node("Gemm", in("x", "z"), y, attrInt("transB", 1))),
		one("MatMul", x2, node("MatMul", in("x", "w"), y), weight("w", 5, 4)),
		one("MatMul of rows", map[string][]int64{"x": {2, 3, 5}}, node("MatMul", in("x", "w"), y), weight("w", 5, 4)),
		one("MatMul of a row", map[string][]int64{"x": {1, 5}}, node("MatMul", in("x", "w"), y), weight("w", 5, 1)),
		one("Flatten", x4, node("Flatten", in("x"), y)),
		one("Flatten all", x4, node("Flatten", in("x"), y, attrInt("axis", 0))),
		one("Flatten from behind", x4, node("Flatten", in("x"), y, attrInt("axis", -1))),
		one("Reshape", x4, node("Reshape", in("x", "to"), y), ints("to", 0, -1, 3)),
		one("Squeeze", map[string][]int64{"x": {2, 1, 3, 1}}, node("Squeeze", in("x", "axes"), y), ints("axes", -1)),
		one("Squeeze all", map[string][]int64{"x": {2, 1, 3, 1}}, node("Squeeze", in("x"), y)),
		one("Unsqueeze", x2, node("Unsqueeze", in("x", "axes"), y), ints("axes", 0, -1)),
		one("Transpose", x4, node("Transpose", in("x"), y, attrInts("perm", 0, 2, 3, 1))),
		one("Transpose of a matrix", x2, node("Transpose", in("x"), y)),
		one("Transpose of nothing", x2, node("Transpose", in("x"), y, attrInts("perm", 0, 1))),
		one("Concat", map[string][]int64{"x": {2, 3, 4, 5}, "z": {2, 1, 4, 5}}, node("Concat", in("x", "z", "w", "x"), y, attrInt("axis", -3)), weight("w", 2, 2, 4, 5)),
		one("Concat of an image", map[string][]int64{"x": {1, 3, 4, 5}, "z": {1, 1, 4, 5}}, node("Concat", in("z", "x"), y, attrInt("axis", 1))),
		one("Concat of columns", map[string][]int64{"x": {3, 1}, "z": {3, 1}}, node("Concat", in("x", "z", "w"), y, attrInt("axis", 1)), weight("w", 3, 2)),
		one("Concat rows", map[string][]int64{"x": {2, 3}, "z": {1, 3}}, node("Concat", in("x", "z"), y, attrInt("axis", 0))),
		one("Softmax", map[string][]int64{"x": {2, 3, 5}}, node("Softmax", in("x"), y)),
		one("Softmax of a row", map[string][]int64{"x": {1, 5}}, node("Softmax", in("x"), y, attrInt("axis", 1))),
		one("Softmax of a vector", map[string][]int64{"x": {5}}, node("Softmax", in("x"), y, attrInt("axis", 0))),
		goCase{name: "Softmax before opset 13", opset: 11, in: map[string][]int64{"x": {2, 3, 5}}, out: y, nodes: []*onnxpb.NodeProto{node("Softmax", in("x"), y)}},
		goCase{name: "Unsqueeze before opset 13", opset: 11, in: x2, out: y, nodes: []*onnxpb.NodeProto{node("Unsqueeze", in("x"), y, attrInts("axes", 1))}},
		goCase{name: "constants of all forms", in: x2, out: y, nodes: []*onnxpb.NodeProto{
			node("Constant", nil, in("f"), newFloat("value_float", 3)),
			node("Constant", nil, in("fs"), &onnxpb.AttributeProto{Name: proto.String("value_floats"), Type: onnxpb.AttributeProto_FLOATS.Enum(), Floats: []float32{1, 2, 3, 4, 5}}),
			node("Constant", nil, in("i"), attrInts("value_ints", 5, 3)),
			node("Mul", in("x", "f"), in("a")), node("Add", in("a", "fs"), in("b")), node("Reshape", in("b", "i"), y),
		}},
		goCase{name: "nothing but a constant", out: y, nodes: []*onnxpb.NodeProto{node("Constant", nil, y, newFloat("value_float", 3))}},
		one("Dropout", x2, node("Dropout", in("x", "ratio"), in("y", "")), initializer("ratio", ir.Float32, nil, floats(.5))),
		one("Sum", map[string][]int64{"x": {2, 3}, "z": {2, 3}}, node("Sum", in("x", "z", "w", "x"), y), weight("w", 3)),
		goCase{name: "Transpose, then more", in: x4, out: in("y", "t"), w: []*onnxpb.TensorProto{ints("to", 6, -1), weight("w", 63, 2)}, nodes: []*onnxpb.NodeProto{
			node("Transpose", in("x"), in("t"), attrInts("perm", 1, 0, 3, 2)), node("Reshape", in("t", "to"), in("r")), node("MatMul", in("r", "w"), y),
		}},
		goCase{name: "output read inside", in: x4, out: in("a", "y", "b"), nodes: []*onnxpb.NodeProto{
			node("Relu", in("x"), in("a")), node("Exp", in("a"), in("b")), node("Sub", in("a", "b"), y),
		}},
		goCase{name: "input and weight as outputs", in: x2, out: in("x", "y", "w", "x"), w: []*onnxpb.TensorProto{weight("w", 3, 5)}, nodes: []*onnxpb.NodeProto{
			node("Add", in("x", "w"), y),
		}},
		goCase{name: "value in place", in: x4, out: in("y", "b"), w: []*onnxpb.TensorProto{weight("s", 3), weight("m", 3), positive("v", 3)}, nodes: []*onnxpb.NodeProto{
			node("Abs", in("x"), in("a")), node("LeakyRelu", in("x"), in("l"), attrFloat("alpha", .5)), node("LeakyRelu", in("x"), in("m2"), attrFloat("alpha", .1)),
			node("BatchNormalization", in("x", "s", "m", "m", "v"), in("b")), node("Sum", in("a", "l", "m2", "b"), y),
		}},
		goCase{name: "tied weights", in: map[string][]int64{"x": {4, 4}}, out: y, w: []*onnxpb.TensorProto{weight("w", 4, 4), weight("b", 4, 4)}, nodes: []*onnxpb.NodeProto{
			node("Gemm", in("x", "w", "b"), in("a")), node("Gemm", in("a", "w", "b"), in("c")), node("Identity", in("b"), in("b2")), node("Add", in("c", "b2"), y),
		}},
		goCase{
			name: "constants, listed weights, value infos, dead and unsorted nodes", in: map[string][]int64{"x": {3, 5}, "z": {2}}, out: y, w: []*onnxpb.TensorProto{weight("w", 5, 4)}, nodes: []*onnxpb.NodeProto{
				node("Add", in("m", "c"), y), node("MatMul", in("x", "w"), in("m")), node("Exp", in("z"), in("dead")),
				node("Constant", nil, in("c"), &onnxpb.AttributeProto{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: weight("c", 4)}),
			},
			add: func(m *onnxpb.ModelProto) {
				m.Graph.Input = append(m.Graph.Input, tensorInfo("w", ir.Float32, 5, 4))
				m.Graph.ValueInfo = append(m.Graph.ValueInfo, tensorInfo("m", ir.Float32, 3, 4))
				m.Graph.Node[3].Attribute[0].T.Name = nil
			},
		},
		goCase{
			name: "symbolic", in: map[string][]int64{"x": {3, 5}}, out: y, nodes: []*onnxpb.NodeProto{node("Relu", in("x"), y)},
			add: func(m *onnxpb.ModelProto) { m.Graph.Input[0] = tensorInfo("x", ir.Float32, "N", "M") },
		},
	)
	return cases
}

// model builds the case; its outputs have no shape.
func (c goCase) model() graph {
	g := graph{opset: c.opset, weights: c.w, nodes: c.nodes, modifier: c.add}
	if g.opset == 0 {
		g.opset = 17
	}
	for _, name := range []string{"x", "z"} {
		if shape, ok := c.in[name]; ok {
			var dims []any
			for _, d := range shape {
				dims = append(dims, int(d))
			}
			g.in = append(g.in, tensorInfo(name, ir.Float32, dims...))
		}
	}
	for _, name := range c.out {
		info := tensorInfo(name, ir.Float32)
		info.Type.GetTensorType().Shape = nil
		g.out = append(g.out, info)
	}
	return g
}

func (c goCase) feed(t *testing.T, seed uint64) map[string]*Value {
	feed := map[string]*Value{}
	for name, shape := range c.in {
		feed[name] = newTensor(t, ir.Float32, shape, random(seed+uint64(name[0]), shape...))
	}
	return feed
}

// near compares float32 tensors; it says where they are apart.
func near(want, got *Value) (string, bool) {
	if want.String() != got.String() {
		return got.String() + " instead of " + want.String(), false
	}
	for i := 0; i < len(want.Data); i += 4 {
		w := float64(math.Float32frombits(binary.LittleEndian.Uint32(want.Data[i:])))
		g := float64(math.Float32frombits(binary.LittleEndian.Uint32(got.Data[i:])))
		if !(math.Abs(w-g) <= 2e-5*math.Max(1, math.Abs(w))) {
			return fmt.Sprintf("element %d is %v instead of %v", i/4, g, w), false
		}
	}
	return "", true
}

// What the pure-Go engine runs, it runs right: as ONNX Runtime does, and the same
// every time.
func TestGoAgainstORT(t *testing.T) {
	ref := openORT(t)
	eng := OpenGo()
	for _, c := range goCases() {
		t.Run(c.name, func(t *testing.T) {
			path := c.model().write(t)
			want := load(t, ref, Model{Path: path}, Options{})
			if err := eng.Check(Model{Path: path}); err != nil {
				t.Fatalf("refused: %v", err)
			}
			got := load(t, eng, Model{Path: path}, Options{})
			for seed := range uint64(2) {
				feed := c.feed(t, seed)
				w, err := want.Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				g, err := got.Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				again, err := got.Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				for i := range w {
					if msg, ok := near(w[i], g[i]); !ok {
						t.Errorf("output %s: %s", c.out[i], msg)
					}
					if string(g[i].Data) != string(again[i].Data) {
						t.Errorf("output %s is not repeated", c.out[i])
					}
				}
			}
		})
	}
}

// What it cannot run it refuses, in a sentence that names the node.
func TestGoRefuses(t *testing.T) {
	eng := OpenGo()
	x4 := map[string][]int64{"x": {1, 4, 6, 6}}
	in := func(names ...string) []string { return names }
	one := func(shapes map[string][]int64, n *onnxpb.NodeProto, w ...*onnxpb.TensorProto) goCase {
		return goCase{in: shapes, out: in("y"), w: w, nodes: []*onnxpb.NodeProto{n}}
	}
	for _, c := range []struct {
		c    goCase
		want string
	}{
		{one(x4, node("Erf", in("x"), in("y"))), "the pure-Go engine does not run Erf"},
		{one(x4, &onnxpb.NodeProto{OpType: proto.String("Relu"), Domain: proto.String("com.microsoft"), Input: in("x"), Output: in("y")}), "com.microsoft::Relu"},
		{one(x4, node("Conv", in("x", "w"), in("y"), attrInt("group", 4)), weight("w", 4, 1, 3, 3)), `node "Conv(y)": the pure-Go engine does not run this Conv: it has 4 groups, one is known`},
		{one(x4, node("Conv", in("x", "w"), in("y"), attrInts("pads", 1, 1, 0, 0)), weight("w", 4, 4, 3, 3)), "its pads [1 1 0 0] are not the same on both sides"},
		{one(x4, node("Conv", in("x", "w"), in("y")), weight("w", 4, 4, 9, 9)), "its window does not fit an image of shape"},
		{one(x4, node("Conv", in("x", "w"), in("y"), attrString("auto_pad", "SAME_UPPER")), weight("w", 4, 4, 2, 2)), "its pads are not the same on both sides"},
		{one(x4, node("Add", in("x", "w"), in("y"), attrInt("broadcast", 1)), weight("w", 1, 4, 6, 6)), "it broadcasts by the rules of opset 6"},
		{one(x4, node("Add", in("x", "w"), in("y")), ints("w", 1)), "it computes with integers"},
		{one(x4, node("Add", in("x", "w"), in("y")), weight("w", 1, 4, 6, 0)), "do not fit"},
		{one(map[string][]int64{"x": {2, 3}}, node("Relu", in("w"), in("y")), weight("w")), "a weight is a scalar or has no elements"},
		{one(map[string][]int64{"x": {2, 3}}, node("Dropout", in("x", "r", "m"), in("y")), weight("r"), weight("m")), "its training mode is an input"},
		{one(map[string][]int64{"x": {2, 3}}, node("Gemm", in("x", "w", "c"), in("y")), weight("w", 3, 4), weight("c", 5)), "a weight of shape [5] does not fit [2,4]"},
		{one(map[string][]int64{"x": {1 << 15, 1 << 14}}, node("Relu", in("x"), in("y"))), `value "x": an input of shape [32768,16384] is too large for the pure-Go engine`},
		{one(map[string][]int64{"x": {2, 3}}, node("Gemm", in("x", "w"), in("y"), attrInt("transA", -1)), weight("w", 3, 4)), "its transpositions are negative"},
		{one(map[string][]int64{"x": {1, 1}}, node("Reshape", in("x", "to"), in("y")), ints("to")), "its output of shape [] is a scalar or has no elements"},
		{one(x4, node("Constant", in(), in("c"), attrString("value_string", "a"))), "the pure-Go engine does not run a Constant of this form"},
		{one(x4, node("MaxPool", in("x"), in("y"), attrInts("kernel_shape", 3, 3), attrInts("strides", 2, 2), attrInt("ceil_mode", 1))), "its ceil_mode makes a window that hangs over"},
		{one(x4, node("MaxPool", in("x"), in("y"), attrInts("kernel_shape", 2, 6))), "its window is as large as the image"},
		{one(x4, node("MaxPool", in("x"), in("y", "i"), attrInts("kernel_shape", 2, 2)), nil...), ""},
		{goCase{in: x4, out: in("y", "i"), nodes: []*onnxpb.NodeProto{node("MaxPool", in("x"), in("y", "i"), attrInts("kernel_shape", 2, 2))}}, `its output "i" is used, and only the first of an operator can be`},
		{one(x4, node("Conv", in("x", "w"), in("y"), attrInts("kernel_shape", 2, 2)), weight("w", 4, 4, 3, 3)), "its kernel_shape is not that of its weights"},
		{one(x4, node("Conv", in("x", "w"), in("y"), attrInts("strides", 0, 1)), weight("w", 4, 4, 3, 3)), "its strides [0 1] are no two positive numbers"},
		{one(x4, node("Conv", in("x", "w"), in("y"), attrString("auto_pad", "SAME")), weight("w", 4, 4, 3, 3)), "its auto_pad is"},
		{one(x4, node("Conv", in("x", "w", "b"), in("y")), weight("w", 4, 4, 3, 3), weight("b", 3)), "its bias is computed or does not fit"},
		{one(map[string][]int64{"x": {1, 4, 6}}, node("Conv", in("x", "w"), in("y")), weight("w", 4, 4, 3)), "only images are known, of four dimensions"},
		{one(x4, node("MaxPool", in("x"), in("y"), attrInts("kernel_shape", 2, 2), attrInts("dilations", 2, 2))), "it has dilations"},
		{one(map[string][]int64{"x": {2, 3, 4}}, node("Gemm", in("x", "w"), in("y")), weight("w", 4, 4)), "its inputs are no matrices"},
		{one(map[string][]int64{"x": {2, 3}}, node("Flatten", in("x"), in("y"), attrInt("axis", 9))), "its axis does not fit rank 2"},
		{one(map[string][]int64{"x": {2, 3}}, node("Relu", in(), in("y"))), "its first input is missing"},
		{one(map[string][]int64{"x": {2, 3}}, node("Add", in("x"), in("y"))), "an input is missing"},
		{one(map[string][]int64{"x": {2, 3}, "z": {2, 4}}, node("Concat", in("x", "z"), in("y"), attrInt("axis", 0))), "its inputs do not fit each other"},
		{one(map[string][]int64{"x": {2, 3}}, node("Concat", in("x"), in("y"))), "an input or its axis is missing"},
		{one(x4, node("BatchNormalization", in("x", "s", "b", "m", "v"), in("y")), weight("s", 3), weight("b", 4), weight("m", 4), positive("v", 4)), "its statistics are computed or do not fit its input"},
		{one(x4, node("BatchNormalization", in("x", "s", "b", "m", "v"), in("y"), attrInt("training_mode", 1)), weight("s", 4), weight("b", 4), weight("m", 4), positive("v", 4)), "it trains, or normalises each place by itself"},
		{goCase{in: x4, out: in("y"), nodes: []*onnxpb.NodeProto{node("Relu", in("x"), in("y"))}, add: func(m *onnxpb.ModelProto) {
			m.Functions = []*onnxpb.FunctionProto{{Name: proto.String("f"), Domain: proto.String("d")}}
		}}, "the pure-Go engine does not run model-local functions"},
		{one(map[string][]int64{"x": {2, 3}, "z": {3}}, node("Add", in("x", "z"), in("y"))), "would have to be broadcast"},
		{one(map[string][]int64{"x": {1, 1}, "z": {1, 2}}, node("Concat", in("x", "z"), in("y"), attrInt("axis", 1))), "one of its inputs is a single number"},
		{one(map[string][]int64{"x": {2, 3}, "z": {2}}, node("Add", in("x", "z"), in("y"))), "do not fit"},
		{one(map[string][]int64{"x": {2, 3, 4}}, node("Softmax", in("x"), in("y"), attrInt("axis", 1))), "is not the last"},
		{one(map[string][]int64{"x": {2, 3}, "z": {2, 3, 4}}, node("MatMul", in("x", "z"), in("y"))), "its second input is no matrix, or its first is a vector"},
		{one(map[string][]int64{"x": {2, 3}}, node("Reshape", in("x", "x"), in("y"))), "its shape is computed"},
		{one(map[string][]int64{"x": {2, 3}}, node("Reshape", in("x", "to"), in("y")), ints("to", 4, -1)), "do not fit"},
		{one(map[string][]int64{"x": {2, 3}}, node("Reshape", in("x", "to"), in("y")), ints("to", -1, -1)), "its shape is [-1 -1]"},
		{one(map[string][]int64{"x": {2, 3}}, node("Transpose", in("x"), in("y"), attrInts("perm", 0, 0))), "its perm [0 0] does not fit rank 2"},
		{one(map[string][]int64{"x": {2, 3}}, node("Squeeze", in("x", "a"), in("y")), ints("a", 0)), "its axis 0 has 2 elements"},
		{one(map[string][]int64{"x": {2, 3}}, node("Unsqueeze", in("x", "a"), in("y")), ints("a", 7)), "axis 7 does not fit rank 3"},
		{one(map[string][]int64{"x": {2, 3}}, node("Relu", in("nothing"), in("y"))), `value "nothing": nothing makes this value, or the nodes form a cycle`},
		{one(map[string][]int64{"x": {2, 0}}, node("Relu", in("x"), in("y"))), "the pure-Go engine takes no scalars and nothing without elements"},
		{goCase{in: x4, out: in("gone"), nodes: []*onnxpb.NodeProto{node("Relu", in("x"), in("y"))}}, `value "gone": nothing makes this output`},
		{goCase{in: x4, out: in("y"), nodes: []*onnxpb.NodeProto{node("Relu", in("x"), in("y"))}, add: func(m *onnxpb.ModelProto) {
			m.Graph.Input[0] = tensorInfo("x", ir.Float16, 1)
		}}, "the pure-Go engine takes and gives float32 only, not float16"},
		{goCase{in: x4, out: in("y"), nodes: []*onnxpb.NodeProto{node("Relu", in("x"), in("y"))}, add: func(m *onnxpb.ModelProto) {
			m.Graph.Input[0].Type = &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{SequenceType: &onnxpb.TypeProto_Sequence{}}}
		}}, "the pure-Go engine takes and gives tensors only"},
		{goCase{in: x4, out: in("y"), nodes: []*onnxpb.NodeProto{node("Relu", in("x"), in("y"))}, add: func(m *onnxpb.ModelProto) {
			m.Graph.Initializer = append(m.Graph.Initializer, &onnxpb.TensorProto{Name: proto.String("w"), DataType: proto.Int32(int32(ir.Float64)), Dims: []int64{1}, RawData: make([]byte, 8)})
		}}, "the pure-Go engine cannot hold this weight: it is float64, float32 and int64 are known"},
	} {
		path := c.c.model().write(t)
		err := eng.Check(Model{Path: path})
		switch {
		case c.want == "":
			if err != nil {
				t.Errorf("refused: %v", err)
			}
		case err == nil:
			t.Errorf("%s is taken", c.want)
		case !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": "):
			t.Errorf("got %q, want ... %q", err, c.want)
		}
	}
}

// TestGoRefusesData wants the reason why a model in memory is not run.
func TestGoRefusesData(t *testing.T) {
	stored := func(w *onnxpb.TensorProto) []byte {
		data, err := proto.Marshal(&onnxpb.ModelProto{Graph: &onnxpb.GraphProto{Initializer: []*onnxpb.TensorProto{w}}})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for want, data := range map[string][]byte{
		"m.onnx: is no ONNX model":                           {0xff},
		"m.onnx: holds no graph":                             {},
		`weight "w" is in a file of its own`:                 stored(&onnxpb.TensorProto{Name: proto.String("w"), DataType: proto.Int32(1), DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}),
		`weight "w" is float64, float32 and int64 are known`: stored(&onnxpb.TensorProto{Name: proto.String("w"), DataType: proto.Int32(int32(ir.Float64)), DoubleData: []float64{1}}),
	} {
		if err := OpenGo().Check(Model{Path: "m.onnx", Data: data}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Panics inside onnx-go are errors here.
func TestGoRecovers(t *testing.T) {
	if _, _, err := compute(t.Context(), []byte("\x3a\x00"), nil); err == nil {
		t.Error("an empty graph computes")
	}
	p, err := readPlan(t, goCases()[0])
	if err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(p.model())
	if err != nil {
		t.Fatal(err)
	}
	// A tensor without contents makes gorgonia panic.
	_, _, err = compute(t.Context(), body, []*goTensor{{shape: p.inputs[0].shape}})
	if err == nil || !strings.Contains(err.Error(), "onnx-go panicked: ") {
		t.Errorf("got %v, want a panic that was recovered", err)
	}
	if _, _, err := compute(t.Context(), body, nil); err == nil || err.Error() != "onnx-go sees other inputs than it was given" {
		t.Errorf("without inputs: %v", err)
	}
}

// What onnx-go and gorgonia give is checked before it is taken.
func TestGoDamage(t *testing.T) {
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := fromGo(tensor.CSRFromCoord(tensor.Shape{2, 2}, []int{0}, []int{1}, []float32{3}), []int64{2, 2})
	refused(err, "it is no dense tensor but *tensor.CS")
	_, err = fromGo(tensor.New(tensor.WithBacking([]float32{1, 2, 3})), []int64{2})
	refused(err, "it has 3 elements instead of 2")

	a := gorgonia.NewVector(gorgonia.NewGraph(), gorgonia.Float32, gorgonia.WithShape(2), gorgonia.WithName("a"))
	sum, err := gorgonia.Add(a, a)
	if err != nil {
		t.Fatal(err)
	}
	m := &goMachine{ctx: t.Context()}
	_, err = m.apply(sum.Op(), gorgonia.Nodes{a, a}, nil)
	refused(err, "+ false has an operand without a value")
	_, err = m.apply(nil, gorgonia.Nodes{a}, nil)
	refused(err, "a node has operands and no operation")
}

func readPlan(t *testing.T, c goCase) (*goPlan, error) {
	g := c.model()
	m, err := readGoModel(Model{Path: "m", Data: g.encode(t)})
	if err != nil {
		return nil, err
	}
	return m.plan(c.feed(t, 1))
}

func TestGoSession(t *testing.T) {
	eng := OpenGo()
	c := goCases()[0]
	g := c.model()
	s := load(t, eng, Model{Path: "in memory", Data: g.encode(t)}, Options{})
	feed := c.feed(t, 1)
	if times, err := s.Time(context.Background(), feed, 1, 2); err != nil || len(times) != 2 {
		t.Errorf("times %v, %v", times, err)
	}
	for _, bad := range []struct {
		feed map[string]*Value
		want string
	}{
		{nil, `value "x": input is not given`},
		{map[string]*Value{"x": feed["x"], "q": feed["x"]}, `value "q": the model needs no such input`},
		{map[string]*Value{"x": newTensor(t, ir.Float32, []int64{1}, floats(1))}, "input has shape [1], the model has float32[2,3,7,9]"},
		{map[string]*Value{"x": newTensor(t, ir.Int64, []int64{1}, int64s(1))}, "input is int64[1], float32 is expected"},
	} {
		if _, err := s.Run(context.Background(), bad.feed); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("got %v, want ... %s", err, bad.want)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if _, err := s.Run(ctx, feed); !errors.Is(err, ctx.Err()) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Run(context.Background(), feed); err == nil || !strings.Contains(err.Error(), "the session is closed") {
		t.Errorf("closed: %v", err)
	}
	for _, o := range []Options{{Provider: "CUDAExecutionProvider"}, {ProfilePrefix: "p"}} {
		if _, err := eng.Load(Model{Path: "m", Data: g.encode(t)}, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
