package backend

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// WriteOptions say how a bundle is put on disk.
type WriteOptions struct {
	// Force replaces an existing folder whatever it holds. Without it only an
	// empty folder and a bundle that holds nothing else are replaced.
	Force bool

	// Progress, if not nil, is called as bytes are written, by one goroutine at a
	// time: with the share done, in [0, 1], and amounts and rate for people.
	Progress func(done float64, note string)

	files fileSystem // nil: the real one
}

// Write puts the bundle into folder dir: into a temporary folder beside it first,
// which takes dir's place once everything is on disk. If anything fails or ctx is
// cancelled, dir is as it was and nothing else is left. Where the system cannot
// exchange two folders in one step, a kill between two renames can leave an old
// bundle under its temporary name. On success sizes and digests of the files are
// entered in b.Manifest.
//
// Files are written side by side, through buffers of a fixed size. The digest of the
// model is computed beside them, unless it is known. A model that changes meanwhile
// is an error.
func (b *Bundle) Write(ctx context.Context, dir string, o WriteOptions) error {
	w := &writing{o: o, what: "bundle", sources: []string{b.model.Path}, ours: bundleFiles}
	var m *Manifest
	err := w.put(ctx, dir, func(ctx context.Context) (err error) {
		m, err = w.fill(ctx, b)
		return err
	})
	if err == nil {
		b.Manifest = m
	}
	return err
}

// put makes the folder: fill writes what it holds into the temporary one.
func (w *writing) put(ctx context.Context, dir string, fill func(context.Context) error) (err error) {
	if w.o.files == nil {
		w.o.files = diskFiles{}
	}
	if err := w.examine(dir); err != nil {
		return err
	}
	made, err := makeParents(w.target)
	if err != nil {
		return &diag.Error{File: dir, Msg: "cannot make the output's parent folder" + remedy(err), Err: err}
	}
	defer func() {
		if err != nil {
			removeEmpty(made)
		}
	}()
	w.clean()
	if err := w.makeTemp(); err != nil {
		return &diag.Error{File: dir, Msg: "cannot make a folder beside the output" + remedy(err), Err: err}
	}
	defer func() {
		w.release()
		_ = w.o.files.RemoveAll(w.temp) // after a swap the old folder, else what err is about
	}()
	if err = fill(ctx); err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = w.swap()
	}
	if err != nil {
		return w.explain(ctx, dir, err)
	}
	return nil
}

// writing is one folder on its way to disk.
type writing struct {
	o       WriteOptions
	what    string                    // the folder is, in messages
	sources []string                  // files that are read: the target must not hold them
	ours    func(dir string) []string // the files that an earlier run wrote into a folder; nil: none did
	target  string                    // absolute, links resolved
	exists  bool                      // the target is a folder that may be replaced
	temp    string
	release func() // of the lock on temp
	swapped bool   // temp holds what stood at the target before
}

// explain adds the output's name to an error and hides what cancellation did to
// single files.
func (w *writing) explain(ctx context.Context, dir string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var d *diag.Error
	if errors.As(err, &d) {
		return err
	}
	return &diag.Error{File: dir, Msg: "cannot write the " + w.what + remedy(err), Err: err}
}

// remedy is what may be done about an error of the file system, to stand behind
// what failed; "" if nothing is known.
func remedy(err error) string {
	for _, c := range []struct {
		when error
		do   string
	}{
		{syscall.ENOSPC, "free some space there or choose another output"},
		{syscall.EDQUOT, "free some space there or choose another output"},
		{syscall.EFBIG, "raise the limit on the size of files (ulimit -f) or choose another output"},
		{syscall.EROFS, "choose another output"},
		{fs.ErrPermission, "choose another output or change the permissions of the folder that it is in"},
	} {
		if errors.Is(err, c.when) {
			return ": " + c.do
		}
	}
	return ""
}

