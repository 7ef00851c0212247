package onnxfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Nodes are most of a model's structure, so the usual ones are decoded here: with
// one allocation for all their text, and the rest from slabs. What is unusual in
// them is left to proto.Unmarshal, so that the result is the same.

// slab hands out pieces of allocations that grow with use.
type slab[T any] struct {
	free []T
	size int // of the last allocation
}

// slabSize is how many entries a slab allocates, at most.
const slabSize = 512

// take returns n zero entries that nothing can be appended to in place.
func (s *slab[T]) take(n int) []T {
	if n == 0 {
		return nil
	}
	if n > len(s.free) {
		if n > slabSize/4 {
			return make([]T, n)
		}
		s.size = min(slabSize, max(8, 2*s.size, n))
		s.free = make([]T, s.size)
	}
	p := s.free[:n:n]
	s.free = s.free[n:]
	return p
}

func (s *slab[T]) one(v T) *T {
	p := s.take(1)
	p[0] = v
	return &p[0]
}

// slabs are what nodes are made of.
type slabs struct {
	nodes      slab[onnxpb.NodeProto]
	attributes slab[onnxpb.AttributeProto]
	lists      slab[*onnxpb.AttributeProto]
	strings    slab[string]
	ints       slab[int64]
	floats     slab[float32]
	types      slab[onnxpb.AttributeProto_AttributeType]
}

// Numbers of the fields of nodes and attributes that are decoded here.
const (
	nodeInput  = 1
	nodeOutput = 2
	nodeName   = 3
	nodeOpType = 4
	nodeDomain = 7

	attrName   = 1
	attrFloat  = 2
	attrInt    = 3
	attrString = 4
	attrInts   = 8
	attrType   = 20
)

// nodeIn decodes a node and appends it to list.
func (d *decoder) nodeIn(list *[]*onnxpb.NodeProto, f span, depth int) error {
	d.nodes++
	if d.nodes > d.o.MaxNodes {
		return limit(fmt.Sprintf("the model has more than %d nodes (--max-nodes raises the limit)", d.o.MaxNodes))
	}
	if d.nodes%1024 == 0 {
		if err := d.ctx.Err(); err != nil {
			return err
		}
	}
	if err := d.charge(messageCost); err != nil {
		return err
	}
	p := &d.slabs.nodes.take(1)[0]
	*list = append(*list, p)
	if done, err := d.whole(d.s.node, f.body, f.end, p); done || err != nil {
		return d.inNode(err, f, len(*list)-1)
	}
	outer, outerAt := d.node, d.nodeAt
	d.node, d.nodeAt = p, len(*list)-1
	base := len(d.rest)
	err := d.fields(d.s.node, f.body, f.end, func(x span) error {
		if x.num != nodeAttribute {
			return d.keep(d.s.node, x, base, p, false)
		}
		a := &onnxpb.AttributeProto{}
		p.Attribute = append(p.Attribute, a)
		return d.attribute(x.body, x.end, a, depth)
	})
	if err == nil {
		err = d.flush(d.s.node, base, f.start, p)
	}
	d.node, d.nodeAt = outer, outerAt
	return d.inNode(err, f, len(*list)-1)
}

// small decodes a node without tensors and graphs, which scan has checked, into
// an empty message.
func (d *decoder) small(b []byte, p *onnxpb.NodeProto) error {
	text := string(b)
	var inputs, outputs, attributes int
	for pos := 0; pos < len(b); {
		num, _, head, size, _ := parseHead(b[pos:], int64(len(b)-pos))
		switch num {
		case nodeInput:
			inputs++
		case nodeOutput:
			outputs++
		case nodeAttribute:
			attributes++
		}
		pos += head + int(size)
	}
	if inputs > 0 {
		p.Input = d.slabs.strings.take(inputs)[:0]
	}
	if outputs > 0 {
		p.Output = d.slabs.strings.take(outputs)[:0]
	}
	var made []onnxpb.AttributeProto
	if attributes > 0 {
		p.Attribute = d.slabs.lists.take(attributes)[:0]
		made = d.slabs.attributes.take(attributes)
	}
	base := len(d.rest)
	for pos := 0; pos < len(b); {
		num, _, head, size, _ := parseHead(b[pos:], int64(len(b)-pos))
		start, body := pos, pos+head
		pos = body + int(size)
		switch num {
		case nodeInput:
			p.Input = append(p.Input, text[body:pos])
		case nodeOutput:
			p.Output = append(p.Output, text[body:pos])
		case nodeName:
			p.Name = d.slabs.strings.one(text[body:pos])
		case nodeOpType:
			p.OpType = d.slabs.strings.one(text[body:pos])
		case nodeDomain:
			p.Domain = d.slabs.strings.one(text[body:pos])
		case nodeAttribute:
			a := &made[len(p.Attribute)]
			p.Attribute = append(p.Attribute, a)
			if err := d.smallAttribute(b[body:pos], text[body:pos], a); err != nil {
				return err
			}
		default:
			d.rest = append(d.rest, b[start:pos]...)
		}
	}
	return d.others(base, p)
}

