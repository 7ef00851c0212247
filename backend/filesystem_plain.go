//go:build !(linux && (amd64 || arm64))

package backend

import (
	"errors"
	"os"
)

// startWriteback is a hint that this system does not take.
func startWriteback(*os.File, int64, int64) {}

// waitWriteback leaves all waiting to Sync.
func waitWriteback(*os.File, int64, int64) {}

// Exchange cannot be done in one step here.
func (diskFiles) Exchange(string, string) error { return errors.ErrUnsupported }
