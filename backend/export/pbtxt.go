package export

import (
	"fmt"
	"strings"
)

// pbtxt writes a protobuf message in text format, a field a line.
type pbtxt struct {
	b      strings.Builder
	indent string
}

// field writes a number, a name of an enumeration or a truth value.
func (p *pbtxt) field(name string, value any) { fmt.Fprintf(&p.b, "%s%s: %v\n", p.indent, name, value) }

func (p *pbtxt) text(name, value string) { p.field(name, quoted(value)) }

func (p *pbtxt) numbers(name string, values []int64) {
	items := make([]string, len(values))
	for i, v := range values {
		items[i] = fmt.Sprint(v)
	}
	p.field(name, "["+strings.Join(items, ", ")+"]")
}

// message writes a field that holds a message, or one entry of a list of them.
func (p *pbtxt) message(name string, body func()) {
	fmt.Fprintf(&p.b, "%s%s {\n", p.indent, name)
	p.indent += "  "
	body()
	p.indent = p.indent[2:]
	fmt.Fprintf(&p.b, "%s}\n", p.indent)
}

// entry writes one entry of a map of strings.
func (p *pbtxt) entry(name, key, value string) {
	p.message(name, func() {
		p.text("key", key)
		p.text("value", value)
	})
}

// quoted is a string literal: printable ASCII as it is, all other bytes in octal,
// which every parser of the text format reads.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "\\%03o", c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
