package export

import (
	"encoding/json"
	"fmt"
	"strings"
)

// settings is the value of ONNX Runtime's session option for this placement: a
// rule for each kind of device that it can name.
func (t *annotation) settings() string {
	var order []string
	rules := map[string][]string{}
	for i := range t.source.m.Submodels {
		d := designator(t.proc(i).Kind)
		if rules[d] == nil {
			order = append(order, d)
		}
		rules[d] = append(rules[d], layer(i))
	}
	for i, d := range order {
		order[i] = d + "(" + strings.Join(rules[d], ", ") + ")"
	}
	return strings.Join(order, "; ")
}

// designator is ONNX Runtime's name for a kind of processor
// (docs/PartitioningWithAnnotationsAndMemoryConstraints.md).
func designator(kind string) string {
	switch kind {
	case "cpu", "gpu", "npu":
		return kind
	}
	return "accelerator"
}

func (t *annotation) modelMetadata() [][2]string {
	m := t.source.m
	ids, procs := make([]string, 0, len(m.Submodels)), make([]string, 0, len(m.Processors))
	for i, s := range m.Submodels {
		ids = append(ids, s.ID+"="+t.proc(i).Name)
	}
	for _, p := range m.Processors {
		procs = append(procs, p.Name)
	}
	return [][2]string{
		{"dnnsplit.version", m.Tool.Version},
		{"dnnsplit.objective", m.Prediction.Objective},
		{"dnnsplit.latency_us", micros(m.Prediction.LatencyUs)},
		{"dnnsplit.bottleneck_us", micros(m.Prediction.BottleneckUs)},
		{processorsKey, strings.Join(procs, ",")},
		{"dnnsplit.submodels", strings.Join(ids, ",")},
		{"dnnsplit." + SettingsKey, t.settings()},
	}
}

// describe adds what goes with the model.
func (t *annotation) describe() error {
	settings := t.settings()
	body, err := json.MarshalIndent(map[string]string{SettingsKey: settings}, "", " ")
	if err != nil {
		return err
	}
	t.addText("session_options.json", string(body)+"\n")
	if err := t.nodeData(); err != nil {
		return err
	}
	fmt.Fprintf(&t.text, "%s=%s\n", SettingsKey, settings)
	kinds := map[string]map[string]bool{}
	for i := range t.source.m.Submodels {
		p := t.proc(i)
		if d := designator(p.Kind); kinds[d] == nil {
			kinds[d] = map[string]bool{p.Name: true}
		} else {
			kinds[d][p.Name] = true
		}
	}
	for _, d := range []string{"cpu", "gpu", "npu", "accelerator"} {
		if n := len(kinds[d]); n > 1 {
			t.notef("a session of ONNX Runtime has one %s: the %d processors of that kind are one there", d, n)
		}
	}
	if v := t.m.Proto.GetIrVersion(); v < annotatedIR {
		t.notef("the annotated model has IR version %d, the source has %d: device configurations need it", annotatedIR, v)
	}
	return nil
}
