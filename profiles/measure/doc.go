// Package measure makes cost files: it runs what a model consists of on this
// machine and works out what each operation, or group of operations that runs as
// one, takes as a part of a model.
//
// What an operation takes alone is not what it takes inside a model. Runtimes
// change the layout of tensors at the edges of a model, fuse over the edges of
// whatever was recognised as a group, and find the weights of a large model in
// slower memory. So the model is cut at several scales, each piece is emitted by
// the back end as it would be in a split and measured: every operation alone,
// short and long stretches in two orders, the whole. The costs are then those
// that explain all measurements together, beside a time for each run, and for
// each value and byte that goes in or out of a piece: see Calibrate.
package measure
