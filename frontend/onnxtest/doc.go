// Package onnxtest builds ONNX models in Go: a builder for any model, the
// architectures that papers and benchmarks use at full size, small models that
// are odd in one way each, and random ones.
//
// Weights are seeded and never all in memory: each tensor is generated while the
// model is written, so models of several GiB cost no more than their structure.
// They are scaled such that activations stay finite and the outputs depend on
// the inputs through the whole depth: a wrong split shows in the outputs.
// One seed gives the same bytes on every machine.
//
// The package is for tests, benchmarks and samples; nothing that compiles models
// may import it. Wrong use of the builder (not wrong input) panics through diag.Bugf.
package onnxtest
