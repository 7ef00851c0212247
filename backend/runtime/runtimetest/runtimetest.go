// Package runtimetest opens runtimes for the tests of other packages.
package runtimetest

import (
	"errors"
	"os"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// RequireEnv is the environment variable that makes ONNX Runtime a must: make test sets it.
const RequireEnv = "DNNSPLIT_REQUIRE_ORT"

// Required says whether a test without ONNX Runtime fails instead of being skipped.
func Required() bool { return os.Getenv(RequireEnv) != "" }

// ORT is ONNX Runtime. Where there is none the test is skipped, unless one is
// Required; one that is there and does not load fails the test.
func ORT(t testing.TB) runtime.Engine {
	t.Helper()
	eng, err := runtime.OpenORT("")
	if err != nil {
		if errors.Is(err, runtime.ErrNoLibrary) && !Required() {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	return eng
}
