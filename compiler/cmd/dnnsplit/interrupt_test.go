//go:build !windows

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// TestInterrupt presses Ctrl-C while a model that takes long is being placed: exit
// code 130, one sentence, and no file that was not there before.
func TestInterrupt(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnxtest.Named("chain=20000", 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := m.WriteFile(filepath.Join(dir, "chain.onnx")); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	// TestMain puts the command on the path. It opens the profile when it listens to signals.
	cmd := exec.Command("dnnsplit", "chain.onnx", "--devices", filepath.Join(root, "profiles"), "-o", "out", "--submodels", "auto", "--time-limit", "5m", "--cpuprofile", "started", "--timings")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	for tries := 0; ; tries++ {
		if _, err := os.Stat(filepath.Join(dir, "started")); err == nil {
			break
		}
		if tries == 6000 {
			t.Fatalf("it does not start:\n%s", said.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Second) // most of it passes in the search; any other stage has to end in the same way
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	t.Log(said.String())
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d:\n%s", err, exitInterrupted, said.String())
	}
	if !strings.Contains(said.String(), "interrupted; nothing was written") {
		t.Errorf("it does not say that it was interrupted:\n%s", said.String())
	}
	for _, folder := range []string{dir, temp} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := e.Name(); name != "chain.onnx" && name != "tmp" && name != "started" {
				t.Errorf("%s was left behind", name)
			}
		}
	}
}
