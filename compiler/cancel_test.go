package compiler_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/compiler/rusage"
	"google.golang.org/protobuf/encoding/protowire"
)

var cancelModel = flag.String("cancel-model", fmt.Sprint("chain=", race.Of(1000, 250)), "model of onnxtest whose compilation TestCancel cancels")

// stacks lists the goroutines that run code of this module, without the caller's.
func stacks() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []string
	for i, s := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(s, "github.com/dnnsplit/dnnsplit/") && !strings.Contains(s, "testing.tRunner") {
			out = append(out, s)
		}
	}
	return out
}

// noneLeft fails if goroutines of this module still run. Those that have been
// told to end get time to do so.
func noneLeft(t *testing.T, when string) {
	t.Helper()
	for wait := time.Millisecond; ; wait *= 2 {
		left := stacks()
		if len(left) == 0 {
			return
		}
		if wait > time.Second {
			t.Fatalf("%s %d goroutines are left, the first one:\n%s", when, len(left), left[0])
		}
		time.Sleep(wait)
	}
}

// cancellation is the end of a context, and what it takes from there.
type cancellation struct {
	cancel context.CancelFunc
	done   chan struct{}
	at     time.Time
	spent  time.Duration // processor time up to at
}

// cancelling returns a context that lasts until arm cancels it.
func cancelling(parent context.Context) (context.Context, *cancellation) {
	ctx, cancel := context.WithCancel(parent)
	return ctx, &cancellation{cancel: cancel, done: make(chan struct{})}
}

// arm cancels the context after some time, and before it returns if that is 0.
func (c *cancellation) arm(after time.Duration) {
	stop := func() {
		c.at, c.spent = time.Now(), rusage.CPUTime()
		c.cancel()
		close(c.done)
	}
	if after == 0 {
		stop()
	} else {
		time.AfterFunc(after, stop)
	}
}

// wait waits until the context is cancelled, which arm must see to, and returns the
// time and the processor time since then.
func (c *cancellation) wait() (clock, cpu time.Duration) {
	<-c.done
	return time.Since(c.at), rusage.CPUTime() - c.spent
}

// TestCancel cancels a compilation at several points of every stage. It must end
// with the context's error, leave nothing on disk and no goroutine. The time from
// cancelling to the end is logged; it should be below 100 ms on a machine with
// nothing else to do. What is asserted is the processor time, which does not
// depend on what else runs, with room for slow machines and the race detector.
func TestCancel(t *testing.T) {
	model := write(t, *cancelModel)
	root := t.TempDir()
	out := filepath.Join(root, "out")
	run := func(ctx context.Context, enter func(stage string)) error {
		r, err := compiler.Compile(ctx, compiler.Options{
			Model: model, Devices: "../profiles", Output: out,
			Progress: func(p compiler.Progress) { enter(p.Stage) },
		})
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Write(ctx)
	}
	var stages []string
	began := map[string]time.Time{}
	err := run(context.Background(), func(stage string) {
		if _, known := began[stage]; !known {
			stages = append(stages, stage)
			began[stage] = time.Now()
		}
	})
	end := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(out); err != nil {
		t.Fatal(err)
	}
	noneLeft(t, "after a compilation")
	for i, stage := range stages {
		next := end
		if i+1 < len(stages) {
			next = began[stages[i+1]]
		}
		length := next.Sub(began[stage])
		var slowest, most time.Duration
		for _, share := range []float64{0, 0.3, 0.6, 0.9} {
			ctx, c := cancelling(context.Background())
			armed := false
			err := run(ctx, func(s string) {
				if s == stage && !armed {
					armed = true
					c.arm(time.Duration(share * float64(length)))
				}
			})
			clock, cpu := c.wait()
			slowest, most = max(slowest, clock), max(most, cpu)
			if err == nil {
				// It was done before the clock struck.
				if err := os.RemoveAll(out); err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled in stage %s, the error is %v", stage, err)
			}
			if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
				t.Fatalf("cancelled in stage %s, %v is left on disk, %v", stage, left, err)
			}
			noneLeft(t, "cancelled in stage "+stage+",")
		}
		t.Logf("%-9s takes %v; cancelled it ended within %v, %v of processor time", stage, length.Round(time.Millisecond), slowest.Round(time.Millisecond), most.Round(time.Millisecond))
		if limit := 2 * time.Second; most > limit {
			t.Errorf("cancelled in stage %s, the compilation went on for %v of processor time", stage, most)
		}
	}
}

// digesting lists the goroutines that compute the digest of a model's file.
func digesting() []string {
	return slices.DeleteFunc(stacks(), func(s string) bool { return !strings.Contains(s, "onnxfile.(*file).hash") })
}

// TestDigestEnds compiles a model whose digest takes longer than the compilation.
// It must not be under way any more when that has failed or its result is closed,
// and not be begun where nothing will be written.
func TestDigestEnds(t *testing.T) {
	path := write(t, "chain=10")
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A field that no version of ONNX has: a gigabyte and a half of nothing on disk.
	const length = 3 << 29
	body = protowire.AppendVarint(protowire.AppendTag(body, 5000, protowire.BytesType), length)
	if err := errors.Join(os.WriteFile(path, body, 0o666), os.Truncate(path, int64(len(body))+length)); err != nil {
		t.Fatal(err)
	}
	o := compiler.Options{Model: path, Devices: "../profiles", SkipAuto: true}
	fails := o
	fails.Pins = []compiler.Rule{{Pattern: ".", Processor: "no.such"}}
	silent := o
	silent.NoWrite = true
	for _, c := range []struct {
		what  string
		o     compiler.Options
		fails bool
		runs  int // goroutines after Compile
	}{
		{"after an error", fails, true, 0},
		{"without writing", silent, false, 0},
		{"before writing", o, false, 1},
	} {
		// On a machine with much to do the digest may be complete before anybody
		// looks, or not have begun: it must be seen in one of several tries.
		seen := false
		for tries := 0; tries < 20 && !seen; tries++ {
			r, err := compiler.Compile(t.Context(), c.o)
			if (err != nil) != c.fails {
				t.Fatalf("%s: the error is %v", c.what, err)
			}
			n := len(digesting())
			if n > c.runs {
				t.Errorf("%s the digest is computed by %d goroutines, want %d", c.what, n, c.runs)
			}
			seen = n == c.runs
			if err == nil {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			noneLeft(t, c.what+", closed,")
		}
		if !seen {
			t.Errorf("%s nobody computes the digest", c.what)
		}
	}
}
