package ir

import (
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// build resolves the names that were read and makes the problem.
func (d *graphReader) build() (*Problem, error) {
	if d.schema != GraphSchema {
		return nil, d.fault("schema is %q, not %q: this is no execution graph", d.schema, GraphSchema)
	}
	for bit, name := range []string{0: "devices", 1: "processors", 3: "values", 5: "nodes"} {
		if name != "" && d.sections&(1<<bit) == 0 {
			return nil, d.fault("%s is missing", name)
		}
	}
	platform, err := d.platform()
	if err != nil {
		return nil, err
	}
	g, err := d.graph()
	if err != nil {
		return nil, err
	}
	procs := len(platform.Processors)
	for i, n := range d.nodes {
		if int(n.costs) != procs {
			return nil, d.fault("node %q: cost_us has %d entries for %d processors", d.nodes[i].name, n.costs, procs)
		}
	}
	return &Problem{Graph: g, Platform: platform, Costs: &Costs{procs: procs, time: d.cost}, Submodels: 1}, nil
}

func (d *graphReader) fault(format string, args ...any) error {
	return &diag.Error{File: d.s.file, Msg: fmt.Sprintf(format, args...)}
}

func (d *graphReader) platform() (*Platform, error) {
	if len(d.processors) == 0 {
		return nil, d.fault("there are no processors")
	}
	devices := map[string]DeviceID{}
	for i, e := range d.devices {
		switch _, dup := devices[e.Name]; {
		case e.Name == "":
			return nil, d.fault("device %d: name is missing", i)
		case dup:
			return nil, d.fault("device %q: name is used twice", e.Name)
		}
		devices[e.Name] = DeviceID(i)
	}
	var err error
	device := func(name, where string) DeviceID {
		id, ok := devices[name]
		if !ok && err == nil {
			err = d.fault("%s: unknown device %q", where, name)
		}
		return id
	}
	pf := &Platform{Devices: d.devices, Source: NoDevice, Sink: NoDevice}
	names := map[string]bool{}
	for i, e := range d.processors {
		switch {
		case e.Name == "":
			return nil, d.fault("processor %d: name is missing", i)
		case names[e.Name]:
			return nil, d.fault("processor %q: name is used twice", e.Name)
		}
		names[e.Name] = true
		e.Device = device(e.device, fmt.Sprintf("processor %q", e.Name))
		pf.Processors = append(pf.Processors, e.Processor)
	}
	for i, e := range d.links {
		e.From, e.To = device(e.from, fmt.Sprintf("link %d", i)), device(e.to, fmt.Sprintf("link %d", i))
		if err == nil && e.From == e.To {
			return nil, d.fault("link %d: it leads from device %q to itself", i, e.from)
		}
		pf.Links = append(pf.Links, e.Link)
	}
	if d.source != nil {
		pf.Source = device(*d.source, "source")
	}
	if d.sink != nil {
		pf.Sink = device(*d.sink, "sink")
	}
	return pf, err
}

func (d *graphReader) graph() (*Graph, error) {
	b := NewBuilder(d.name)
	b.unique = true
	b.Grow(len(d.nodes), len(d.bytes), len(d.weightBytes))
	for i, sym := range d.values.order {
		b.Value(Value{Name: d.values.name[sym], Bytes: d.bytes[i], ResidentBytes: d.resident[i], Input: d.input[i], Output: d.output[i]})
	}
	for i, sym := range d.weights.order {
		b.Weight(d.weights.name[sym], d.weightBytes[i])
	}
	d.values.id, d.weights.id, d.nodeNames = nil, nil, nil // free them: a large graph needs the room
	var values []ValueID
	var weights []WeightID
	for _, n := range d.nodes {
		values, weights = values[:0], weights[:0]
		k := int32(n.ref)
		for range n.inputs + n.outputs {
			v := d.values.declared[d.refs[k]]
			if v < 0 {
				return nil, d.fault("node %q: unknown value %q", n.name, d.values.name[d.refs[k]])
			}
			values = append(values, ValueID(v))
			k++
		}
		for range n.weights {
			w := d.weights.declared[d.refs[k]]
			if w < 0 {
				return nil, d.fault("node %q: unknown weight %q", n.name, d.weights.name[d.refs[k]])
			}
			weights = append(weights, WeightID(w))
			k++
		}
		b.Node(Node{
			Name: n.name, Op: n.op, Group: n.group, Replicable: n.replicable,
			Inputs: values[:n.inputs], Outputs: values[n.inputs:], Weights: weights,
		})
		if b.err != nil {
			break
		}
	}
	g, err := b.Build()
	if err != nil {
		return nil, d.fault("%s", err)
	}
	return g, nil
}
