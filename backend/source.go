package backend

import (
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// FindModel is the path of the model that a bundle was split from: the file that
// the user named, or else the one of the manifest's name beside the bundle's
// folder, in the working directory, or in the bundle. It does not read the file.
func FindModel(named, dir string, m *Manifest) (string, error) {
	if named != "" {
		return named, nil
	}
	if m.Model.File == "" {
		return "", &diag.Error{File: filepath.Join(dir, ManifestFile), Msg: "the manifest names no model, name one with --model"}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	for _, path := range []string{filepath.Join(filepath.Dir(abs), m.Model.File), m.Model.File, filepath.Join(dir, m.Model.File)} {
		if st, err := os.Stat(path); err == nil && !st.IsDir() {
			return path, nil
		}
	}
	return "", &diag.Error{File: m.Model.File, Msg: "the model that was split is neither beside the bundle nor in the working directory, name it with --model"}
}
