package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"graphs": graphs, "scale": scale}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench graphs|scale [options]; -h lists them")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
