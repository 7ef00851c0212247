//go:build !(linux && (amd64 || arm64))

package backend

import (
	"errors"
	"hash"
	"os"
)

// startWriteback is a hint that this system does not take.
func startWriteback(*os.File, int64, int64) {}

// waitWriteback leaves all waiting to Sync.
func waitWriteback(*os.File, int64, int64) {}

// Exchange cannot be done in one step here.
func (diskFiles) Exchange(string, string) error { return errors.ErrUnsupported }

// copyRange is not done by the system here.
func copyRange(out, in *os.File, off, n int64) (int64, error) { return 0, errors.ErrUnsupported }

// hashRange hashes a stretch of a file.
func hashRange(h hash.Hash, f *os.File, off, n int64) error { return readRange(h, f, off, n) }
