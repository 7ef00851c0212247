package export

import (
	"bytes"
	"encoding/json"
)

// Node data for Model Explorer (google-ai-edge/model-explorer, "Custom node
// data"): what to show at each node, by the name of one of its output tensors.

// nodeValue is what is shown at a node.
type nodeValue struct {
	Value any    `json:"value"`
	Color string `json:"bgColor,omitempty"`
	Text  string `json:"textColor,omitempty"`
}

// gradientStop is a colour for a share of the largest value.
type gradientStop struct {
	Stop  float64 `json:"stop"`
	Color string  `json:"bgColor"`
}

// nodeData adds one file for the processors and, where costs are known, one for them.
func (t *annotation) nodeData() error {
	processor, cost := &namedValues{}, &namedValues{}
	for _, p := range t.list.nodes {
		if p.sub < 0 {
			continue
		}
		processor.add(key(p.proto), nodeValue{Value: t.proc(p.sub).Name, Color: t.color(p.sub), Text: "#000000"})
		if p.cost >= 0 {
			cost.add(key(p.proto), nodeValue{Value: p.cost})
		}
	}
	type data struct {
		Name     string         `json:"name"`
		Results  *namedValues   `json:"results"`
		Gradient []gradientStop `json:"gradient,omitempty"`
	}
	put := func(file string, d data) error {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(d); err != nil {
			return err
		}
		t.addText(file, b.String())
		return nil
	}
	if err := put("processor.nodedata.json", data{Name: "processor", Results: processor}); err != nil {
		return err
	}
	if len(cost.names) == 0 {
		return nil
	}
	return put("cost.nodedata.json", data{Name: "predicted time, us", Results: cost, Gradient: []gradientStop{{0, "#ffffff"}, {1, "#e34a33"}}})
}

// namedValues is a JSON object in a fixed order.
type namedValues struct {
	names  []string
	values []nodeValue
}

func (n *namedValues) add(name string, v nodeValue) {
	n.names = append(n.names, name)
	n.values = append(n.values, v)
}

// MarshalJSON writes the entries in order, a line each.
func (n *namedValues) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, name := range n.names {
		if i > 0 {
			b = append(b, ',')
		}
		k, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(n.values[i])
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, k...), ':'), v...)
	}
	return append(b, '}'), nil
}
