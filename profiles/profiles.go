// Package profiles reads device profiles: which devices there are, which
// processors they have, how they are linked, and what each operation costs on
// each processor.
//
// A folder holds one YAML file a device (schema dnnsplit/device/v1), optionally
// fleet.yaml with the links (dnnsplit/fleet/v1), and the cost files that the
// devices name (dnnsplit/costs/v1). The YAML files beside this source are a
// sample fleet.
//
// The package knows nothing of ONNX files: an operation comes to it as a
// domain, a type, a signature and an amount of work.
package profiles

import (
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Fleet is a set of devices with what is known of their processors. It is
// read-only once loaded and may be used by several goroutines.
type Fleet struct {
	Platform   *ir.Platform
	Processors []Processor // by ir.ProcID
	files      []string
	idleCosts  []string
}

// Files lists what was read, in that order and each once: device profiles with
// the cost files that they name, then fleet.yaml; as paths that start with the
// folder that was loaded.
func (f *Fleet) Files() []string { return slices.Clone(f.files) }

// IdleCosts lists the files *.costs.json of the folder, without the folder, that no
// processor names: what they hold is not used.
func (f *Fleet) IdleCosts() []string { return slices.Clone(f.idleCosts) }

// Processor is what a profile says about a processor beyond ir.Processor.
type Processor struct {
	Name     string // device.processor, or the device's name where it has one processor
	Kind     string // cpu, gpu, npu, dsp or tpu
	Provider string // the runtime's execution provider; "" if the profile names none
	Source   string // where the numbers come from; "" if the profile does not say

	Peaks                []Peak  // ascending by element type; at least one
	MemoryBytesPerSecond float64 // bandwidth between its memory and its arithmetic
	OpOverhead           ir.Time // added to the roofline of each operation

	supported   *patternSet // if not nil: only these run here
	unsupported *patternSet // may be nil
	costs       *costTable  // never nil
	speed       float64     // what Fleet.With made of it; 0: 1
}

// Peak is the arithmetic rate for one element type. A multiplication and an
// addition are two operations.
type Peak struct {
	Elem         ir.ElemType
	OpsPerSecond float64
}

// Supports says whether processor p runs operations of this type. The domains
// "" and "ai.onnx" are the same.
func (f *Fleet) Supports(p ir.ProcID, domain, opType string) bool {
	return f.Processors[p].supports(canonicalDomain(domain), opType)
}

// Processor looks a processor up by its name. The error of an unknown name
// lists the processors that could be meant.
func (f *Fleet) Processor(name string) (ir.ProcID, error) {
	names := make([]string, len(f.Processors))
	for i, p := range f.Processors {
		if p.Name == name {
			return ir.ProcID(i), nil
		}
		names[i] = p.Name
	}
	for d, dev := range f.Platform.Devices {
		if dev.Name != name {
			continue
		}
		var own []string
		for i, p := range f.Platform.Processors {
			if p.Device == ir.DeviceID(d) {
				own = append(own, names[i])
			}
		}
		return ir.NoProc, fmt.Errorf("%s is a device with several processors, name one of %s", quoted(name), enumerate(own))
	}
	hint := DidYouMean(name, names)
	if hint == "" {
		hint = "; there are " + enumerate(names)
	}
	return ir.NoProc, fmt.Errorf("no processor is called %s%s", quoted(name), hint)
}

// Target looks up what a name stands for: a processor, or all processors of a device,
// in ascending order. Its error is that of Processor.
func (f *Fleet) Target(name string) ([]ir.ProcID, error) {
	for d, dev := range f.Platform.Devices {
		if dev.Name != name {
			continue
		}
		var own []ir.ProcID
		for i, p := range f.Platform.Processors {
			if p.Device == ir.DeviceID(d) {
				own = append(own, ir.ProcID(i))
			}
		}
		return own, nil
	}
	p, err := f.Processor(name)
	if err != nil {
		return nil, err
	}
	return []ir.ProcID{p}, nil
}

// Device looks a device up by its name, with suggestions as Processor.
func (f *Fleet) Device(name string) (ir.DeviceID, error) {
	names := make([]string, len(f.Platform.Devices))
	for i, d := range f.Platform.Devices {
		if d.Name == name {
			return ir.DeviceID(i), nil
		}
		names[i] = d.Name
	}
	hint := DidYouMean(name, names)
	if hint == "" {
		hint = "; there are " + enumerate(names)
	}
	return ir.NoDevice, fmt.Errorf("no device is called %s%s", quoted(name), hint)
}

// WithSource is the fleet with graph inputs in the host memory of the named
// device; "" puts them into the host memory of every device.
func (f *Fleet) WithSource(device string) (*Fleet, error) {
	return f.withEnd(device, func(p *ir.Platform, d ir.DeviceID) { p.Source = d })
}

// WithSink is the fleet with graph outputs to arrive in the host memory of the
// named device; with "" they stay where they are made.
func (f *Fleet) WithSink(device string) (*Fleet, error) {
	return f.withEnd(device, func(p *ir.Platform, d ir.DeviceID) { p.Sink = d })
}

func (f *Fleet) withEnd(device string, set func(*ir.Platform, ir.DeviceID)) (*Fleet, error) {
	d := ir.NoDevice
	if device != "" {
		var err error
		if d, err = f.Device(device); err != nil {
			return nil, err
		}
	}
	platform := *f.Platform
	set(&platform, d)
	return &Fleet{Platform: &platform, Processors: f.Processors, files: f.files}, nil
}

// enumerate lists names for a message, the first few of many.
func enumerate(names []string) string {
	const shown = 8
	names = slices.Clone(names)
	tail := ""
	if len(names) > shown {
		tail = fmt.Sprintf(" and %d more", len(names)-shown)
		names = names[:shown]
	}
	text := ""
	for i, n := range names {
		if i > 0 {
			text += ", "
		}
		text += n
	}
	return text + tail
}
