// Package onnxpb holds the generated bindings of the ONNX wire format (onnx.proto).
//
// It is the only package that defines ONNX messages; nothing in compiler/ir or
// passes may import it. Unknown fields are kept and written back.
package onnxpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative onnx.proto
