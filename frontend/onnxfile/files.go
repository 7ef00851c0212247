package onnxfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// maxOpenFiles bounds the handles that a model holds at a time. Exporters may
// write one file per tensor, thousands of them.
const maxOpenFiles = 64

// files are the files of a model: opened when they are read, closed again when
// too many are open.
type files struct {
	mu     sync.Mutex
	all    []*file
	open   int
	clock  int64
	roots  []*os.Root
	closed bool
	digest *digest // of the first file; nil: not begun
}

// file is one file of a model. It is a source.
type file struct {
	set   *files
	name  string // for messages
	size  int64
	info  fs.FileInfo // as it was when the model was opened
	again func() (*os.File, error)

	// Under set.mu.
	handle  *os.File
	users   int
	used    int64
	changed bool // it was another when its handle was closed
}

// add registers a file that again opens. info is what it must be then.
func (s *files) add(name string, info fs.FileInfo, again func() (*os.File, error)) *file {
	f := &file{set: s, name: name, size: info.Size(), info: info, again: again}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, f)
	return f
}

// root opens a folder that files are looked up in. It is closed with the set.
func (s *files) root(dir string) (*os.Root, error) {
	r, err := os.OpenRoot(dir)
	if err == nil {
		s.mu.Lock()
		s.roots = append(s.roots, r)
		s.mu.Unlock()
	}
	return r, err
}

func (s *files) close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	d := s.digest
	s.mu.Unlock()
	d.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.all {
		if f.handle != nil && f.users == 0 {
			errs = append(errs, f.shut())
		}
	}
	for _, r := range s.roots {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// shut closes the handle. The caller holds set.mu.
func (f *file) shut() error {
	err := f.handle.Close()
	f.handle = nil
	f.set.open--
	return err
}

// fresh opens the file anew and makes sure that it is still the one it was.
func (f *file) fresh() (*os.File, error) {
	h, err := f.again()
	if err != nil {
		return nil, err
	}
	info, err := h.Stat()
	if err == nil && (!os.SameFile(info, f.info) || info.Size() != f.size || !info.ModTime().Equal(f.info.ModTime())) {
		err = fmt.Errorf("%s has changed since the model was opened", f.name)
	}
	if err != nil {
		_ = h.Close() // it was only read
		return nil, err
	}
	return h, nil
}

// acquire returns a handle that stays open until release.
func (f *file) acquire() (*os.File, error) {
	s := f.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("reading %s: %w", f.name, os.ErrClosed)
	}
	if f.handle == nil {
		for s.open >= maxOpenFiles {
			var oldest *file
			for _, g := range s.all {
				if g.handle != nil && g.users == 0 && (oldest == nil || g.used < oldest.used) {
					oldest = g
				}
			}
			if oldest == nil {
				break // all are being read at this moment
			}
			oldest.changed = oldest.changed || oldest.altered()
			_ = oldest.shut() // it was only read
		}
		h, err := f.fresh()
		if err != nil {
			return nil, err
		}
		f.handle = h
		s.open++
	}
	s.clock++
	f.used = s.clock
	f.users++
	return f.handle, nil
}

func (f *file) release() {
	s := f.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.users--; f.users == 0 && s.closed {
		_ = f.shut() // it was only read
	}
}

// ReadAt is io.ReaderAt. The end of the file is where it was when the model was opened.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	h, err := f.acquire()
	if err != nil {
		return 0, err
	}
	defer f.release()
	n, err := h.ReadAt(p, off)
	if errors.Is(err, io.EOF) && off+int64(n) < f.size {
		err = fmt.Errorf("%s became shorter while it was read", f.name)
	}
	return n, err
}

func (f *file) open(off, n int64) io.Reader { return io.NewSectionReader(f, off, n) }

// chunk is the part [off, off+n) of the file.
func (f *file) chunk(off, n int64) Chunk {
	if n == 0 {
		return Chunk{}
	}
	return Chunk{src: f, off: off, n: n}
}
