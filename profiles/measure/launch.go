package measure

import (
	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// launch measures what a run costs that computes next to nothing: the negation of
// one number. Calibration starts there.
func (s *session) launch() error {
	if s.file.Parameters.LaunchUs != nil && !s.Again {
		return nil
	}
	body, err := proto.Marshal(negation())
	if err != nil {
		return err
	}
	x, err := runtime.NewTensor(ir.Float32, []int64{1}, make([]byte, 4))
	if err != nil {
		return err
	}
	feed := map[string]*runtime.Value{"x": x}
	p, closePiece, err := s.load(runtime.Model{Path: "(launch)", Data: body}, func(name string) (runtime.Held, error) { return s.eng.Hold(feed[name]) })
	if err != nil {
		return err
	}
	defer closePiece()
	defer release(p.in)
	if err := timeAll(s.ctx, []*piece{p}, s.Confidence, func(int, int) {}); err != nil {
		return err
	}
	median, _ := p.result()
	us := round(median)
	s.file.Parameters.LaunchUs = &us
	return nil
}

// negation is a model of one node.
func negation() *onnxpb.ModelProto {
	info := func(name string) *onnxpb.ValueInfoProto {
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
			ElemType: proto.Int32(int32(ir.Float32)),
			Shape:    &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 1}}}},
		}}}}
	}
	return &onnxpb.ModelProto{
		IrVersion:   proto.Int64(8),
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(13)}},
		Graph: &onnxpb.GraphProto{
			Name: proto.String("launch"), Input: []*onnxpb.ValueInfoProto{info("x")}, Output: []*onnxpb.ValueInfoProto{info("y")},
			Node: []*onnxpb.NodeProto{{OpType: proto.String("Neg"), Input: []string{"x"}, Output: []string{"y"}}},
		},
	}
}

// load loads a model on the session's thread and makes it ready to be timed;
// value gives its inputs, which stay the caller's.
func (s *session) load(m runtime.Model, value func(name string) (runtime.Held, error)) (p *piece, closePiece func(), err error) {
	var ses runtime.Session
	s.on.Do(func() { ses, err = s.eng.Load(m, s.options()) })
	if err != nil {
		return nil, nil, err
	}
	closeSession := func() { _ = ses.Close() } // it never fails
	p = &piece{on: s.on, outs: len(ses.Outputs()), ports: ses.Outputs()}
	for _, port := range ses.Inputs() {
		h, err := value(port.Name)
		if err != nil {
			closeSession()
			return nil, nil, err
		}
		p.in = append(p.in, h)
	}
	if p.call, err = ses.Prepare(s.ctx); err != nil {
		closeSession()
		return nil, nil, err
	}
	return p, func() { p.call.Close(); closeSession() }, nil
}

func (s *session) options() runtime.Options {
	return runtime.Options{Optimization: s.Optimization, IntraOpThreads: s.threads(), Provider: s.Provider}
}
