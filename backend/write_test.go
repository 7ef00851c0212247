package backend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// chain is x -> a -> b -> y, each an Add of a weight of its own.
func chain() *onnxpb.ModelProto {
	g := &onnxpb.GraphProto{
		Input:       []*onnxpb.ValueInfoProto{info("x", "N", 4)},
		Output:      []*onnxpb.ValueInfoProto{info("y", "N", 4)},
		ValueInfo:   []*onnxpb.ValueInfoProto{info("a", "N", 4), info("b", "N", 4)},
		Initializer: []*onnxpb.TensorProto{weight("w1", 4, 1), weight("w2", 4, 2), weight("w3", 4, 3)},
	}
	for i, out := range []string{"a", "b", "y"} {
		in := []string{"x", "a", "b"}[i]
		n := node("Add", names1(in, "w"+string(rune('1'+i))), names1(out))
		n.Name = &out
		g.Node = append(g.Node, n)
	}
	return modelOf(g)
}

// chainBundle cuts chain three ways, in a processor that runs twice.
func chainBundle(t testing.TB) *Bundle {
	m := open(t, chain())
	l := lowerPlain(t, m)
	threeProcessors(l)
	p := placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b"), sub(l, 0, "y"))
	return build(t, m, l, p, Options{ToolVersion: "test", Weights: WeightsExternal})
}

// tree lists a folder's files with their contents.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if e.IsDir() {
			out[rel] = "folder"
			return nil
		}
		b, err := os.ReadFile(path)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameTree(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is new", what, name)
		}
	}
	for name, body := range want {
		if b, ok := got[name]; !ok || b != body {
			t.Errorf("%s: %s changed (there: %v)", what, name, ok)
		}
	}
}

func TestWrite(t *testing.T) {
	b := chainBundle(t)
	b.AddFile("trace.json", []byte("{}"))
	dir := filepath.Join(t.TempDir(), "new", "parent", "out")
	var last float64
	if err := b.Write(context.Background(), dir, WriteOptions{Progress: func(done float64, note string) {
		if done < last || done > 1 || note == "" {
			t.Errorf("progress goes from %v to %v %q", last, done, note)
		}
		last = done
	}}); err != nil {
		t.Fatal(err)
	}
	if last != 1 {
		t.Errorf("progress ends at %v", last)
	}
	m, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := tree(t, dir)
	check := func(file, sha string, size int64) {
		body, ok := files[file]
		sum := sha256.Sum256([]byte(body))
		if !ok || hex.EncodeToString(sum[:]) != sha || int64(len(body)) != size {
			t.Errorf("%s has another digest or size than the manifest says", file)
		}
		delete(files, file)
	}
	for _, s := range m.Submodels {
		check(s.File, s.SHA256, s.Bytes)
		if s.Data != nil {
			check(s.Data.File, s.Data.SHA256, s.Data.Bytes)
		}
	}
	for _, f := range m.Files {
		check(f.File, f.SHA256, f.Bytes)
	}
	delete(files, ManifestFile)
	delete(files, ".")
	if len(files) > 0 {
		t.Errorf("there are other files: %v", files)
	}
	source, _ := os.ReadFile(b.model.Path)
	if sum := sha256.Sum256(source); m.Model.SHA256 != hex.EncodeToString(sum[:]) {
		t.Error("the model's digest is wrong")
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) != 1 {
		t.Errorf("beside the output stand %v", left)
	}
	if runtime.GOOS != "windows" {
		old := syscall.Umask(0)
		syscall.Umask(old)
		if st, _ := os.Stat(dir); st.Mode().Perm() != fs.FileMode(0o777&^old) {
			t.Errorf("the folder's mode is %v", st.Mode())
		}
		if st, _ := os.Stat(filepath.Join(dir, ManifestFile)); st.Mode().Perm() != fs.FileMode(0o666&^old) {
			t.Errorf("a file's mode is %v", st.Mode())
		}
	}
}

// Equal inputs give equal bytes, wherever they are written and on any number of cores.
func TestWriteDeterministic(t *testing.T) {
	var first map[string]string
	for k := range 4 {
		old := runtime.GOMAXPROCS(1 + k%2*3)
		b := chainBundle(t)
		dir := filepath.Join(t.TempDir(), "out")
		err := b.Write(context.Background(), dir, WriteOptions{})
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		if got := tree(t, dir); first == nil {
			first = got
		} else {
			sameTree(t, "second run", got, first)
		}
	}
}

