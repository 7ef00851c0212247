package onnxfile

import (
	"fmt"
	"sync"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What decoded structure costs in memory, roughly: every message is a struct and
// a pointer to it, every repeated field an entry of a slice.
const (
	messageCost = 200 // bytes
	fieldCost   = 16  // bytes
	fieldSize   = 48  // bytes: an entry of Model.Fields
	numberCost  = 8   // bytes for each byte of packed numbers
)

// maxMessageDepth bounds messages in messages where no graphs are involved:
// types of sequences of sequences.
const maxMessageDepth = 64

// fieldKind says how a field of the schema is encoded.
type fieldKind uint8

const (
	unknownField fieldKind = iota
	varintField
	fixed32Field
	fixed64Field
	textField    // bytes and strings
	messageField // child is set
)

// schemaField is what the schema says of one field.
type schemaField struct {
	kind     fieldKind
	repeated bool
	child    *schema
}

// schema describes one message type.
type schema struct {
	name   string
	fields []schemaField // by field number; short
	heavy  bool          // it is a tensor or may hold one; attributes are looked into
}

func (s *schema) field(num protowire.Number) schemaField {
	if int(num) < len(s.fields) {
		return s.fields[num]
	}
	return schemaField{}
}

// schemas are the message types that the reader walks by itself.
type schemas struct {
	model, graph, node, attribute, function, training, sparse, tensor *schema

	byName map[protoreflect.FullName]*schema
}

// onnxSchemas reads the schema off the generated descriptors.
var onnxSchemas = sync.OnceValue(func() *schemas {
	made := map[protoreflect.FullName]*schema{}
	var walk func(d protoreflect.MessageDescriptor) *schema
	walk = func(d protoreflect.MessageDescriptor) *schema {
		if s, ok := made[d.FullName()]; ok {
			return s
		}
		s := &schema{name: string(d.Name())}
		made[d.FullName()] = s
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			for len(s.fields) <= int(f.Number()) {
				s.fields = append(s.fields, schemaField{})
			}
			e := schemaField{repeated: f.IsList()}
			switch f.Kind() {
			case protoreflect.MessageKind:
				e.kind, e.child = messageField, walk(f.Message())
			case protoreflect.StringKind, protoreflect.BytesKind:
				e.kind = textField
			case protoreflect.FloatKind:
				e.kind = fixed32Field
			case protoreflect.DoubleKind:
				e.kind = fixed64Field
			default:
				e.kind = varintField
			}
			s.fields[f.Number()] = e
		}
		return s
	}
	of := func(m protoreflect.ProtoMessage) *schema { return walk(m.ProtoReflect().Descriptor()) }
	all := &schemas{
		model: of((*onnxpb.ModelProto)(nil)), graph: of((*onnxpb.GraphProto)(nil)),
		node: of((*onnxpb.NodeProto)(nil)), attribute: of((*onnxpb.AttributeProto)(nil)),
		function: of((*onnxpb.FunctionProto)(nil)), training: of((*onnxpb.TrainingInfoProto)(nil)),
		sparse: of((*onnxpb.SparseTensorProto)(nil)), tensor: of((*onnxpb.TensorProto)(nil)),
		byName: made,
	}
	for _, s := range []*schema{all.graph, all.node, all.function, all.training, all.sparse, all.tensor} {
		s.heavy = true
	}
	return all
})

// fits says whether a field of the schema may have the wire type.
func (f schemaField) fits(t protowire.Type) bool {
	switch f.kind {
	case varintField:
		return t == protowire.VarintType || f.repeated && t == protowire.BytesType
	case fixed32Field:
		return t == protowire.Fixed32Type || f.repeated && t == protowire.BytesType
	case fixed64Field:
		return t == protowire.Fixed64Type || f.repeated && t == protowire.BytesType
	case textField, messageField:
		return t == protowire.BytesType
	}
	return true
}

// scan checks the encoding of a message of type s in b, which stands at byte at
// of the file, with everything in it, and estimates what it takes decoded. It
// stops with heavy where it meets a message that may hold tensors or graphs.
func (s *schema) scan(b []byte, at int64, depth int) (cost int64, heavy bool, err error) {
	if depth > maxMessageDepth {
		return 0, false, damaged(at, "messages are nested more than %d deep", maxMessageDepth)
	}
	for pos := 0; pos < len(b); {
		num, typ, head, size, msg := parseHead(b[pos:], int64(len(b)-pos))
		if msg != "" {
			return 0, false, &damage{at: at + int64(pos), msg: msg}
		}
		f := s.field(num)
		if !f.fits(typ) {
			return 0, false, s.misfit(at+int64(pos), num, typ)
		}
		body := pos + head
		pos = body + int(size)
		cost += fieldCost + size
		switch {
		case f.child != nil:
			if f.child.heavy {
				return cost, true, nil
			}
			c, h, err := f.child.scan(b[body:pos], at+int64(body), depth+1)
			if err != nil || h {
				return cost, h, err
			}
			cost += messageCost + c
		case typ == protowire.BytesType && f.kind != textField && f.kind != unknownField:
			if err := f.packed(b[body:pos], at+int64(body)); err != nil {
				return 0, false, err
			}
			if f.kind == varintField {
				cost += numberCost * size
			}
		}
	}
	return cost, false, nil
}

// packed checks packed numbers.
func (f schemaField) packed(b []byte, at int64) error {
	switch f.kind {
	case fixed32Field:
		if len(b)%4 != 0 {
			return damaged(at, "a list of 4-byte numbers takes %d bytes", len(b))
		}
	case fixed64Field:
		if len(b)%8 != 0 {
			return damaged(at, "a list of 8-byte numbers takes %d bytes", len(b))
		}
	case varintField:
		for i := 0; i < len(b); {
			if b[i] < 0x80 {
				i++
				continue
			}
			_, n := protowire.ConsumeVarint(b[i:])
			if n < 0 {
				return damaged(at+int64(i), "a number in a list is cut off or too long")
			}
			i += n
		}
	}
	return nil
}

func (s *schema) misfit(at int64, num protowire.Number, typ protowire.Type) error {
	return damaged(at, "field %d of a %s has the wire type %s", num, s.name, wireName(typ))
}

func wireName(t protowire.Type) string {
	switch t {
	case protowire.VarintType:
		return "of a number"
	case protowire.Fixed32Type:
		return "of a 4-byte number"
	case protowire.Fixed64Type:
		return "of an 8-byte number"
	case protowire.BytesType:
		return "of bytes"
	}
	return fmt.Sprint(int8(t))
}
