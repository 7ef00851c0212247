package onnxtest

import "google.golang.org/protobuf/proto"

// oddNames: what names may look like. Names are opaque: none may be parsed,
// changed, or used as a file name as it is.
func oddNames() []Case {
	renamed := func(names ...string) func(*Model, *Graph) {
		return func(_ *Model, g *Graph) {
			x := g.Input(names[0], Float, rows, width)
			for _, n := range names[1:] {
				x = g.layer(n, x)
			}
			g.y(x)
		}
	}
	return []Case{
		odd("names-slashes", "names with slashes, dots, backslashes and drive letters", 0, renamed("/x", "../a", "/etc/b", `C:\c`, "a//b/./c/")),
		odd("names-spaces", "names with spaces, tabs, newlines and quotes", 0, renamed(" x ", "a b", "\tc\n", `say "d"`, `it's`, "past + seq")),
		odd("names-json", "names that look like JSON, HTML and shell", 0, renamed(`{"x":[1,2]}`, "a,b;c", "<b>&amp;</b>", "$(d)", "null", "0", "-1")),
		odd("names-unicode", "names in Chinese, Japanese, Arabic, emoji, and two that differ in normalisation only", 0, renamed("输入", "卷积", "層", "طبقة", "🧠", "é", "e\u0301")),
		odd("names-case", "names that differ in case only", 0, renamed("x", "Layer", "layer", "LAYER")),
		odd("names-controls", "names with control characters", 0, renamed("x\x01", "a\x7f", "b\x1b[31m", "c\r")),
		odd("names-invalid-utf8", "names that are not UTF-8", 0, renamed("x\xff", "a\xc3(", "b\xed\xa0\x80")),
		odd("names-long", "names of 3,000 characters", 0, renamed(long("x"), long("a"), long("b"))),
		odd("names-like-automatic", "names that tools like to make up: name_1, name:0, name_copy", 0, renamed("x", "a", "a_1", "a:0", "a_copy", "a.w_1", "a/replica")),
		odd("value-named-like-node", "a node has the name of another node's output, and the reverse", 0, func(_ *Model, g *Graph) {
			x := g.x()
			a := g.Op("Tanh", []string{x}, Name("b"), Outs("a"))
			b := g.Op("Neg", []string{a}, Name("a"), Outs("b"))
			g.y(g.layer("c", b))
		}),
		odd("graph-name-empty", "graph and producer have no name", Unchecked, func(m *Model, g *Graph) {
			g.y(g.layer("a", g.x()))
			m.pb.ProducerName, m.pb.ProducerVersion, g.pb.Name = nil, nil, nil
		}),
		odd("graph-name-odd", "the graph's name has slashes and quotes", 0, func(_ *Model, g *Graph) {
			g.y(g.layer("a", g.x()))
			g.pb.Name = proto.String(`../"graph" 图`)
		}),
	}
}

func long(s string) string {
	b := make([]byte, 0, 3000)
	for len(b) < 3000 {
		b = append(b, s...)
	}
	return string(b)
}
