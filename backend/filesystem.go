package backend

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// fileSystem is what writing a bundle asks of the system, so that tests can make
// any step fail.
type fileSystem interface {
	Mkdir(path string) error
	Create(path string) (outFile, error) // a new file; it must not exist
	Rename(from, to string) error
	Link(from, to string) error // a hard link
	Exchange(a, b string) error // swaps two paths at once, or errors.ErrUnsupported
	RemoveAll(path string) error
	SyncDir(path string) error
}

// outFile is a file that is being written.
type outFile interface {
	io.Writer

	// CopyRange appends n bytes from off on of another file, or fewer, and never
	// passes them through this process. The error is errors.ErrUnsupported where
	// that cannot be done; then some bytes may have been copied all the same.
	CopyRange(in *os.File, off, n int64) (int64, error)

	Flush(ctx context.Context) error // to stable storage
	Close() error
}

// diskFiles is the real file system. What it makes has the usual modes, cut down
// by the umask.
type diskFiles struct{}

func (diskFiles) Mkdir(path string) error { return os.Mkdir(path, 0o777) }

func (diskFiles) Create(path string) (outFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &diskFile{f: f}, nil
}

func (diskFiles) Rename(from, to string) error { return os.Rename(from, to) }
func (diskFiles) Link(from, to string) error   { return os.Link(from, to) }
func (diskFiles) RemoveAll(path string) error  { return os.RemoveAll(path) }

func (diskFiles) SyncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !isInvalid(err) {
		return err
	}
	return nil
}

// flushStep is how much is flushed between two looks at the context: a fraction
// of 100 ms on a slow disk.
const flushStep = 8 << 20

type diskFile struct {
	f       *os.File
	written int64
	started int64 // up to here the system has been told to write back
}

func (d *diskFile) Write(b []byte) (int, error) {
	n, err := d.f.Write(b)
	d.advance(int64(n))
	return n, err
}

func (d *diskFile) CopyRange(in *os.File, off, n int64) (int64, error) {
	n, err := copyRange(d.f, in, off, n)
	d.advance(n)
	return n, err
}

// advance counts n bytes and lets the disk begin with those that make a step.
func (d *diskFile) advance(n int64) {
	d.written += n
	if d.written-d.started >= flushStep {
		startWriteback(d.f, d.started, d.written-d.started)
		d.started = d.written
	}
}

// Flush waits in steps, since one wait for a whole file could not be interrupted.
func (d *diskFile) Flush(ctx context.Context) error {
	for off := int64(0); off < d.written; off += flushStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		waitWriteback(d.f, off, min(flushStep, d.written-off))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.f.Sync()
}

func (d *diskFile) Close() error { return d.f.Close() }

// makeParents makes the folders above path that are missing, and returns those
// that it made, innermost first.
func makeParents(path string) (made []string, err error) {
	dir := filepath.Dir(path)
	var missing []string
	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) || filepath.Dir(dir) == dir {
			return nil, err
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o777); err != nil && !errors.Is(err, os.ErrExist) {
			removeEmpty(made)
			return nil, err
		} else if err == nil {
			made = append([]string{missing[i]}, made...)
		}
	}
	return made, nil
}

// removeEmpty removes folders as far as they are empty.
func removeEmpty(dirs []string) {
	for _, d := range dirs {
		if os.Remove(d) != nil {
			return
		}
	}
}
