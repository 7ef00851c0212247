package onnxfile

import (
	"fmt"
	"strconv"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var deterministic = proto.MarshalOptions{Deterministic: true, AllowPartial: true}

// MessageField encodes a message as the field num of another. Equal messages
// give equal bytes. Messages of an opened model lack the contents of large
// tensors: Model.Encode is for those.
func MessageField(num protowire.Number, msg proto.Message) (Field, error) {
	b, err := deterministic.Marshal(msg)
	if err != nil {
		return Field{}, fmt.Errorf("field %d cannot be encoded: %w", num, err)
	}
	return BytesField(num, Bytes(b)), nil
}

// BytesField is the length-delimited field num with the given contents: a
// string, bytes or an encoded message.
func BytesField(num protowire.Number, body Chunk) Field {
	return Field{Num: num, Type: protowire.BytesType, Body: body}
}

// Header is a copy of the tensor's message without contents and without external
// data: name, dims, type, doc string, metadata and unknown fields. It shares
// these with the original and must not be changed in depth.
func (t *Tensor) Header() *onnxpb.TensorProto {
	h := &onnxpb.TensorProto{}
	shallow(h.ProtoReflect(), t.Proto.ProtoReflect(), func(f protoreflect.FieldDescriptor) bool {
		n := f.Number()
		return !isContents(n) && n != tensorExternal && n != tensorLocation
	})
	return h
}

// ExternalHeader is Header with the contents in another file: length bytes from
// offset on of the file at location, relative to the folder of the model that
// it will be part of.
func (t *Tensor) ExternalHeader(location string, offset, length int64) *onnxpb.TensorProto {
	h := t.Header()
	h.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	for _, e := range [][2]string{
		{"location", location},
		{"offset", strconv.FormatInt(offset, 10)},
		{"length", strconv.FormatInt(length, 10)},
	} {
		h.ExternalData = append(h.ExternalData, &onnxpb.StringStringEntryProto{Key: &e[0], Value: &e[1]})
	}
	return h
}

// Embedded is the encoded tensor with its contents in it: as it stands in the
// file, unless they are external.
func (t *Tensor) Embedded() (Chunk, error) {
	if t.DataField != tensorExternal {
		return t.Raw, nil
	}
	b, err := deterministic.Marshal(t.Header())
	if err != nil {
		return Chunk{}, fmt.Errorf("tensor %q cannot be encoded: %w", t.Proto.GetName(), err)
	}
	b = appendHead(b, BytesField(tensorRaw, t.Data))
	return Concat(Bytes(b), t.Data), nil
}

// shallow sets in to the fields of from that keep accepts, and its unknown ones.
func shallow(to, from protoreflect.Message, keep func(protoreflect.FieldDescriptor) bool) {
	from.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if keep(f) {
			to.Set(f, v)
		}
		return true
	})
	to.SetUnknown(from.GetUnknown())
}

// Encode encodes a message of any kind whose tensors are those of the opened
// model: a part of m.Proto, or a changed copy that shares its TensorProtos.
// tensor says how each tensor is encoded, at any depth; nil means Tensor.Raw.
// Tensors that are not of the model are encoded as they are. Fields that lead to
// tensors come after the others.
func (m *Model) Encode(msg proto.Message, tensor func(*Tensor) (Chunk, error)) (Chunk, error) {
	if tensor == nil {
		tensor = func(t *Tensor) (Chunk, error) { return t.Raw, nil }
	}
	e := encoder{m: m, tensor: tensor, s: onnxSchemas()}
	s := e.s.byName[msg.ProtoReflect().Descriptor().FullName()]
	if s == nil {
		return Chunk{}, fmt.Errorf("a message of type %T is no part of an ONNX model", msg)
	}
	return e.message(s, msg.ProtoReflect())
}

type encoder struct {
	m      *Model
	s      *schemas
	tensor func(*Tensor) (Chunk, error)
}

