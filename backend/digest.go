package backend

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"

	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// digest is the SHA-256 of a file that is being written. A goroutine of its own
// computes it while the writer goes on, and follows it at a bounded distance.
type digest struct {
	queue chan piece
	spare chan []byte // buffers that can be used again
	made  int         // buffers
	done  chan struct{}
	sum   hash.Hash
	err   error // of reading a range
}

// piece is a part of the file: bytes of our own, or a range of another file.
type piece struct {
	held   []byte
	copied onnxfile.Range
}

// digestLag is how many pieces the digest may be behind: of memory that is 4 MiB,
// of ranges 128 MiB, which the page cache still has.
const digestLag = 16

func newDigest() *digest {
	d := &digest{
		queue: make(chan piece, digestLag), spare: make(chan []byte, digestLag),
		done: make(chan struct{}), sum: sha256.New(),
	}
	go func() {
		defer close(d.done)
		for p := range d.queue {
			switch {
			case p.held != nil:
				d.sum.Write(p.held)
				d.spare <- p.held
			case d.err == nil:
				d.err = d.read(p.copied)
			}
		}
	}()
	return d
}

// add appends bytes, at most copyBytes of them. They may change afterwards.
func (d *digest) add(p []byte) {
	if len(p) == 0 {
		return
	}
	var b []byte
	select {
	case b = <-d.spare:
	default:
		if d.made < digestLag {
			d.made++
			b = make([]byte, copyBytes)
		} else {
			b = <-d.spare
		}
	}
	d.queue <- piece{held: append(b[:0], p...)}
}

// addRange appends what a range of another file holds.
func (d *digest) addRange(r onnxfile.Range) { d.queue <- piece{copied: r} }

// close ends the goroutine and returns the digest in hexadecimal.
func (d *digest) close() (string, error) {
	close(d.queue)
	<-d.done
	return hex.EncodeToString(d.sum.Sum(nil)), d.err
}

func (d *digest) read(r onnxfile.Range) error {
	f, release, err := r.Acquire()
	if err != nil {
		return err
	}
	defer release()
	if err := hashRange(d.sum, f, r.Offset(), r.Len()); err != nil {
		return fmt.Errorf("reading %s: %w", r.Name(), err)
	}
	return nil
}

// readRange hashes a stretch of a file through a buffer.
func readRange(h hash.Hash, f *os.File, off, n int64) error {
	buf := make([]byte, min(n, copyBytes))
	for n > 0 {
		k, err := f.ReadAt(buf[:min(n, int64(len(buf)))], off)
		h.Write(buf[:k])
		off, n = off+int64(k), n-int64(k)
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}
