package export

import (
	"fmt"
	"slices"
	"strings"
)

// host is the address of a pipeline's device.
func (p *pipelines) host(at stage) string {
	if h := p.Hosts[p.m.Devices[at.device].Name]; h != "" {
		return h
	}
	return "localhost"
}

// lines is a pipeline: an element chain a line.
func (p *pipelines) lines(at stage) string {
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	index := map[*flow]int{}
	for k, f := range p.flows {
		index[f] = k
	}
	caps := func(f *flow) string {
		return fmt.Sprintf("other/tensors,format=static,num_tensors=1,dimensions=(string)%s,types=(string)%s,framerate=0/1", f.dims, f.elem)
	}
	tee := func(f *flow) string { return fmt.Sprintf("t%d", index[f]) }
	// Where tensors come from: the application, another pipeline, or a model here.
	for _, f := range p.flows {
		if port, received := p.ports[crossing{f.tensor, at}]; received {
			line("edgesrc dest-host=%s dest-port=%d connect-type=TCP ! %s ! tee name=%s", p.host(p.home(f)), port, caps(f), tee(f))
		} else if f.from < 0 && p.source == at {
			line("appsrc name=in%d is-live=true format=time caps=%s ! tee name=%s", index[f], caps(f), tee(f))
		}
	}
	for i, s := range p.m.Submodels {
		if p.at[i] != at {
			continue
		}
		filter := fmt.Sprintf("tensor_filter name=f%d framework=onnxruntime model=%s", i, gstQuoted(s.File))
		if len(s.Inputs) == 1 {
			filter = fmt.Sprintf("%s. ! queue ! %s", tee(p.by[s.Inputs[0]]), filter)
		} else {
			for k, name := range s.Inputs {
				line("%s. ! queue ! m%d.sink_%d", tee(p.by[name]), i, k)
			}
			filter = fmt.Sprintf("tensor_mux name=m%d sync-mode=nosync ! %s", i, filter)
		}
		if len(s.Outputs) == 1 {
			line("%s ! tee name=%s", filter, tee(p.by[s.Outputs[0]]))
			continue
		}
		line("%s ! tensor_demux name=d%d", filter, i)
		for k, name := range s.Outputs {
			line("d%d.src_%d ! queue ! tee name=%s", i, k, tee(p.by[name]))
		}
	}
	// Where they go beside the models.
	for _, f := range p.flows {
		_, received := p.ports[crossing{f.tensor, at}]
		if p.home(f) != at && !received {
			continue
		}
		used := slices.ContainsFunc(f.takers, func(i int) bool { return p.at[i] == at })
		if p.home(f) == at {
			for _, to := range p.destinations(f) {
				used = true
				line("%s. ! queue ! edgesink host=%s port=%d connect-type=TCP wait-connection=true", tee(f), p.host(at), p.ports[crossing{f.tensor, to}])
			}
		}
		switch {
		case f.output && p.sink == at:
			line("%s. ! queue ! appsink name=out%d sync=false", tee(f), index[f])
		case !used:
			line("%s. ! queue ! fakesink", tee(f))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// gstQuoted is a value for gst-launch.
func gstQuoted(s string) string {
	if strings.ContainsAny(s, " \t\"'!\\(),;") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}
