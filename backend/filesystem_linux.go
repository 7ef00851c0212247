//go:build linux && (amd64 || arm64)

package backend

import (
	"errors"
	"hash"
	"io"
	"os"
	"runtime"
	"runtime/debug"
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

// copyRange appends n bytes of a file to another with copy_file_range(2). File
// systems that can share blocks between files then copy nothing at all.
func copyRange(out, in *os.File, off, n int64) (int64, error) {
	number := map[string]uintptr{"amd64": 326, "arm64": 285}[runtime.GOARCH] // copy_file_range
	var done int64
	for done < n {
		at := off + done
		k, _, errno := syscall.Syscall6(number, in.Fd(), uintptr(unsafe.Pointer(&at)), out.Fd(), 0, uintptr(n-done), 0)
		switch {
		case errno == syscall.EINTR:
		case errno == 0 && k > 0:
			done += int64(k)
		case errno == 0, // the end of the file, or a file system that has no answer
			errno == syscall.ENOSYS, errno == syscall.EXDEV, errno == syscall.EINVAL, errno == syscall.EIO,
			errno == syscall.EOPNOTSUPP, errno == syscall.EPERM:
			return done, errors.ErrUnsupported
		default:
			return done, &os.PathError{Op: "copy", Path: out.Name(), Err: errno}
		}
	}
	return done, nil
}

// hashRange hashes a stretch of a file that has just been read by copying it, so
// it maps it: the page cache has it. A file that became shorter is an error.
func hashRange(h hash.Hash, f *os.File, off, n int64) (err error) {
	start := off &^ int64(os.Getpagesize()-1)
	m, err := syscall.Mmap(int(f.Fd()), start, int(off-start+n), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return readRange(h, f, off, n)
	}
	defer func() { _ = syscall.Munmap(m) }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch x := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // a page that cannot be read
			err = io.ErrUnexpectedEOF
		default:
			panic(x)
		}
	}()
	h.Write(m[off-start:])
	return nil
}
