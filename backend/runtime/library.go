package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sort"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// LibraryEnv is the environment variable that names ONNX Runtime's shared
// library, or the folder that holds it.
const LibraryEnv = "ONNXRUNTIME_LIB"

// libraryFolder is where the build puts ONNX Runtime: beside go.mod, and beside an installed program.
const libraryFolder = ".ort"

// howToGet ends every error about a missing library.
const howToGet = "install ONNX Runtime, for instance with npm install onnxruntime-node, and name libonnxruntime with --ort-lib or $" + LibraryEnv

// ErrNoLibrary is wrapped by the errors of OpenORT that mean: there is no ONNX
// Runtime here, another engine may do.
var ErrNoLibrary = errors.New("ONNX Runtime is not available")

// noLibrary is an error that wraps ErrNoLibrary under a sentence of its own.
type noLibrary struct{ msg string }

func (e *noLibrary) Error() string { return e.msg }
func (e *noLibrary) Unwrap() error { return ErrNoLibrary }

// libraryNames are the file names of ONNX Runtime on this system, the best first.
func libraryNames() []string {
	switch goruntime.GOOS {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin", "ios":
		return []string{"libonnxruntime.1.dylib", "libonnxruntime.dylib"}
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so"}
}

// inFolder is ONNX Runtime's library in dir, "" if there is none. Files with a
// full version in their name count where the short names are missing.
func inFolder(dir string) string {
	for _, name := range libraryNames() {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path
		}
	}
	pattern := "libonnxruntime.so.*"
	if goruntime.GOOS == "darwin" {
		pattern = "libonnxruntime.*.dylib"
	}
	found, _ := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
	if len(found) == 0 {
		return ""
	}
	sort.Strings(found)
	return found[len(found)-1]
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// findLibrary lists the libraries to try, in order. A library that is named, by
// the caller or the environment, is the only one: a wrong name is an error, not
// a reason to load something else. looked says where it looked, for the error.
func findLibrary(explicit string) (try, looked []string, err error) {
	named, how := explicit, ""
	if named == "" {
		if named = os.Getenv(LibraryEnv); named != "" {
			how = "$" + LibraryEnv + " names "
		}
	}
	if named != "" {
		st, err := os.Stat(named)
		switch {
		case err != nil && how == "" && !strings.ContainsRune(named, os.PathSeparator):
			return []string{named}, []string{named}, nil // a bare name: the system's loader may know it
		case err != nil:
			return nil, nil, &diag.Error{File: named, Msg: how + "no ONNX Runtime library: there is no such file; " + howToGet, Err: nil}
		case st.IsDir():
			path := inFolder(named)
			if path == "" {
				return nil, nil, &diag.Error{File: named, Msg: how + "a folder without ONNX Runtime: it holds no " + libraryNames()[0]}
			}
			return []string{path}, nil, nil
		}
		return []string{named}, nil, nil
	}
	var dirs []string
	if wd, err := os.Getwd(); err == nil {
		dirs = append(dirs, wd)
		if root := moduleRoot(wd); root != "" && root != wd {
			dirs = append(dirs, root)
		}
	}
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dirs = append(dirs, filepath.Dir(exe))
	}
	seen := map[string]bool{}
	for _, dir := range dirs {
		dir = filepath.Join(dir, libraryFolder)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if path := inFolder(dir); path != "" {
			try = append(try, path)
		} else {
			looked = append(looked, dir)
		}
	}
	return append(try, libraryNames()...), looked, nil
}

// moduleRoot is the nearest folder at or above dir that holds a go.mod, "" if none does.
func moduleRoot(dir string) string {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

// resolve is path without links and relative parts; a bare name stays as it is.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if abs, err := filepath.Abs(path); err == nil && strings.ContainsRune(path, filepath.Separator) {
		path = abs
	}
	return path
}

// notFound is the error when nothing that was tried could be loaded. What the
// system's loader says of a library that it does not have is left out.
func notFound(looked, failed []string) error {
	broken := slices.DeleteFunc(slices.Clone(failed), func(why string) bool {
		return strings.Contains(strings.ToLower(why), "no such file")
	})
	why := ""
	if len(broken) > 0 {
		why = " (" + strings.Join(broken, "; ") + ")"
	}
	places := "the folders of the system"
	if len(looked) > 0 {
		places = strings.Join(looked, ", ") + " or " + places
	}
	return &noLibrary{fmt.Sprintf("no ONNX Runtime library found in %s%s; %s", places, why, howToGet)}
}
