package onnxtest

// Odd lists the small models that are odd in one way each.
func Odd() []Case { return nil }
