// Command bench measures placement: on execution graphs with known values
// (bench graphs DIR), and on synthetic graphs of any size (bench scale).
//
//	go run ./passes/bench graphs [-limit 1s] [-only REGEXP] DIR
//	go run ./passes/bench scale [-nodes 1000,10000]
//
// Seconds are those of the clock; "cpu" is the processor time of all threads,
// which other work on the machine does not stretch.
package main
