package compiler_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/compiler"
)

// Split a model over the sample fleet with its first layer on the camera's Pi, and
// write the bundle.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	r, err := compiler.Compile(ctx, compiler.Options{
		Model:   "../testdata/models/squeezenet1_1.onnx",
		Devices: "../profiles",
		Output:  filepath.Join(dir, "out"),
		Pins:    []compiler.Rule{{Pattern: "^conv1$", Processor: "raspberry-pi-5"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	if err := r.Write(ctx); err != nil {
		fmt.Println(err)
		return
	}
	m := r.Bundle.Manifest
	fmt.Println("first sub-model:", m.Submodels[0].File)
	single := *m.Prediction.SingleProcessorUs.Of("raspberry-pi-5")
	fmt.Println("faster than the Pi alone:", m.Prediction.LatencyUs < single)
	// Output:
	// first sub-model: raspberry-pi-5.onnx
	// faster than the Pi alone: true
}
