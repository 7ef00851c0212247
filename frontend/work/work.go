package work

import (
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
)

// Work is what one run of a node does. Counts saturate at math.MaxInt64.
type Work struct {
	FLOPs       int64 // arithmetic operations, a multiply-add counting two
	ReadBytes   int64 // inputs, weights included, each once
	WriteBytes  int64 // outputs
	WeightBytes int64 // the part of ReadBytes that are initializers

	// Elem is the type that the arithmetic is done in, for the processor's peak:
	// int8 for quantized operators, the type of the activations for 4-bit weights.
	Elem ir.ElemType

	Known   bool // false: nobody can size this operator, FLOPs are a stand-in (one an output element)
	Assumed bool // some shape or trip count is an assumption
}

// Of is the work of n, a node of s, nested graphs and function bodies included.
func Of(s *shape.Scope, n *onnxpb.NodeProto) Work { panic("skeleton") }

// Signature is a canonical text of everything that the cost of n depends on:
// domain, operator, the version of its meaning, attributes other than defaults,
// element types and concrete shapes of inputs and outputs, and contents of the
// small constant inputs that steer it. Nodes of equal signature cost the same on
// the same processor.
func Signature(s *shape.Scope, n *onnxpb.NodeProto) string { panic("skeleton") }
