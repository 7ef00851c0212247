package profiles

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// costs is a cost file with entries given as JSON.
func costs(parameters string, entries ...string) string {
	text := `{"schema": "dnnsplit/costs/v1", "processor": "a"` + parameters + `, "entries": [`
	for i, e := range entries {
		if i > 0 {
			text += ","
		}
		text += "\n" + e
	}
	return text + "]}"
}

func entry(signature, op string, flops, bytes int64, us float64) string {
	return fmt.Sprintf(`{"signature": %q, "op": %q, "elem": "float32", "flops": %d, "bytes": %d, "median_us": %v, "runs": 10}`,
		signature, op, flops, bytes, us)
}

func TestRoofline(t *testing.T) {
	f := mustLoad(t, "a.yaml", device("a", "    op_overhead: 5us\n")) // 100 GFLOP/s, 10 GB/s
	for _, c := range []struct {
		op   Op
		want ir.Time
	}{
		{Op{Type: "Conv", Elem: ir.Float32, FLOPs: 1e9, Bytes: 1e6}, 10*ir.Millisecond + 5*ir.Microsecond},
		{Op{Type: "Add", Elem: ir.Float32, FLOPs: 1e5, Bytes: 1e6}, 105 * ir.Microsecond},
		{Op{Type: "Reshape", Elem: ir.Int64}, 5 * ir.Microsecond},
		{Op{Type: "Concat", Elem: ir.String, Bytes: 1e6}, 105 * ir.Microsecond},
		{Op{Type: "Odd", Elem: ir.UndefinedElem, FLOPs: -5, Bytes: -5}, 5 * ir.Microsecond},
		{Op{Type: "Gemm", Elem: ir.Float64, FLOPs: 1e9}, 20*ir.Millisecond + 5*ir.Microsecond},
		{Op{Type: "Conv", Elem: ir.Float32, FLOPs: 1, Bytes: 1}, 5*ir.Microsecond + 100},
	} {
		got, source := f.Cost(0, c.op)
		if diff := got - c.want; source != ir.Roofline || diff < -64 || diff > 64 {
			t.Errorf("%+v costs %d from %s, want %d", c.op, got, source, c.want)
		}
	}
}

func TestCostIsBounded(t *testing.T) {
	f := mustLoad(t, "a.yaml", `
schema: dnnsplit/device/v1
name: a
memory: 1B
processors: [{name: p, kind: dsp, peak: {float32: 1FLOP/s}, memory_bandwidth: 1B/s, op_overhead: 1e6s}]
`)
	if got, _ := f.Cost(0, Op{Type: "Conv", Elem: ir.Float32, FLOPs: 1 << 62, Bytes: 1 << 62}); got != ir.Micros(ir.MaxMicros) {
		t.Errorf("cost %d", got)
	}
}

func TestPeakFor(t *testing.T) {
	processor := func(kind string, peaks ...Peak) *Processor { return &Processor{Kind: kind, Peaks: peaks} }
	cpu := processor("cpu", Peak{ir.Float32, 100})
	gpu := processor("gpu", Peak{ir.Float32, 320}, Peak{ir.Int8, 4000}, Peak{ir.Float16, 640})
	npu := processor("npu", Peak{ir.Int8, 8000}, Peak{ir.Float16, 400})
	tpu := processor("tpu", Peak{ir.Int8, 4000})
	for _, c := range []struct {
		name string
		p    *Processor
		elem ir.ElemType
		want float64 // 0: none
	}{
		{"cpu", cpu, ir.Float32, 100},
		{"cpu", cpu, ir.Float16, 100},
		{"cpu", cpu, ir.BFloat16, 100},
		{"cpu", cpu, ir.Float64, 50},
		{"cpu", cpu, ir.Int8, 100},
		{"cpu", cpu, ir.Int64, 100},
		{"cpu", cpu, ir.Bool, 100},
		{"cpu", cpu, ir.Float8E4M3FN, 100},
		{"cpu", cpu, ir.Complex64, 100},
		{"cpu", cpu, ir.Complex128, 50},
		{"cpu", cpu, ir.ElemType(99), 100},
		{"gpu", gpu, ir.Float16, 640},
		{"gpu", gpu, ir.BFloat16, 320},
		{"gpu", gpu, ir.Float64, 10},
		{"gpu", gpu, ir.Uint8, 4000},
		{"gpu", gpu, ir.Int4, 4000},
		{"gpu", gpu, ir.Int32, 320},
		{"gpu", gpu, ir.Float8E5M2, 640},
		{"npu", npu, ir.Float32, 400},
		{"npu", npu, ir.Float64, 0},
		{"npu", npu, ir.Uint8, 8000},
		{"npu", npu, ir.Int64, 400},
		{"tpu", tpu, ir.Float32, 0},
		{"tpu", tpu, ir.Float16, 0},
		{"tpu", tpu, ir.Int8, 4000},
		{"tpu", tpu, ir.Int64, 4000},
		{"tpu", tpu, ir.String, 4000},
	} {
		got, ok := c.p.PeakFor(c.elem)
		if got != c.want || ok != (c.want != 0) {
			t.Errorf("%s: peak for %s is %v, %v, want %v", c.name, c.elem, got, ok, c.want)
		}
	}
}

