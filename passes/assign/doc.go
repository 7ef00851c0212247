// Package assign gives nodes and sub-models to processors: list scheduling, the
// projection of its schedules onto legal sub-models, and exact methods.
//
//   - Exact: branch and bound over all plans, replicas included, of small problems.
//   - Chain: nodes in one line, one sub-model a processor; dynamic programming.
//   - Line: the bottleneck of work in one line, any number of sub-models a
//     processor; a search over labels with Lagrangian bounds.
//   - Feasible: is there any plan at all.
package assign
