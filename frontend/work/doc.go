// Package work counts what a node does in one run: floating-point operations and
// bytes moved, from inferred shapes. It knows nothing of processors.
package work
