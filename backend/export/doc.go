// Package export turns a bundle into what other tools take: a Triton model
// repository, NNStreamer launch lines, one annotated ONNX model, scripts that run
// the bundle, and drawings for Graphviz.
//
// An export reads a bundle from its manifest, and from nothing that only a
// compilation knows. What a target cannot express is found before anything is
// written, and all that is found is reported at once. Output is written as bundles
// are, all of it or nothing, and is a function of the bundle and the options.
package export
