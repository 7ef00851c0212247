package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// fileSum is the SHA-256 of a file, in hex. It stops when ctx is done.
func fileSum(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &diag.Error{File: path, Msg: "cannot be read", Err: cause(err)}
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.CopyBuffer(h, stopReader{ctx, f}, make([]byte, 1<<20)); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", &diag.Error{File: path, Msg: "cannot be read", Err: cause(err)}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stopReader reads until ctx is done.
type stopReader struct {
	ctx context.Context
	r   io.Reader
}

func (s stopReader) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}

// CheckFiles compares every file that the manifest m of the bundle in dir describes,
// and the model that it was made of, with what is there. It returns a sentence for
// each that has changed; a missing one is an error.
func CheckFiles(ctx context.Context, dir string, m *backend.Manifest, model string) ([]string, error) {
	var problems []string
	check := func(path, want, what string) error {
		got, err := fileSum(ctx, path)
		if err == nil && want != "" && !strings.EqualFold(got, want) {
			problems = append(problems, fmt.Sprintf("%s %s: its SHA-256 is %s, the manifest says %s", path, what, got, want))
		}
		return err
	}
	for _, s := range m.Submodels {
		if err := check(filepath.Join(dir, s.File), s.SHA256, "is not the file that was written"); err != nil {
			return nil, err
		}
		if s.Data != nil {
			if err := check(filepath.Join(dir, s.Data.File), s.Data.SHA256, "is not the file that was written"); err != nil {
				return nil, err
			}
		}
	}
	shared := map[string]bool{}
	for _, s := range m.Submodels {
		for _, name := range s.References {
			shared[name] = true
		}
	}
	for _, f := range m.Files {
		if shared[f.File] {
			if err := check(filepath.Join(dir, f.File), f.SHA256, "is not the file that the sub-models refer to"); err != nil {
				return nil, err
			}
		}
	}
	if err := check(model, m.Model.SHA256, "is not the model that was split"); err != nil {
		return nil, err
	}
	return problems, nil
}
