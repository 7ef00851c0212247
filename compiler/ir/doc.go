// Package ir holds the types that pass between the stages of the compiler: the
// execution graph, the platform, costs, the problem made of these three, plans,
// and the text forms dnnsplit/graph/v1 and dnnsplit/plan/v1.
//
// It knows nothing of ONNX. It must not import protobuf, nor any package of
// this module but compiler/diag.
package ir
