// Package verify runs a model whole and as the sub-models of a bundle, and
// compares what comes out.
//
// With graph optimisation off, on one thread, both must agree bit for bit: the
// same kernels run on the same values, whoever runs them. With optimisation on,
// an engine fuses what it sees, and sees less of a sub-model than of the model:
// there the largest difference is reported and judged by nobody.
//
// There is one exception. ONNX Runtime computes float16 in float32 on most CPUs
// and rounds only what leaves a model, so that a split rounds where the whole
// model does not. Where float16 tensors are cut and the outputs differ, the
// model is run in pieces of its own, cut from its file where the sub-models are,
// and must agree with them bit for bit; the report says so.
//
// Where the user gives no inputs they are made from a seed: see Options. Models
// that need particular ones carry a hints file beside them, NAME.onnx.hints.json:
//
//	{"shapes": {"x": [1,3,320,320]},    shape of an input
//	 "sym":    {"batch": 2},            extent of a symbolic dimension
//	 "values": {"sr": 16000}}           contents of an input: one for all elements, or a flat list
package verify
