// Package runtime runs ONNX models on this machine: the ground truth that a
// split is compared with, and what op costs are measured on.
//
// An Engine loads models into Sessions; a Session takes and gives Values. There
// are two engines: ONNX Runtime, a shared library found when the program runs
// (OpenORT), and a pure-Go engine for plain convolutional networks (OpenGo).
//
// Values are plain Go data, copied in and out, so that nothing of an engine
// outlives a call and tests can compare them byte by byte. Where copies would
// spoil a measurement, Held values stay in the engine and a Call is a run made
// ready once. Bind keeps a thread, and the threads that an engine starts from it,
// on given cores.
package runtime
