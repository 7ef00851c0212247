// Command dnnsplit cuts an ONNX model into sub-models, one per processor.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1 // the input cannot be compiled, or no placement is feasible
	exitUsage       = 2
	exitDifferent   = 3   // verification found a difference
	exitInterrupted = 130 // 128 + SIGINT, as shells expect
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C kills at once
	}()
	ui := newUI(os.Stdout, os.Stderr)
	var dev developer
	root := newRoot(ui, &dev)
	root.SetOut(os.Stdout)
	root.SetErr(os.Stderr)
	if len(os.Args) > 1 && os.Args[1] == cobra.ShellCompRequestCmd {
		plainUsages(root)
	}
	err := root.ExecuteContext(ctx)
	ui.endProgress()
	if eerr := dev.end(ui); err == nil {
		err = eerr
	}
	if err == nil && ui.outErr != nil {
		err = fmt.Errorf("standard output: cannot be written: %w", ui.outErr)
	}
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errDifferent):
		return exitDifferent
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		ui.errorf("interrupted; nothing was written")
		return exitInterrupted
	case errors.As(err, &usage):
		ui.errorf("%v", err)
		ui.errorf("try: %s --help", usage.command)
		return exitUsage
	}
	ui.errorf("%v", err)
	return exitFailed
}

// usageError is a command line that makes no sense.
type usageError struct {
	command string
	err     error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// errDifferent ends a verification that found a difference; the report has said so.
var errDifferent = errors.New("different") // never printed

// usage makes argument and flag errors of a command usage errors.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{cmd.CommandPath(), err}
		}
		return nil
	}
}
