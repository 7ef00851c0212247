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

	// Kernel is the op type that most of the time goes to, perhaps with the kind of its
	// kernel after a blank, such as "Conv 1x1"; "" if that is not known. Operations of
	// one kernel are alike whatever is fused with them.
	Kernel string

	// Members are the operations of a group, in order; nil for a single one. Type is
	// then the kind of the group, and Bytes leaves out what stays inside it.
	Members []Op
	// Fused says that the members run as one kernel.
	Fused bool
}

// Cost is the time of op on processor p and what it rests on, in this order:
//
//   - unsupported, by the profile's lists or because the processor has no
//     arithmetic for the element type: ir.Unsupported;
//   - the measurement of the same signature on that processor;
//   - the model fitted to that processor's measurements of the same kernel, or else
//     the same op type, and element type, unless the op is far larger than what was
//     measured;
//   - the roofline max(FLOPs/peak, bytes/bandwidth) plus the overhead of an op.
//
// A group is looked up in the same order. Without measurement or fit of its own,
// it costs what its members cost if the one with the most work is measured or
// fitted, or if they are not fused; else the roofline of the whole with the
// overhead of one op. What is a sum of its members is at best fitted.
//
// It is whole picoseconds, at most ir.MaxMicros. PeakFor says which peak counts.
func (f *Fleet) Cost(p ir.ProcID, op Op) (ir.Time, ir.CostSource) {
	proc := &f.Processors[p]
	op.Domain = canonicalDomain(op.Domain)
	op.FLOPs, op.Bytes = max(op.FLOPs, 0), max(op.Bytes, 0)
	if !f.runs(p, &op) {
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
	for _, name := range fitNames(op.Type, op.Kernel) {
		if fit, ok := table.fit(op.Domain, name, op.Elem); ok && name != "" && fit.covers(op.FLOPs, op.Bytes) {
			return atMost(fit.Predict(op.FLOPs, op.Bytes) * table.scale), ir.Fitted
		}
	}
	if len(op.Members) > 0 {
		t, source, lead := f.sum(p, op.Members)
		if t != ir.Unsupported && (lead != ir.Roofline || !op.Fused) {
			return t, min(source, ir.Fitted)
		}
	}
	compute := float64(op.FLOPs) / peak
	movement := float64(op.Bytes) / proc.MemoryBytesPerSecond
	t := atMost(max(compute, movement)*1e6) + proc.OpOverhead
	return min(t, ir.Micros(ir.MaxMicros)), ir.Roofline
}

// runs says whether the profile of p admits the operator, or all of a group.
func (f *Fleet) runs(p ir.ProcID, op *Op) bool {
	if len(op.Members) == 0 {
		return f.Processors[p].supports(op.Domain, op.Type)
	}
	for i := range op.Members {
		if m := &op.Members[i]; !f.Processors[p].supports(canonicalDomain(m.Domain), m.Type) {
			return false
		}
	}
	return true
}

// sum is what the members of a group cost one by one, the weakest of their
// sources, and the source of the one with the most work.
func (f *Fleet) sum(p ir.ProcID, members []Op) (total ir.Time, source, lead ir.CostSource) {
	source = ir.Measured
	most := -1.0
	for _, m := range members {
		t, from := f.Cost(p, m)
		if t == ir.Unsupported {
			return ir.Unsupported, ir.Roofline, ir.Roofline
		}
		total = min(total+t, ir.Micros(ir.MaxMicros))
		source = min(source, from)
		if w := float64(max(m.FLOPs, 0)) + float64(max(m.Bytes, 0)); w > most {
			most, lead = w, from
		}
	}
	return total, source, lead
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
	if rate := p.peak(elem); rate > 0 {
		return rate, true
	}
	var rate float64
	switch elem {
	case ir.Float32, ir.Complex64:
		rate = p.peak(ir.Float32, ir.Float16, ir.BFloat16)
	case ir.Float16:
		rate = p.peak(ir.Float32, ir.BFloat16)
	case ir.BFloat16:
		rate = p.peak(ir.Float32, ir.Float16)
	case ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float8E8M0, ir.Float4E2M1:
		rate = p.peak(ir.Float16, ir.BFloat16, ir.Float32)
	case ir.Float64, ir.Complex128:
		if rate = p.peak(ir.Float64); rate == 0 {
			switch p.Kind {
			case "cpu":
				rate = p.peak(ir.Float32) / 2
			case "gpu":
				rate = p.peak(ir.Float32) / 32
			}
		}
	default:
		if rate = p.peak(kin(elem)...); rate == 0 {
			rate = p.peak(ir.Int32, ir.Float32, ir.Float16, ir.BFloat16, ir.Int8, ir.Uint8, ir.Int4)
		}
	}
	return rate, rate > 0
}

// peak is the rate of the first of elems that has a peak of its own; 0 if none has.
func (p *Processor) peak(elems ...ir.ElemType) float64 {
	for _, e := range elems {
		for _, k := range p.Peaks {
			if k.Elem == e {
				return k.OpsPerSecond
			}
		}
	}
	return 0
}

// kin lists the integer types whose units serve an integer type as well as its own.
func kin(elem ir.ElemType) []ir.ElemType {
	switch elem {
	case ir.Int8:
		return []ir.ElemType{ir.Uint8}
	case ir.Uint8:
		return []ir.ElemType{ir.Int8}
	case ir.Int16:
		return []ir.ElemType{ir.Uint16}
	case ir.Uint16:
		return []ir.ElemType{ir.Int16}
	case ir.Int32:
		return []ir.ElemType{ir.Uint32}
	case ir.Int64:
		return []ir.ElemType{ir.Uint64}
	case ir.Uint64:
		return []ir.ElemType{ir.Int64}
	case ir.Int4:
		return []ir.ElemType{ir.Uint4, ir.Int8, ir.Uint8}
	case ir.Uint4:
		return []ir.ElemType{ir.Int4, ir.Int8, ir.Uint8}
	case ir.Int2, ir.Uint2:
		return []ir.ElemType{ir.Int2, ir.Uint2, ir.Int4, ir.Uint4, ir.Int8, ir.Uint8}
	}
	return nil
}

// Busy is the fleet with measured and fitted costs as they are while all processors
// of a device are busy, as in a full pipeline: they share memory and caches. Costs
// of processors that are alone in their device, and those from the roofline, stay.
func (f *Fleet) Busy() *Fleet {
	g := *f
	g.Processors = slices.Clone(f.Processors)
	count := make([]int, len(f.Platform.Devices))
	for _, p := range f.Platform.Processors {
		count[p.Device]++
	}
	for i := range g.Processors {
		p := &g.Processors[i]
		if p.costs.all == nil || count[f.Platform.Processors[i].Device] < 2 {
			continue
		}
		table := *p.costs
		table.scale *= p.costs.all.Parameters.busy()
		p.costs = &table
	}
	return &g
}

// Error is the largest relative error that cost files state of the processors' costs;
// 0 where none states any. A predicted gain below it says nothing.
func (f *Fleet) Error() float64 {
	var most float64
	for i := range f.Processors {
		if all := f.Processors[i].costs.all; all != nil && all.Parameters.Error != nil {
			most = max(most, *all.Parameters.Error)
		}
	}
	return most
}

// costTable holds the measurements of one processor and what was fitted to them.
type costTable struct {
	measured map[string]float64 // microseconds by signature
	scale    float64            // calibration of measured and fitted costs
	all      *CostFile          // nil if the processor has no cost files
	files    []string           // names of the cost files, the later ones count
	fits     []Fit              // ascending by op type, domain, element type
}

func newCostTable(c *CostFile) *costTable {
	t := &costTable{measured: make(map[string]float64, len(c.Entries)), scale: c.Parameters.scale()}
	for _, e := range c.Entries {
		t.measured[e.Signature] = e.MedianUs
	}
	for _, group := range groupEntries(c.Entries) {
		if fit, ok := group.fit(); ok {
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

// CostFiles names the cost files of processor p, those that count more later; as
// paths that start with the folder that was loaded.
func (f *Fleet) CostFiles(p ir.ProcID) []string { return slices.Clone(f.Processors[p].costs.files) }

// Costs is what the cost files of processor p hold together, or nil if it has
// none. It must not be changed.
func (f *Fleet) Costs(p ir.ProcID) *CostFile { return f.Processors[p].costs.all }
