// Package verify runs a model whole and as the sub-models of a bundle, and
// compares what comes out.
//
// With graph optimisation off, on one thread, both must agree bit for bit: the
// same kernels run on the same values, whoever runs them. With optimisation on,
// an engine fuses what it sees, and sees less of a sub-model than of the model:
// there the largest difference is reported and judged by nobody.
//
// Where the user gives no inputs they are made from a seed: see Options. Models
// that need particular ones carry a hints file beside them, NAME.onnx.hints.json:
//
//	{"shapes": {"x": [1,3,320,320]},    shape of an input
//	 "sym":    {"batch": 2},            extent of a symbolic dimension
//	 "values": {"sr": 16000}}           contents of an input: one for all elements, or a flat list
package verify
