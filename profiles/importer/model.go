package importer

import "github.com/dnnsplit/dnnsplit/compiler/ir"

// Model is what an import needs to know of a model.
type Model struct {
	File  string
	Nodes []Node // that run, in topological order
	Units []Unit // what is priced as a whole; they cover every node once

	// Constants are the nodes that depend on stored values only, or that no output
	// depends on, in topological order. They have no price: who uses them holds a copy.
	// A runtime without optimisation runs them all the same.
	Constants []Node

	// Inputs are the values that the model is given.
	Inputs []string
}

// Node is an operation as profiles can tell it from others.
type Node struct {
	Index   int      // in the model's node list
	Listed  int      // in that list without its Constant nodes, which ONNX Runtime turns into initializers
	Name    string   // in the file; may be empty, and several nodes may share it
	Label   string   // unique, for reports
	Op      string   // operator without its domain
	Domain  string   // "" is the default domain
	Inputs  []string // values, those that nested graphs capture included; absent ones left out
	Outputs []string // values; absent ones left out
	// Types are the outputs' types, such as float32[1,64,56,56]; "" where it is not
	// known for certain.
	Types []string
	// Inner are the names of the nodes in nested graphs or in the function that is
	// called, at any depth; Nested says that there are some.
	Inner  []string
	Nested bool
	// Inlined is the name inside the function of a node that took the place of a call.
	Inlined string

	Signature    string
	Elem         ir.ElemType
	FLOPs, Bytes int64 // as in a cost file
	View         bool  // moves nothing: runtimes drop it or alias its input
	Shapes       bool  // computes with shapes: whole numbers, a few of them
}

// Unit is what one entry of a cost file is about: a node, or a group that is
// priced as one.
type Unit struct {
	Nodes        []int // indices into Model.Nodes, ascending
	Signature    string
	Op, Domain   string
	Elem         ir.ElemType
	FLOPs, Bytes int64
}
