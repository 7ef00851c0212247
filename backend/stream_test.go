package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// Long weights go from file to file in the system; their digests are those of
// what is on disk, also where the system does not copy.
func TestCopyRange(t *testing.T) {
	var trees []map[string]string
	for _, refuse := range []bool{false, true} {
		files := &copies{refuse: refuse}
		b := heavyBundle(t, 3)
		dir := filepath.Join(t.TempDir(), "out")
		if err := b.Write(context.Background(), dir, WriteOptions{files: files}); err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree(t, dir))
		for _, s := range b.Manifest.Submodels {
			sum := sha256.Sum256([]byte(trees[len(trees)-1][s.File]))
			if hex.EncodeToString(sum[:]) != s.SHA256 {
				t.Errorf("refuse %v: the digest of %s is wrong", refuse, s.File)
			}
		}
	}
	sameTree(t, "without copies by the system", trees[1], trees[0])
}

// copies may refuse in the middle of a file.
type copies struct {
	diskFiles
	refuse bool
}

func (c *copies) Create(path string) (outFile, error) {
	out, err := c.diskFiles.Create(path)
	return &copiedFile{out, c}, err
}

type copiedFile struct {
	outFile
	c *copies
}

func (f *copiedFile) CopyRange(in *os.File, off, n int64) (int64, error) {
	if f.c.refuse {
		n, err := f.outFile.CopyRange(in, off, n/3)
		return n, errors.Join(err, errors.ErrUnsupported)
	}
	return f.outFile.CopyRange(in, off, n)
}

// Every step of writing long weights may fail, too.
func TestCopyRangeFaults(t *testing.T) {
	old := runtime.GOMAXPROCS(1) // so that steps come in one order
	defer runtime.GOMAXPROCS(old)
	var seen []string
	for at := 0; ; at++ {
		root := t.TempDir()
		files := &serial{faulty: faulty{at: at}}
		err := heavyBundle(t, 1).Write(context.Background(), filepath.Join(root, "out"), WriteOptions{files: files})
		if files.what == "" {
			break
		}
		seen = append(seen, files.what)
		if files.what == "sync folder" && err == nil {
			continue // after the rename the new state stands
		}
		if !errors.Is(err, errInjected) {
			t.Errorf("step %d (%s): the error is %v", at, files.what, err)
		}
		sameTree(t, "after a failed "+files.what, tree(t, root), map[string]string{".": "folder"})
	}
	if !slices.Contains(seen, "copy") {
		t.Errorf("no copy was seen to fail: %v", seen)
	}
}

// A file that ends while it is hashed is an error, not a crash.
func TestHashRangeShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if err := hashRange(h, f, 5000, 1<<20-5000); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(make([]byte, 1<<20-5000)); !slices.Equal(h.Sum(nil), want[:]) {
		t.Error("the digest is wrong")
	}
	if err := os.Truncate(path, 100_000); err != nil {
		t.Fatal(err)
	}
	if err := hashRange(sha256.New(), f, 5000, 1<<20-5000); err == nil {
		t.Error("there is no error")
	}
}
