package compiler

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// A search whose context ends gives up, or keeps the best plan so far where that is asked for.
func TestKeepBest(t *testing.T) {
	p, err := gen.Make("series", 300, 4, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := ir.WriteProblem(&text, p); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "graph.json")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		o := Options{Model: file, KeepBest: keep, Progress: func(p Progress) {
			if strings.Contains(p.Step, "search") {
				cancel()
			}
		}}
		problem, placed, err := PlaceGraph(ctx, o)
		cancel()
		if !keep {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("an interrupted search gave %v, %v", placed, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("the best plan so far was not kept: %v", err)
		}
		if err := ir.CheckPlan(problem, placed.Plan); err != nil {
			t.Error(err)
		}
	}
}
