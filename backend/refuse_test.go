package backend

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ... %s", err, want)
	}
}

// Models whose graphs contradict themselves.
func TestIndexRefuses(t *testing.T) {
	index := func(g *onnxpb.GraphProto) error {
		_, err := newIndex(t.Context(), open(t, modelOf(g)))
		return err
	}
	_, err := newIndex(t.Context(), &onnxfile.Model{Path: "m.onnx", Proto: &onnxpb.ModelProto{}})
	refused(t, err, "m.onnx: the model has no graph")
	in := []*onnxpb.ValueInfoProto{info("x", 1)}
	refused(t, index(&onnxpb.GraphProto{Input: in, Node: []*onnxpb.NodeProto{node("Neg", names1("ghost"), names1("y"))}}),
		`value "ghost": the node reads it, but nothing defines it`)
	refused(t, index(&onnxpb.GraphProto{Input: in, Output: []*onnxpb.ValueInfoProto{info("y", 1)}}),
		`value "y": it is a graph output, but nothing defines it`)
	refused(t, index(&onnxpb.GraphProto{Input: in, Node: []*onnxpb.NodeProto{
		named("n", node("Add", names1("x", "b"), names1("a"))), node("Neg", names1("a"), names1("b")),
	}}), `node "n": the node, or one that it depends on, depends on its own output`)
}

// Tensors whose contents cannot be found in, or put into, a data file.
func TestPlaceRefuses(t *testing.T) {
	s := &store{}
	_, err := s.place(&onnxpb.TensorProto{ExternalData: []*onnxpb.StringStringEntryProto{{Key: proto.String("offset"), Value: proto.String("far")}}},
		&onnxfile.Tensor{DataField: tensorExternal, External: "w.bin"})
	refused(t, err, `its offset "far" in w.bin is not a number`)
	_, err = s.place(&onnxpb.TensorProto{DataType: proto.Int32(99), Dims: []int64{2}}, &onnxfile.Tensor{DataField: tensorInt32})
	refused(t, err, "its element type and dims do not say how large it is")
	x, err := newIndex(t.Context(), open(t, chain()))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, x.errorAt(0, errors.New("broken")), `model.onnx: node "a": a tensor in it cannot be written: broken`)
	refused(t, x.errorIn("w1", errors.New("broken")), `model.onnx: value "w1": its contents cannot be written: broken`)
}

// A value of unknown type cannot be declared as an input of a sub-model.
func TestCutOfUnknownType(t *testing.T) {
	p := chain()
	p.Graph.ValueInfo = nil
	m := open(t, p)
	l := lowerPlain(t, m)
	threeProcessors(l)
	for v := range l.Types {
		if l.Problem.Graph.ValueName(ir.ValueID(v)) == "a" {
			l.Types[v] = ir.Type{}
		}
	}
	_, err := Build(t.Context(), m, l, placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b", "y")), Options{})
	refused(t, err, `value "a": the cut sends it to another sub-model, but its type is not known; declare it in value_info, or keep its users together with --same`)
}

// What belongs to the whole model stays out of its parts.
func TestTrainingInfo(t *testing.T) {
	p := chain()
	p.TrainingInfo = []*onnxpb.TrainingInfoProto{{}}
	b := cutBy(t, p, func(l *ir.Lowered) []ir.Submodel { return []ir.Submodel{sub(l, 0, "a"), sub(l, 1, "b", "y")} })
	const want = "training_info is about the whole model and is left out of the sub-models"
	if len(b.Manifest.Notes) != 1 || b.Manifest.Notes[0] != want {
		t.Errorf("notes are %q, want %q", b.Manifest.Notes, want)
	}
}

// A manifest of such a size is not read.
func TestHugeManifest(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ManifestFile)
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, maxManifestBytes+1); err != nil {
		t.Fatal(err)
	}
	_, err := ReadManifest(dir)
	refused(t, err, "manifest.json: cannot read the manifest: it has more than 268435456 bytes")
}

func TestHashFileRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := HashFile(t.Context(), filepath.Join(dir, "none.onnx"))
	refused(t, err, "none.onnx: cannot read the model: ")
	_, err = HashFile(t.Context(), dir) // a folder opens, and cannot be read
	refused(t, err, dir+": cannot read the model: ")
}

func TestOutputWithoutName(t *testing.T) {
	refused(t, chainBundle(t).Write(t.Context(), "", WriteOptions{}), "the output folder has no name")
}

// stubborn is a disk on which some operations never succeed.
type stubborn struct {
	diskFiles
	mkdir   error
	renames int // that succeed
}

func (f *stubborn) Mkdir(path string) error {
	if f.mkdir != nil {
		return f.mkdir
	}
	return f.diskFiles.Mkdir(path)
}

func (f *stubborn) Exchange(_, _ string) error { return errors.ErrUnsupported }

func (f *stubborn) Rename(from, to string) error {
	if f.renames--; f.renames < 0 {
		return errInjected
	}
	return f.diskFiles.Rename(from, to)
}

// What is said of folders that cannot be made or moved back.
func TestStubbornDisk(t *testing.T) {
	write := func(dir string, f *stubborn) error {
		return chainBundle(t).Write(context.Background(), dir, WriteOptions{files: f})
	}
	dir := filepath.Join(t.TempDir(), "out")
	refused(t, write(dir, &stubborn{mkdir: &fs.PathError{Op: "mkdir", Path: "x", Err: fs.ErrExist}}), "cannot make a folder beside the output: every name that was tried exists")
	if err := write(dir, &stubborn{renames: 1}); err != nil {
		t.Fatal(err)
	}
	// The old bundle is moved aside, the new one does not come in, and the old one does not come back.
	refused(t, write(dir, &stubborn{renames: 1}), "; the old bundle is now "+filepath.Dir(dir))
	aside, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".*"+asideSuffix))
	if err != nil || len(aside) != 1 {
		t.Fatalf("the old bundle is at %q, %v", aside, err)
	}
}

// Contents that have more or fewer elements than the tensor.
func TestContentsDoNotMatch(t *testing.T) {
	for _, n := range []int64{2, 4} {
		err := writeRanges(&bytes.Buffer{}, []dataRange{{bytes: n, data: onnxfile.Bytes([]byte{1, 2, 3}), unpack: unpacking{width: 1}}})
		if n == 2 {
			refused(t, err, "the contents of a tensor do not match its dims")
		} else if err == nil {
			t.Errorf("%d elements are made of 3", n)
		}
	}
}
