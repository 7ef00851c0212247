package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// Options say what to export and how.
type Options struct {
	Bundle string // the bundle's folder
	To     string // one of Targets
	Output string // the folder to write; "": the bundle's path with the target behind a dot
	Force  bool   // replace an output folder even if it is no export

	Model string // the source model, where a target needs it; "": see backend.FindModel
	Name  string // of the exported model or pipeline; "": the model file's name without extension

	GPUs   map[string]int     // triton: GPU index by processor; others have the index among their device's GPUs
	Hosts  map[string]string  // nnstreamer: network address by device; others have "localhost"
	Dims   map[string]int64   // nnstreamer: sizes of symbolic dimensions, which must be static there
	Shapes map[string][]int64 // nnstreamer: the same for whole values, by name
	Port   int                // nnstreamer: the first of the ports; 0: 5001

	Limits onnxfile.Options // on the model and the sub-models

	// Progress, if not nil, is called as bytes are written: see backend.WriteOptions.
	Progress func(done float64, note string)
}

// Result is what an export did.
type Result struct {
	Output string   `json:"output"` // the folder
	Files  []string `json:"files"`  // in it, slash-separated
	Notes  []string `json:"notes"`  // what the user should know, a sentence each
	Text   string   `json:"text"`   // what the user needs to use the export, for standard output; lines
}

// target is one format.
type target struct {
	name, what string
	plan       func(*job, context.Context) error
}

// targets lists the formats.
func targets() []target {
	return []target{
		{"triton", "a Triton model repository with an ensemble", (*job).triton},
		{"nnstreamer", "NNStreamer launch lines for each device", (*job).nnstreamer},
		{"annotated", "the whole model in one file, every node marked with its place", (*job).annotated},
		{"runner", "example scripts that run the bundle, in Python and Node", (*job).runner},
		{"dot", "drawings for Graphviz: all nodes, and sub-models with what travels", (*job).dot},
	}
}

// Target is a format that a bundle can be exported to.
type Target struct{ Name, What string }

// Targets lists the formats.
func Targets() []Target {
	list := targets()
	out := make([]Target, len(list))
	for i, t := range list {
		out[i] = Target{t.name, t.what}
	}
	return out
}

// job is one export in the making: targets add files to it.
type job struct {
	Options
	*source
	files   []backend.FolderFile
	sources []string // files that are read while the export is written
	notes   []string
	text    strings.Builder
	closers []io.Closer
}

// Run exports a bundle. Errors are *diag.Error or a diag.List of them; then
// nothing has been written.
func Run(ctx context.Context, o Options) (*Result, error) {
	var to *target
	list := targets()
	names := make([]string, 0, len(list))
	for _, t := range list {
		names = append(names, t.name)
		if t.name == o.To {
			to = &t
		}
	}
	if to == nil {
		return nil, &diag.Error{File: o.Bundle, Msg: fmt.Sprintf("there is no export to %q, there are %s", o.To, strings.Join(names, ", "))}
	}
	s, err := openSource(o.Bundle)
	if err != nil {
		return nil, err
	}
	if err := s.checkNames(&o); err != nil {
		return nil, err
	}
	if o.Output == "" {
		o.Output = filepath.Clean(o.Bundle) + "." + o.To
	}
	if o.Name == "" {
		o.Name = strings.TrimSuffix(filepath.Base(s.m.Model.File), ".onnx")
	}
	j := &job{Options: o, source: s, sources: []string{filepath.Join(o.Bundle, backend.ManifestFile)}}
	defer func() {
		for _, c := range j.closers {
			_ = c.Close() // they were only read
		}
	}()
	if err := to.plan(j, ctx); err != nil {
		return nil, err
	}
	return j.write(ctx)
}

// checkNames refuses options for processors and devices that are not there.
func (s *source) checkNames(o *Options) error {
	var problems diag.List
	for _, name := range slices.Sorted(maps.Keys(o.GPUs)) {
		if _, ok := s.procs[name]; !ok {
			problems = append(problems, &diag.Error{File: s.dir, Msg: fmt.Sprintf("a GPU is given for %q, which is no processor of the bundle", name)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Hosts)) {
		if !slices.ContainsFunc(s.m.Devices, func(d backend.Device) bool { return d.Name == name }) {
			problems = append(problems, &diag.Error{File: s.dir, Msg: fmt.Sprintf("a host is given for %q, which is no device of the bundle", name)})
		}
	}
	return problems.Err()
}

// addText adds a file of a few lines.
func (j *job) addText(name, text string) {
	j.files = append(j.files, backend.FolderFile{Name: name, Bytes: int64(len(text)), Write: func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}})
}

// copyFile adds a copy of a file of the bundle, whose contents must be what the
// manifest says.
func (j *job) copyFile(name, from, sha string, bytes int64) {
	path := filepath.Join(j.dir, from)
	j.sources = append(j.sources, path)
	j.files = append(j.files, backend.FolderFile{Name: name, Bytes: bytes, SHA256: sha, Write: func(w io.Writer) error {
		return copyTo(w, path)
	}})
}

func copyTo(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &diag.Error{File: path, Msg: "cannot be read", Err: err}
	}
	defer f.Close()
	_, err = io.CopyBuffer(w, f, make([]byte, 1<<18))
	return err
}

// notef adds a note.
func (j *job) notef(format string, args ...any) {
	j.notes = append(j.notes, fmt.Sprintf(format, args...))
}

// ListFile is the name of the list of files in the folder of an export.
const ListFile = "dnnsplit-export.json"

// listSchema names the format of ListFile.
const listSchema = "dnnsplit/export/v1"

// list is what ListFile holds.
type list struct {
	Schema string   `json:"schema"`
	To     string   `json:"to"`
	Model  string   `json:"model"`  // file name of the source model
	SHA256 string   `json:"sha256"` // of the source model
	Files  []string `json:"files"`  // this one included
	Notes  []string `json:"notes"`
}

// write puts the export on disk.
func (j *job) write(ctx context.Context) (*Result, error) {
	l := list{Schema: listSchema, To: j.To, Model: j.m.Model.File, SHA256: j.m.Model.SHA256, Notes: append([]string{}, j.notes...)}
	for _, f := range j.files {
		l.Files = append(l.Files, f.Name)
	}
	slices.Sort(l.Files)
	l.Files = append(l.Files, ListFile)
	body, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		return nil, err
	}
	r := &Result{Output: j.Output, Notes: l.Notes, Text: j.text.String()}
	j.addText(ListFile, string(body)+"\n")
	for _, f := range j.files {
		r.Files = append(r.Files, f.Name)
	}
	f := &backend.Folder{What: "export", Files: j.files, Sources: j.sources, Ours: listed}
	return r, f.Write(ctx, j.Output, backend.WriteOptions{Force: j.Force, Progress: j.Progress})
}

// maxListBytes bounds what is read as a list of files.
const maxListBytes = 1 << 26

// listed are the files of the export in a folder, nil if there is none.
func listed(dir string) []string {
	f, err := os.Open(filepath.Join(dir, ListFile))
	if err != nil {
		return nil
	}
	defer f.Close()
	var l list
	if json.NewDecoder(io.LimitReader(f, maxListBytes)).Decode(&l) != nil || l.Schema != listSchema {
		return nil
	}
	return l.Files
}
