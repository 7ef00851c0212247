package compiler_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// No hard link leads to another file system: the sentence says what to do, and
// nothing is written.
func TestReferenceElsewhere(t *testing.T) {
	mounted := t.TempDir()
	if err := syscall.Mount("tmpfs", mounted, "tmpfs", 0, "size=8388608"); err != nil {
		t.Skipf("mounting a file system needs rights that this user or container lacks: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(mounted, 0); err != nil {
			t.Error(err)
		}
	}()
	o := referring(t, t.TempDir())
	o.Output = filepath.Join(mounted, "out")
	_, _, err := bundleOf(t.Context(), o)
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, says := range []string{"w.bin: ", "must be on the same file system as the output", "choose another output folder, or other --weights"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("the error does not say %q: %v", says, err)
		}
	}
	if left, err := os.ReadDir(mounted); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}
