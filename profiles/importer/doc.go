// Package importer turns what runtimes say about the time of their kernels into
// measured costs: profiles of ONNX Runtime, TensorRT's trtexec and OpenVINO's
// benchmark_app.
//
// Runtimes fuse, rename, split and insert nodes before they run a graph, so a
// profile does not speak of the nodes of the model. The import has three steps:
// a reader makes layers (what ran, and how long in a run) from the file; layers
// are attributed to nodes of the model, by name where the runtime kept one and by
// structure where it did not; and the times of nodes become entries of a cost
// file, one for each unit that is priced as a whole. Whatever is not attributed is
// in the coverage report with its reason.
//
// The package knows nothing of ONNX files: the model comes to it as names, values
// and amounts of work.
package importer
