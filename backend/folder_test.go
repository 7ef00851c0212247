package backend

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func plainFile(name, text string) FolderFile {
	return FolderFile{Name: name, Bytes: int64(len(text)), Write: func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out", "here")
	names := []string{"list", "a/1/model", "a/config", "b/1/x/y"}
	ours := func(dir string) []string {
		if _, err := os.Stat(filepath.Join(dir, "list")); err != nil {
			return nil
		}
		return names
	}
	write := func(change func(*Folder)) error {
		f := &Folder{What: "export", Ours: ours}
		for _, n := range names {
			f.Files = append(f.Files, plainFile(n, "contents of "+n))
		}
		change(f)
		return f.Write(context.Background(), dir, WriteOptions{})
	}
	same := func(*Folder) {}
	check := func() {
		t.Helper()
		for _, n := range names {
			if b, err := os.ReadFile(filepath.Join(dir, n)); err != nil || string(b) != "contents of "+n {
				t.Fatalf("%s holds %q, %v", n, b, err)
			}
		}
		left, err := os.ReadDir(filepath.Dir(dir))
		if err != nil || len(left) != 1 {
			t.Fatalf("beside the folder: %v, %v", left, err)
		}
	}
	refused := func(err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Fatalf("the error is %v, want one about %q", err, text)
		}
		check()
	}
	if err := write(same); err != nil {
		t.Fatal(err)
	}
	check()
	if err := write(same); err != nil {
		t.Fatal("an export is not replaced by itself:", err)
	}
	check()
	refused(write(func(f *Folder) { f.Files[1].SHA256 = strings.Repeat("0", 64) }), "a/1/model: its source has changed: the SHA-256 is edeeaff1afba4aa98f9631a60746edf44c167b1c5dba72c6df0b3178dccb5d40, it should be "+strings.Repeat("0", 64))
	refused(write(func(f *Folder) { f.Sources = []string{filepath.Join(dir, "a", "config")} }), "would replace")
	for _, extra := range []string{"a/1/theirs", "b/empty/"} {
		path := filepath.Join(dir, extra)
		if strings.HasSuffix(extra, "/") {
			if err := os.Mkdir(path, 0o777); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		refused(write(same), strings.Trim(extra, "/"))
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "list")); err != nil {
		t.Fatal(err)
	}
	if err := write(same); err == nil || !strings.Contains(err.Error(), "is no export") {
		t.Fatalf("a folder that is no export was replaced: %v", err)
	}
}
