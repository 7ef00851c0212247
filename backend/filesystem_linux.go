//go:build linux && (amd64 || arm64)

package backend

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// Flags of sync_file_range(2) and renameat2(2).
const (
	syncWaitBefore = 1
	syncWrite      = 2
	syncWaitAfter  = 4
	renameExchange = 2
)

// startWriteback asks the system to begin writing a range to disk. It is only a hint.
func startWriteback(f *os.File, off, n int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), off, n, syncWrite)
}

// waitWriteback waits until a range is on its way to disk. Errors show in Sync.
func waitWriteback(f *os.File, off, n int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), off, n, syncWaitBefore|syncWrite|syncWaitAfter)
}

// Exchange swaps two paths in one step.
func (diskFiles) Exchange(a, b string) error {
	number := map[string]uintptr{"amd64": 316, "arm64": 276}[runtime.GOARCH] // renameat2
	pa, err := syscall.BytePtrFromString(a)
	if err != nil {
		return err
	}
	pb, err := syscall.BytePtrFromString(b)
	if err != nil {
		return err
	}
	const cwd = ^uintptr(99) // AT_FDCWD, -100
	_, _, errno := syscall.Syscall6(number, cwd, uintptr(unsafe.Pointer(pa)), cwd, uintptr(unsafe.Pointer(pb)), renameExchange, 0)
	switch {
	case errno == 0:
		return nil
	case errors.Is(errno, syscall.ENOSYS), errors.Is(errno, syscall.EINVAL):
		return errors.ErrUnsupported
	}
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: errno}
}
