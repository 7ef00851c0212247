// Package sched is the execution model: what a plan costs in time and memory.
//
// Evaluate computes it from scratch and in full; it is the definition that the
// rest is held against. State keeps it up to date while a search moves nodes
// between sub-models, and agrees with Evaluate to the picosecond.
//
// The model in short. A sub-model is one blocking run on one processor: launch,
// uploads, nodes, downloads. It starts as soon as the run before it on its
// processor has ended and every value that it needs is in the host memory of its
// device, or in the processor's memory from an earlier run. A value goes to
// another device once, along the route of least idle time; a link, or the links
// of one medium, serve one transfer at a time, first come first served.
//
// Time is whole picoseconds: each term is rounded by itself, half to even, and
// sums are exact. What happens at one instant happens in rounds: first all ends
// of runs, arrivals and starts of runs, until nothing more follows from them;
// then every idle channel takes the waiting transfer with the least (moment when
// it became ready, value, destination); then again.
package sched
