//go:build !cgo || !(linux || darwin)

package runtime

import (
	"errors"
	"testing"
)

func TestBuiltWithoutORT(t *testing.T) {
	const want = "this program was built without ONNX Runtime: build it with CGO_ENABLED=1 and a C compiler, on Linux or macOS"
	if _, err := OpenORT(""); !errors.Is(err, ErrNoLibrary) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
