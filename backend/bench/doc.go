// Package bench runs a bundle for real on this machine and holds what it takes
// against what was predicted, against the whole model on each processor and
// against ONNX Runtime's own ways to use several cores.
//
// Every processor of the bundle that is mapped to cores gets a worker: a thread
// that is bound to them, loads the processor's sub-models and runs them. Threads
// that ONNX Runtime starts for a session inherit the cores. Sub-models hand
// tensors to one another in the engine's memory, without a copy. Links between
// devices cost nothing unless they are emulated: a tensor then becomes visible on
// the other device when a link of that latency and bandwidth would have brought it.
//
// What is compared is run in turns, many times within the same minute, so that
// what else happens on the machine meets all of them; medians are taken.
package bench
