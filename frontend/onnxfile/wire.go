package onnxfile

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// span is one encoded field: its tag stands at start, its body at [body, end).
// The body is that of Field: without the length if it is length-delimited.
type span struct {
	num              protowire.Number
	typ              protowire.Type
	start, body, end int64
}

func (s span) len() int64 { return s.end - s.body }

// damage is a fault of the encoding at a position of the file.
type damage struct {
	at    int64
	msg   string
	short bool // a field is longer than what is left of its message
}

func (d *damage) Error() string { return fmt.Sprintf("%s at byte %d", d.msg, d.at) }

func damaged(at int64, format string, args ...any) error {
	return &damage{at: at, msg: fmt.Sprintf(format, args...)}
}

// maxHead bounds tag and length of a field, and the whole of a varint field.
const maxHead = 20

// next parses the field at pos of a message that ends at end.
func (w *window) next(pos, end int64) (span, error) {
	b, err := w.at(pos, int(min(end-pos, maxHead)))
	if err != nil {
		return span{}, err
	}
	num, typ, head, size, msg := parseHead(b, end-pos)
	if msg != "" {
		return span{}, &damage{at: pos, msg: msg, short: num != 0}
	}
	body := pos + int64(head)
	return span{num: num, typ: typ, start: pos, body: body, end: body + size}, nil
}

// parseHead parses the tag, and the length if there is one, of a field of which
// b shows the first maxHead bytes; the message around it has room bytes left.
// head is where the body starts, size what it takes. msg says what is wrong; num
// is 0 then, unless the field would be fine if there were more room.
func parseHead(b []byte, room int64) (num protowire.Number, typ protowire.Type, head int, size int64, msg string) {
	tag, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return 0, 0, 0, 0, "a field tag is cut off or too long"
	}
	typ = protowire.Type(tag & 7)
	if tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return 0, 0, 0, 0, fmt.Sprintf("the field number %d is illegal", tag>>3)
	}
	num, head = protowire.Number(tag>>3), n
	switch typ {
	case protowire.VarintType:
		_, n := protowire.ConsumeVarint(b[head:])
		if n < 0 {
			return 0, 0, 0, 0, fmt.Sprintf("the number in field %d is cut off or too long", num)
		}
		size = int64(n)
	case protowire.Fixed32Type:
		size = 4
	case protowire.Fixed64Type:
		size = 8
	case protowire.BytesType:
		length, n := protowire.ConsumeVarint(b[head:])
		if n < 0 {
			return 0, 0, 0, 0, fmt.Sprintf("the length of field %d is cut off or too long", num)
		}
		head += n
		if left := room - int64(head); length > uint64(left) {
			return num, 0, 0, 0, fmt.Sprintf("field %d claims %d bytes but only %d are left", num, length, left)
		}
		size = int64(length)
	case protowire.StartGroupType, protowire.EndGroupType:
		return 0, 0, 0, 0, fmt.Sprintf("field %d is a group, which ONNX does not use,", num)
	default:
		return 0, 0, 0, 0, fmt.Sprintf("field %d has the illegal wire type %d", num, typ)
	}
	if left := room - int64(head); size > left {
		return num, 0, 0, 0, fmt.Sprintf("field %d takes %d bytes but only %d are left", num, size, left)
	}
	return num, typ, head, size, ""
}
