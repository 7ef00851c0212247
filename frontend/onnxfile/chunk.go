package onnxfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
)

// Chunk is a run of bytes, in memory, in a file, or a sequence of such runs. The
// zero Chunk is empty. It is a value: copying it copies no bytes.
type Chunk struct {
	src    source
	off, n int64
}

// source is what chunks are cut from. Implementations are safe for concurrent use.
type source interface {
	// open reads the n bytes from off on. A reader that finds fewer reports an
	// error other than io.EOF.
	open(off, n int64) io.Reader
}

// Bytes is a chunk in memory; b must not change any more.
func Bytes(b []byte) Chunk {
	if len(b) == 0 {
		return Chunk{}
	}
	return Chunk{src: memory(b), n: int64(len(b))}
}

// Concat is the concatenation of chunks.
func Concat(chunks ...Chunk) Chunk {
	var parts []Chunk
	for _, c := range chunks {
		if c.n == 0 {
			continue
		}
		if j, ok := c.src.(*joined); ok && c.off == 0 && c.n == j.len() {
			parts = append(parts, j.parts...)
			continue
		}
		parts = append(parts, c)
	}
	switch len(parts) {
	case 0:
		return Chunk{}
	case 1:
		return parts[0]
	}
	j := &joined{parts: parts, ends: make([]int64, len(parts))}
	var end int64
	for i, c := range parts {
		end += c.n
		j.ends[i] = end
	}
	return Chunk{src: j, n: end}
}

// Len is the number of bytes.
func (c Chunk) Len() int64 { return c.n }

// Reader reads the chunk from its start. Readers of one chunk are independent.
func (c Chunk) Reader() io.Reader {
	if c.n == 0 {
		return bytes.NewReader(nil)
	}
	return c.src.open(c.off, c.n)
}

// ReadAll returns the bytes of a chunk of at most max bytes, and fails on a
// longer one before it reads anything. The result may be shared and must not
// be changed.
func (c Chunk) ReadAll(max int64) ([]byte, error) {
	if c.n > max {
		return nil, fmt.Errorf("it has %d bytes, more than the %d allowed here", c.n, max)
	}
	if m, ok := c.src.(memory); ok {
		return m[c.off : c.off+c.n : c.off+c.n], nil
	}
	b := make([]byte, c.n)
	if _, err := io.ReadFull(c.Reader(), b); err != nil {
		return nil, unexpected(err)
	}
	return b, nil
}

// WriteTo streams the chunk to w through a bounded buffer, or past it where w is a
// RangeWriter.
func (c Chunk) WriteTo(w io.Writer) (int64, error) {
	cp := copier{w: w}
	err := cp.chunk(c)
	if err == nil {
		err = cp.flush()
	}
	return cp.written, err
}

// sub is the part [off, off+n) of c, which must hold it.
func (c Chunk) sub(off, n int64) Chunk {
	if n == 0 {
		return Chunk{}
	}
	return Chunk{src: c.src, off: c.off + off, n: n}
}

// unexpected makes an early end an error that is not taken for a proper one.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// memory is a source in memory.
type memory []byte

func (m memory) open(off, n int64) io.Reader { return bytes.NewReader(m[off : off+n]) }

// joined is a sequence of chunks, none empty.
type joined struct {
	parts []Chunk
	ends  []int64 // by part: where it ends in the whole
}

func (j *joined) len() int64 { return j.ends[len(j.ends)-1] }

// each calls f with the pieces of [off, off+n) in order.
func (j *joined) each(off, n int64, f func(Chunk) error) error {
	i := sort.Search(len(j.ends), func(i int) bool { return j.ends[i] > off })
	for ; n > 0; i++ {
		p := j.parts[i]
		skip := off - (j.ends[i] - p.n)
		m := min(n, p.n-skip)
		if err := f(p.sub(skip, m)); err != nil {
			return err
		}
		off, n = off+m, n-m
	}
	return nil
}

func (j *joined) open(off, n int64) io.Reader {
	var rs []io.Reader
	// The pieces are opened when their turn comes: a list may be long.
	_ = j.each(off, n, func(c Chunk) error {
		rs = append(rs, &lateReader{c: c})
		return nil
	})
	return io.MultiReader(rs...)
}

// lateReader opens its chunk at the first read.
type lateReader struct {
	c Chunk
	r io.Reader
}

func (l *lateReader) Read(p []byte) (int, error) {
	if l.r == nil {
		l.r = l.c.Reader()
	}
	return l.r.Read(p)
}
