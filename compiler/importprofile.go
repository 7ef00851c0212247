package compiler

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/importer"
)

// ImportOptions say which profiles to import and what is known of them.
type ImportOptions struct {
	Profiles  []string // files
	Processor string   // that ran them; one of Options.Devices if that is given
	Provider  string   // execution provider whose kernels count; "": that of the processor, else the only one
	WarmUp    int      // runs to leave out
	Whole     time.Duration
}

// ImportProfiles reads profiles of runs of o.Model as measured costs. With
// o.Devices, whose fleet must have the processor, what a fused kernel took is
// divided by that processor's peaks and bandwidth.
func ImportProfiles(ctx context.Context, o Options, p ImportOptions) (r *importer.Result, err error) {
	defer catch(&err)
	var work func(n *importer.Node) float64
	if o.Devices != "" {
		fleet, err := profiles.Load(o.Devices)
		if err != nil {
			return nil, err
		}
		id, err := fleet.Processor(p.Processor)
		if err != nil {
			return nil, fmt.Errorf("--processor: %w", err)
		}
		work = roofline(&fleet.Processors[id])
		if p.Provider == "" {
			p.Provider = fleet.Processors[id].Provider
		}
	}
	a, l, err := units(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Model.Close() }() // nothing was written
	files := make([]importer.File, len(p.Profiles))
	for i, name := range p.Profiles {
		o.progress("import", float64(i)/float64(len(p.Profiles)), name)
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(name, err)
		}
		defer f.Close()
		files[i] = importer.File{Name: name, R: f}
	}
	return importer.Import(ctx, files, a.Traced(l), importer.Options{
		WarmUp: p.WarmUp, Provider: p.Provider, WholeUs: float64(p.Whole) / float64(time.Microsecond), Work: work,
	})
}

// units is the analysed model with the units that are priced as a whole.
func units(ctx context.Context, o Options) (*frontend.Analysis, *ir.Lowered, error) {
	a, err := load(ctx, &o, false)
	if err != nil {
		return nil, nil, err
	}
	l, err := a.Graph(ctx, frontend.LowerOptions{Group: passes.Groups})
	if err != nil {
		a.Model.Close()
		return nil, nil, err
	}
	return a, l, nil
}

// roofline is the time of a node on a processor without overheads, in microseconds.
func roofline(p *profiles.Processor) func(n *importer.Node) float64 {
	return func(n *importer.Node) float64 {
		t := float64(n.Bytes) / p.MemoryBytesPerSecond
		if peak, ok := p.PeakFor(n.Elem); ok {
			t = max(t, float64(n.FLOPs)/peak)
		}
		return 1e6 * t
	}
}
