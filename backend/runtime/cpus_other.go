//go:build !linux

package runtime

import (
	"errors"
	goruntime "runtime"
)

// Bind fails: only Linux lets a program choose the cores of a thread.
func Bind(cpus []int) error {
	return errors.New("threads can be bound to cores on Linux only")
}

// BoundCPUs are all cores.
func BoundCPUs() ([]int, error) {
	cpus := make([]int, goruntime.NumCPU())
	for i := range cpus {
		cpus[i] = i
	}
	return cpus, nil
}
