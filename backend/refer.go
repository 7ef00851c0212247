package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Runtimes look for external data in the folder of the model and below, and
// refuse locations and symbolic links that lead out of it. What loads is a hard
// link: the bundle shares the source's data files under their own names.

// refer enters the data files that sub-models refer to.
func (b *Bundle) refer(model string) error {
	fail := func(format string, args ...any) error {
		return &diag.Error{File: model, Msg: fmt.Sprintf(format, args...)}
	}
	taken := map[string]bool{strings.ToLower(ManifestFile): true}
	for _, s := range b.Manifest.Submodels {
		taken[strings.ToLower(s.File)] = true
	}
	known := map[string]bool{}
	for i, st := range b.data {
		for _, location := range st.refers {
			name := path.Clean(location)
			switch {
			case !plainName(name):
				return fail("the weights are in %q, in a folder of their own: sub-models can refer only to data files beside the model; move the file there, or choose other --weights", location)
			case !known[name] && taken[strings.ToLower(name)]:
				return fail("the weights are in %q, which is the name of a file of the bundle: rename it, or choose other --weights", location)
			}
			if refers := &b.Manifest.Submodels[i].References; !slices.Contains(*refers, name) {
				*refers = append(*refers, name)
			}
			if !known[name] {
				known[name], taken[strings.ToLower(name)] = true, true
				b.extra = append(b.extra, fileBody{name: name, link: filepath.Join(filepath.Dir(model), name)})
				b.Manifest.Files = append(b.Manifest.Files, File{File: name})
			}
		}
	}
	if len(known) > 0 {
		b.Manifest.Notes = append(b.Manifest.Notes, "the sub-models share data files with the source by hard links: who writes into one of them changes both")
	} else {
		return fail("it keeps its weights in the model file, and sub-models can refer only to external data: give it external data first, or choose other --weights")
	}
	return nil
}

// DataOf lists the files with the external weights of sub-model i: its own, or
// those of the source that it refers to.
func (m *Manifest) DataOf(i int) []File {
	s := &m.Submodels[i]
	var files []File
	if s.Data != nil {
		files = append(files, *s.Data)
	}
	for _, f := range m.Files {
		if slices.Contains(s.References, f.File) {
			files = append(files, f)
		}
	}
	return files
}

// link makes a hard link to a file and hashes it.
func (w *writing) link(ctx context.Context, f fileBody, p *progress) (sha string, size int64, err error) {
	fail := func(why string, err error) error {
		return &diag.Error{File: f.link, Msg: "the bundle cannot refer to it, since " + why + ": choose another output folder, or other --weights", Err: err}
	}
	real, err := filepath.EvalSymlinks(f.link)
	if err != nil {
		return "", 0, fail("it cannot be found", err)
	}
	to := filepath.Join(w.temp, f.name)
	if err := w.o.files.Link(real, to); err != nil {
		var le *os.LinkError
		if errors.As(err, &le) {
			err = le.Err
		}
		return "", 0, fail("the system makes no hard link to it; it must be on the same file system as the output", err)
	}
	info, err := os.Stat(to)
	if err != nil {
		return "", 0, err
	}
	sha, err = HashFile(ctx, to)
	p.advance(info.Size())
	return sha, info.Size(), err
}