// others decodes the fields gathered since base.
func (d *decoder) others(base int, p proto.Message) error {
	b := d.rest[base:]
	d.rest = d.rest[:base]
	if len(b) == 0 {
		return nil
	}
	return unmarshal.Unmarshal(b, p)
}

func (d *decoder) smallAttribute(b []byte, text string, p *onnxpb.AttributeProto) error {
	ints, base := 0, len(d.rest)
	for pos := 0; pos < len(b); {
		num, typ, head, size, _ := parseHead(b[pos:], int64(len(b)-pos))
		start, body := pos, pos+head
		pos = body + int(size)
		switch num {
		case attrName:
			p.Name = d.slabs.strings.one(text[body:pos])
			continue
		case attrFloat:
			p.F = d.slabs.floats.one(math.Float32frombits(binary.LittleEndian.Uint32(b[body:])))
			continue
		case attrInt:
			v, _ := protowire.ConsumeVarint(b[body:])
			p.I = d.slabs.ints.one(int64(v))
			continue
		case attrString:
			p.S = append([]byte{}, b[body:pos]...)
			continue
		case attrInts:
			// Packed or not, they are counted first.
			if ints++; typ == protowire.BytesType {
				ints += countPacked(b[body:pos]) - 1
			}
			continue
		case attrType:
			// A type that the schema does not have is an unknown field.
			if v, _ := protowire.ConsumeVarint(b[body:]); v <= uint64(onnxpb.AttributeProto_TYPE_PROTOS) {
				p.Type = d.slabs.types.one(onnxpb.AttributeProto_AttributeType(v))
				continue
			}
		}
		d.rest = append(d.rest, b[start:pos]...)
	}
	if ints > 0 {
		p.Ints = d.slabs.ints.take(ints)[:0]
		for pos := 0; pos < len(b); {
			num, _, head, size, _ := parseHead(b[pos:], int64(len(b)-pos))
			body := pos + head
			pos = body + int(size)
			for num == attrInts && body < pos {
				v, n := protowire.ConsumeVarint(b[body:pos])
				p.Ints = append(p.Ints, int64(v))
				body += n
			}
		}
	}
	return d.others(base, p)
}

// countPacked counts the numbers in a packed list.
func countPacked(b []byte) int {
	n := 0
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}

// inNode adds to an error which node it concerns: the innermost.
func (d *decoder) inNode(err error, f span, i int) error {
	if err == nil {
		return nil
	}
	var e *diag.Error
	var l limit
	if errors.As(err, &e) || errors.As(err, &l) {
		return err
	}
	return &diag.Error{Node: d.labelAt(f, i), Err: err}
}

// labelAt finds a name for node i of a list, of which not everything can be read.
func (d *decoder) labelAt(f span, i int) string {
	var n onnxpb.NodeProto
	for pos := f.body; pos < f.end; {
		x, err := d.w.next(pos, f.end)
		if err != nil {
			break
		}
		pos = x.end
		if (x.num == nodeName || x.num == nodeOpType) && x.typ == protowire.BytesType && x.len() < windowMin {
			b, err := d.w.at(x.body, int(x.len()))
			if err != nil {
				break
			}
			text := string(b)
			if x.num == nodeName {
				n.Name = &text
			} else {
				n.OpType = &text
			}
		}
	}
	return label(&n, i)
}

// label names a node in messages: by its name, or by its place in its list.
func label(n *onnxpb.NodeProto, i int) string {
	switch {
	case n.GetName() != "":
		return n.GetName()
	case n.GetOpType() == "":
		return fmt.Sprintf("#%d", i)
	}
	return fmt.Sprintf("%s #%d", n.GetOpType(), i)
}
