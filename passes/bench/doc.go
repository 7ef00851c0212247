// Command bench measures placement: on execution graphs with known values
// (bench graphs DIR), and on synthetic graphs of any size (bench scale), which
// bench make writes to files.
//
//	go run ./passes/bench graphs [-short 1s] [-full 5s] [-only REGEXP] DIR
//	go run ./passes/bench scale [-nodes 1000,10000] [-objective throughput] [-tight]
//	go run ./passes/bench make [-shape inception] [-nodes 60] [-procs 4] > GRAPH.json
//
// Seconds are those of the clock; "cpu" is the processor time of all threads,
// which other work on the machine does not stretch.
package main
