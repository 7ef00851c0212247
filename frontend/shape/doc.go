// Package shape infers the type, the shape and, where it matters for shapes, the
// contents of every value of a model.
//
// Extents are integer expressions over the symbols that the model declares
// ("past + seq", "2*N"). One pass over the nodes computes them; contents of small
// integer tensors travel with the types, so that shape arithmetic (Shape, Gather,
// Concat, Reshape and the like) stays exact. A second, cheap step evaluates the
// expressions with the user's bindings and stated assumptions to the extents and
// sizes that costs are made of. Neither step reads weights or allocates in
// proportion to a declared extent.
//
// A Value thus has two faces. Type holds whatever the model feeds on: it is what
// sub-models declare. Dims and Bytes hold for the bound shapes only.
package shape
