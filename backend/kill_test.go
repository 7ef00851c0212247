package backend

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// killedWriter names the environment variable that makes this test binary a
// process that writes bundles until it is killed.
const killedWriter = "DNNSPLIT_TEST_KILLED_WRITER"

// heavyBundle is a chain with weights of megabytes; kind tells two apart.
func heavyBundle(t testing.TB, kind byte) *Bundle {
	m := chain()
	m.Graph.Initializer = []*onnxpb.TensorProto{weight("w1", 1<<18, kind), weight("w2", 1<<18, kind), weight("w3", 1<<18, kind)}
	f := open(t, m)
	l := lowerPlain(t, f)
	threeProcessors(l)
	b := build(t, f, l, placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b"), sub(l, 2, "y")), Options{ToolVersion: fmt.Sprint(kind)})
	return b
}

// TestKilledWriter is the process that TestKill kills.
func TestKilledWriter(t *testing.T) {
	dir := os.Getenv(killedWriter)
	if dir == "" {
		t.Skip("runs inside TestKill")
	}
	for kind := byte(0); ; kind ^= 1 {
		if err := heavyBundle(t, kind).Write(context.Background(), dir, WriteOptions{}); err != nil {
			fmt.Println("write:", err)
			os.Exit(3)
		}
	}
}

// TestKill kills a process at random moments while it replaces one bundle by
// another. There must be one or the other in full.
func TestKill(t *testing.T) {
	root := t.TempDir()
	if err := (diskFiles{}).Exchange(t.TempDir(), t.TempDir()); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system cannot exchange two folders in one step")
	}
	dir := filepath.Join(root, "out")
	if err := heavyBundle(t, 0).Write(context.Background(), dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{}
	for kind := range byte(2) {
		other := filepath.Join(t.TempDir(), "out")
		if err := heavyBundle(t, kind).Write(context.Background(), other, WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		want[fmt.Sprint(kind)] = tree(t, other)
	}
	r := rand.New(rand.NewPCG(1, 2))
	left, seen := 0, map[string]int{}
	for range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		cmd.Env = append(os.Environ(), killedWriter+"="+dir)
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Millisecond + time.Duration(r.IntN(250))*time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() == 3 {
			t.Fatalf("the writer failed before it was killed: %v, %s", err, out.String())
		}
		m, err := ReadManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		seen[m.Tool.Version]++
		sameTree(t, "after a kill", tree(t, dir), want[m.Tool.Version])
		temps, err := filepath.Glob(filepath.Join(root, ".out.dnnsplit-*"))
		if err != nil {
			t.Fatal(err)
		}
		left += len(temps)
		// The next run removes what is left, once it is old enough.
		for _, p := range temps {
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(p, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("bundles seen: %v; temporary folders left by the kills: %d", seen, left)
	if err := heavyBundle(t, 0).Write(context.Background(), dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	sameTree(t, "at last", tree(t, dir), want["0"])
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 {
		t.Errorf("beside the output stand %v, %v", entries, err)
	}
}
