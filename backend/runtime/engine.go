package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Engine loads models. It is safe for concurrent use.
type Engine interface {
	// Name is the engine and its version, for reports: "ONNX Runtime 1.30.0".
	Name() string
	// Load makes m ready to run. Errors are sentences that name the model.
	Load(m Model, o Options) (Session, error)
	// Check says in one sentence why the engine cannot run m; nil if nothing is
	// known against it. It is cheap beside Load and may read the file.
	Check(m Model) error
	// Hold copies v into the engine's memory. Release it when done with it.
	Hold(v *Value) (Held, error)
}

// Session is a loaded model. Run and Time may be called from several goroutines at once.
type Session interface {
	// Inputs are the inputs that Run needs, in model order: no initializer is among them.
	Inputs() []Port
	// Outputs are what Run returns, in model order; a name can stand there twice.
	Outputs() []Port
	// Run computes the outputs from the inputs, by name. Names in feed that the
	// model does not have are errors; an initializer that is listed as a graph
	// input may be given. It returns soon after ctx is done.
	Run(ctx context.Context, feed map[string]*Value) ([]*Value, error)
	// Time runs the model warmUp+runs times on one feed and returns how long each
	// of the last runs calls took, without the copying of inputs and outputs.
	Time(ctx context.Context, feed map[string]*Value, warmUp, runs int) ([]time.Duration, error)
	// Prepare makes the session ready for many runs, which end soon after ctx is
	// done. Close the call before the session.
	Prepare(ctx context.Context) (Call, error)
	// Close frees the model. It waits for runs under way; it may be called twice.
	// The engines here always return nil.
	Close() error
}

// Port is a named input or output. Of a sequence, optional or map only the kind is told.
type Port struct {
	Name string
	Type ir.Type
}

// Model says where a model is.
type Model struct {
	// Path is the file. External data is looked up beside it.
	Path string
	// Data, if not nil, is the model itself; Path then only names it in errors,
	// and external data is looked up in Folder.
	Data   []byte
	Folder string
}

// Level says how much an engine may rewrite a graph before it runs it.
type Level uint8

const (
	// Disabled runs the graph as it stands: what split and whole must agree on bit for bit.
	Disabled Level = iota
	// Basic, Extended and All are ONNX Runtime's levels.
	Basic
	Extended
	All
)

var levelNames = [...]string{"disabled", "basic", "extended", "all"}

func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// ParseLevel is the inverse of String.
func ParseLevel(name string) (Level, error) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("no optimisation level %q, there are disabled, basic, extended and all", name)
}

// Options say how a session runs. The zero value is what comparisons need: the
// graph as it stands, one thread, the CPU.
type Options struct {
	Optimization   Level
	IntraOpThreads int    // threads inside an op; 0 is 1, negative leaves it to the engine
	InterOpThreads int    // threads over ops, used if Parallel; 0 is 1, negative leaves it to the engine
	Parallel       bool   // run independent nodes at the same time
	RestAfterRun   bool   // the session's threads sleep when a run has ended; else they look for work for a time, which other sessions on their cores feel
	Provider       string // ONNX Runtime's name of an execution provider; "" is CPUExecutionProvider
	ProfilePrefix  string // if set, a profile is written to a file of this name with a time behind it when the session is closed
}