func TestNoFloatingPointIsUnsupported(t *testing.T) {
	f := mustLoad(t, "a.yaml", `
schema: dnnsplit/device/v1
name: coral
memory: 1GiB
processors: [{name: tpu, kind: tpu, peak: {int8: 4TOP/s}, memory_bandwidth: 1GB/s}]
`)
	if got, _ := f.Cost(0, Op{Type: "Conv", Elem: ir.Float32, FLOPs: 1}); got != ir.Unsupported {
		t.Errorf("a float32 Conv costs %v", got)
	}
	if got, _ := f.Cost(0, Op{Type: "ConvInteger", Elem: ir.Uint8, FLOPs: 4e9}); got != ir.Millisecond {
		t.Errorf("a uint8 Conv costs %v", got)
	}
}

func TestSupports(t *testing.T) {
	load := func(list string) *Fleet { return mustLoad(t, "a.yaml", device("a", "    "+list+"\n")) }
	for _, c := range []struct {
		list       string
		domain, op string
		want       bool
	}{
		{"unsupported: []", "", "Loop", true},
		{"unsupported: [Loop]", "", "Loop", false},
		{"unsupported: [Loop]", "ai.onnx", "Loop", false},
		{"unsupported: [Loop]", "custom", "Loop", true},
		{"unsupported: [loop]", "", "Loop", true},
		{`unsupported: ["com.microsoft::*"]`, "com.microsoft", "Gelu", false},
		{`unsupported: ["com.microsoft::*"]`, "", "Gelu", true},
		{`unsupported: ["ai.onnx.ml::Tree*"]`, "ai.onnx.ml", "TreeEnsembleClassifier", false},
		{`unsupported: ["ai.onnx.ml::Tree*"]`, "ai.onnx.ml", "Scaler", true},
		{`unsupported: ["ai.onnx::Conv*"]`, "", "ConvTranspose", false},
		{`unsupported: ["*"]`, "anything", "Op", false},
		{`unsupported: ["Q*Linear"]`, "", "QuantizeLinear", false},
		{`unsupported: ["*::Attention"]`, "com.microsoft", "Attention", false},
		{"supported: [Conv, Relu]", "", "Conv", true},
		{"supported: [Conv, Relu]", "", "Add", false},
		{"supported: [Conv, Relu]", "custom", "Conv", false},
		{`supported: ["*"]`, "custom", "Conv", true},
	} {
		f := load(c.list)
		if got := f.Supports(0, c.domain, c.op); got != c.want {
			t.Errorf("%s: Supports(%q, %q) = %v", c.list, c.domain, c.op, got)
		}
		if cost, _ := f.Cost(0, Op{Domain: c.domain, Type: c.op}); (cost != ir.Unsupported) != c.want {
			t.Errorf("%s: Cost(%q, %q) = %v", c.list, c.domain, c.op, cost)
		}
	}
}

