package compiler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// AutoDiCE (X. Guo, A. D. Pimentel, T. Stefanov: "AutoDiCE: Fully Automated
// Distributed CNN Inference at the Edge", 2022) describes a vertical partition in
// mapping.json: an object that maps each resource, "<host>_cpu<n>" or
// "<host>_gpu<n>", to the list of the layers that it runs. A layer is called as
// the first output of its ONNX node.

// ImportAutoDiCE reads a mapping of AutoDiCE as a placement on a fleet. as names
// the processor of a resource; a resource that it does not name is a processor of
// that name, the only processor of the device <host>, or its only one of the kind
// cpu or gpu. fleet may be nil if as names every resource.
func ImportAutoDiCE(path string, fleet *profiles.Fleet, as map[string]string) (*Placement, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	entries, err := readAutoDiCE(path, body)
	if err != nil {
		return nil, err
	}
	var problems diag.List
	fail := func(format string, args ...any) {
		problems = append(problems, &diag.Error{File: path, Msg: fmt.Sprintf(format, args...)})
	}
	used := map[string]bool{}
	on := map[string]string{} // layer → resource
	p := &Placement{Schema: PlacementSchema, path: path}
	for _, e := range entries {
		processor, ok := as[e.Processor]
		if used[e.Processor] = true; !ok {
			if processor, err = autoDiCEProcessor(fleet, e.Processor); err != nil {
				fail("resource %q: %v; name its processor with --as %s=PROCESSOR", e.Processor, err, e.Processor)
				continue
			}
		}
		for _, layer := range e.Nodes {
			if other, twice := on[layer]; twice {
				fail("layer %q is on %s and on %s: layers that are cut in themselves (horizontal partitions) cannot be placed here", layer, other, e.Processor)
			}
			on[layer] = e.Processor
		}
		i := slices.IndexFunc(p.Place, func(q PlacementNodes) bool { return q.Processor == processor })
		if i < 0 {
			p.Place = append(p.Place, PlacementNodes{processor, e.Nodes})
		} else {
			p.Place[i].Nodes = append(p.Place[i].Nodes, e.Nodes...)
		}
	}
	for _, name := range sortedKeys(as) {
		if !used[name] {
			fail("--as names resource %q, which the mapping does not have", name)
		}
	}
	return p, problems.Err()
}

// readAutoDiCE reads the entries in the order of the file.
func readAutoDiCE(path string, body []byte) ([]PlacementNodes, error) {
	wrong := func(err error) error {
		return &diag.Error{File: path, Msg: `it is no mapping of AutoDiCE, want {"host_cpu0": ["layer", ...], ...}`, Err: err}
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, wrong(err)
	}
	var entries []PlacementNodes
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, wrong(err)
		}
		e := PlacementNodes{}
		e.Processor, _ = tok.(string)
		if err := dec.Decode(&e.Nodes); err != nil {
			return nil, wrong(err)
		}
		if len(e.Nodes) > 0 {
			entries = append(entries, e)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, wrong(err)
	}
	if len(entries) == 0 {
		return nil, wrong(nil)
	}
	return entries, nil
}

// autoDiCEProcessor is the processor of a fleet that a resource is.
func autoDiCEProcessor(fleet *profiles.Fleet, resource string) (string, error) {
	if fleet == nil {
		return "", fmt.Errorf("no fleet is given to find it in (--devices)")
	}
	if _, err := fleet.Processor(resource); err == nil {
		return resource, nil
	}
	host, unit := resource, ""
	if i := strings.LastIndex(resource, "_"); i > 0 {
		host, unit = resource[:i], strings.TrimRight(resource[i+1:], "0123456789")
	}
	d, err := fleet.Device(host)
	if err != nil {
		return "", err
	}
	var own, kind []string
	for i, q := range fleet.Platform.Processors {
		if q.Device == d {
			own = append(own, fleet.Processors[ir.ProcID(i)].Name)
			if q.Kind == unit {
				kind = append(kind, fleet.Processors[ir.ProcID(i)].Name)
			}
		}
	}
	switch {
	case len(own) == 1:
		return own[0], nil
	case len(kind) == 1:
		return kind[0], nil
	}
	return "", fmt.Errorf("device %s has the processors %s", host, strings.Join(own, ", "))
}
