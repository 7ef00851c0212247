package machine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	rt "github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"google.golang.org/protobuf/proto"
)

// copyBytes is the size of a buffer of a core: beyond the caches of one.
const copyBytes = 64 << 20

// copyRate is how many bytes a second all cores together read and write when each
// copies large buffers; the best of several rounds, as the STREAM benchmark counts
// (J. D. McCalpin, "Memory Bandwidth and Machine Balance in Current High Performance
// Computers", IEEE TCCA Newsletter, December 1995).
func copyRate(cores int, budget time.Duration) float64 {
	size := copyBytes / 8 // bytes would be copied by the same instructions
	if cores > 16 {
		size = max(size*16/cores, 1<<18)
	}
	from, to := make([][]uint64, cores), make([][]uint64, cores)
	for i := range from {
		from[i], to[i] = make([]uint64, size), make([]uint64, size)
		for k := range from[i] {
			from[i][k] = uint64(k)
		}
	}
	best := 0.0
	for start, round := time.Now(), 0; round < 2 || time.Since(start) < budget; round++ {
		var wait sync.WaitGroup
		begin := time.Now()
		for i := range from {
			wait.Go(func() { copy(to[i], from[i]) })
		}
		wait.Wait()
		if took := time.Since(begin).Seconds(); round > 0 && took > 0 {
			best = max(best, float64(2*8*size*cores)/took)
		}
	}
	return best
}

// productSide is the side of the matrices whose product is timed: 64 MFLOP, whose
// operands fit into caches.
const productSide = 320

// productRate is the rate of a matrix product in Go, which uses all cores.
func productRate(budget time.Duration) float64 {
	n := productSide
	mat := func() blas32.General {
		data := make([]float32, n*n)
		for i := range data {
			data[i] = float32(i%7) - 3
		}
		return blas32.General{Rows: n, Cols: n, Stride: n, Data: data}
	}
	a, b, c := mat(), mat(), mat()
	best := 0.0
	for start, round := time.Now(), 0; round < 2 || time.Since(start) < budget; round++ {
		begin := time.Now()
		blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, b, 0, c)
		if took := time.Since(begin).Seconds(); round > 0 && took > 0 {
			best = max(best, 2*float64(n)*float64(n)*float64(n)/took)
		}
	}
	return best
}

// withEngine measures arithmetic and overheads with an engine, on all cores.
func (m *Machine) withEngine(ctx context.Context, engine rt.Engine, o Options) error {
	m.Engine, m.Vector = engine.Name(), true
	const n = 768
	for _, p := range []struct {
		elem, how string
		model     *onnxpb.ModelProto
		feed      map[string]*rt.Value
	}{
		{"float32", fmt.Sprintf("MatMul of %d×%d matrices", n, n), product("MatMul", onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_FLOAT, n), feed(ir.Float32, n)},
		{"int8", fmt.Sprintf("MatMulInteger of %d×%d matrices", n, n), product("MatMulInteger", onnxpb.TensorProto_UINT8, onnxpb.TensorProto_INT32, n), feed(ir.Uint8, n)},
	} {
		o.Progress(p.elem)
		took, err := m.best(ctx, engine, p.model, p.feed, o.Budget)
		if err != nil {
			return err
		}
		m.Peaks = append(m.Peaks, Peak{p.elem, 2 * n * n * n / took.Seconds(), p.how})
	}
	o.Progress("overheads")
	const long = 65
	one, err := m.best(ctx, engine, chain(1), feed(ir.Float32, 1), o.Budget/3)
	if err != nil {
		return err
	}
	many, err := m.best(ctx, engine, chain(long), feed(ir.Float32, 1), o.Budget/3)
	if err != nil {
		return err
	}
	m.OpOverhead = max(many-one, 0) / (long - 1)
	m.Launch = max(one-m.OpOverhead, 0)
	return nil
}

// best is the least time of the runs of a model: other processes only slow it down.
func (m *Machine) best(ctx context.Context, engine rt.Engine, model *onnxpb.ModelProto, feed map[string]*rt.Value, budget time.Duration) (time.Duration, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(model)
	if err != nil {
		return 0, err
	}
	s, err := engine.Load(rt.Model{Path: "measurement", Data: data}, rt.Options{Optimization: rt.Disabled, IntraOpThreads: m.Cores})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	first, err := s.Time(ctx, feed, 1, 3)
	if err != nil {
		return 0, err
	}
	runs := 5
	if shortest := slices.Min(first); shortest > 0 {
		runs = int(min(max(budget/shortest, 5), 20000))
	}
	times, err := s.Time(ctx, feed, 2, runs)
	if err != nil {
		return 0, err
	}
	return max(slices.Min(times), 1), nil
}

func feed(elem ir.ElemType, n int64) map[string]*rt.Value {
	shape := []int64{n, n}
	size, _ := ir.StoredBytes(elem, n*n)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 3)
	}
	if elem == ir.Float32 {
		for i := 3; i < len(data); i += 4 {
			data[i] = 0x3f // from 0.5 to 2
		}
	}
	// The sizes agree by construction.
	v, err := rt.NewTensor(elem, shape, data)
	if err != nil {
		return nil
	}
	return map[string]*rt.Value{"x": v}
}

// product is a model that multiplies its input with itself.
func product(op string, in, out onnxpb.TensorProto_DataType, n int64) *onnxpb.ModelProto {
	return modelOf(in, out, n, []*onnxpb.NodeProto{{OpType: proto.String(op), Name: proto.String(op), Input: []string{"x", "x"}, Output: []string{"y"}}})
}

// chain is a model of so many activations of one element.
func chain(nodes int) *onnxpb.ModelProto {
	list := make([]*onnxpb.NodeProto, 0, nodes)
	from := "x"
	for i := range nodes {
		to := fmt.Sprintf("v%d", i)
		if i == nodes-1 {
			to = "y"
		}
		list = append(list, &onnxpb.NodeProto{OpType: proto.String("Relu"), Name: proto.String(to), Input: []string{from}, Output: []string{to}})
		from = to
	}
	return modelOf(onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_FLOAT, 1, list)
}

func modelOf(in, out onnxpb.TensorProto_DataType, n int64, nodes []*onnxpb.NodeProto) *onnxpb.ModelProto {
	value := func(name string, t onnxpb.TensorProto_DataType) *onnxpb.ValueInfoProto {
		dim := func() *onnxpb.TensorShapeProto_Dimension {
			return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}}
		}
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
			TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(t)), Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{dim(), dim()}}},
		}}}
	}
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(7),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(13)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("measurement"), Node: nodes,
			Input: []*onnxpb.ValueInfoProto{value("x", in)}, Output: []*onnxpb.ValueInfoProto{value("y", out)},
		},
	}
}
