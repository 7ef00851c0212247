package runtime

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// cpuWords is the length of a set of cores as Linux takes it.
const cpuWords = (maxCPU + 1) / 64

// Bind binds the calling thread to cpus; threads that an engine starts from it
// inherit them. The goroutine must have locked its thread (runtime.LockOSThread)
// and should end locked, so that the thread ends with it.
func Bind(cpus []int) error {
	var set [cpuWords]uint64
	for _, c := range cpus {
		if c < 0 || c > maxCPU {
			return fmt.Errorf("there is no core %d", c)
		}
		set[c/64] |= 1 << (c % 64)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set))); errno != 0 {
		return fmt.Errorf("a thread cannot be bound to cores %s: %w", FormatCPUs(cpus), os.NewSyscallError("sched_setaffinity", errno))
	}
	return nil
}

// BoundCPUs are the cores that the calling thread may run on.
func BoundCPUs() ([]int, error) {
	var set [cpuWords]uint64
	n, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return nil, os.NewSyscallError("sched_getaffinity", errno)
	}
	var cpus []int
	for c := range int(n) * 8 {
		if set[c/64]>>(c%64)&1 != 0 {
			cpus = append(cpus, c)
		}
	}
	return cpus, nil
}
