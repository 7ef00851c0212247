package onnxfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// heavy saves a model with a tensor of n bytes in it.
func heavy(t *testing.T, n int) string {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(i * i >> 7)
	}
	w := &onnxpb.TensorProto{Name: proto.String("w"), DataType: proto.Int32(2), Dims: []int64{int64(n)}, RawData: raw}
	return save(t, t.TempDir(), "m.onnx", marshal(t, withInitializers(w)))
}

func TestDigest(t *testing.T) {
	for _, size := range []int{1, digestStep - 1000, 3*digestStep + 17} {
		path := heavy(t, size)
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(body)
		m := mustOpen(t, path, Options{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				m.StartDigest()
				if got, err := m.Digest(t.Context()); err != nil || got != hex.EncodeToString(sum[:]) {
					t.Errorf("%d bytes: %s, %v, want %x", len(body), got, err, sum)
				}
			})
		}
		wg.Wait()
	}
}

// TestDigestEnds closes a model whose digest is under way, and asks for it under a
// context that has ended.
func TestDigestEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.Rename(heavy(t, 1000), path); err != nil {
		t.Fatal(err)
	}
	m := mustOpen(t, path, Options{})
	f := m.files.all[0]
	// As if there were terabytes, of which Close does not read the rest.
	if err := os.Truncate(path, 4<<40); err != nil {
		t.Skip(err)
	}
	f.size = 4 << 40
	m.StartDigest()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Digest(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that has ended the error is %v", err)
	}
	time.Sleep(2 * time.Millisecond)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-m.files.digest.done:
	default:
		t.Error("Close leaves the goroutine")
	}
	if f.handle != nil || f.users != 0 {
		t.Error("Close leaves the file open")
	}
	var d *diag.Error
	if _, err := m.Digest(t.Context()); !errors.Is(err, os.ErrClosed) || !errors.As(err, &d) || d.File != path {
		t.Errorf("of a closed model the error is %v", err)
	}
	never := mustOpen(t, heavy(t, 10), Options{})
	if err := never.Close(); err != nil {
		t.Error(err)
	}
	if _, err := never.Digest(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("of a model that was closed before the error is %v", err)
	}
}

func TestUnchanged(t *testing.T) {
	open := func() (*Model, string) {
		path := heavy(t, 5000)
		m := mustOpen(t, path, Options{})
		if err := m.Unchanged(); err != nil {
			t.Errorf("at first: %v", err)
		}
		return m, path
	}
	changed := func(m *Model, how string) {
		t.Helper()
		if err := m.Unchanged(); err == nil || !strings.Contains(err.Error(), "changed since") {
			t.Errorf("%s: %v", how, err)
		}
	}
	m, path := open()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	changed(m, "cut off")
	if _, err := m.Digest(t.Context()); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("the digest of a file that was cut off: %v", err)
	}

	m, path = open()
	h, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt([]byte{1}, 3000); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Close(), os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	changed(m, "written to")

	m, path = open()
	before, err := m.Digest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(heavy(t, 77), path); err != nil {
		t.Skip(err) // a system on which open files stay
	}
	if err := m.Unchanged(); err != nil {
		t.Errorf("another file in its place: %v", err)
	}
	if after, err := m.Digest(t.Context()); err != nil || after != before {
		t.Errorf("another file in its place: digest %s, %v, want %s", after, err, before)
	}
}

// A file that changes and is closed for others to be opened is noticed all the same.
func TestUnchangedEvicted(t *testing.T) {
	dir := t.TempDir()
	var ts []*onnxpb.TensorProto
	for i := range maxOpenFiles + 5 {
		name := "w" + strings.Repeat("x", i) + ".bin"
		save(t, dir, name, make([]byte, 64))
		p := outside("location", name)
		p.Name = &name
		ts = append(ts, p)
	}
	m := mustOpen(t, save(t, dir, "m.onnx", marshal(t, withInitializers(ts...))), Options{})
	read := func(i int) {
		t.Helper()
		if _, err := m.Values(m.Proto.Graph.Initializer[i], 64); err != nil {
			t.Fatal(err)
		}
	}
	read(0)
	if err := os.Chtimes(filepath.Join(dir, "w.bin"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(ts); i++ {
		read(i)
	}
	if m.files.all[1].handle != nil {
		t.Fatal("the first data file is still open")
	}
	if err := m.Unchanged(); err == nil || !strings.Contains(err.Error(), "w.bin") {
		t.Errorf("the error is %v, want one that names w.bin", err)
	}
}
