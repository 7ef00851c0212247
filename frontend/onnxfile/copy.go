package onnxfile

import (
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	copyBuffer = 256 << 10 // of output, and of input
	copySmall  = 32 << 10  // chunks up to this size are read through a window
	copyNative = 1 << 20   // from this size on a RangeWriter is asked
)

// copier writes chunks and small pieces to w through one buffer.
type copier struct {
	w       io.Writer
	buf     []byte
	written int64
	files   map[*file]*window // of small chunks, which mostly stand in order
}

func (c *copier) bytes(b []byte) error {
	if len(c.buf)+len(b) > copyBuffer {
		if err := c.flush(); err != nil {
			return err
		}
		if len(b) >= copyBuffer {
			n, err := c.w.Write(b)
			c.written += int64(n)
			return err
		}
	}
	if c.buf == nil {
		c.buf = make([]byte, 0, copyBuffer)
	}
	c.buf = append(c.buf, b...)
	return nil
}

func (c *copier) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	n, err := c.w.Write(c.buf)
	c.written += int64(n)
	c.buf = c.buf[:0]
	return err
}

// head writes the tag of a field and, where it has one, its length.
func (c *copier) head(f Field) error {
	if c.buf == nil {
		c.buf = make([]byte, 0, copyBuffer)
	}
	if len(c.buf)+maxHead > copyBuffer {
		if err := c.flush(); err != nil {
			return err
		}
	}
	c.buf = appendHead(c.buf, f)
	return nil
}

func appendHead(b []byte, f Field) []byte {
	b = protowire.AppendTag(b, f.Num, f.Type)
	if f.Type == protowire.BytesType {
		b = protowire.AppendVarint(b, uint64(f.Body.Len()))
	}
	return b
}

// chunk writes ch.
func (c *copier) chunk(ch Chunk) error {
	if ch.n == 0 {
		return nil
	}
	switch src := ch.src.(type) {
	case memory:
		return c.bytes(src[ch.off : ch.off+ch.n])
	case *joined:
		return src.each(ch.off, ch.n, c.chunk)
	case *file:
		if ch.n <= copySmall {
			b, err := c.window(src).at(ch.off, int(ch.n))
			if err != nil {
				return err
			}
			return c.bytes(b)
		}
		if out, ok := c.w.(RangeWriter); ok && ch.n >= copyNative {
			n, err := c.native(out, src, ch)
			if err != nil {
				return err
			}
			ch = ch.sub(n, ch.n-n)
		}
	}
	// Everything else passes through the buffer.
	r := ch.Reader()
	for left := ch.n; left > 0; {
		if c.buf == nil {
			c.buf = make([]byte, 0, copyBuffer)
		}
		if len(c.buf) == copyBuffer {
			if err := c.flush(); err != nil {
				return err
			}
		}
		room := c.buf[len(c.buf):min(copyBuffer, len(c.buf)+int(min(left, copyBuffer)))]
		n, err := r.Read(room)
		c.buf = c.buf[:len(c.buf)+n]
		left -= int64(n)
		if err != nil && left > 0 {
			return unexpected(err)
		}
	}
	return nil
}

func (c *copier) window(f *file) *window {
	w := c.files[f]
	if w == nil {
		w = &window{src: f, size: f.size}
		if c.files == nil {
			c.files = map[*file]*window{}
		}
		c.files[f] = w
	}
	return w
}

// native offers a long chunk to the writer and returns how much of it was taken.
func (c *copier) native(out RangeWriter, f *file, ch Chunk) (int64, error) {
	if err := c.flush(); err != nil {
		return 0, err
	}
	n, err := out.WriteRange(Range{f, ch.off, ch.n})
	c.written += n
	if n < 0 || n > ch.n {
		return 0, fmt.Errorf("%d of %d bytes were taken", n, ch.n)
	}
	return n, err
}

// RangeWriter is a writer that can take long stretches of files as they are, so
// that the operating system moves the bytes. Chunk.WriteTo and Draft.WriteTo use
// it where they can.
type RangeWriter interface {
	io.Writer

	// WriteRange writes r, or the part of it from its start on that it can, and
	// returns how many bytes that were. What is left without an error comes
	// through Write.
	WriteRange(r Range) (int64, error)
}

// Range is a stretch of one of a model's files.
type Range struct {
	f      *file
	off, n int64
}

// Offset is where the range starts in the file.
func (r Range) Offset() int64 { return r.off }

// Len is the number of bytes.
func (r Range) Len() int64 { return r.n }

// Name is the file's name, for messages.
func (r Range) Name() string { return r.f.name }

// Part is the part [off, off+n) of the range, which must hold it.
func (r Range) Part(off, n int64) Range { return Range{r.f, r.off + off, n} }

// Acquire returns a handle of the file that stays open until release is called.
// It is shared: its position must neither be used nor changed.
func (r Range) Acquire() (h *os.File, release func(), err error) {
	h, err = r.f.acquire()
	if err != nil {
		return nil, nil, err
	}
	return h, r.f.release, nil
}
