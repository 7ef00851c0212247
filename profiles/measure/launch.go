package measure

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/robust"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// What a run costs that computes next to nothing, the negation of one number, is
// measured twice. Repeated at once it finds all that it needs in the fastest
// caches, as do the pieces that a profile times over and over. After a run of
// another sub-model, as in a split, it does not: its code, the runtime's and the
// tables of both come from slower memory, which takes many times as long.

// launch makes the negation ready and measures it by itself.
func (s *session) launch() error {
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
	s.negate, s.closeNegate = p, func() { closePiece(); release(p.in) }
	if s.file.Parameters.WarmLaunchUs != nil && !s.Again {
		return nil
	}
	if err := timeAll(s.ctx, []*piece{p}, s.Confidence, func(int, int) {}); err != nil {
		return err
	}
	median, _ := p.result()
	us := round(median)
	s.file.Parameters.WarmLaunchUs = &us
	if s.file.Parameters.LaunchUs == nil || s.Again {
		s.file.Parameters.LaunchUs, s.file.Parameters.LaunchSpreadUs = &us, nil
	}
	return nil
}

// How often a launch is measured after a run of a model, and how long at most.
const (
	launchRuns = 60
	launchTime = 500 * time.Millisecond
)

// launchAfter measures the launch after runs of a whole model. Of several models
// the one after which it takes longest counts: splits of all of them are to keep
// what is predicted.
func (s *session) launchAfter(whole *piece) error {
	var us []float64
	var err error
	s.on.Do(func() {
		big, small := make([]runtime.Held, whole.outs), make([]runtime.Held, s.negate.outs)
		start := time.Now()
		for len(us) < launchRuns && (len(us) < minRounds || time.Since(start) < launchTime) {
			if err = whole.call.Run(whole.in, big); err != nil {
				return
			}
			release(big)
			began := time.Now()
			if err = s.negate.call.Run(s.negate.in, small); err != nil {
				return
			}
			us = append(us, float64(time.Since(began))/float64(time.Microsecond))
			release(small)
		}
	})
	if err != nil {
		return err
	}
	sum := robust.Summarize(us)
	if p := &s.file.Parameters; *p.LaunchUs < sum.Median {
		median, spread := round(sum.Median), round(sum.MAD)
		p.LaunchUs, p.LaunchSpreadUs = &median, &spread
	}
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

// options are those of all sessions. Their threads rest between runs, as they have to where a processor has several
// sub-models in turn.
func (s *session) options() runtime.Options {
	return runtime.Options{RestAfterRun: true, Optimization: s.Optimization, IntraOpThreads: s.threads(), Provider: s.Provider}
}