func TestCostOrder(t *testing.T) {
	// t = 10 + 2e-5·FLOPs + 1e-4·bytes in microseconds for Conv; too few for Add.
	var entries []string
	for i := range int64(8) {
		flops, bytes := (i+1)*1_000_000, (i%3+1)*10_000
		entries = append(entries, entry(fmt.Sprintf("conv%d", i), "Conv", flops, bytes, 10+2e-5*float64(flops)+1e-4*float64(bytes)))
	}
	entries = append(entries, entry("add", "Add", 10, 20, 3), entry("loop", "Loop", 10, 20, 3))
	f := mustLoad(t, "a.yaml", device("a", "    op_overhead: 5us\n    unsupported: [Loop]\n    costs: [a.costs.json]\n"), "a.costs.json", costs("", entries...))
	for _, c := range []struct {
		op     Op
		want   ir.Time
		source ir.CostSource
	}{
		{Op{Type: "Add", Signature: "add", Elem: ir.Float32, FLOPs: 1e9}, 3 * ir.Microsecond, ir.Measured},
		{Op{Type: "Conv", Signature: "new", Elem: ir.Float32, FLOPs: 2_500_000, Bytes: 15_000}, ir.Micros(61.5), ir.Fitted},
		{Op{Type: "Conv", Elem: ir.Float32, FLOPs: 2_500_000, Bytes: 15_000}, ir.Micros(61.5), ir.Fitted},
		{Op{Type: "Conv", Elem: ir.Float32, FLOPs: 80_000_000, Bytes: 15_000}, ir.Micros(1611.5), ir.Fitted},
		{Op{Type: "Conv", Elem: ir.Float32, FLOPs: 1e9, Bytes: 15_000}, 10*ir.Millisecond + 5*ir.Microsecond, ir.Roofline}, // far beyond the measurements
		{Op{Type: "Conv", Elem: ir.Float16, FLOPs: 1e6}, 15 * ir.Microsecond, ir.Roofline},
		{Op{Type: "Add", Signature: "other", Elem: ir.Float32, FLOPs: 1e6}, 15 * ir.Microsecond, ir.Roofline},
		{Op{Type: "Loop", Signature: "loop"}, ir.Unsupported, ir.Roofline},
	} {
		got, source := f.Cost(0, c.op)
		if diff := got - c.want; source != c.source || diff < -2000 || diff > 2000 {
			t.Errorf("%+v costs %v from %s, want %v from %s", c.op, got, source, c.want, c.source)
		}
	}
}

func TestCostFilesOverrideProfile(t *testing.T) {
	profile := device("a", "    launch: 1us\n    costs: [old.json, new.json]\n")
	f := mustLoad(t, "a.yaml", profile,
		"old.json", costs(`, "parameters": {"launch_us": 7, "upload": {"latency_us": 1, "bytes_per_us": 2}}`, entry("s", "Add", 1, 1, 100), entry("t", "Add", 1, 1, 10)),
		"new.json", costs(`, "parameters": {"launch_us": 8, "scale": 1.5}`, entry("s", "Add", 1, 1, 4)))
	p := f.Platform.Processors[0]
	if p.Launch != 8*ir.Microsecond || p.Upload == nil || *p.Upload != (ir.Copy{Latency: ir.Microsecond, BytesPerUs: 2}) || p.Download != nil {
		t.Errorf("processor %+v", p)
	}
	for signature, want := range map[string]ir.Time{"s": 6 * ir.Microsecond, "t": 15 * ir.Microsecond} {
		if got, source := f.Cost(0, Op{Type: "Add", Signature: signature}); got != want || source != ir.Measured {
			t.Errorf("%s costs %v from %s, want %v", signature, got, source, want)
		}
	}
	if all := f.Costs(0); all == nil || len(all.Entries) != 2 || *all.Parameters.LaunchUs != 8 {
		t.Errorf("costs %+v", all)
	}
	if diff := cmp.Diff([]string{"a.yaml", "old.json", "new.json"}, f.Files()); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
}

// What is unknown costs what its kernel is fitted to, then the op type of the
// kernel, then its own op type.
func TestKernelFits(t *testing.T) {
	var entries []string
	add := func(op, kernel string, usPerFLOP float64) {
		for i := 1; i <= 6; i++ {
			flops := float64(i * i * 1000)
			entries = append(entries, fmt.Sprintf(`{"signature": "%s %s %d", "op": "%s", "kernel": "%s", "elem": "float32", "flops": %v, "bytes": 0, "median_us": %v, "runs": 1}`, op, kernel, i, op, kernel, flops, flops*usPerFLOP))
		}
	}
	add("Conv+Relu", "Conv 1x1", 0.01)
	add("Conv", "Conv 3x3", 0.02)
	add("Softmax", "", 0.5)
	f := mustLoad(t, "a.yaml", device("a", "    costs: [c.json]\n"), "c.json", costs("", entries...))
	for _, c := range []struct {
		op, kernel string
		low, high  float64 // microseconds of 10,000 FLOPs
	}{
		{"Conv+Add", "Conv 1x1", 99.9, 100.1},
		{"Conv", "Conv 3x3", 199.9, 200.1},
		{"Conv+Relu", "", 99.9, 100.1},
		{"Conv+Relu", "Conv large", 100, 200},
		{"Softmax", "", 4999, 5001},
	} {
		got, source := f.Cost(0, Op{Type: c.op, Kernel: c.kernel, Elem: ir.Float32, FLOPs: 10000})
		if us := got.Us(); source != ir.Fitted || us < c.low || us > c.high {
			t.Errorf("%s of kernel %q costs %v us from %s, want %v to %v", c.op, c.kernel, us, source, c.low, c.high)
		}
	}
	names := map[string]int{}
	for _, fit := range f.Costs(0).Fits() {
		names[fit.Op] = fit.Entries
	}
	if want := map[string]int{"Conv": 12, "Conv 1x1": 6, "Conv 3x3": 6, "Conv+Relu": 6, "Softmax": 6}; !maps.Equal(names, want) {
		t.Errorf("fits %v, want %v", names, want)
	}
}

