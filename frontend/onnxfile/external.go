package onnxfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// folder resolves external data beside a model. Its rules are those of the ONNX
// standard and of ONNX Runtime: a location is relative to the model's folder and
// must not leave it, neither by its spelling nor through symbolic links. As in
// ONNX Runtime the folder is the one that the model was named in or, where the
// model is itself a link, the one that the link leads to: download caches keep
// names in one folder and contents in another.
type folder struct {
	set   *files
	dir   string // as the caller named it
	bases []base // real folders
	known map[string]*found
	real  map[string]*file
}

type base struct {
	dir  string
	root *os.Root
}

type found struct {
	f   *file
	err error
}

func openFolder(set *files, model string) (*folder, error) {
	d := &folder{set: set, dir: filepath.Dir(model), known: map[string]*found{}, real: map[string]*file{}}
	named, err := filepath.EvalSymlinks(d.dir)
	if err != nil {
		return nil, err
	}
	target, err := filepath.EvalSymlinks(model)
	if err != nil {
		return nil, err
	}
	dirs := []string{named}
	if dir := filepath.Dir(target); dir != named {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
		r, err := set.root(dir)
		if err != nil {
			return nil, err
		}
		d.bases = append(d.bases, base{dir, r})
	}
	return d, nil
}

// spelling checks a location without looking at the file system.
func spelling(location string) error {
	switch {
	case location == "":
		return errors.New("its external data has no location")
	case strings.ContainsRune(location, 0):
		return fmt.Errorf("the location %q of its external data holds a NUL", location)
	case strings.ContainsRune(location, '\\'):
		return fmt.Errorf("the location %q of its external data holds a backslash: folders are separated by /", location)
	case strings.HasPrefix(location, "/") || filepath.IsAbs(location) || drive(location):
		return fmt.Errorf("the location %q of its external data is absolute: it must be relative to the model's folder", location)
	}
	for _, part := range strings.Split(location, "/") {
		if part == ".." {
			return fmt.Errorf("the location %q of its external data leads out of the model's folder", location)
		}
	}
	if strings.HasSuffix(location, "/") {
		return fmt.Errorf("the location %q of its external data is a folder", location)
	}
	return nil
}

// drive says whether a location starts like a path on Windows ("C:").
func drive(location string) bool {
	if len(location) < 2 || location[1] != ':' {
		return false
	}
	c := location[0] | 0x20
	return 'a' <= c && c <= 'z'
}

// find returns the file at a location.
func (d *folder) find(location string) (*file, error) {
	if err := spelling(location); err != nil {
		return nil, err
	}
	key := filepath.Clean(filepath.FromSlash(location))
	r := d.known[key]
	if r == nil {
		r = &found{}
		r.f, r.err = d.resolve(key, location)
		d.known[key] = r
	}
	return r.f, r.err
}

func (d *folder) resolve(key, location string) (*file, error) {
	real, err := filepath.EvalSymlinks(filepath.Join(d.dir, key))
	if err == nil {
		real, err = filepath.Abs(real)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("its external data file %q is not there: it belongs beside the model", location)
	case err != nil:
		return nil, fmt.Errorf("its external data file %q cannot be found: %w", location, err)
	}
	if f := d.real[real]; f != nil {
		return f, nil
	}
	for _, b := range d.bases {
		rel, err := filepath.Rel(b.dir, real)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		info, err := b.root.Stat(rel)
		switch {
		case err != nil:
			return nil, fmt.Errorf("its external data file %q cannot be read: %w", location, err)
		case info.IsDir():
			return nil, fmt.Errorf("the location %q of its external data is a folder", location)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("the location %q of its external data is no regular file", location)
		}
		f := d.set.add(filepath.Join(d.dir, key), info, func() (*os.File, error) { return b.root.Open(rel) })
		// It must be readable now, not only when the output is half written.
		if _, err := f.acquire(); err != nil {
			return nil, fmt.Errorf("its external data file %q cannot be read: %w", location, err)
		}
		f.release()
		d.real[real] = f
		return f, nil
	}
	return nil, fmt.Errorf("its external data file %q is a link that leads out of the model's folder", location)
}

// external finds the contents of a tensor outside the model file.
func (d *decoder) external(t *Tensor) error {
	var location, offset, length string
	var hasOffset, hasLength bool
	for _, e := range t.Proto.ExternalData {
		switch e.GetKey() {
		case "location":
			location = e.GetValue()
		case "offset":
			offset, hasOffset = e.GetValue(), true
		case "length":
			length, hasLength = e.GetValue(), true
		}
	}
	var off, n int64
	var err error
	if hasOffset {
		if off, err = decimal("offset", offset); err != nil {
			return err
		}
	}
	if hasLength {
		if n, err = decimal("length", length); err != nil {
			return err
		}
	}
	if err := spelling(location); err != nil {
		return err
	}
	if d.dir == nil {
		if d.dir, err = openFolder(d.m.files, d.m.Path); err != nil {
			return fmt.Errorf("the model's folder cannot be read: %w", err)
		}
	}
	f, err := d.dir.find(location)
	if err != nil {
		return err
	}
	if off > f.size {
		return fmt.Errorf("its external data starts at byte %d, past the end of %q, which has %d bytes", off, location, f.size)
	}
	e := elemOf(t.Proto.GetDataType())
	switch {
	case n == 0 && t.stored >= 0: // not given; ONNX Runtime takes 0 as not given, too
		n = t.stored
	case !hasLength:
		n = f.size - off
	case t.stored >= 0 && n != t.stored:
		return fmt.Errorf("its external data has %d bytes, but its dims %v need %s", n, t.Proto.Dims, e.amount(t.elems, t.stored))
	}
	if n > f.size-off {
		return fmt.Errorf("its external data needs %d bytes at byte %d of %q, which has only %d bytes", n, off, location, f.size)
	}
	t.DataField, t.External = tensorExternal, location
	t.Data = f.chunk(off, n)
	return nil
}

// decimal parses a number of external data.
func decimal(key, text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || text[0] == '+' {
		if len(text) > 40 {
			text = text[:40] + "..."
		}
		return 0, fmt.Errorf("the %s %q of its external data is no decimal number of bytes", key, text)
	}
	return int64(n), nil
}
