package compiler_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/bench"
	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/profiles/measure"
)

// TestCancelAfter cancels what is done with models and bundles apart from
// compiling them, at several moments: each ends with the context's error and
// leaves no goroutine and no file. As in TestCancel, the time that this takes is
// logged, and processor time is what is held against a limit.
func TestCancelAfter(t *testing.T) {
	runtimetest.ORT(t)
	model, small := write(t, "squeezenet1_1"), write(t, "small/squeezenet1_1")
	root := t.TempDir()
	bundle, scratch := filepath.Join(root, "bundle"), filepath.Join(root, "scratch")
	if _, _, err := bundleOf(t.Context(), compiler.Options{Model: model, Output: bundle, Submodels: 3, SkipAuto: true}); err != nil {
		t.Fatal(err)
	}
	exportTo := func(to string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := export.Run(ctx, export.Options{Bundle: bundle, To: to, Model: model, Output: filepath.Join(scratch, to)})
			return err
		}
	}
	for _, c := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"verify", func(ctx context.Context) error {
			_, err := verify.Run(ctx, verify.Options{Bundle: bundle, Model: model})
			return err
		}},
		{"bench", func(ctx context.Context) error {
			_, err := bench.Run(ctx, bench.Options{Bundle: bundle, Time: 100 * time.Millisecond, SkipParallel: true, Inputs: verify.Options{Model: model}})
			return err
		}},
		{"profile", func(ctx context.Context) error {
			_, err := measure.Run(ctx, measure.Options{Models: []string{small}, Processor: "p", Confidence: 0.9})
			return err
		}},
		{"triton", exportTo("triton")},
		{"nnstreamer", exportTo("nnstreamer")},
		{"annotated", exportTo("annotated")},
		{"runner", exportTo("runner")},
		{"dot", exportTo("dot")},
		{"inspect", func(ctx context.Context) error {
			_, err := compiler.Inspect(ctx, compiler.Options{Model: model, Devices: "../profiles"})
			return err
		}},
	} {
		if err := os.Mkdir(scratch, 0o777); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := c.run(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		length := time.Since(began)
		noneLeft(t, "after "+c.name)
		var slowest, most time.Duration
		for _, share := range []float64{0, 0.3, 0.7} {
			if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o777)); err != nil {
				t.Fatal(err)
			}
			ctx, end := cancelling(t.Context())
			end.arm(time.Duration(share * float64(length)))
			err := c.run(ctx)
			clock, cpu := end.wait()
			slowest, most = max(slowest, clock), max(most, cpu)
			left, rerr := os.ReadDir(scratch)
			switch {
			case rerr != nil:
				t.Fatal(rerr)
			case err == nil && share == 0:
				t.Errorf("%s, cancelled before it began, ends without an error", c.name)
			case err != nil && !errors.Is(err, context.Canceled):
				t.Errorf("%s, cancelled, ends with the error %v", c.name, err)
			case err != nil && len(left) > 0:
				t.Errorf("%s, cancelled, leaves %v", c.name, left)
			}
			noneLeft(t, c.name+", cancelled,")
		}
		t.Logf("%-10s takes %v; cancelled it ended within %v, %v of processor time", c.name, length.Round(time.Millisecond), slowest.Round(time.Millisecond), most.Round(time.Millisecond))
		if limit := 2 * time.Second; most > limit {
			t.Errorf("%s, cancelled, went on for %v of processor time", c.name, most)
		}
		if err := os.RemoveAll(scratch); err != nil {
			t.Fatal(err)
		}
	}
}
