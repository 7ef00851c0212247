package onnxfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// digest is the SHA-256 of a model's first file, on its way or known.
type digest struct {
	stop chan struct{} // closed when nobody needs it any more
	done chan struct{} // closed when sum and err are set
	sum  string
	err  error
}

// digestStep is how much of the file is read between two looks at digest.stop: a
// fraction of a millisecond, and small enough for the processor's cache.
const digestStep = 256 << 10

// StartDigest begins to compute what Digest returns, in a goroutine that Close
// ends. It does nothing if that has begun before or the model is closed.
func (m *Model) StartDigest() {
	s := m.files
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.digest != nil || s.closed {
		return
	}
	d := &digest{stop: make(chan struct{}), done: make(chan struct{})}
	s.digest = d
	f := s.all[0]
	go func() {
		defer close(d.done)
		d.sum, d.err = f.hash(d.stop)
	}()
}

// Digest is the SHA-256 of the model's file in hexadecimal, external data not
// included. It is computed once for a model and those derived from it; Digest
// waits for it. Errors are *diag.Error, of a file that has changed since the
// model was opened among others, or that of ctx.
func (m *Model) Digest(ctx context.Context) (string, error) {
	m.StartDigest()
	m.files.mu.Lock()
	d := m.files.digest
	m.files.mu.Unlock()
	var err error
	if d == nil {
		err = os.ErrClosed
	} else {
		select {
		case <-d.done:
			if err = d.err; err == nil {
				return d.sum, nil
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "", &diag.Error{File: m.Path, Msg: "cannot read the model", Err: cause(err)}
}

// hash reads the whole file. It ends with os.ErrClosed when stop is closed.
func (f *file) hash(stop <-chan struct{}) (string, error) {
	h, err := f.acquire()
	if err != nil {
		return "", err
	}
	defer f.release()
	sum := sha256.New()
	buf := make([]byte, min(digestStep, f.size))
	for off := int64(0); off < f.size; {
		select {
		case <-stop:
			return "", os.ErrClosed
		default:
		}
		n, err := h.ReadAt(buf[:min(f.size-off, digestStep)], off)
		sum.Write(buf[:n])
		off += int64(n)
		switch {
		case err == io.EOF && off < f.size:
			return "", fmt.Errorf("%s became shorter while it was read", f.name)
		case err != nil && err != io.EOF:
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// end stops the computation, if one is under way, and waits for it.
func (d *digest) end() {
	if d != nil {
		close(d.stop)
		<-d.done
	}
}

// Unchanged is an error if a file that was read has changed since the model was
// opened, as far as its size and time of modification tell. A file that another
// one has taken the place of is unchanged: it is still the old one that is read.
func (m *Model) Unchanged() error {
	s := m.files
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.all {
		if f.handle != nil && f.altered() || f.changed {
			return &diag.Error{File: f.name, Msg: "it has changed since the model was opened: split it again when nothing writes to it"}
		}
	}
	return nil
}

// altered says whether the open file is not what it was. The caller holds set.mu.
func (f *file) altered() bool {
	info, err := f.handle.Stat()
	return err != nil || info.Size() != f.size || !info.ModTime().Equal(f.info.ModTime())
}
