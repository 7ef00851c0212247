package backend

import (
	"context"
	"os"
	"sync"
)

// serial makes the steps of parallel writers countable, and can act before one.
type serial struct {
	mu sync.Mutex
	faulty
	before map[int]func()
}

func (s *serial) lock() func() {
	s.mu.Lock()
	if f := s.before[s.step]; f != nil {
		f()
	}
	return s.mu.Unlock
}

func (s *serial) Mkdir(path string) error {
	defer s.lock()()
	return s.faulty.Mkdir(path)
}

func (s *serial) Create(path string) (outFile, error) {
	defer s.lock()()
	out, err := s.faulty.Create(path)
	if err != nil {
		return nil, err
	}
	return &serialFile{out, s}, nil
}

func (s *serial) Rename(from, to string) error {
	defer s.lock()()
	return s.faulty.Rename(from, to)
}

func (s *serial) Exchange(a, b string) error {
	defer s.lock()()
	return s.faulty.Exchange(a, b)
}

func (s *serial) SyncDir(path string) error {
	defer s.lock()()
	return s.faulty.SyncDir(path)
}

type serialFile struct {
	outFile
	s *serial
}

func (f *serialFile) Write(p []byte) (int, error) {
	defer f.s.lock()()
	return f.outFile.Write(p)
}

func (f *serialFile) CopyRange(in *os.File, off, n int64) (int64, error) {
	defer f.s.lock()()
	return f.outFile.CopyRange(in, off, n)
}

func (f *serialFile) Flush(ctx context.Context) error {
	defer f.s.lock()()
	return f.outFile.Flush(ctx)
}

func (f *serialFile) Close() error {
	defer f.s.lock()()
	return f.outFile.Close()
}
