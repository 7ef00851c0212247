package onnxfile

import (
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// scattered is the contents of a tensor whose elements stand in several fields
// of number num: not packed, or packed in pieces. Strings come with their tags.
type scattered struct {
	f   *file
	in  []extent // encodings of the tensor
	num protowire.Number
}

func (s *scattered) open(off, n int64) io.Reader {
	r := &scatteredReader{s: s, w: window{src: s.f, size: s.f.size}, skip: off, left: n}
	if len(s.in) > 0 {
		r.at = s.in[0]
	}
	return r
}

type scatteredReader struct {
	s    *scattered
	w    window
	i    int    // in s.in
	at   extent // what is left of s.in[i]
	body extent // what is left of the current field
	skip int64
	left int64
}

func (r *scatteredReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	done := 0
	for done < len(p) && r.left > 0 {
		if r.body.pos == r.body.end {
			if err := r.advance(); err != nil {
				return done, err
			}
			continue
		}
		n := int(min(int64(len(p)-done), r.body.end-r.body.pos, r.left, windowMax))
		b, err := r.w.at(r.body.pos, n)
		if err != nil {
			return done, err
		}
		copy(p[done:], b)
		done += n
		r.body.pos += int64(n)
		r.left -= int64(n)
	}
	return done, nil
}

// advance finds the next field.
func (r *scatteredReader) advance() error {
	for r.at.pos == r.at.end {
		if r.i++; r.i >= len(r.s.in) {
			return io.ErrUnexpectedEOF
		}
		r.at = r.s.in[r.i]
	}
	f, err := r.w.next(r.at.pos, r.at.end)
	if err != nil {
		return err
	}
	r.at.pos = f.end
	if f.num != r.s.num {
		return nil
	}
	r.body = extent{f.body, f.end}
	if f.num == tensorStrings {
		r.body.pos = f.start
	}
	skip := min(r.skip, r.body.end-r.body.pos)
	r.body.pos += skip
	r.skip -= skip
	return nil
}
