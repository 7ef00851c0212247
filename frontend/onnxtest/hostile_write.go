package onnxtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// WriteTo lays the file out below dir, with all that belongs to it, and returns
// the path of the model: dir/model/model.onnx.
func (f BadFile) WriteTo(dir string) (string, error) {
	folder := filepath.Join(dir, "model")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	put := func(folder string, files map[string][]byte) error {
		var names []string
		for name := range files {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			path := filepath.Join(folder, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, files[name], 0o644); err != nil {
				return err
			}
		}
		return nil
	}
	if err := put(folder, f.Beside); err != nil {
		return "", err
	}
	if err := put(dir, f.Outside); err != nil {
		return "", err
	}
	var names []string
	for name := range f.Links {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := os.Symlink(f.Links[name], filepath.Join(folder, name)); err != nil {
			return "", fmt.Errorf("no symbolic link can be made: %w", err)
		}
	}
	path := filepath.Join(folder, "model.onnx")
	return path, os.WriteFile(path, f.Bytes, 0o644)
}
