package importer

import (
	"io"
	"strings"
	"testing"
)

// Readers end at their limits; they are put right before them here.
func TestReaderLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		read func() error
		want string
	}{
		{"bytes", func() error {
			_, err := io.ReadAll(&bounded{ctx: t.Context(), r: strings.NewReader("abc"), left: 2})
			return err
		}, "the file is larger than 2147483648 bytes"},
		{"rows of counters", func() error {
			r := newOVReader("x.csv")
			r.rows = maxEvents
			return r.add("a", "EXECUTED", "Convolution", 1)
		}, "it has more than 8388608 rows"},
		{"names of counters", func() error {
			r := newOVReader("x.csv")
			r.size = maxNameBytes
			return r.add("a", "EXECUTED", "Convolution", 1)
		}, "it names more than 1048576 nodes, or their names take more than 134217728 bytes"},
		{"names of nodes", func() error {
			r := &ortReader{t: &trace{}, byKey: map[string]int32{}, bytes: maxNameBytes}
			_, err := r.layer("a", "Conv", "CPUExecutionProvider", "", 0)
			return err
		}, "the profile names more than 0 different nodes, or their names take more than 134217728 bytes"},
		{"layers", func() error {
			text := `{"Layers": [` + strings.Repeat(`"a",`, maxLayers) + `"a"]}`
			return readTRTLayers("x.json", newScanner(strings.NewReader(text)), trtLayers{})
		}, "x.json:1: it has more than 1048576 layers"},
		{"names of layers", func() error { return tooManyNames(maxNameBytes + 1) }, "the names in it take more than 134217728 bytes"},
	} {
		if err := c.read(); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}
