package onnxtest

import (
	"fmt"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// badExternal: external data that leads out of the model's folder, or nowhere.
// What it leads to outside is there and of the right size, so that nothing but
// the rule against it can refuse it.
func badExternal() []BadFile {
	const size = 4 * width * width
	data := make([]byte, 3*size)
	for i := range data {
		data[i] = byte(i) & 0x3f
	}
	// external has a weight whose external data is given as key, value, ...
	external := func(name string, a Answer, says string, entries ...string) BadFile {
		f := badModel("external-"+name, a, says, func(_ *Model, g *Graph) {
			t := &onnxpb.TensorProto{
				Name: proto.String("w"), Dims: []int64{width, width}, DataType: proto.Int32(int32(Float)),
				DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
			}
			for i := 0; i < len(entries); i += 2 {
				t.ExternalData = append(t.ExternalData, entry(entries[i], entries[i+1]))
			}
			x := g.x()
			g.pb.Initializer = append(g.pb.Initializer, t)
			g.y(g.Op("MatMul", []string{x, "w"}))
		})
		f.Beside = map[string][]byte{"in.bin": data, "folder/in.bin": data}
		f.Outside = map[string][]byte{"out.bin": data}
		return f
	}
	at := func(location, offset, length string) []string {
		return []string{"location", location, "offset", offset, "length", length}
	}
	n := fmt.Sprint(size)
	linkOut := external("link-out", Refuse, "out of the model's folder", at("link.bin", "0", n)...)
	linkOut.Links = map[string]string{"link.bin": "../out.bin"}
	folderOut := external("linked-folder-out", Refuse, "out of the model's folder", at("linked/out.bin", "0", n)...)
	folderOut.Links = map[string]string{"linked": ".."}
	linkIn := external("link-in", Accept, "", at("link.bin", "0", n)...)
	linkIn.Links = map[string]string{"link.bin": "folder/in.bin"}
	loop := external("link-loop", Refuse, "", at("link.bin", "0", n)...)
	loop.Links = map[string]string{"link.bin": "link.bin"}
	return []BadFile{
		external("ok", Accept, "", at("in.bin", "144", n)...),
		external("ok-in-folder", Accept, "", at("folder/in.bin", "0", n)...),
		external("no-offset", Either, "", "location", "in.bin"),
		external("missing", Refuse, "not there", at("no.bin", "0", n)...),
		external("parent", Refuse, "out of the model's folder", at("../out.bin", "0", n)...),
		external("parent-inside", Refuse, "out of the model's folder", at("folder/../../out.bin", "0", n)...),
		external("absolute", Refuse, "absolute", at("/dev/zero", "0", n)...),
		external("backslashes", Refuse, "backslash", at(`..\out.bin`, "0", n)...),
		external("drive", Refuse, "absolute", at("C:/out.bin", "0", n)...),
		external("empty-location", Refuse, "no location", at("", "0", n)...),
		external("no-location", Refuse, "no location", "offset", "0", "length", n),
		external("folder", Refuse, "folder", at(".", "0", n)...),
		external("subfolder", Refuse, "folder", at("folder", "0", n)...),
		external("nul", Refuse, "NUL", at("in.bin\x00.txt", "0", n)...),
		external("past-the-end", Refuse, "past the end", at("in.bin", "100000", n)...),
		external("ends-past-the-end", Refuse, "which has only", at("in.bin", "300", n)...),
		external("negative-offset", Refuse, "offset", at("in.bin", "-64", n)...),
		external("short", Refuse, "need", at("in.bin", "0", "8")...),
		external("length-2^62", Refuse, "", at("in.bin", "0", "4611686018427387904")...),
		external("no-numbers", Refuse, "no decimal number", at("in.bin", "12abc", "0x40")...),
		external("overflow", Refuse, "", at("in.bin", "9223372036854775800", n)...),
		linkOut, folderOut, linkIn, loop,
	}
}

// badBodies: nested graphs without end.
func badBodies() []BadFile {
	nested := func(depth int) func(*Model, *Graph) {
		return func(_ *Model, g *Graph) {
			x := g.x()
			c := g.positive("cond", x)
			var fill func(b *Graph, depth int) string
			fill = func(b *Graph, depth int) string {
				if depth == 0 {
					return b.Op("Relu", []string{x})
				}
				return b.Op("If", []string{c},
					Body("then_branch", func(b *Graph) { b.y(fill(b, depth-1)) }),
					Body("else_branch", func(b *Graph) { b.y(b.Op("Neg", []string{x})) }))
			}
			g.y(fill(g, depth))
		}
	}
	return []BadFile{
		badModel("nested-10", Accept, "", nested(10)),
		badModel("nested-20", Either, "", nested(20)),
		{Name: "nested-60", Bytes: nestedIfs(60)},
		{Name: "nested-80", Answer: Refuse, Says: "--max-depth", Bytes: nestedIfs(80)},
		{Name: "nested-20000", Answer: Refuse, Says: "--max-depth", Bytes: nestedIfs(20000)},
		badModel("branch-output-from-outside", Either, "", func(_ *Model, g *Graph) {
			x := g.layer("a", g.x())
			g.y(g.Op("If", []string{g.positive("cond", x)},
				Body("then_branch", func(b *Graph) { b.y(x) }),
				Body("else_branch", func(b *Graph) { b.y(b.Op("Neg", []string{x})) })))
		}),
	}
}

// badFunctions: functions that call without end.
func badFunctions() []BadFile {
	functions := func(name string, a Answer, says string, build func(m *Model, g *Graph)) BadFile {
		h := fnHeader
		h.Name, h.Seed = name, 1
		m := New(h)
		build(m, m.Graph())
		return BadFile{Name: name, Answer: a, Says: says, Bytes: m.Bytes()}
	}
	// calls defines a function as a chain of calls.
	calls := func(m *Model, name string, callees ...string) {
		m.Function(FunctionHeader{Domain: fnDomain, Name: name, Inputs: []string{"a"}, Outputs: []string{"b"}, Imports: []Import{{"", 15}, {fnDomain, 1}}}, func(g *Graph) {
			v := "a"
			for i, c := range callees {
				out := fmt.Sprintf("t%d", i)
				if i == len(callees)-1 {
					out = "b"
				}
				if c == "Relu" || c == "Tanh" {
					v = g.Op(c, []string{v}, Outs(out))
				} else {
					v = g.call(c, fmt.Sprintf("%s.%d", name, i), []string{v}, Outs(out))
				}
			}
		})
	}
	top := func(g *Graph, f string) { g.y(g.call(f, "top", []string{g.x()})) }
	return []BadFile{
		functions("function-recursive", Refuse, "calls itself", func(m *Model, g *Graph) { calls(m, "F", "F"); top(g, "F") }),
		functions("functions-in-a-circle", Refuse, "calls itself", func(m *Model, g *Graph) {
			calls(m, "F", "Relu", "G")
			calls(m, "G", "Tanh", "F")
			top(g, "F")
		}),
		functions("function-missing", Either, "", func(_ *Model, g *Graph) { top(g, "Nope") }),
		functions("function-bomb", Either, "", func(m *Model, g *Graph) { // 10^12 nodes
			calls(m, "F0", "Relu")
			for k := 1; k <= 12; k++ {
				var ten []string
				for range 10 {
					ten = append(ten, fmt.Sprintf("F%d", k-1))
				}
				calls(m, fmt.Sprintf("F%d", k), ten...)
			}
			top(g, "F12")
		}),
		functions("function-fork-bomb", Either, "", func(m *Model, g *Graph) { // 2^60 nodes, one call always large
			calls(m, "F0", "Relu", "Tanh")
			for k := 1; k <= 60; k++ {
				calls(m, fmt.Sprintf("F%d", k), fmt.Sprintf("F%d", k-1), fmt.Sprintf("F%d", k-1))
			}
			top(g, "F60")
		}),
		functions("function-chain", Either, "", func(m *Model, g *Graph) {
			calls(m, "F0", "Relu", "Tanh")
			for k := 1; k <= 3000; k++ {
				calls(m, fmt.Sprintf("F%d", k), "Relu", fmt.Sprintf("F%d", k-1))
			}
			top(g, "F3000")
		}),
	}
}

// largeGraphs: valid graphs that are quick to read unless something is quadratic
// or walks every path.
func largeGraphs() []BadFile {
	return []BadFile{
		badModel("chain-50000", Accept, "", func(_ *Model, g *Graph) {
			x := g.x()
			for i := range 50_000 {
				x = g.Op("Relu", []string{x}, Name(fmt.Sprintf("r%d", i)))
			}
			g.y(x)
		}),
		badModel("fan-out-20000", Accept, "", func(_ *Model, g *Graph) {
			x := g.x()
			var ends []string
			for i := range 20_000 {
				ends = append(ends, g.Op("Relu", []string{x}, Name(fmt.Sprintf("r%d", i))))
			}
			g.y(g.Op("Sum", ends))
		}),
		badModel("diamonds-400", Accept, "", func(_ *Model, g *Graph) {
			p := g.x()
			q := p
			for i := range 400 {
				p, q = g.add(fmt.Sprintf("p%d", i), p, q), g.Op("Mul", []string{p, q}, Name(fmt.Sprintf("q%d", i)))
			}
			g.y(g.add("y", p, q))
		}),
		badModel("outputs-5000", Accept, "", func(_ *Model, g *Graph) {
			x := g.x()
			for i := range 5000 {
				g.y(g.Op("Relu", []string{x}, Name(fmt.Sprintf("y%d", i))))
			}
		}),
		badModel("clique-400", Accept, "", func(_ *Model, g *Graph) {
			all := []string{g.x()}
			for i := range 400 {
				all = append(all, g.Op("Sum", append([]string(nil), all...), Name(fmt.Sprintf("k%d", i))))
			}
			g.y(all[len(all)-1])
		}),
	}
}
