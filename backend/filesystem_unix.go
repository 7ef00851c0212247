//go:build unix

package backend

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// isInvalid says whether a file system has no such operation for this kind of file.
func isInvalid(err error) bool { return errors.Is(err, syscall.EINVAL) }

// isMountPoint says whether a folder is on another file system than the folder that
// it is in: renaming reaches neither it nor across it.
func isMountPoint(dir string) bool {
	inside, err := os.Stat(dir)
	if err != nil {
		return false
	}
	outside, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return false
	}
	a, known := inside.Sys().(*syscall.Stat_t)
	b, both := outside.Sys().(*syscall.Stat_t)
	return known && both && a.Dev != b.Dev
}

// lockFolder takes the lock of a folder without waiting; release gives it up. The
// lock ends with its process, however that ends. ok is false if another process
// has it or the file system knows no locks.
func lockFolder(path string) (release func(), ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close()
		return nil, false
	}
	return func() { _ = f.Close() }, true
}
