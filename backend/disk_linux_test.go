package backend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The tests in this file meet faults of real file systems. Each wants the old
// state in full, nothing beside it and a sentence that can be acted on.

// onDisk mounts a file system of some bytes in memory; it skips the test where
// that is not allowed.
func onDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a file system needs rights that this user or container lacks: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fails writes a bundle and wants an error that says all of that and leaves root as it is.
func fails(t *testing.T, b *Bundle, root, dir string, says ...string) {
	t.Helper()
	before := tree(t, root)
	err := b.Write(context.Background(), dir, WriteOptions{})
	if err == nil {
		t.Fatal("there is no error")
	}
	t.Log(err)
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %q: %v", s, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has several lines: %v", err)
	}
	sameTree(t, "after an error", tree(t, root), before)
}

// The bundle has 3 MiB; the disk has less, or not enough for two.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
		old  bool // a bundle stands there
	}{{"new", 2 << 20, false}, {"replaced", 5 << 20, true}} {
		t.Run(c.name, func(t *testing.T) {
			root := onDisk(t, c.size)
			dir := filepath.Join(root, "out")
			if c.old {
				if err := heavyBundle(t, 0).Write(context.Background(), dir, WriteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			fails(t, heavyBundle(t, 1), root, dir, dir+": cannot write the bundle: free some space there or choose another output: ", "no space left on device")
		})
	}
}

func TestReadOnlyDisk(t *testing.T) {
	root := onDisk(t, 8<<20)
	dir := filepath.Join(root, "out")
	if err := heavyBundle(t, 0).Write(context.Background(), dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	fails(t, heavyBundle(t, 1), root, dir, "cannot make a folder beside the output: choose another output: ", "read-only file system")
	fails(t, heavyBundle(t, 1), root, filepath.Join(root, "a", "b"), "cannot make the output's parent folder: choose another output: ")
}

// A folder that a file system is mounted at cannot be replaced; one in it can.
func TestMountPoint(t *testing.T) {
	root := onDisk(t, 8<<20)
	fails(t, heavyBundle(t, 1), root, root, "it is where a file system is mounted, and cannot be replaced as a whole: choose a folder in it, such as "+filepath.Join(root, "split"))
	if err := heavyBundle(t, 1).Write(context.Background(), filepath.Join(root, "split"), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A file that grows beyond the limit of the process is an error like others.
func TestFileTooLarge(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Skip(err)
	}
	root := t.TempDir()
	b := heavyBundle(t, 1)
	low := syscall.Rlimit{Cur: 1 << 19, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low); err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Error(err)
		}
	}()
	fails(t, b, root, filepath.Join(root, "out"), "ulimit -f", "file too large")
}

// deniedWriter names the environment variable that makes this test binary a process
// without rights that writes a bundle.
const deniedWriter = "DNNSPLIT_TEST_DENIED_WRITER"

// TestDeniedWriter is the process that TestPermissionDenied starts.
func TestDeniedWriter(t *testing.T) {
	dir := os.Getenv(deniedWriter)
	if dir == "" {
		t.Skip("runs inside TestPermissionDenied")
	}
	err := heavyBundle(t, 1).Write(context.Background(), dir, WriteOptions{})
	fmt.Println("error:", err)
}

// TestPermissionDenied writes where the user may not: new, and in place of a bundle.
func TestPermissionDenied(t *testing.T) {
	root, err := os.MkdirTemp("", "denied")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	if err := heavyBundle(t, 0).Write(context.Background(), filepath.Join(root, "old"), WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(root, 0o755) }() // so that it can be removed
	before := tree(t, root)
	for _, name := range []string{"old", "new", "a/b/new"} {
		out, err := writeDenied(t, filepath.Join(root, name))
		if err != nil {
			t.Skipf("a process of another user cannot be started: %v", err)
		}
		if !strings.Contains(out, "change the permissions") || !strings.Contains(out, "permission denied") {
			t.Errorf("%s: %s", name, out)
		}
		sameTree(t, "after an error", tree(t, root), before)
	}
}

// writeDenied writes a bundle without the rights of the superuser, and returns what it says.
func writeDenied(t *testing.T, dir string) (string, error) {
	t.Helper()
	bin, err := os.MkdirTemp("", "denied-program")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(bin)
	program := filepath.Join(bin, "backend.test")
	body, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(program, body, 0o755), os.Chmod(bin, 0o777)); err != nil {
		return "", err
	}
	cmd := exec.Command(program, "-test.run=^TestDeniedWriter$")
	cmd.Dir = bin
	cmd.Env = append(os.Environ(), deniedWriter+"="+dir, "TMPDIR="+bin)
	if os.Getuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
