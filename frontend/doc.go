// Package frontend turns an ONNX model and a fleet of devices into a placement
// problem: it resolves names, orders nodes, finds what is constant or dead,
// infers shapes, counts work, and prices every node on every processor.
//
// It is the last package that sees both ONNX and hardware; passes get an
// ir.Problem and the back end gets an ir.Lowered. It must not import passes or backend.
package frontend
