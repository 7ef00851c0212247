package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Parts runs the sub-models of a bundle one after the other, in the manifest's
// order, and hands values from one to the next by name. It must not be used by
// several goroutines at once.
type Parts struct {
	// Observe, if not nil, is called after every run of a sub-model with its place
	// in the manifest, the place of the feed and the time that the run took,
	// copies of inputs and outputs included.
	Observe func(submodel, feed int, took time.Duration)
	// Loading, if not nil, is called before a sub-model is loaded.
	Loading func(submodel int)

	eng      runtime.Engine
	dir      string
	manifest *backend.Manifest
	options  runtime.Options
	lastUse  map[string]int // by value name: the last sub-model that reads it; graph outputs are not in it
	kept     []runtime.Session
}

// NewParts prepares to run the bundle in folder dir. Nothing is loaded yet.
func NewParts(eng runtime.Engine, dir string, m *backend.Manifest, o runtime.Options) *Parts {
	p := &Parts{eng: eng, dir: dir, manifest: m, options: o, lastUse: map[string]int{}}
	for i, s := range m.Submodels {
		for _, name := range s.Inputs {
			p.lastUse[name] = i
		}
	}
	for _, out := range m.Outputs {
		delete(p.lastUse, out.Tensor)
	}
	return p
}

// Preload loads all sub-models and keeps them until Close. Without it, Run loads
// each one when its turn comes and frees it afterwards, so that never more than
// one is in memory.
func (p *Parts) Preload(ctx context.Context) error {
	for len(p.kept) < len(p.manifest.Submodels) {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := p.load(len(p.kept))
		if err != nil {
			return err
		}
		p.kept = append(p.kept, s)
	}
	return nil
}

// Close frees what Preload loaded.
func (p *Parts) Close() error {
	errs := make([]error, 0, len(p.kept))
	for _, s := range p.kept {
		errs = append(errs, s.Close())
	}
	p.kept = nil
	return errors.Join(errs...)
}

func (p *Parts) path(i int) string {
	return filepath.Join(p.dir, p.manifest.Submodels[i].File)
}

func (p *Parts) load(i int) (runtime.Session, error) {
	if p.Loading != nil {
		p.Loading(i)
	}
	return p.eng.Load(runtime.Model{Path: p.path(i)}, p.options)
}

// Run computes the graph outputs, by name, of every feed of graph inputs. Feeds
// are not changed. A value is dropped after its last use.
func (p *Parts) Run(ctx context.Context, feeds []map[string]*runtime.Value) ([]map[string]*runtime.Value, error) {
	values := make([]map[string]*runtime.Value, len(feeds))
	for k, feed := range feeds {
		values[k] = make(map[string]*runtime.Value, len(feed))
		for name, v := range feed {
			values[k][name] = v
		}
	}
	for i := range p.manifest.Submodels {
		if err := p.runOne(ctx, i, values); err != nil {
			return nil, err
		}
		p.forget(i, values)
	}
	return values, nil
}

// forget drops the values that no sub-model after i reads.
func (p *Parts) forget(i int, values []map[string]*runtime.Value) {
	for _, known := range values {
		for name := range known {
			// Names that are no UTF-8 stand changed in the manifest: their last use is not known.
			if last, used := p.lastUse[name]; used && last <= i && utf8.ValidString(name) {
				delete(known, name)
			}
		}
	}
}

// runOne runs sub-model i on every set of values and adds its outputs to them.
func (p *Parts) runOne(ctx context.Context, i int, values []map[string]*runtime.Value) error {
	s, err := p.session(i)
	if err != nil {
		return err
	}
	defer p.done(s)
	if err := p.checkPorts(i, s); err != nil {
		return err
	}
	for k, known := range values {
		start := time.Now()
		got, err := p.call(ctx, i, s, known)
		if err != nil {
			return err
		}
		if p.Observe != nil {
			p.Observe(i, k, time.Since(start))
		}
		for j, port := range s.Outputs() {
			known[port.Name] = got[j]
		}
	}
	return nil
}

func (p *Parts) session(i int) (runtime.Session, error) {
	if i < len(p.kept) {
		return p.kept[i], nil
	}
	return p.load(i)
}

// done frees s unless it is kept.
func (p *Parts) done(s runtime.Session) {
	if len(p.kept) == 0 {
		_ = s.Close()
	}
}

// call runs sub-model i once on the values that it needs.
func (p *Parts) call(ctx context.Context, i int, s runtime.Session, known map[string]*runtime.Value) ([]*runtime.Value, error) {
	feed := make(map[string]*runtime.Value, len(s.Inputs()))
	for _, port := range s.Inputs() {
		v, ok := known[port.Name]
		if !ok {
			return nil, &diag.Error{
				File: p.path(i), Value: port.Name,
				Msg: fmt.Sprintf("sub-model %s needs this value, but it is no graph input and no sub-model before it makes it", p.manifest.Submodels[i].ID),
			}
		}
		feed[port.Name] = v
	}
	return s.Run(ctx, feed)
}

// checkPorts compares the inputs and outputs of sub-model i with the manifest.
// An initializer that the sub-model lists as an input need not be given: an
// input that only the manifest has may be one.
func (p *Parts) checkPorts(i int, s runtime.Session) error {
	m := &p.manifest.Submodels[i]
	if name, ok := missingFrom(m.Inputs, s.Inputs()); ok {
		return &diag.Error{File: p.path(i), Value: name, Msg: fmt.Sprintf("sub-model %s has this input, but the manifest does not list it", m.ID)}
	}
	if name, ok := missingFrom(m.Outputs, s.Outputs()); ok {
		return &diag.Error{File: p.path(i), Value: name, Msg: fmt.Sprintf("sub-model %s has this output, but the manifest does not list it", m.ID)}
	}
	have := map[string]bool{}
	for _, port := range s.Outputs() {
		have[listed(port.Name)] = true
	}
	for _, name := range m.Outputs {
		if !have[name] {
			return &diag.Error{File: p.path(i), Value: name, Msg: fmt.Sprintf("the manifest lists this as an output of sub-model %s, but the file does not have it", m.ID)}
		}
	}
	return nil
}

// missingFrom finds a port whose name is not listed.
func missingFrom(names []string, ports []runtime.Port) (string, bool) {
	in := make(map[string]bool, len(names))
	for _, name := range names {
		in[name] = true
	}
	for _, port := range ports {
		if !in[port.Name] && !in[listed(port.Name)] {
			return port.Name, true
		}
	}
	return "", false
}

// listed is a name as it stands in JSON, which has no bytes that are no UTF-8.
func listed(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return string([]rune(name))
}

// label names sub-model i for people.
func (p *Parts) label(i int) string {
	if id := p.manifest.Submodels[i].ID; id != "" {
		return id
	}
	return strconv.Itoa(i)
}
