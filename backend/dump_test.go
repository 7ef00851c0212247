package backend

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/google/go-cmp/cmp"
)

// dump writes what a model holds, a line for each thing, in the order of the file.
func dump(m *onnxpb.ModelProto) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var imports []string
	for _, o := range m.GetOpsetImport() {
		imports = append(imports, fmt.Sprintf("%s:%d", o.GetDomain(), o.GetVersion()))
	}
	line("opset %s", strings.Join(imports, " "))
	g := m.GetGraph()
	for _, v := range g.GetInput() {
		line("in %s", dumpInfo(v))
	}
	dumpNodes(&b, "", g.GetNode())
	for _, t := range g.GetInitializer() {
		line("weight %s", t.GetName())
	}
	for _, t := range g.GetSparseInitializer() {
		line("sparse %s", t.GetValues().GetName())
	}
	for _, v := range g.GetValueInfo() {
		line("info %s", dumpInfo(v))
	}
	for _, a := range g.GetQuantizationAnnotation() {
		line("annotation %s", a.GetTensorName())
	}
	for _, v := range g.GetOutput() {
		line("out %s", dumpInfo(v))
	}
	for _, f := range m.GetFunctions() {
		line("function %s::%s:%s", f.GetDomain(), f.GetName(), f.GetOverload())
	}
	for _, c := range m.GetConfiguration() {
		line("configuration %s", c.GetName())
	}
	return b.String()
}

func dumpInfo(v *onnxpb.ValueInfoProto) string {
	if v.GetType() == nil {
		return v.GetName()
	}
	return v.GetName() + " " + typeFrom(v.GetType()).String()
}

func dumpNodes(b *strings.Builder, indent string, nodes []*onnxpb.NodeProto) {
	for _, n := range nodes {
		fmt.Fprintf(b, "%snode %s(%s) %s\n", indent, n.GetOpType(), strings.Join(n.GetInput(), " "), strings.Join(n.GetOutput(), " "))
		for _, body := range bodies(n) {
			dumpNodes(b, indent+"  ", body.GetNode())
		}
	}
}

// wantDump compares the sub-model with the given id with its expected contents.
func wantDump(t *testing.T, b *Bundle, id, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimLeft(want, "\n"), dump(decode(t, b, id))); diff != "" {
		t.Errorf("sub-model %s (-want +got):\n%s", id, diff)
	}
}
