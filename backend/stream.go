package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// copyBytes is the size of the pieces in which files are read.
const copyBytes = 256 << 10

// rangeStep is how much the system is asked to copy between two looks at the
// context: a few milliseconds.
const rangeStep = 8 << 20

// sink is a file that is being written: it counts, hashes and watches the context.
// It is an onnxfile.RangeWriter.
type sink struct {
	ctx     context.Context
	out     outFile
	digest  *digest
	bytes   int64
	advance func(int64)
	slow    bool // the system does not copy from file to file here
}

func (s *sink) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if err := s.ctx.Err(); err != nil {
			return n, err
		}
		k, err := s.out.Write(p[:min(len(p), copyBytes)])
		n += k
		s.bytes += int64(k)
		s.digest.add(p[:k])
		s.advance(int64(k))
		if err != nil {
			return n, err
		}
		p = p[k:]
	}
	return n, nil
}

// WriteRange lets the system copy the range. The digest reads it once more, out of
// the page cache, where copying has just put it.
func (s *sink) WriteRange(r onnxfile.Range) (n int64, err error) {
	if s.slow {
		return 0, nil
	}
	in, release, err := r.Acquire()
	if err != nil {
		return 0, err
	}
	defer release()
	for n < r.Len() {
		if err := s.ctx.Err(); err != nil {
			return n, err
		}
		k, err := s.out.CopyRange(in, r.Offset()+n, min(r.Len()-n, rangeStep))
		if k > 0 {
			s.digest.addRange(r.Part(n, k))
			n += k
			s.bytes += k
			s.advance(k)
		}
		if errors.Is(err, errors.ErrUnsupported) {
			s.slow = true
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// progressStep is how many bytes are written between two reports of progress.
const progressStep = 4 << 20

// progress adds up what all files have written and tells the caller.
type progress struct {
	mu          sync.Mutex
	done, total int64
	told        int64
	began       time.Time
	tell        func(done float64, note string)
}

func (p *progress) advance(n int64) {
	if p.tell == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.done-p.told < progressStep && p.done < p.total {
		return
	}
	p.told = p.done
	const mb = 1e6
	note := fmt.Sprintf("%.0f of %.0f MB", float64(p.done)/mb, float64(p.total)/mb)
	if s := time.Since(p.began).Seconds(); s > 0.1 {
		note += fmt.Sprintf(", %.0f MB/s", float64(p.done)/mb/s)
	}
	if p.done >= p.total {
		note += ", flushing to disk"
	}
	p.tell(float64(p.done)/float64(max(p.total, 1)), note)
}

// writeRanges writes a data file: the ranges in order, with zeros between them.
func writeRanges(w io.Writer, ranges []dataRange) error {
	var at int64
	var zeros [dataAlignment]byte
	var buf []byte
	for _, r := range ranges {
		for at < r.offset {
			n, err := w.Write(zeros[:min(r.offset-at, dataAlignment)])
			if err != nil {
				return err
			}
			at += int64(n)
		}
		var n int64
		var err error
		if r.unpack.width == 0 {
			n, err = r.data.WriteTo(w)
		} else {
			if buf == nil {
				buf = make([]byte, copyBytes)
			}
			n, err = io.CopyBuffer(onlyWriter{w}, r.unpack.reader(r.data.Reader(), r.bytes), buf)
		}
		if err != nil {
			return err
		}
		if n != r.bytes {
			return errCount
		}
		at += n
	}
	return nil
}

// onlyWriter hides other methods, so that io.CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }

// HashFile is the SHA-256 of a file in hexadecimal.
func HashFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &diag.Error{File: path, Msg: "cannot read the model", Err: err}
	}
	defer func() { _ = f.Close() }() // it is only read
	h := sha256.New()
	buf := make([]byte, copyBytes)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", &diag.Error{File: path, Msg: "cannot read the model", Err: err}
		}
	}
}
