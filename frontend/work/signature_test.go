package work

import (
	"os"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
)

func writeFile(path string, b []byte) error { return os.WriteFile(path, b, 0o600) }

func signatureOf(t *testing.T, opset int64, build func(g *onnxtest.Graph)) string {
	t.Helper()
	m := onnxtest.New(header(opset))
	build(m.Graph())
	r := inferred(t, m, shape.Options{Dims: m.Bindings()})
	return Signature(r.Main(), lastNode(r))
}

func TestSignature(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(g *onnxtest.Graph)
		want  string
	}{
		{"convolution", func(g *onnxtest.Graph) {
			g.Op("Conv", in(g.Input("x", f32, 1, 3, 8, 8), zeros(g, "w", f32, 4, 3, 3, 3)), onnxtest.Ints("kernel_shape", 3, 3),
				onnxtest.Ints("strides", 2, 2), onnxtest.Ints("dilations", 1, 1), onnxtest.Ints("pads", 1, 1, 1, 1), onnxtest.Int("group", 1))
		}, "Conv(float32[1,3,8,8],const float32[4,3,3,3])->float32[1,4,4,4]{pads=1,1,1,1 strides=2,2}"},
		{"shape input", func(g *onnxtest.Graph) {
			g.Op("Reshape", in(g.Input("x", f32, 4, 8), g.Vec(8, -1)))
		}, "Reshape(float32[4,8],const int64[2]=8,-1)->float32[8,4]"},
		{"absent inputs", func(g *onnxtest.Graph) {
			g.Op("Clip", in(g.Input("x", f32, 4), "", zeros(g, "hi", f32), "", ""))
		}, "Clip(float32[4],_,const float32[])->float32[4]"},
		{"many equal inputs", func(g *onnxtest.Graph) {
			x := g.Input("x", f32, 2)
			g.Op("Concat", in(x, x, x), onnxtest.Int("axis", 0))
		}, "Concat(float32[2]*3)->float32[6]{axis=-1}"},
		{"strings and floats", func(g *onnxtest.Graph) {
			g.Op("FusedConv", in(g.Input("x", f32, 1, 1, 4), zeros(g, "w", f32, 1, 1, 2)), onnxtest.Domain("com.microsoft"),
				onnxtest.Str("activation", "Relu"), onnxtest.Str("odd", "a b"))
		}, `com.microsoft::FusedConv(float32[1,1,4],const float32[1,1,2])->float32[1,1,3]{activation=Relu odd="a b"}`},
	} {
		if got := signatureOf(t, 13, c.build); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Names, the order of attributes, defaults, the sign of an axis and what only
// changes numbers are not part of a signature; what changes the work is.
func TestSignatureEquality(t *testing.T) {
	softmax := func(opset int64, name string, with ...onnxtest.With) string {
		return signatureOf(t, opset, func(g *onnxtest.Graph) {
			g.Op("Softmax", in(g.Input("x"+name, f32, 2, 3, 4)), append(with, onnxtest.Name(name))...)
		})
	}
	last := softmax(13, "a")
	for what, other := range map[string]string{
		"an axis from the end": softmax(13, "b", onnxtest.Int("axis", -1)),
		"an axis":              softmax(13, "c", onnxtest.Int("axis", 2)),
		"a doc string":         softmax(13, "d", onnxtest.Doc("text")),
	} {
		if other != last {
			t.Errorf("%s: %s is not %s", what, other, last)
		}
	}
	for what, other := range map[string]string{
		"another axis":   softmax(13, "e", onnxtest.Int("axis", 1)),
		"an old version": softmax(11, "f"),
		"an old last":    softmax(11, "g", onnxtest.Int("axis", 2)),
	} {
		if other == last {
			t.Errorf("%s: %s", what, other)
		}
	}
	branch := func(op string) string {
		return signatureOf(t, 13, func(g *onnxtest.Graph) {
			x := g.Input("x", f32, 4)
			body := func(b *onnxtest.Graph) { b.OutputOf(b.Op(op, in(x), onnxtest.Name("y"+op)), nil) }
			g.Op("If", in(g.Input("c", onnxtest.Bool)), onnxtest.Body("then_branch", body), onnxtest.Body("else_branch", body))
		})
	}
	relu, again, tanh := branch("Relu"), branch("Relu"), branch("Tanh")
	if relu == tanh || relu != again {
		t.Errorf("bodies do not count alike: %s, %s and %s", relu, again, tanh)
	}
}