// Processors that share a device with others are slower while those work, too.
func TestBusy(t *testing.T) {
	two := device("a", "    costs: [c.json]\n", "  - name: other\n    kind: cpu\n    peak: {float32: 1GFLOP/s}\n    memory_bandwidth: 1GB/s\n")
	c := costs(`, "parameters": {"scale": 2, "busy": 1.5, "error": 0.04}`, entry("s", "Add", 1, 1, 4))
	f := mustLoad(t, "a.yaml", two, "c.json", c)
	op := Op{Type: "Add", Signature: "s"}
	if got, _ := f.Cost(0, op); got != 8*ir.Microsecond {
		t.Errorf("it costs %v, want 8 us", got)
	}
	if got, _ := f.Busy().Cost(0, op); got != 12*ir.Microsecond {
		t.Errorf("on a busy device it costs %v, want 12 us", got)
	}
	if e := f.Error(); e != 0.04 {
		t.Errorf("the costs' error is %v, want 0.04", e)
	}
	alone := mustLoad(t, "a.yaml", device("a", "    costs: [c.json]\n"), "c.json", c)
	if got, _ := alone.Busy().Cost(0, op); got != 8*ir.Microsecond {
		t.Errorf("with the device for itself it costs %v, want 8 us", got)
	}
}

func TestProcessorLookup(t *testing.T) {
	sample, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range sample.Platform.Processors {
		if got, err := sample.Processor(p.Name); err != nil || got != ir.ProcID(i) {
			t.Errorf("Processor(%q) = %d, %v", p.Name, got, err)
		}
	}
	for _, c := range []struct{ name, want string }{
		{"phone", `"phone" is a device with several processors, name one of phone.cpu, phone.gpu, phone.npu`},
		{"phone.cup", `no processor is called "phone.cup", did you mean "phone.cpu"?`},
		{"raspberrypi5", `no processor is called "raspberrypi5", did you mean "raspberry-pi-5"?`},
		{"mainframe", `no processor is called "mainframe"; there are edge-server.cpu, edge-server.gpu, jetson-orin-nano.gpu, jetson-orin-nano.cpu, phone.cpu, phone.gpu, phone.npu, raspberry-pi-5`},
	} {
		if _, err := sample.Processor(c.name); err == nil || err.Error() != c.want {
			t.Errorf("Processor(%q): %v, want %s", c.name, err, c.want)
		}
	}
}

func TestWithSourceAndSink(t *testing.T) {
	f := mustLoad(t, "a.yaml", device("a"), "b.yaml", device("b"), "fleet.yaml", "schema: dnnsplit/fleet/v1\nsource: a\n")
	g, err := f.WithSource("b")
	if err != nil {
		t.Fatal(err)
	}
	if g, err = g.WithSink("a"); err != nil {
		t.Fatal(err)
	}
	if g.Platform.Source != 1 || g.Platform.Sink != 0 || f.Platform.Source != 0 || f.Platform.Sink != ir.NoDevice {
		t.Errorf("source %d, sink %d; before %d, %d", g.Platform.Source, g.Platform.Sink, f.Platform.Source, f.Platform.Sink)
	}
	if g, err = g.WithSource(""); err != nil || g.Platform.Source != ir.NoDevice {
		t.Errorf("source %d, %v", g.Platform.Source, err)
	}
	if _, err := f.WithSink("c"); err == nil || err.Error() != `no device is called "c"; there are a, b` {
		t.Errorf("error %v", err)
	}
}

func BenchmarkCost(b *testing.B) {
	f, err := Load(".")
	if err != nil {
		b.Fatal(err)
	}
	ops := []Op{
		{Type: "Conv", Signature: "Conv[3,3]", Elem: ir.Float32, FLOPs: 1e9, Bytes: 1e6},
		{Type: "QuantizeLinear", Elem: ir.Uint8, Bytes: 1e6},
		{Domain: "com.microsoft", Type: "FusedConv", Elem: ir.Float32, FLOPs: 1e9},
		{Type: "Loop", Elem: ir.Int64},
	}
	b.ReportAllocs()
	for i := range b.N {
		for p := range f.Processors {
			f.Cost(ir.ProcID(p), ops[i%len(ops)])
		}
	}
}
