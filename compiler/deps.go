//go:build deps

package compiler

import (
	_ "github.com/goccy/go-yaml"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/owulveryck/onnx-go"
	_ "github.com/owulveryck/onnx-go/backend/x/gorgonnx"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/santhosh-tekuri/jsonschema/v6"
	_ "github.com/spf13/cobra"
	_ "github.com/spf13/pflag"
	_ "github.com/yalue/onnxruntime_go"
	_ "gonum.org/v1/gonum/graph"
	_ "gonum.org/v1/gonum/optimize/convex/lp"
	_ "pgregory.net/rapid"
)
