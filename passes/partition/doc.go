// Package partition cuts execution graphs into sub-models: coarsening, initial
// cuts, and the search that moves units between sub-models on the true
// objective, the execution model of package sched.
//
// It sees units, values, slots and processors, never operators or files.
package partition
