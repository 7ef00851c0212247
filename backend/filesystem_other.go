//go:build !unix

package backend

// isInvalid says whether a file system has no such operation for this kind of
// file; here folders cannot be flushed at all.
func isInvalid(error) bool { return true }

// isMountPoint is not known here; renaming says so.
func isMountPoint(string) bool { return false }

// lockFolder takes the lock of a folder; this system has none.
func lockFolder(string) (release func(), ok bool) { return nil, false }
