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
	copyNative = 1 << 20   // from this size on the operating system may copy
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
		if out, ok := c.w.(*os.File); ok && ch.n >= copyNative {
			if done, err := c.native(out, src, ch); done || err != nil {
				return err
			}
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

// native lets the operating system copy, through a handle of its own: it moves
// the position of the source. Without such a handle nothing is done.
func (c *copier) native(out *os.File, f *file, ch Chunk) (done bool, err error) {
	if err := c.flush(); err != nil {
		return false, err
	}
	h, err := f.fresh()
	if err != nil {
		return false, nil // the file may have been replaced; the open handle still has it
	}
	defer h.Close()
	if _, err := h.Seek(ch.off, io.SeekStart); err != nil {
		return false, nil
	}
	n, err := io.CopyN(out, h, ch.n)
	c.written += n
	if err == io.EOF {
		err = fmt.Errorf("%s became shorter while it was read", f.name)
	}
	return true, err
}
