package runtime

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"
)

func touch(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no library"), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindLibrary(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("file names of Linux")
	}
	dir := t.TempDir()
	touch(t, filepath.Join(dir, "go.mod"))
	inRoot := touch(t, filepath.Join(dir, ".ort", "libonnxruntime.so.1"))
	named := touch(t, filepath.Join(dir, "named", "libonnxruntime.so.1.29.0"))
	newer := touch(t, filepath.Join(dir, "named", "libonnxruntime.so.1.30.0"))
	below := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(below, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	t.Setenv(LibraryEnv, "")

	try, looked, err := findLibrary("")
	if err != nil || len(try) == 0 || resolve(try[0]) != resolve(inRoot) || !slices.Contains(try, "libonnxruntime.so.1") {
		t.Errorf("by itself: try %q, %v; want %s first and the system's last", try, err, inRoot)
	}
	if !slices.ContainsFunc(looked, func(s string) bool { return strings.HasSuffix(s, filepath.Join("b", ".ort")) }) {
		t.Errorf("looked in %q, want the working directory among them", looked)
	}
	if try, _, err := findLibrary(named); err != nil || !slices.Equal(try, []string{named}) {
		t.Errorf("named file: %q, %v", try, err)
	}
	if try, _, err := findLibrary(filepath.Dir(named)); err != nil || !slices.Equal(try, []string{newer}) {
		t.Errorf("named folder: %q, %v", try, err)
	}
	if try, _, err := findLibrary("libfoo.so"); err != nil || !slices.Equal(try, []string{"libfoo.so"}) {
		t.Errorf("bare name: %q, %v", try, err)
	}
	t.Setenv(LibraryEnv, named)
	if try, _, err := findLibrary(""); err != nil || !slices.Equal(try, []string{named}) {
		t.Errorf("by environment: %q, %v", try, err)
	}
	t.Setenv(LibraryEnv, filepath.Join(dir, "none.so"))
	if _, _, err := findLibrary(""); err == nil || errors.Is(err, ErrNoLibrary) ||
		!strings.Contains(err.Error(), "$ONNXRUNTIME_LIB names no ONNX Runtime library: there is no such file") {
		t.Errorf("wrong environment: %v", err)
	}
	if _, _, err := findLibrary(below); err == nil || !strings.Contains(err.Error(), "a folder without ONNX Runtime") {
		t.Errorf("folder without a library: %v", err)
	}
}

func TestNotFoundNamesWhatWasTried(t *testing.T) {
	const install = "; install ONNX Runtime, for instance with npm install onnxruntime-node, and name libonnxruntime with --ort-lib or $ONNXRUNTIME_LIB"
	for _, c := range []struct {
		looked, failed []string
		want           string
	}{
		{
			[]string{"/a/.ort", "/b/.ort"},
			[]string{"libonnxruntime.so.1 cannot be loaded: libonnxruntime.so.1: cannot open shared object file: No such file or directory"},
			"no ONNX Runtime library found in /a/.ort, /b/.ort or the folders of the system",
		},
		{
			nil,
			[]string{"/a/.ort/libonnxruntime.so.1 is ONNX Runtime 1.2.0, which is too old: 1.24 or newer is needed"},
			"no ONNX Runtime library found in the folders of the system (/a/.ort/libonnxruntime.so.1 is ONNX Runtime 1.2.0, which is too old: 1.24 or newer is needed)",
		},
	} {
		err := notFound(c.looked, c.failed)
		if !errors.Is(err, ErrNoLibrary) || err.Error() != c.want+install {
			t.Errorf("got %v, want %s", err, c.want+install)
		}
	}
}

func TestTidy(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain",
		"Exception during initialization: /x/string_normalizer.cc:89 onnxruntime::string_normalizer::Locale::Locale(const std::string&)::<lambda()> Failed to construct locale":                                                         "Exception during initialization: Failed to construct locale",
		"Load model from x.onnx failed:/onnxruntime_src/onnxruntime/core/graph/graph.cc:1418 void onnxruntime::Graph::InitializeStateFromModelFileGraphProto() This is an invalid model. ":                                              "Load model from x.onnx failed: This is an invalid model",
		"/a/b/reshape_helper.h:28 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool) gsl::narrow_cast<int64_t>(x) == 2 was false. Input shape:{3}, requested\nshape:{2}": "gsl::narrow_cast<int64_t>(x) == 2 was false. Input shape:{3}, requested shape:{2}",
		"Non-zero status code returned while running Add node. Name:'n' Status Message: /x/broadcast.h:147 void onnxruntime::BroadcastIterator::Append(ptrdiff_t, ptrdiff_t) axis == 1 was false.":                                      "Non-zero status code returned while running Add node. Name:'n' Status Message: axis == 1 was false",
	} {
		if got := tidy(in); got != want {
			t.Errorf("tidy(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}
