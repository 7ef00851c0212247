package onnxfile

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// TestCorpus opens every .onnx file below the folders in DNNSPLIT_CORPUS (a
// list, separated like PATH). Those that open must be written back byte for
// byte and must decode to what proto.Unmarshal makes of them.
func TestCorpus(t *testing.T) {
	dirs := filepath.SplitList(os.Getenv("DNNSPLIT_CORPUS"))
	if len(dirs) == 0 {
		t.Skip("DNNSPLIT_CORPUS names no folders")
	}
	opened, refused := 0, 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".onnx") {
				return err
			}
			m, err := Open(context.Background(), path, Options{InlineBytes: 16})
			if err != nil {
				var one *diag.Error
				if !errors.As(err, &one) {
					t.Errorf("%s: error of type %T", path, err)
				}
				t.Logf("refused: %v", err)
				refused++
				return nil
			}
			defer m.Close()
			opened++
			checkWhole(t, m, path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d opened, %d refused", opened, refused)
}

// checkWhole checks an opened model against the bytes of its file.
func checkWhole(t testing.TB, m *Model, path string) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if _, err := m.Draft().WriteTo(&got); err != nil {
		t.Fatalf("%s: writing: %v", path, err)
	}
	if int64(got.Len()) != m.Draft().Size() {
		t.Errorf("%s: Size is %d, but %d bytes were written", path, m.Draft().Size(), got.Len())
	}
	if graphs(want) == 1 && !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s: written back it differs: %d bytes, had %d", path, got.Len(), len(want))
	}
	whole := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(want, whole); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	filled := proto.Clone(m.Proto).(*onnxpb.ModelProto)
	fill(t, m, m.Proto.ProtoReflect(), filled.ProtoReflect())
	if !proto.Equal(whole, filled) {
		t.Errorf("%s: decoded structure differs:\n%s", path, cmp.Diff(whole, filled, protocmp.Transform()))
	}
}

// graphs counts the graph fields of a model: several merge into one.
func graphs(model []byte) int {
	n := 0
	for len(model) > 0 {
		num, _, size := protowire.ConsumeField(model)
		if num == modelGraph {
			n++
		}
		model = model[size:]
	}
	return n
}