// examine finds the target and refuses to replace what is not ours.
func (w *writing) examine(dir string) error {
	fail := func(format string, args ...any) error {
		return &diag.Error{File: dir, Msg: fmt.Sprintf(format, args...)}
	}
	if dir == "" {
		return fail("the output folder has no name")
	}
	target, err := filepath.Abs(dir)
	if err != nil {
		return &diag.Error{File: dir, Msg: "cannot find the output folder", Err: err}
	}
	w.target = target
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if w.target, err = filepath.EvalSymlinks(target); err == nil {
			info, err = os.Stat(w.target)
		}
	}
	if err != nil {
		return &diag.Error{File: dir, Msg: "cannot find the output folder", Err: err}
	}
	if !info.IsDir() {
		return fail("it exists and is no folder: choose another output")
	}
	if isMountPoint(w.target) {
		return fail("it is where a file system is mounted, and cannot be replaced as a whole: choose a folder in it, such as %s", filepath.Join(dir, "split"))
	}
	for _, path := range w.sources {
		if source, err := resolved(path); err == nil && within(source, w.target) {
			return fail("the output folder would replace the folder of %s: choose another output", path)
		}
	}
	w.exists = true
	if w.o.Force {
		return nil
	}
	entries, err := os.ReadDir(w.target)
	if err != nil {
		return &diag.Error{File: dir, Msg: "cannot read the output folder", Err: err}
	}
	if len(entries) == 0 {
		return nil
	}
	ours := w.ours(w.target)
	if ours == nil {
		return fail("the folder exists and is no %s: choose another output, or replace it with --force", w.what)
	}
	switch other, err := strange(w.target, ours); {
	case err != nil:
		return &diag.Error{File: dir, Msg: "cannot read the output folder", Err: err}
	case other != "":
		return fail("the folder holds %q, which is no part of the %s there: move it away, choose another output, or replace all with --force", other, w.what)
	}
	return nil
}

// strange finds something in a folder that is none of these files and no folder
// of one; "" if there is nothing. Names are slash-separated and relative.
func strange(dir string, files []string) (string, error) {
	known := map[string]bool{".": true}
	for _, f := range files {
		for ; f != "." && f != "/"; f = path.Dir(f) {
			known[f] = true
		}
	}
	found := ""
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); !known[rel] {
			found = rel
			return filepath.SkipAll
		}
		return nil
	})
	return found, err
}

func resolved(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// within says whether path is dir or lies in it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// bundleFiles are the names of the files of the bundle in a folder, nil if there is none.
func bundleFiles(dir string) []string {
	body, err := readManifestFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		return nil
	}
	var m Manifest
	if json.Unmarshal(body, &m) != nil || m.Schema != ManifestSchema {
		return nil
	}
	files := []string{ManifestFile}
	for _, s := range m.Submodels {
		files = append(files, s.File)
		if s.Data != nil {
			files = append(files, s.Data.File)
		}
	}
	for _, f := range m.Files {
		files = append(files, f.File)
	}
	return files
}

// tempPrefix starts the names of the temporary folders for a target.
func (w *writing) tempPrefix() string {
	base := filepath.Base(w.target)
	return "." + base[:min(len(base), 100)] + ".dnnsplit-"
}

// clean removes temporary folders that killed runs have left beside the target:
// those that no process holds the lock of.
func (w *writing) clean() {
	parent := filepath.Dir(w.target)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), w.tempPrefix()) || strings.HasSuffix(e.Name(), asideSuffix) {
			continue // what was moved aside may be the only copy of a bundle
		}
		// A run that has just made its folder may not hold the lock yet.
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		path := filepath.Join(parent, e.Name())
		if release, ok := lockFolder(path); ok {
			_ = os.RemoveAll(path)
			release()
		}
	}
}

func (w *writing) makeTemp() error {
	for range 1000 {
		path := filepath.Join(filepath.Dir(w.target), fmt.Sprintf("%s%08x", w.tempPrefix(), rand.Uint32()))
		err := w.o.files.Mkdir(path)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		w.temp = path
		release, ok := lockFolder(path)
		if !ok {
			release = func() {}
		}
		w.release = release
		return nil
	}
	return errors.New("every name that was tried exists")
}

// job is one file of the bundle.
type job struct {
	name  string
	bytes int64
	write func(io.Writer) error
	done  func(sha string, bytes int64)
}

// fill writes everything into the temporary folder and returns the complete manifest.
func (w *writing) fill(ctx context.Context, b *Bundle) (*Manifest, error) {
	m := b.Manifest.clone()
	b.model.StartDigest()
	tasks := w.tasks(w.jobs(m, b))
	for i, f := range b.extra {
		if f.link != "" {
			tasks = append(tasks, func(ctx context.Context) (err error) {
				m.Files[i].SHA256, m.Files[i].Bytes, err = w.link(ctx, f, &progress{})
				return err
			})
		}
	}
	if err := parallel(ctx, tasks); err != nil {
		return nil, err
	}
	var err error
	if m.Model.SHA256, err = b.model.Digest(ctx); err != nil {
		return nil, err
	}
	if err := b.model.Unchanged(); err != nil {
		return nil, err
	}
	body, err := m.Encode()
	if err != nil {
		return nil, err
	}
	err = w.file(ctx, job{name: ManifestFile, write: func(out io.Writer) error {
		_, err := out.Write(body)
		return err
	}, done: func(string, int64) {}}, &progress{})
	if err != nil {
		return nil, err
	}
	return m, w.o.files.SyncDir(w.temp)
}

