// Package bound computes lower bounds: values that no feasible plan can beat,
// whatever its sub-models and replicas.
//
//   - Path: the longest path, with what it must pay to change processor.
//   - Area: all work, shared by all processors.
//   - Chain: the runs that a plan must walk through, each one blocking call, as
//     often as processors may have one and where memory has room, and the runs
//     beside them that it takes to do two things at once.
//   - Suppose: what follows if some plan takes at most a time, along any path (trail)
//     and for whole runs (inference), with branch and bound where nothing more follows.
//   - Labels: all work with what cuts cost, replicas or not, and what cannot be
//     if nothing takes longer than a supposed value.
//   - Knapsack: what each processor can own within a supposed value, as whole
//     nodes, which tells where processors are alike.
//
// What is known of work in one line while a plan is searched for is in package
// assign, beside the searches: Chain and Line there prove bounds, too.
//
// Reduce takes away what memory forbids first. Multipliers come from linear
// programmes, subgradients, messages and mixes of columns in floating point; what is reported is
// computed from them anew, in whole numbers or rounded down, so that it holds
// however good they are.
package bound
