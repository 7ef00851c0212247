package backend

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

var benchBytes = flag.Int64("bench-bytes", 256<<20, "weights of the model that BenchmarkWrite splits")

// BenchmarkWrite splits one large model in two, beside a plain copy of its bytes.
func BenchmarkWrite(b *testing.B) {
	for _, kind := range []string{"embedded", "external"} {
		dir := b.TempDir()
		path := filepath.Join(dir, "model.onnx")
		m := onnxtest.Weights(1, *benchBytes)
		if kind == "external" {
			m.External(onnxtest.External{Location: "w.bin"})
		}
		if err := m.WriteFile(path); err != nil {
			b.Fatal(err)
		}
		files := append([]string{"model.onnx"}, m.ExternalFiles()...)
		b.Run(kind+"/copy", func(b *testing.B) {
			b.SetBytes(m.WeightBytes())
			for b.Loop() {
				for _, name := range files {
					if err := copyFile(filepath.Join(dir, name), filepath.Join(dir, "copy")); err != nil {
						b.Fatal(err)
					}
				}
				if err := os.Remove(filepath.Join(dir, "copy")); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(kind+"/split", func(b *testing.B) {
			f := openFile(b, path)
			l := lowerPlain(b, f)
			threeProcessors(l)
			n := l.Problem.Graph.NumNodes()
			var first, second ir.Submodel
			second.Processor = 1
			for i := range n {
				if i < n/2 {
					first.Nodes = append(first.Nodes, ir.NodeID(i))
				} else {
					second.Nodes = append(second.Nodes, ir.NodeID(i))
				}
			}
			bundle := build(b, f, l, placementOf(b, l, first, second), Options{})
			b.SetBytes(m.WeightBytes())
			b.ReportAllocs()
			for b.Loop() {
				if err := bundle.Write(context.Background(), filepath.Join(dir, "out"), WriteOptions{}); err != nil {
					b.Fatal(err)
				}
				if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