// tasks writes the files, large ones first: they decide how long it takes.
func (w *writing) tasks(jobs []job) []func(context.Context) error {
	p := &progress{tell: w.o.Progress, began: time.Now()}
	for _, j := range jobs {
		p.total += j.bytes
	}
	jobs = slices.Clone(jobs)
	slices.SortStableFunc(jobs, func(a, b job) int { return cmp.Compare(b.bytes, a.bytes) })
	tasks := make([]func(context.Context) error, len(jobs))
	for i, j := range jobs {
		tasks[i] = func(ctx context.Context) error { return w.file(ctx, j, p) }
	}
	return tasks
}

// jobs lists the files in the manifest's order.
func (w *writing) jobs(m *Manifest, b *Bundle) []job {
	var jobs []job
	for i := range m.Submodels {
		s := &m.Submodels[i]
		draft := b.Models[i]
		jobs = append(jobs, job{s.File, draft.Size(), func(out io.Writer) error { return writeDraft(out, draft) }, func(sha string, n int64) {
			s.SHA256, s.Bytes = sha, n
		}})
		if s.Data == nil {
			continue
		}
		data := b.data[i]
		jobs = append(jobs, job{s.Data.File, data.end, func(out io.Writer) error { return writeRanges(out, data.ranges) }, func(sha string, n int64) {
			s.Data.SHA256, s.Data.Bytes = sha, n
		}})
	}
	for i, f := range b.extra {
		if f.link != "" {
			continue
		}
		jobs = append(jobs, job{f.name, int64(len(f.body)), func(out io.Writer) error {
			_, err := out.Write(f.body)
			return err
		}, func(sha string, n int64) {
			m.Files[i].SHA256, m.Files[i].Bytes = sha, n
		}})
	}
	return jobs
}

func writeDraft(out io.Writer, d *onnxfile.Draft) error {
	_, err := d.WriteTo(out)
	return err
}

// file writes one file and flushes it.
func (w *writing) file(ctx context.Context, j job, p *progress) (err error) {
	out, err := w.o.files.Create(filepath.Join(w.temp, filepath.FromSlash(j.name)))
	if err != nil {
		return err
	}
	s := &sink{ctx: ctx, out: out, digest: newDigest(), advance: p.advance}
	err = j.write(s)
	sha, derr := s.digest.close()
	if err == nil {
		err = derr
	}
	if err == nil {
		err = out.Flush(ctx)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	j.done(sha, s.bytes)
	return nil
}

// maxParallel bounds how many files are written at once: a disk gains nothing from more.
const maxParallel = 4

// parallel runs tasks side by side, in order of their start, and waits for all.
// The first to fail stops the others; the error is that of the earliest in the list.
func parallel(ctx context.Context, tasks []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(tasks))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(len(tasks), maxParallel, max(2, runtime.GOMAXPROCS(0))) {
		wg.Go(func() {
			for i := range next {
				if errs[i] = ctx.Err(); errs[i] == nil {
					errs[i] = tasks[i](ctx)
				}
				if errs[i] != nil {
					cancel()
				}
			}
		})
	}
	for i := range tasks {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// swap puts the temporary folder into the target's place.
func (w *writing) swap() error {
	files := w.o.files
	parent := filepath.Dir(w.target)
	if !w.exists {
		if err := files.Rename(w.temp, w.target); err != nil {
			return err
		}
		w.swapped = true
		_ = files.SyncDir(parent) // the new state stands; at worst a power cut brings the old one back
		return nil
	}
	err := files.Exchange(w.temp, w.target)
	if errors.Is(err, errors.ErrUnsupported) {
		err = w.swapInSteps()
	}
	if err != nil {
		return err
	}
	w.swapped = true
	_ = files.SyncDir(parent)
	return nil
}

const asideSuffix = ".old"

// swapInSteps moves the old bundle aside and the new one in.
func (w *writing) swapInSteps() error {
	files := w.o.files
	aside := w.temp + asideSuffix
	if err := files.Rename(w.target, aside); err != nil {
		return err
	}
	if err := files.Rename(w.temp, w.target); err != nil {
		if back := files.Rename(aside, w.target); back != nil {
			return fmt.Errorf("%w; the old bundle is now %s: %w", err, aside, back)
		}
		return err
	}
	w.temp = aside
	return nil
}