func (e *encoder) message(s *schema, msg protoreflect.Message) (Chunk, error) {
	if p, ok := msg.Interface().(*onnxpb.TensorProto); ok {
		if t := e.m.tensors[p]; t != nil {
			return e.tensor(t)
		}
	}
	leads := func(f protoreflect.FieldDescriptor) bool {
		c := s.field(f.Number()).child
		return c != nil && (c.heavy || c == e.s.attribute)
	}
	rest := msg.New()
	shallow(rest, msg, func(f protoreflect.FieldDescriptor) bool { return !leads(f) })
	b, err := deterministic.Marshal(rest.Interface())
	if err != nil {
		return Chunk{}, fmt.Errorf("a %s cannot be encoded: %w", s.name, err)
	}
	var parts []Chunk
	add := func(f protoreflect.FieldDescriptor, child protoreflect.Message) error {
		c, err := e.message(s.field(f.Number()).child, child)
		if err != nil {
			return err
		}
		b = appendHead(b, BytesField(f.Number(), c))
		if small, ok := c.src.(memory); ok || c.n == 0 {
			b = append(b, small[c.off:c.off+c.n]...)
			return nil
		}
		parts = append(parts, Bytes(b), c)
		b = nil
		return nil
	}
	fields := msg.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !leads(f) || !msg.Has(f) {
			continue
		}
		v := msg.Get(f)
		if !f.IsList() {
			if err := add(f, v.Message()); err != nil {
				return Chunk{}, err
			}
			continue
		}
		for j := range v.List().Len() {
			if err := add(f, v.List().Get(j).Message()); err != nil {
				return Chunk{}, err
			}
		}
	}
	return Concat(append(parts, Bytes(b))...), nil
}

// Tensors calls f with every tensor of the opened model in a part of m.Proto, at
// any depth, in the order of the message's fields, until f returns false.
func (m *Model) Tensors(part proto.Message, f func(*Tensor) bool) {
	v := visitor{m: m, f: f}
	switch p := part.(type) {
	case *onnxpb.ModelProto:
		v.graph(p.GetGraph())
		for _, t := range p.TrainingInfo {
			v.graph(t.Initialization)
			v.graph(t.Algorithm)
		}
		for _, fn := range p.Functions {
			v.function(fn)
		}
	case *onnxpb.GraphProto:
		v.graph(p)
	case *onnxpb.FunctionProto:
		v.function(p)
	case *onnxpb.NodeProto:
		v.attributes(p.Attribute)
	case *onnxpb.AttributeProto:
		v.attributes([]*onnxpb.AttributeProto{p})
	case *onnxpb.SparseTensorProto:
		v.sparse(p)
	case *onnxpb.TensorProto:
		v.tensor(p)
	}
}

type visitor struct {
	m    *Model
	f    func(*Tensor) bool
	done bool
}

func (v *visitor) tensor(p *onnxpb.TensorProto) {
	if t := v.m.tensors[p]; t != nil && !v.done {
		v.done = !v.f(t)
	}
}

func (v *visitor) sparse(p *onnxpb.SparseTensorProto) {
	if p != nil {
		v.tensor(p.Values)
		v.tensor(p.Indices)
	}
}

func (v *visitor) graph(g *onnxpb.GraphProto) {
	for _, n := range g.GetNode() {
		v.attributes(n.Attribute)
	}
	for _, t := range g.GetInitializer() {
		v.tensor(t)
	}
	for _, t := range g.GetSparseInitializer() {
		v.sparse(t)
	}
}

func (v *visitor) function(fn *onnxpb.FunctionProto) {
	for _, n := range fn.Node {
		v.attributes(n.Attribute)
	}
	v.attributes(fn.AttributeProto)
}

func (v *visitor) attributes(list []*onnxpb.AttributeProto) {
	for _, a := range list {
		if v.done {
			return
		}
		v.tensor(a.T)
		v.graph(a.G)
		for _, t := range a.Tensors {
			v.tensor(t)
		}
		for _, g := range a.Graphs {
			v.graph(g)
		}
		v.sparse(a.SparseTensor)
		for _, t := range a.SparseTensors {
			v.sparse(t)
		}
	}
}