func TestWriteReplaces(t *testing.T) {
	write := func(dir string, o WriteOptions) error { return chainBundle(t).Write(context.Background(), dir, o) }
	refused := func(err error, words string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("the error is %v, want one about %q", err, words)
		}
	}
	root := t.TempDir()
	dir := filepath.Join(root, "out")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, WriteOptions{}); err != nil {
		t.Fatalf("an empty folder: %v", err)
	}
	if err := write(dir+"/", WriteOptions{}); err != nil {
		t.Fatalf("a bundle: %v", err)
	}
	link := filepath.Join(root, "link")
	if err := os.Symlink("out", link); err != nil {
		t.Fatal(err)
	}
	if err := write(link, WriteOptions{}); err != nil {
		t.Fatalf("a link to a bundle: %v", err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is replaced: %v, %v", st, err)
	}
	mine := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(mine, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused(write(dir, WriteOptions{}), "notes.txt")
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
	if err := write(dir, WriteOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mine); err == nil {
		t.Error("with Force the old folder stays")
	}
	other := filepath.Join(root, "other")
	if err := os.MkdirAll(filepath.Join(other, "deep"), 0o777); err != nil {
		t.Fatal(err)
	}
	refused(write(other, WriteOptions{}), "--force")
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	refused(write(file, WriteOptions{Force: true}), "no folder")
	refused(write(filepath.Join(file, "below"), WriteOptions{}), "file")
	refused(write("", WriteOptions{}), "no name")
	b := chainBundle(t)
	refused(b.Write(context.Background(), filepath.Dir(b.model.Path), WriteOptions{Force: true}), "model")
	if left, _ := filepath.Glob(filepath.Join(root, ".*dnnsplit-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

var errInjected = errors.New("injected")

// faulty fails at the n-th step, counted from 0; a write then does half its work first.
type faulty struct {
	diskFiles
	at, step   int
	what       string // of the step that failed
	noExchange bool
}

func (f *faulty) fail(what string) error {
	f.step++
	if f.step-1 == f.at {
		f.what = what
		return &fs.PathError{Op: what, Path: "somewhere", Err: errInjected}
	}
	return nil
}

func (f *faulty) Mkdir(path string) error {
	if err := f.fail("mkdir"); err != nil {
		return err
	}
	return f.diskFiles.Mkdir(path)
}

func (f *faulty) Create(path string) (outFile, error) {
	if err := f.fail("create"); err != nil {
		return nil, err
	}
	out, err := f.diskFiles.Create(path)
	return &faultyFile{out, f}, err
}

func (f *faulty) Rename(from, to string) error {
	if err := f.fail("rename"); err != nil {
		return err
	}
	return f.diskFiles.Rename(from, to)
}

func (f *faulty) Exchange(a, b string) error {
	if f.noExchange {
		return errors.ErrUnsupported
	}
	if err := f.fail("exchange"); err != nil {
		return err
	}
	return f.diskFiles.Exchange(a, b)
}

func (f *faulty) SyncDir(string) error {
	return f.fail("sync folder")
}

type faultyFile struct {
	outFile
	f *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.f.fail("write"); err != nil {
		n, _ := f.outFile.Write(p[:len(p)/2])
		return n, err
	}
	return f.outFile.Write(p)
}

func (f *faultyFile) CopyRange(in *os.File, off, n int64) (int64, error) {
	if err := f.f.fail("copy"); err != nil {
		n, _ := f.outFile.CopyRange(in, off, n/2)
		return n, err
	}
	return f.outFile.CopyRange(in, off, n)
}

func (f *faultyFile) Flush(ctx context.Context) error {
	if err := f.f.fail("flush"); err != nil {
		return err
	}
	return ctx.Err() // really flushing thousands of files would take long
}

func (f *faultyFile) Close() error {
	err := f.outFile.Close()
	if ferr := f.f.fail("close"); ferr != nil {
		return ferr
	}
	return err
}

// Whatever step fails, the disk is as it was, or the bundle is there in full.
func TestWriteFaults(t *testing.T) {
	old := runtime.GOMAXPROCS(1) // so that steps come in one order
	defer runtime.GOMAXPROCS(old)
	for _, c := range []struct {
		name               string
		exists, noExchange bool
	}{{"fresh", false, false}, {"replacing", true, false}, {"replacing in steps", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			seen := map[string]bool{}
			for at := 0; ; at++ {
				root := t.TempDir()
				dir := filepath.Join(root, "deep", "out")
				if c.exists {
					before := chainBundle(t)
					before.AddFile("old.txt", []byte("old"))
					if err := before.Write(context.Background(), dir, WriteOptions{files: &serial{faulty: faulty{at: -1}}}); err != nil {
						t.Fatal(err)
					}
				}
				before := tree(t, root)
				files := &serial{faulty: faulty{at: at, noExchange: c.noExchange}}
				err := chainBundle(t).Write(context.Background(), dir, WriteOptions{files: files})
				after := tree(t, root)
				if files.what == "" && err == nil {
					break // past the last step
				}
				seen[files.what] = true
				if err == nil {
					// The last step, a flush after the swap, does not matter any more.
					if files.what != "sync folder" || after["deep/out/manifest.json"] == "" || after["deep/out/old.txt"] != "" {
						t.Errorf("step %d (%s) failed, but no error is returned", at, files.what)
					}
					continue
				}
				if !errors.Is(err, errInjected) {
					t.Errorf("step %d (%s): the error is %v", at, files.what, err)
				}
				sameTree(t, "after a failed "+files.what, after, before)
			}
			for _, want := range []string{"mkdir", "create", "write", "flush", "close", "sync folder"} {
				if !seen[want] {
					t.Errorf("no %s was seen to fail", want)
				}
			}
			if want := map[bool]string{false: "rename", true: "exchange"}[c.exists && !c.noExchange]; !seen[want] {
				t.Errorf("no %s was seen to fail", want)
			}
		})
	}
}

// TestWriteCancel cancels at every step.
func TestWriteCancel(t *testing.T) {
	for at := 0; ; at++ {
		root := t.TempDir()
		dir := filepath.Join(root, "deep", "out")
		ctx, cancel := context.WithCancel(context.Background())
		files := &serial{faulty: faulty{at: -1}, before: map[int]func(){at: cancel}}
		err := chainBundle(t).Write(ctx, dir, WriteOptions{files: files})
		cancel()
		after := tree(t, root)
		if files.step <= at {
			break
		}
		if err == nil {
			if after["deep/out/manifest.json"] == "" {
				t.Errorf("cancelled at step %d, there is neither an error nor a bundle", at)
			}
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at step %d, the error is %v", at, err)
		}
		sameTree(t, "after a cancellation", after, map[string]string{".": "folder"})
	}
}

// Folders that killed runs have left are removed, those of running ones are not.
func TestWriteCleans(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "out")
	old := time.Now().Add(-time.Hour)
	stale := filepath.Join(root, ".out.dnnsplit-00000001")
	running := filepath.Join(root, ".out.dnnsplit-00000002")
	fresh := filepath.Join(root, ".out.dnnsplit-00000003")
	aside := filepath.Join(root, ".out.dnnsplit-00000004.old")
	others := filepath.Join(root, ".other.dnnsplit-00000005")
	for _, p := range []string{stale, running, fresh, aside, others} {
		if err := os.Mkdir(p, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p, "f"), []byte("f"), 0o666); err != nil {
			t.Fatal(err)
		}
		if p != fresh {
			if err := os.Chtimes(p, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	release, ok := lockFolder(running)
	if !ok {
		t.Skip("this file system has no locks")
	}
	defer release()
	if err := chainBundle(t).Write(context.Background(), dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range []string{stale, running, fresh, aside, others} {
		if _, err := os.Stat(p); err == nil {
			got = append(got, filepath.Base(p))
		}
	}
	want := []string{filepath.Base(running), filepath.Base(fresh), filepath.Base(aside), filepath.Base(others)}
	if !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
}

func TestAddFile(t *testing.T) {
	for _, name := range []string{"", "..", "a/b", ManifestFile, "trace.json", "TRACE.json"} {
		b := chainBundle(t)
		b.AddFile("trace.json", nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a file called %q is taken", name)
				}
			}()
			b.AddFile(name, nil)
		}()
	}
}

// The source may not become shorter, and its contents are checked, while it is read.
func TestWriteShortSource(t *testing.T) {
	b := chainBundle(t)
	if err := os.Truncate(b.model.Path, 20); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	err := b.Write(context.Background(), filepath.Join(root, "out"), WriteOptions{})
	if err == nil {
		t.Fatal("no error")
	}
	sameTree(t, "after an error", tree(t, root), map[string]string{".": "folder"})
	if bytes.Contains([]byte(err.Error()), []byte("\n")) {
		t.Errorf("the error has several lines: %v", err)
	}
}

// A source that is written to between its digest and the end of the writing is not split.
func TestWriteChangedSource(t *testing.T) {
	b := chainBundle(t)
	b.model.StartDigest()
	if _, err := b.model.Digest(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(b.model.Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	err := b.Write(t.Context(), filepath.Join(root, "out"), WriteOptions{})
	if err == nil || !strings.Contains(err.Error(), "changed since the model was opened") {
		t.Errorf("the error is %v", err)
	}
	sameTree(t, "after an error", tree(t, root), map[string]string{".": "folder"})
}
