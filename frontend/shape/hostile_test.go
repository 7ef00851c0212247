package shape

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

func TestRecursiveFunctions(t *testing.T) {
	_, err := inferText(t, `
		in x float32[2]
		function F (a) (b)
		b = local::G (a)
		end
		function G (a) (b)
		b = local::F (a)
		end
		y = local::F@17 (x)`, Options{})
	if err == nil || !strings.Contains(err.Error(), "calls itself, directly or through others") {
		t.Errorf("got %v", err)
	}
}

// Functions that call one another ten times at each of twelve levels, and loops
// in loops, cost what their text does.
func TestBombs(t *testing.T) {
	m := parseModel(t, "in x float32[N,3]\ny = local::F12@17 (x)")
	f := func(level int) *onnxpb.FunctionProto {
		fn := &onnxpb.FunctionProto{Domain: proto.String("local"), Name: proto.String(fmt.Sprint("F", level)), Input: []string{"v0"}, Output: []string{"v10"}, OpsetImport: m.OpsetImport}
		for i := range 10 {
			n := &onnxpb.NodeProto{OpType: proto.String("NonZero"), Input: []string{fmt.Sprint("v", i)}, Output: []string{fmt.Sprint("v", i+1)}}
			if level > 0 {
				n.OpType, n.Domain = proto.String(fmt.Sprint("F", level-1)), proto.String("local")
			}
			fn.Node = append(fn.Node, n)
		}
		return fn
	}
	for i := range 13 {
		m.Functions = append(m.Functions, f(i))
	}
	g := &onnxpb.GraphProto{Name: proto.String("leaf"), Output: []*onnxpb.ValueInfoProto{{Name: proto.String("c")}, {Name: proto.String("w")}}, Input: []*onnxpb.ValueInfoProto{{Name: proto.String("i")}, {Name: proto.String("c")}, {Name: proto.String("v")}}}
	g.Node = []*onnxpb.NodeProto{{OpType: proto.String("Concat"), Input: []string{"v", "v"}, Output: []string{"w"}, Attribute: []*onnxpb.AttributeProto{parseAttr(t, "axis", "0")}}}
	for range 40 {
		outer := proto.Clone(g).(*onnxpb.GraphProto)
		outer.Node = []*onnxpb.NodeProto{{OpType: proto.String("Loop"), Input: []string{"", "", "v"}, Output: []string{"w"}, Attribute: []*onnxpb.AttributeProto{{Name: proto.String("body"), G: g}}}}
		g = outer
	}
	m.Graph.Node = append(m.Graph.Node, &onnxpb.NodeProto{OpType: proto.String("Loop"), Input: []string{"", "", "x"}, Output: []string{"z"}, Attribute: []*onnxpb.AttributeProto{{Name: proto.String("body"), G: g}}})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := Infer(ctx, open(t, m), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Notes()); !strings.Contains(got, "functions and loops nest too deeply or too often to be followed: the shapes that this node makes count as unknown") {
		t.Errorf("no note that something was not followed in %s", got)
	}
	if v, _ := r.Of("y"); v.Type.Rank != 2 {
		t.Errorf("the function's output is %s", v.Type)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	m := open(t, chain(t, 1000))
	cancel()
	if _, err := Infer(ctx, m, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Sizes that no memory holds cost none.
func TestHugeExtents(t *testing.T) {
	r, err := inferText(t, `
		in x float32[4611686018427387904,4]
		let s int64[3] 1048576 1048576 1048576
		a = ConstantOfShape@17 (s)
		b = Expand (one, s)
		let one float32[1]
		let from int64[] 0
		let to int64[] 1152921504606846976
		let by int64[] 1
		c = Range (from, to, by)
		d = Relu (x)
		e = Reshape (x, flat)
		let flat int64[1] -1
		f = Tile (x, reps)
		let reps int64[2] 9223372036854775807 9223372036854775807`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		if v, ok := r.Of(name); !ok || v.Bytes < 1<<60 {
			t.Errorf("%s counts %d bytes", name, v.Bytes)
		}
	}
}

// chain is a model of n nodes in a row, over symbolic extents.
func chain(t testing.TB, n int) *onnxpb.ModelProto {
	m := parseModel(t, "in v0 float32[N,3,H,8]")
	ops := []string{"Relu", "Add", "Tanh", "Mul"}
	for i := range n {
		op := ops[i%len(ops)]
		node := &onnxpb.NodeProto{OpType: proto.String(op), Input: []string{fmt.Sprint("v", i)}, Output: []string{fmt.Sprint("v", i+1)}}
		if op == "Add" || op == "Mul" {
			node.Input = append(node.Input, fmt.Sprint("v", max(0, i-3)))
		}
		m.Graph.Node = append(m.Graph.Node, node)
	}
	return m
}

func BenchmarkChain(b *testing.B) {
	for _, n := range []int{1000, 5000, 20000} {
		m := open(b, chain(b, n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Infer(context.Background(), m, Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/node")
		})
	}
}
