package backend

import (
	"context"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Folder describes files that are written together, as a bundle's are: all of
// them or none.
type Folder struct {
	What    string       // what the folder is, for messages: "export"
	Files   []FolderFile // in any order
	Sources []string     // files that Write reads: the output must not hold them

	// Ours lists what an earlier run wrote into an existing folder, as slash-separated
	// relative paths; nil if nothing says that one did. A folder that holds nothing
	// else is replaced.
	Ours func(dir string) []string
}

// FolderFile is one file of a Folder.
type FolderFile struct {
	Name   string // slash-separated, relative to the folder
	Bytes  int64  // how large it will be, for progress and order
	SHA256 string // of its contents, if known: others are an error
	Write  func(io.Writer) error
}

// Write writes the folder in the way of Bundle.Write. Errors are *diag.Error.
func (f *Folder) Write(ctx context.Context, dir string, o WriteOptions) error {
	w := &writing{o: o, what: f.What, sources: f.Sources, ours: f.Ours}
	return w.put(ctx, dir, func(ctx context.Context) error {
		jobs := make([]job, len(f.Files))
		wrong := make([]error, len(f.Files))
		for i, file := range f.Files {
			jobs[i] = job{file.Name, file.Bytes, file.Write, func(sha string, _ int64) {
				if file.SHA256 != "" && !strings.EqualFold(sha, file.SHA256) {
					wrong[i] = &diag.Error{File: file.Name, Msg: fmt.Sprintf("its source has changed: the SHA-256 is %s, it should be %s", sha, file.SHA256)}
				}
			}}
		}
		folders, err := w.folders(f.Files)
		if err != nil {
			return err
		}
		if err := parallel(ctx, w.tasks(jobs)); err != nil {
			return err
		}
		for _, err := range wrong {
			if err != nil {
				return err
			}
		}
		for _, dir := range folders {
			if err := w.o.files.SyncDir(dir); err != nil {
				return err
			}
		}
		return w.o.files.SyncDir(w.temp)
	})
}

// folders makes the folders of the files below the temporary one, and returns
// them, inner ones first.
func (w *writing) folders(files []FolderFile) ([]string, error) {
	var names []string
	for _, f := range files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) || path.Clean(f.Name) != f.Name {
			diag.Bugf("a folder cannot have a file %q", f.Name)
		}
		for d := path.Dir(f.Name); d != "."; d = path.Dir(d) {
			names = append(names, d)
		}
	}
	slices.Sort(names) // a folder stands before those in it
	names = slices.Compact(names)
	for i, d := range names {
		names[i] = filepath.Join(w.temp, filepath.FromSlash(d))
		if err := w.o.files.Mkdir(names[i]); err != nil {
			return nil, err
		}
	}
	slices.Reverse(names)
	return names, nil
}
