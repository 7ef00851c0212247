package runtime

// Held is a value in an engine's own memory. Sessions of that engine take and
// leave it without copying: it is how one sub-model hands a tensor to the next.
type Held interface {
	// Value copies it out.
	Value() (*Value, error)
	// Release gives the memory back; the value must not be used afterwards.
	Release()
}

// Call is a session made ready for many runs on one set of names: by one
// goroutine at a time, without the cost of preparing each run.
type Call interface {
	// Run computes the outputs from the inputs, both in the session's order. An
	// entry of in may be nil where the input is an absent optional. What stands in
	// out is overwritten, not released; the caller releases what the run leaves
	// there, and the inputs. On an error out holds nothing.
	Run(in, out []Held) error
	// Close frees what Prepare made. The session stays.
	Close()
}
