package profiles

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Op is an operation, or a group that runs as one, as far as its cost goes.
type Op struct {
	Domain    string // "" or "ai.onnx" is the default domain
	Type      string
	Signature string // domain, op type, attributes that matter, element types and shapes; "" if it is not known
	Elem      ir.ElemType
	FLOPs     int64 // arithmetic operations, a multiplication and an addition are two; negative counts as 0
	Bytes     int64 // read and written: inputs, weights, outputs; negative counts as 0
}

// Cost is the time of op on processor p and what it rests on, in this order:
//
//   - unsupported, by the profile's lists or because the processor has no
//     arithmetic for the element type: ir.Unsupported;
//   - the measurement of the same signature on that processor;
//   - the model fitted to that processor's measurements of the same op type and
//     element type, unless the op is far larger than what was measured;
//   - the roofline max(FLOPs/peak, bytes/bandwidth) plus the overhead of an op.
//
// It is whole picoseconds, at most ir.MaxMicros. PeakFor says which peak counts.
func (f *Fleet) Cost(p ir.ProcID, op Op) (ir.Time, ir.CostSource) {
	proc := &f.Processors[p]
	op.Domain = canonicalDomain(op.Domain)
	op.FLOPs, op.Bytes = max(op.FLOPs, 0), max(op.Bytes, 0)
	if !proc.supports(op.Domain, op.Type) {
		return ir.Unsupported, ir.Roofline
	}
	table := proc.costs
	if us, ok := table.measured[op.Signature]; ok && op.Signature != "" {
		return atMost(us * table.scale), ir.Measured
	}
	peak, ok := proc.PeakFor(op.Elem)
	if !ok {
		return ir.Unsupported, ir.Roofline
	}
	if fit, ok := table.fit(op.Domain, op.Type, op.Elem); ok && fit.covers(op.FLOPs, op.Bytes) {
		return atMost(fit.Predict(op.FLOPs, op.Bytes) * table.scale), ir.Fitted
	}
	compute := float64(op.FLOPs) / peak
	movement := float64(op.Bytes) / proc.MemoryBytesPerSecond
	t := atMost(max(compute, movement)*1e6) + proc.OpOverhead
	return min(t, ir.Micros(ir.MaxMicros)), ir.Roofline
}

// atMost rounds microseconds to the picosecond and bounds them by ir.MaxMicros.
func atMost(us float64) ir.Time { return ir.Micros(min(us, ir.MaxMicros)) }

// PeakFor is the arithmetic rate, in operations per second, that counts for an
// element type, and whether the processor can compute on that type at all.
//
// A type without a peak of its own runs on the units of another one:
//   - float16 and bfloat16: as float32, to which runtimes convert where there is
//     no narrow arithmetic; without float32 on the units of one another;
//   - float32: as float16, then bfloat16. Runtimes of processors that have only
//     narrow floating point (phone NPUs) run float32 models in it;
//   - 8- and 4-bit floats: as float16, bfloat16, float32: storage formats that
//     are widened to compute;
//   - float64: half of float32 on a cpu, where a vector holds half as many;
//     1/32 on a gpu, the ratio of most parts sold for graphics; elsewhere there
//     are no such units, and it is unsupported;
//   - complex64 as float32, complex128 as float64;
//   - integers: the same width with the other sign, then for 4 bits and less
//     int8, then for all the floating-point units (float32, float16, bfloat16),
//     then int8;
//   - bool, strings and undefined: as int32; they are moved, hardly computed.
//
// A processor without any floating-point peak (an int8 accelerator) runs no
// floating-point operation.
func (p *Processor) PeakFor(elem ir.ElemType) (opsPerSecond float64, ok bool) {
	for _, c := range peakChain(elem, p.Kind) {
		if rate, ok := p.ownPeak(c.elem); ok {
			return rate / c.slower, true
		}
	}
	return 0, false
}

func (p *Processor) ownPeak(elem ir.ElemType) (float64, bool) {
	i, ok := slices.BinarySearchFunc(p.Peaks, elem, func(k Peak, e ir.ElemType) int { return int(k.Elem) - int(e) })
	if !ok {
		return 0, false
	}
	return p.Peaks[i].OpsPerSecond, true
}

// peakChoice is a type whose peak may stand in, and how much slower it is then.
type peakChoice struct {
	elem   ir.ElemType
	slower float64
}

func peakChain(elem ir.ElemType, kind string) []peakChoice {
	var chain []peakChoice
	as := func(elems ...ir.ElemType) {
		for _, e := range elems {
			chain = append(chain, peakChoice{e, 1})
		}
	}
	as(elem)
	switch elem {
	case ir.Float32, ir.Complex64:
		as(ir.Float32, ir.Float16, ir.BFloat16)
	case ir.Float16:
		as(ir.Float32, ir.BFloat16)
	case ir.BFloat16:
		as(ir.Float32, ir.Float16)
	case ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float8E8M0, ir.Float4E2M1:
		as(ir.Float16, ir.BFloat16, ir.Float32)
	case ir.Float64, ir.Complex128:
		as(ir.Float64)
		switch kind {
		case "cpu":
			chain = append(chain, peakChoice{ir.Float32, 2})
		case "gpu":
			chain = append(chain, peakChoice{ir.Float32, 32})
		}
	default:
		switch elem {
		case ir.Int8:
			as(ir.Uint8)
		case ir.Uint8:
			as(ir.Int8)
		case ir.Int16:
			as(ir.Uint16)
		case ir.Uint16:
			as(ir.Int16)
		case ir.Uint32:
			as(ir.Int32)
		case ir.Int64:
			as(ir.Uint64)
		case ir.Uint64:
			as(ir.Int64)
		case ir.Int4:
			as(ir.Uint4, ir.Int8, ir.Uint8)
		case ir.Uint4:
			as(ir.Int4, ir.Int8, ir.Uint8)
		case ir.Int2, ir.Uint2:
			as(ir.Int2, ir.Uint2, ir.Int4, ir.Uint4, ir.Int8, ir.Uint8)
		}
		as(ir.Int32, ir.Float32, ir.Float16, ir.BFloat16, ir.Int8, ir.Uint8, ir.Int4)
	}
	return chain
}

// costTable holds the measurements of one processor and what was fitted to them.
type costTable struct {
	measured map[string]float64 // microseconds by signature
	scale    float64            // calibration of measured and fitted costs
	all      *CostFile          // nil if the processor has no cost files
	fits     []Fit              // ascending by op type, domain, element type
}

func newCostTable(c *CostFile) *costTable {
	t := &costTable{measured: make(map[string]float64, len(c.Entries)), scale: c.Parameters.scale()}
	for _, e := range c.Entries {
		t.measured[e.Signature] = e.MedianUs
	}
	for _, group := range groupEntries(c.Entries) {
		if fit, ok := fitEntries(group); ok {
			t.fits = append(t.fits, fit)
		}
	}
	return t
}

func (t *costTable) fit(domain, op string, elem ir.ElemType) (Fit, bool) {
	i, ok := slices.BinarySearchFunc(t.fits, fitKey{op, domain, elem}, func(f Fit, k fitKey) int { return f.key().compare(k) })
	if !ok {
		return Fit{}, false
	}
	return t.fits[i], true
}

// Costs is what the cost files of processor p hold together, or nil if it has
// none. It must not be changed.
func (f *Fleet) Costs(p ir.ProcID) *CostFile { return f.Processors[p].costs.all }
