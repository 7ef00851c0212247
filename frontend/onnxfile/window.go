package onnxfile

import "io"

const (
	windowMin = 4 << 10   // read at once after a jump
	windowMax = 256 << 10 // read at once in a sequence
)

// window gives sight of a file through a buffer. It reads ahead more and more
// while it moves forward in small steps, and little after a jump over a large
// tensor, so that neither small fields nor skipped ones cost a read of their own.
type window struct {
	src   io.ReaderAt
	size  int64 // of the file
	off   int64 // of buf
	buf   []byte
	ahead int
}

// at returns the n bytes from pos on, which must lie in the file. The result is
// valid until the next call.
func (w *window) at(pos int64, n int) ([]byte, error) {
	if i := pos - w.off; i >= 0 && i+int64(n) <= int64(len(w.buf)) {
		return w.buf[i : i+int64(n)], nil
	}
	near := pos >= w.off && pos-w.off-int64(len(w.buf)) < windowMin
	switch {
	case near && w.ahead > 0:
		w.ahead = min(2*w.ahead, windowMax)
	default:
		w.ahead = windowMin
	}
	want := int(min(int64(max(n, w.ahead)), w.size-pos))
	if want > cap(w.buf) {
		w.buf = make([]byte, want)
	}
	w.buf, w.off = w.buf[:want], pos
	got, err := w.src.ReadAt(w.buf, pos)
	if got < want || got < n {
		w.buf = w.buf[:0]
		if err == nil {
			err = io.EOF
		}
		return nil, unexpected(err)
	}
	return w.buf[:n], nil
}

// appendTo appends the part [pos, end) to b.
func (w *window) appendTo(b []byte, pos, end int64) ([]byte, error) {
	for pos < end {
		n := int(min(end-pos, windowMax))
		p, err := w.at(pos, n)
		if err != nil {
			return b, err
		}
		b = append(b, p...)
		pos += int64(n)
	}
	return b, nil
}
