package ir_test

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Sizes that a graph file cannot have, and a caller must not.
func TestNegativeSizes(t *testing.T) {
	build := func(add func(b *ir.Builder)) error {
		b := ir.NewBuilder("negative")
		add(b)
		_, err := b.Build()
		return err
	}
	refused(t, build(func(b *ir.Builder) { b.Value(ir.Value{Name: "x", Bytes: -1, Input: true}) }), `value "x": its size is negative`)
	refused(t, build(func(b *ir.Builder) { b.Value(ir.Value{Name: "x", ResidentBytes: -1, Input: true}) }), `value "x": its size is negative`)
	refused(t, build(func(b *ir.Builder) { b.Weight("w", -1) }), `weight "w": its size is negative`)
}

// Parts of a problem that do not fit one another.
func TestValidateParts(t *testing.T) {
	p := read(t, diamond)
	p.Costs = ir.NewCosts(3, 3)
	refused(t, p.Validate(), "the cost table has 9 entries for 4 nodes on 3 processors")
	p = read(t, diamond)
	p.Platform.Processors[1].Device = 7
	refused(t, p.Validate(), `processor "npu" is on no device`)
}
