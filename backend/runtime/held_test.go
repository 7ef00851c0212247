package runtime

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// Two sessions in a row on held values give what one gives after the other with
// values that are copied, again and again.
func TestHeldValues(t *testing.T) {
	m := onnxtest.New(onnxtest.Header{Name: "twice", Opset: 17})
	g := m.Graph()
	g.Input("x", onnxtest.Float, 2)
	g.Op("Add", []string{"x", "x"}, onnxtest.Outs("y"))
	g.Output("y", onnxtest.Float, 2)
	body, err := proto.Marshal(m.Proto())
	if err != nil {
		t.Fatal(err)
	}
	for _, eng := range []Engine{openORT(t), OpenGo()} {
		s, err := eng.Load(Model{Path: "twice.onnx", Data: body}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		call, err := s.Prepare(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		x, err := NewTensor(ir.Float32, []int64{2}, []byte{0, 0, 128, 63, 0, 0, 0, 64}) // 1, 2
		if err != nil {
			t.Fatal(err)
		}
		in, err := eng.Hold(x)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			var mid, out [1]Held
			if err := call.Run([]Held{in}, mid[:]); err != nil {
				t.Fatal(err)
			}
			if err := call.Run(mid[:], out[:]); err != nil {
				t.Fatal(err)
			}
			got, err := out[0].Value()
			if err != nil {
				t.Fatal(err)
			}
			if want := []byte{0, 0, 128, 64, 0, 0, 0, 65}; !slices.Equal(got.Data, want) { // 4, 8
				t.Errorf("%s: %v, want %v", eng.Name(), got.Data, want)
			}
			mid[0].Release()
			out[0].Release()
		}
		if err := call.Run([]Held{nil}, make([]Held, 1)); err == nil {
			t.Errorf("%s runs without its input", eng.Name())
		}
		if eng.Name() != OpenGo().Name() {
			if err := call.Run([]Held{goHeld{x}}, make([]Held, 1)); err == nil || err.Error() != `twice.onnx: value "x": input cannot be given to ONNX Runtime: it is not in its memory` {
				t.Errorf("a value of another engine: %v", err)
			}
		}
		in.Release()
		call.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Prepare(context.Background()); err == nil && eng.Name() != OpenGo().Name() {
			t.Errorf("%s prepares a closed session", eng.Name())
		}
	}
}

func TestCPULists(t *testing.T) {
	for text, want := range map[string][]int{"0": {0}, "3,1": {1, 3}, "0-2,2,7": {0, 1, 2, 7}} {
		got, err := ParseCPUs(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
		if again, err := ParseCPUs(FormatCPUs(got)); err != nil || !slices.Equal(again, want) {
			t.Errorf("%q reads back as %v, %v", FormatCPUs(got), again, err)
		}
	}
	for _, bad := range []string{"", "-1", "1-", "2-1", "0,", "a", "99999999999999999999", "0-99999999"} {
		if cpus, err := ParseCPUs(bad); err == nil {
			t.Errorf("%q is %v", bad, cpus)
		}
	}
}

func TestBind(t *testing.T) {
	if goruntime.GOOS != "linux" {
		if err := Bind([]int{0}); err == nil || err.Error() != "threads can be bound to cores on Linux only" {
			t.Errorf("bound, or refused with %v", err)
		}
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread()
		all, err := BoundCPUs()
		if err != nil || len(all) == 0 {
			t.Error(all, err)
			return
		}
		last := all[len(all)-1:]
		if err := Bind(last); err != nil {
			t.Error(err)
		}
		if got, err := BoundCPUs(); err != nil || !slices.Equal(got, last) {
			t.Errorf("bound to %v: %v, %v", last, got, err)
		}
		want := fmt.Sprintf("a thread cannot be bound to cores %d: sched_setaffinity: invalid argument", maxCPU)
		if err := Bind([]int{maxCPU}); !slices.Contains(all, maxCPU) && (err == nil || err.Error() != want) {
			t.Errorf("bound to a core that is not there: %v", err)
		}
		if err := Bind([]int{-1}); err == nil || err.Error() != "there is no core -1" {
			t.Errorf("core -1: %v", err)
		}
	}()
	<-done
}
