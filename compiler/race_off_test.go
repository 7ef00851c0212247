//go:build !race

package compiler_test

// raceDetector says that every access to memory is watched, which takes ten times as long.
const raceDetector = false
