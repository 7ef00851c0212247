package onnxfile

import (
	"bytes"
	"unicode/utf8"
)

// signatures are the beginnings of files that are taken for ONNX models.
var signatures = []struct {
	at   int
	text string
	what string
}{
	{0, "version https://git-lfs", "a Git LFS pointer: fetch the model itself with git lfs pull"},
	{0, "\x1f\x8b", "a gzip archive: unpack it first"},
	{0, "PK\x03\x04", "a zip archive, as PyTorch and Keras save them: export the model to ONNX"},
	{0, "BZh", "a bzip2 archive: unpack it first"},
	{0, "\xfd7zXZ", "an xz archive: unpack it first"},
	{0, "\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"},
	{257, "ustar", "a tar archive: unpack it first"},
	{0, "\x80\x02", "a Python pickle, as PyTorch saved them: export the model to ONNX"},
	{0, "\x80\x04\x95", "a Python pickle: export the model to ONNX"},
	{0, "\x89HDF", "an HDF5 file, as Keras saves them: export the model to ONNX"},
	{0, "\x93NUMPY", "a NumPy array"},
	{0, "GGUF", "a GGUF file: export the model to ONNX"},
	{4, "TFL3", "a TensorFlow Lite model: export the model to ONNX"},
	{4, "ORTM", "an ONNX Runtime .ort file: give the ONNX model that it was made from"},
	{0, "ftrt", "a TensorRT engine: give the ONNX model that it was made from"},
	{0, "ptrt", "a TensorRT engine: give the ONNX model that it was made from"},
	{8, "{\"", "a safetensors file: export the model to ONNX"},
	{0, "\x7fELF", "a program"},
}

// sniffLen is how much of a file sniff wants to see.
const sniffLen = 512

// sniff says what a file that is no ONNX model looks like, "" if there is no
// telling. head is its beginning.
func sniff(head []byte) string {
	for _, s := range signatures {
		if len(head) > s.at && bytes.HasPrefix(head[s.at:], []byte(s.text)) {
			return s.what
		}
	}
	text := bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	lower := bytes.ToLower(bytes.TrimSpace(text))
	for _, tag := range []string{"<!doctype html", "<html", "<head"} {
		if bytes.HasPrefix(lower, []byte(tag)) {
			return "an HTML page, perhaps an error page: download the model again"
		}
	}
	if !readable(text) {
		return ""
	}
	switch {
	case bytes.HasPrefix(lower, []byte("<")):
		return "an XML file"
	case bytes.HasPrefix(lower, []byte("{")), bytes.HasPrefix(lower, []byte("[")):
		return "a JSON file"
	}
	return "a text file"
}

// readable says whether b, which may be cut off, is text.
func readable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && utf8.FullRune(b) {
			return false
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return false
		}
		b = b[n:]
	}
	return true
}
