//go:build !cgo || !(linux || darwin)

package runtime

// OpenORT fails: this build has no ONNX Runtime in it.
func OpenORT(library string) (Engine, error) {
	return nil, &noLibrary{"this program was built without ONNX Runtime: build it with CGO_ENABLED=1 and a C compiler, on Linux or macOS"}
}
