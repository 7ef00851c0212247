package onnxtest

import "fmt"

// oddVersions: one small network at every opset and IR version.
func oddVersions() []Case {
	var l []Case
	net := func(_ *Model, g *Graph) { g.y(g.layer("b", g.layer("a", g.x()))) }
	for opset := int64(7); opset <= 25; opset++ {
		tags := Tag(0)
		if opset > 17 {
			tags = Newer
		}
		l = append(l, oddHeader(fmt.Sprintf("opset-%d", opset), fmt.Sprintf("opset %d and the IR version that came with it", opset), tags, Header{Opset: opset},
			func(m *Model, g *Graph) {
				net(m, g)
				if m.pb.GetIrVersion() < 4 {
					m.WeightsAsInputs()
				}
			}))
	}
	return append(l,
		oddHeader("ir-13", "IR version 13 with an old opset", Newer, Header{Opset: 13, IR: 13}, net),
		oddHeader("ir-4-opset-17", "an IR version older than its opset", 0, Header{Opset: 17, IR: 4}, net),
		oddHeader("ir-1", "IR version 1 of 2017, without operator set imports: opset 1 is meant", NoRun|Unchecked, Header{Opset: 1, IR: 1}, func(m *Model, g *Graph) {
			m.pb.OpsetImport = nil
			x := g.x()
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			x = g.Op("MatMul", []string{x, w}, Name("mul"))
			x = g.Op("Add", []string{x, g.Weight("b", Float, Uniform(-1, 1), width)}, Name("add"), Int("broadcast", 1))
			g.y(g.Op("Tanh", []string{x}, Name("tanh")))
			m.WeightsAsInputs()
		}),
		oddHeader("opset-6", "opset 6: sums broadcast by an attribute", NoRun, Header{Opset: 6, IR: 3}, func(m *Model, g *Graph) {
			x := g.x()
			w := g.Weight("w", Float, Scaled(2, width), width, width)
			x = g.Op("MatMul", []string{x, w}, Name("mul"))
			x = g.Op("Add", []string{x, g.Weight("b", Float, Uniform(-1, 1), width)}, Name("add"), Int("broadcast", 1))
			g.y(g.Op("Tanh", []string{x}, Name("tanh")))
			m.WeightsAsInputs()
		}),
	)
}
