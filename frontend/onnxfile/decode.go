package onnxfile

import (
	"context"
	"errors"
	"fmt"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// The decoder walks the messages that may hold tensors (model, graph, node,
// attribute, function, training info, sparse tensor, tensor) field by field and
// makes their Go messages itself. All other fields of such a message are
// gathered, encoded as they are, and handed to proto.Unmarshal at its end. What
// stands in one message twice merges, as protobuf demands: the second occurrence
// is decoded into the message that the first one made.

// decoder reads one model.
type decoder struct {
	ctx     context.Context
	o       Options
	m       *Model
	f       *file
	w       window
	s       *schemas
	rest    []byte // a stack: the fields gathered for the messages that are open now
	nodes   int
	cost    int64
	slabs   slabs
	top     bool              // the main graph is being read
	node    *onnxpb.NodeProto // whose attributes are being read
	nodeAt  int               // its place in its list
	pending []pending         // tensors, in the order in which they stand in the file
	index   map[*onnxpb.TensorProto]int
	dir     *folder // of external data; nil until it is needed
}

// largeUnknown is the size above which an unknown field at the top is not decoded.
const largeUnknown = 64 << 10

// flushRest is how much of a message is gathered before it is decoded.
const flushRest = 1 << 20

// unmarshal decodes into a message that may hold something already.
var unmarshal = proto.UnmarshalOptions{Merge: true, AllowPartial: true, RecursionLimit: maxMessageDepth + 2}

// limit says that the model as a whole exceeds one of the Options.
type limit string

func (l limit) Error() string { return string(l) }

// charge adds decoded bytes to the budget.
func (d *decoder) charge(cost int64) error {
	if d.cost += cost; d.cost > d.o.MaxBytes {
		return limit(fmt.Sprintf("the structure of the model, without the contents of its tensors, takes more than %d bytes of memory (--max-structure raises the limit)", d.o.MaxBytes))
	}
	return nil
}

// decode makes m.Proto, m.Fields and m.GraphFields.
func (d *decoder) decode() error {
	p := &onnxpb.ModelProto{}
	d.m.Proto = p
	// First the outline of the file: it shows truncation and files that are no
	// models before anything else is read.
	var graphs []span
	base := len(d.rest)
	for pos := int64(0); pos < d.w.size; {
		f, err := d.w.next(pos, d.w.size)
		if err != nil {
			return err
		}
		if !d.s.model.field(f.num).fits(f.typ) {
			return d.s.model.misfit(f.start, f.num, f.typ)
		}
		pos = f.end
		if err := d.charge(fieldSize); err != nil {
			return err
		}
		if f.num == modelGraph {
			if len(graphs) == 0 {
				d.m.GraphAt = len(d.m.Fields)
			}
			graphs = append(graphs, f)
			continue
		}
		d.m.Fields = append(d.m.Fields, Field{f.num, f.typ, d.f.chunk(f.body, f.len())})
	}
	if len(graphs) == 0 {
		return errNoGraph
	}
	p.Graph = &onnxpb.GraphProto{}
	d.top = true
	for _, g := range graphs {
		if err := d.graph(g.body, g.end, p.Graph, 0); err != nil {
			return err
		}
	}
	d.top = false
	for pos := int64(0); pos < d.w.size; {
		f, err := d.w.next(pos, d.w.size)
		if err != nil {
			return err
		}
		pos = f.end
		switch f.num {
		case modelGraph:
		case modelTraining:
			t := &onnxpb.TrainingInfoProto{}
			p.TrainingInfo = append(p.TrainingInfo, t)
			err = d.training(f.body, f.end, t)
		case modelFunction:
			fn := &onnxpb.FunctionProto{}
			p.Functions = append(p.Functions, fn)
			err = d.function(f.body, f.end, fn)
		default:
			err = d.keep(d.s.model, f, base, p, true)
		}
		if err != nil {
			return err
		}
	}
	return d.flush(d.s.model, base, 0, p)
}

// Numbers of the fields that lead to tensors.
const (
	modelGraph    = 7
	modelTraining = 20
	modelFunction = 25

	graphNode        = 1
	graphInitializer = 5
	graphSparse      = 15

	nodeAttribute = 5

	attrTensor        = 5
	attrGraph         = 6
	attrTensors       = 10
	attrGraphs        = 11
	attrSparseTensor  = 22
	attrSparseTensors = 23

	functionNode      = 7
	functionAttribute = 11

	trainingInitialization = 1
	trainingAlgorithm      = 2

	sparseValues  = 1
	sparseIndices = 2
)

var errNoGraph = errors.New("it has no graph, so it is no ONNX model")

// keep checks field f of message p and gathers it; the gathered fields of p start
// at base. At the top a large unknown field is left in the file: Fields holds it.
func (d *decoder) keep(s *schema, f span, base int, p proto.Message, top bool) error {
	if top && f.len() > largeUnknown && s.field(f.num).kind == unknownField {
		return nil
	}
	if d.cost+f.len() > d.o.MaxBytes {
		return d.charge(f.len()) // says so before the memory is taken
	}
	had := len(d.rest)
	var err error
	if d.rest, err = d.w.appendTo(d.rest, f.start, f.end); err != nil {
		return err
	}
	cost, _, err := s.scan(d.rest[had:], f.start, 0)
	if err != nil {
		return err
	}
	if err := d.charge(cost); err != nil {
		return err
	}
	if len(d.rest)-base > flushRest {
		return d.flush(s, base, f.start, p)
	}
	return nil
}

// flush decodes what has been gathered since base into p, which starts at byte
// at or before.
func (d *decoder) flush(s *schema, base int, at int64, p proto.Message) error {
	b := d.rest[base:]
	d.rest = d.rest[:base]
	if len(b) == 0 {
		return nil
	}
	if err := unmarshal.Unmarshal(b, p); err != nil {
		return damaged(at, "a %s cannot be decoded", s.name)
	}
	return nil
}

// whole decodes the message in [pos, end) at once if it is small and no tensor
// is in it.
func (d *decoder) whole(s *schema, pos, end int64, p proto.Message) (bool, error) {
	if end-pos > windowMax {
		return false, nil
	}
	b, err := d.w.at(pos, int(end-pos))
	if err != nil {
		return false, err
	}
	cost, heavy, err := s.scan(b, pos, 0)
	if err != nil || heavy {
		return false, err
	}
	if err := d.charge(cost); err != nil {
		return false, err
	}
	if n, ok := p.(*onnxpb.NodeProto); ok {
		err = d.small(b, n)
	} else {
		err = unmarshal.Unmarshal(b, p)
	}
	if err != nil {
		return false, damaged(pos, "a %s cannot be decoded", s.name)
	}
	return true, nil
}

// fields calls f with every field of the message in [pos, end).
func (d *decoder) fields(s *schema, pos, end int64, f func(span) error) error {
	for i := 1; pos < end; i++ {
		if i%(64<<10) == 0 {
			if err := d.ctx.Err(); err != nil {
				return err
			}
		}
		x, err := d.w.next(pos, end)
		if err != nil {
			return err
		}
		if !s.field(x.num).fits(x.typ) {
			return s.misfit(x.start, x.num, x.typ)
		}
		if err := f(x); err != nil {
			return err
		}
		pos = x.end
	}
	return nil
}

func (d *decoder) graph(pos, end int64, p *onnxpb.GraphProto, depth int) error {
	if depth > d.o.MaxDepth {
		return fmt.Errorf("graphs are nested more than %d deep (--max-depth raises the limit)", d.o.MaxDepth)
	}
	if err := d.charge(messageCost); err != nil {
		return err
	}
	base := len(d.rest)
	err := d.fields(d.s.graph, pos, end, func(f span) error {
		if depth == 0 && d.top {
			if err := d.charge(fieldSize); err != nil {
				return err
			}
			d.m.GraphFields = append(d.m.GraphFields, Field{f.num, f.typ, d.f.chunk(f.body, f.len())})
		}
		switch f.num {
		case graphNode:
			return d.nodeIn(&p.Node, f, depth)
		case graphInitializer:
			t := &onnxpb.TensorProto{}
			p.Initializer = append(p.Initializer, t)
			return d.tensor(f.body, f.end, t)
		case graphSparse:
			t := &onnxpb.SparseTensorProto{}
			p.SparseInitializer = append(p.SparseInitializer, t)
			return d.sparse(f.body, f.end, t)
		}
		return d.keep(d.s.graph, f, base, p, depth == 0 && d.top)
	})
	if err != nil {
		return err
	}
	return d.flush(d.s.graph, base, pos, p)
}

func (d *decoder) attribute(pos, end int64, p *onnxpb.AttributeProto, depth int) error {
	if err := d.charge(messageCost); err != nil {
		return err
	}
	if done, err := d.whole(d.s.attribute, pos, end, p); done || err != nil {
		return err
	}
	base := len(d.rest)
	err := d.fields(d.s.attribute, pos, end, func(f span) error {
		switch f.num {
		case attrTensor:
			if p.T == nil {
				p.T = &onnxpb.TensorProto{}
			}
			return d.tensor(f.body, f.end, p.T)
		case attrTensors:
			t := &onnxpb.TensorProto{}
			p.Tensors = append(p.Tensors, t)
			return d.tensor(f.body, f.end, t)
		case attrGraph:
			if p.G == nil {
				p.G = &onnxpb.GraphProto{}
			}
			return d.graph(f.body, f.end, p.G, depth+1)
		case attrGraphs:
			g := &onnxpb.GraphProto{}
			p.Graphs = append(p.Graphs, g)
			return d.graph(f.body, f.end, g, depth+1)
		case attrSparseTensor:
			if p.SparseTensor == nil {
				p.SparseTensor = &onnxpb.SparseTensorProto{}
			}
			return d.sparse(f.body, f.end, p.SparseTensor)
		case attrSparseTensors:
			t := &onnxpb.SparseTensorProto{}
			p.SparseTensors = append(p.SparseTensors, t)
			return d.sparse(f.body, f.end, t)
		}
		return d.keep(d.s.attribute, f, base, p, false)
	})
	if err != nil {
		return err
	}
	return d.flush(d.s.attribute, base, pos, p)
}

func (d *decoder) sparse(pos, end int64, p *onnxpb.SparseTensorProto) error {
	if err := d.charge(messageCost); err != nil {
		return err
	}
	base := len(d.rest)
	err := d.fields(d.s.sparse, pos, end, func(f span) error {
		switch f.num {
		case sparseValues:
			if p.Values == nil {
				p.Values = &onnxpb.TensorProto{}
			}
			return d.tensor(f.body, f.end, p.Values)
		case sparseIndices:
			if p.Indices == nil {
				p.Indices = &onnxpb.TensorProto{}
			}
			return d.tensor(f.body, f.end, p.Indices)
		}
		return d.keep(d.s.sparse, f, base, p, false)
	})
	if err != nil {
		return err
	}
	return d.flush(d.s.sparse, base, pos, p)
}

func (d *decoder) function(pos, end int64, p *onnxpb.FunctionProto) error {
	if err := d.charge(messageCost); err != nil {
		return err
	}
	base := len(d.rest)
	err := d.fields(d.s.function, pos, end, func(f span) error {
		switch f.num {
		case functionNode:
			return d.nodeIn(&p.Node, f, 0)
		case functionAttribute:
			a := &onnxpb.AttributeProto{}
			p.AttributeProto = append(p.AttributeProto, a)
			return d.attribute(f.body, f.end, a, 0)
		}
		return d.keep(d.s.function, f, base, p, false)
	})
	if err != nil {
		return err
	}
	return d.flush(d.s.function, base, pos, p)
}

func (d *decoder) training(pos, end int64, p *onnxpb.TrainingInfoProto) error {
	if err := d.charge(messageCost); err != nil {
		return err
	}
	base := len(d.rest)
	err := d.fields(d.s.training, pos, end, func(f span) error {
		switch f.num {
		case trainingInitialization:
			if p.Initialization == nil {
				p.Initialization = &onnxpb.GraphProto{}
			}
			return d.graph(f.body, f.end, p.Initialization, 0)
		case trainingAlgorithm:
			if p.Algorithm == nil {
				p.Algorithm = &onnxpb.GraphProto{}
			}
			return d.graph(f.body, f.end, p.Algorithm, 0)
		}
		return d.keep(d.s.training, f, base, p, false)
	})
	if err != nil {
		return err
	}
	return d.flush(d.s.training, base, pos, p)
}
