package compiler_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler"
)

// bundleOf compiles a model into a new folder and returns its files.
func bundleOf(ctx context.Context, o compiler.Options) (files map[string]string, r *compiler.Result, err error) {
	if o.Devices == "" {
		o.Devices = "../profiles"
	}
	r, err = compiler.Compile(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	if err := r.Write(ctx); err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(o.Output)
	if err != nil {
		return nil, nil, err
	}
	files = map[string]string{}
	for _, e := range entries {
		body, err := os.ReadFile(filepath.Join(o.Output, e.Name()))
		if err != nil {
			return nil, nil, err
		}
		files[e.Name()] = string(body)
	}
	return files, r, nil
}

// sameFiles fails unless two bundles are the same byte for byte.
func sameFiles(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, body := range want {
		if other, ok := got[name]; !ok {
			t.Errorf("%s: there is no %s", what, name)
		} else if other != body {
			t.Errorf("%s: %s has other bytes", what, name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: there are %d files, want %d", what, len(got), len(want))
	}
}

// Compilations side by side in one process, of different models and of the same
// one, write what each writes alone, and one that is cancelled disturbs no other.
func TestSideBySide(t *testing.T) {
	var models []string
	for _, name := range []string{"small/googlenet", "small/bert_base", "chain=300"} {
		models = append(models, write(t, name))
	}
	var alone []map[string]string
	for _, m := range models {
		files, _, err := bundleOf(t.Context(), compiler.Options{Model: m, SkipAuto: true, Output: filepath.Join(t.TempDir(), "out")})
		if err != nil {
			t.Fatal(err)
		}
		alone = append(alone, files)
	}
	var wg sync.WaitGroup
	for i := range 2 * len(models) {
		out := filepath.Join(t.TempDir(), "out")
		wg.Go(func() {
			files, _, err := bundleOf(t.Context(), compiler.Options{Model: models[i%len(models)], SkipAuto: true, Output: out})
			if err != nil {
				t.Error(err)
				return
			}
			sameFiles(t, "side by side", files, alone[i%len(models)])
		})
	}
	stopped := filepath.Join(t.TempDir(), "out")
	wg.Go(func() {
		ctx, cancel := context.WithCancel(t.Context())
		_, _, err := bundleOf(ctx, compiler.Options{Model: models[0], Output: stopped, Progress: func(p compiler.Progress) {
			if p.Stage == "place" {
				cancel()
			}
		}})
		cancel()
		if err == nil {
			t.Error("the cancelled compilation ends without an error")
		}
	})
	wg.Wait()
	if _, err := os.Stat(stopped); err == nil {
		t.Error("the cancelled compilation has written its bundle")
	}
	noneLeft(t, "after compilations side by side")
}
