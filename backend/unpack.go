package backend

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// unpacking turns the encoding of a typed tensor field into raw little-endian
// elements. The zero value changes nothing: packed floats and doubles are raw
// already.
type unpacking struct {
	width int  // bytes of an element; the field holds varints
	truth bool // elements are bools: 1 for anything but 0
}

// reader reads n raw bytes from the field's encoding r.
func (u unpacking) reader(r io.Reader, n int64) io.Reader {
	if u.width == 0 {
		return r
	}
	return &varintReader{r: bufio.NewReaderSize(r, 1<<16), unpacking: u, left: n}
}

// varintReader decodes varints to elements of a fixed width, cutting off the
// high bytes as ONNX asks.
type varintReader struct {
	unpacking
	r    *bufio.Reader
	left int64
}

var errCount = errors.New("the contents of a tensor do not match its dims")

func (v *varintReader) Read(p []byte) (int, error) {
	if v.left == 0 {
		if _, err := v.r.ReadByte(); err != io.EOF {
			return 0, errCount
		}
		return 0, io.EOF
	}
	if len(p) < v.width {
		return 0, io.ErrShortBuffer
	}
	n := 0
	for n+v.width <= len(p) && v.left > 0 {
		x, err := binary.ReadUvarint(v.r)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errCount
			}
			return n, err
		}
		if v.truth && x != 0 {
			x = 1
		}
		for k := range v.width {
			p[n+k] = byte(x >> (8 * k))
		}
		n += v.width
		v.left -= int64(v.width)
		if v.left < 0 {
			return n, errCount
		}
	}
	return n, nil
}
