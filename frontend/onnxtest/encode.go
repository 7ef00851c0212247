package onnxtest

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxModelBytes is where protobuf readers stop: a message is less than 2 GiB.
const maxModelBytes = math.MaxInt32

// rawDataField is the number of TensorProto.raw_data.
const rawDataField = 9

// encoded is an encoded message in pieces: bytes in memory and contents to be generated.
type encoded struct {
	pieces []piece
	size   int64
}

type piece struct {
	mem []byte
	gen content // if mem is nil
}

func (e *encoded) bytes(b []byte) {
	if len(b) == 0 {
		return
	}
	e.size += int64(len(b))
	if k := len(e.pieces); k > 0 && e.pieces[k-1].mem != nil {
		e.pieces[k-1].mem = append(e.pieces[k-1].mem, b...)
		return
	}
	e.pieces = append(e.pieces, piece{mem: slices.Clone(b)})
}

func (e *encoded) generated(c content) {
	e.size += c.size
	e.pieces = append(e.pieces, piece{gen: c})
}

// field appends a length-delimited field.
func (e *encoded) field(num protowire.Number, body *encoded) {
	b := protowire.AppendTag(nil, num, protowire.BytesType)
	e.bytes(protowire.AppendVarint(b, uint64(body.size)))
	for _, p := range body.pieces {
		if p.mem != nil {
			e.bytes(p.mem)
		} else {
			e.generated(p.gen)
		}
	}
}

var marshal = proto.MarshalOptions{Deterministic: true, AllowPartial: true}

// encoder encodes the model without ever holding generated contents: messages
// that hold such tensors, at any depth, are encoded field by field, all others whole.
type encoder struct {
	content map[*onnxpb.TensorProto]content
	holds   map[proto.Message]bool
	reaches map[protoreflect.FullName]bool // message types that can hold a tensor
	err     error
}

func (m *Model) encode() (*encoded, error) {
	e := &encoder{content: m.content, holds: map[proto.Message]bool{}, reaches: map[protoreflect.FullName]bool{}}
	if len(m.content) > 0 {
		e.mark(m.pb.ProtoReflect())
	}
	out := &encoded{}
	e.message(out, m.pb.ProtoReflect())
	return out, e.err
}

// canHold says whether a message of this type can have a tensor inside.
func (e *encoder) canHold(d protoreflect.MessageDescriptor) bool {
	if r, ok := e.reaches[d.FullName()]; ok {
		return r
	}
	e.reaches[d.FullName()] = false // breaks the cycle; what closes it is reached from elsewhere
	r := d.FullName() == (*onnxpb.TensorProto)(nil).ProtoReflect().Descriptor().FullName()
	for i := 0; i < d.Fields().Len() && !r; i++ {
		if s := d.Fields().Get(i).Message(); s != nil {
			r = e.canHold(s)
		}
	}
	e.reaches[d.FullName()] = r
	return r
}

func (e *encoder) mark(m protoreflect.Message) bool {
	if t, ok := m.Interface().(*onnxpb.TensorProto); ok {
		_, gen := e.content[t]
		if gen {
			e.holds[t] = true
		}
		return gen
	}
	holds := false
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil || !e.canHold(fd.Message()):
		case fd.IsList():
			for i := range v.List().Len() {
				holds = e.mark(v.List().Get(i).Message()) || holds
			}
		default:
			holds = e.mark(v.Message()) || holds
		}
		return true
	})
	if holds {
		e.holds[m.Interface()] = true
	}
	return holds
}

func (e *encoder) message(out *encoded, m protoreflect.Message) {
	if !e.holds[m.Interface()] {
		b, err := marshal.Marshal(m.Interface())
		if err != nil {
			e.err = err
		}
		out.bytes(b)
		return
	}
	gen, isTensor := content{}, false
	if t, ok := m.Interface().(*onnxpb.TensorProto); ok {
		gen, isTensor = e.content[t], true
	}
	var fields []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		fields = append(fields, fd)
		return true
	})
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	for _, fd := range fields {
		if isTensor && fd.Number() > rawDataField {
			out.tensorData(gen)
			isTensor = false
		}
		e.messageField(out, m, fd)
	}
	if isTensor {
		out.tensorData(gen)
	}
	out.bytes(m.GetUnknown())
}

func (e *encoded) tensorData(c content) {
	e.field(rawDataField, &encoded{pieces: []piece{{gen: c}}, size: c.size})
}

func (e *encoder) messageField(out *encoded, m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	v := m.Get(fd)
	switch {
	case fd.Message() == nil || !e.canHold(fd.Message()):
		one := m.New()
		one.Set(fd, v)
		b, err := marshal.Marshal(one.Interface())
		if err != nil {
			e.err = err
		}
		out.bytes(b)
	case fd.IsList():
		for i := range v.List().Len() {
			var body encoded
			e.message(&body, v.List().Get(i).Message())
			out.field(fd.Number(), &body)
		}
	default:
		var body encoded
		e.message(&body, v.Message())
		out.field(fd.Number(), &body)
	}
}

// Size is the number of bytes that Write writes, external data apart.
func (m *Model) Size() (int64, error) {
	e, err := m.encode()
	if err != nil {
		return 0, err
	}
	return e.size, nil
}

// Write writes the encoded model. It fails where w does, if the model has
// external data (which needs WriteFile), and from 2 GiB on, where protobuf ends.
func (m *Model) Write(w io.Writer) error {
	if len(m.files) > 0 {
		return &diag.Error{Msg: "model has external data, write it to a file"}
	}
	return m.write(w)
}

func (m *Model) write(w io.Writer) error {
	e, err := m.encode()
	if err != nil {
		return err
	}
	if e.size > maxModelBytes {
		return &diag.Error{Msg: fmt.Sprintf("model takes %d bytes and protobuf ends at 2 GiB, use external data", e.size)}
	}
	b := bufio.NewWriterSize(w, 1<<16)
	for _, p := range e.pieces {
		if p.mem == nil {
			err = p.gen.writeTo(b)
		} else {
			_, err = b.Write(p.mem)
		}
		if err != nil {
			return err
		}
	}
	return b.Flush()
}

func (c content) writeTo(w io.Writer) error {
	const chunk = 1 << 18 // a multiple of chunkAlign
	buf := make([]byte, min(c.size, chunk))
	for off := int64(0); off < c.size; off += chunk {
		b := buf[:min(chunk, c.size-off)]
		c.read(off, b)
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile writes the model to path, and its external data beside it. What it
// cannot finish it removes.
func (m *Model) WriteFile(path string) error {
	err := writeFile(path, m.write)
	for i := 0; i < len(m.files) && err == nil; i++ {
		f := m.files[i]
		err = writeFile(filepath.Join(filepath.Dir(path), filepath.FromSlash(f.location)), f.write)
	}
	return err
}

func writeFile(path string, write func(w io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = write(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
