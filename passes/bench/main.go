package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"graphs": graphs, "scale": scale}
	args := os.Args[1:]
	if len(args) == 2 && args[0] == "-graphs" { // as the Makefile says it
		args = []string{"graphs", args[1]}
	}
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench graphs|scale [options]; -h lists them; bench -graphs DIR is bench graphs DIR")
		os.Exit(2)
	}
	if err := commands[args[0]](args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
