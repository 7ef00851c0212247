//go:build cgo && (linux || darwin)

package runtime

import "testing"

// ONNX Runtime may come to know types that this program does not.
func TestUnknownElement(t *testing.T) {
	const want = "ONNX Runtime's element type 99 is not known here"
	if _, err := elemFromORT(99); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
