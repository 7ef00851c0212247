package compiler_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// TestBadFiles gives every bad file of the test models to the whole compiler:
// what must be refused is, with a sentence, and nothing takes long, much memory
// or a file outside the model's folder.
func TestBadFiles(t *testing.T) {
	const (
		patience = time.Minute // many times what any takes on a busy machine
		memory   = 1 << 30     // allocated in all, freed memory included
	)
	for _, f := range onnxtest.BadFiles() {
		t.Run(f.Name, func(t *testing.T) {
			path, err := f.WriteTo(t.TempDir())
			if err != nil {
				if len(f.Links) > 0 {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = corpus.CutModel(ctx, path, filepath.Join(t.TempDir(), "out"), corpus.Thirds, 1, frontend.Options{})
			runtime.ReadMemStats(&after)
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				t.Fatalf("it took more than %v", patience)
			case err == nil && f.Answer == onnxtest.Refuse:
				t.Error("it was accepted")
			case err != nil && f.Answer == onnxtest.Accept:
				t.Errorf("it was refused: %v", err)
			}
			if err != nil {
				checkSentence(t, err.Error(), path, f.Says)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > memory {
				t.Errorf("it took %d MB of memory", got>>20)
			}
		})
	}
}

// checkSentence wants an error that names the file and holds says.
func checkSentence(t *testing.T, msg, path, says string) {
	t.Helper()
	for i, line := range strings.Split(msg, "\n") {
		switch {
		case i == 0 && !strings.HasPrefix(line, path+": "):
			t.Errorf("the error does not begin with the file: %s", line)
		case strings.HasSuffix(line, "."), len(line) > 1000+len(path):
			t.Errorf("the error is no short sentence without full stop: %.2000s", line)
		}
	}
	if !strings.Contains(msg, says) {
		t.Errorf("the error does not say %q: %.2000s", says, msg)
	}
	if strings.Contains(msg, "internal error") {
		t.Errorf("the file breaks an invariant: %.2000s", msg)
	}
}
