// Package rusage says what the running process has taken of the machine.
package rusage
