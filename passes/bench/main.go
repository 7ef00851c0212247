package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"graphs": graphs, "make": makeGraph, "scale": scale}
	args := os.Args[1:]
	if len(args) == 0 || commands[args[0]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench graphs|scale|make [options]; -h lists them")
		os.Exit(2)
	}
	if err := commands[args[0]](args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
