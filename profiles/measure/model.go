package measure

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// modelRun is a model that is being measured.
type modelRun struct {
	*session
	path string
	name string
	r    *compiler.Result
	ops  []profiles.Op           // by NodeID
	bySi map[string]profiles.Op  // by signature
	feed map[string]runtime.Held // graph inputs
	from float64                 // progress at the start of the model
	span float64                 // and how much it adds
	cost []float64               // by NodeID: microseconds alone, or a guess
}

// model measures one model.
func (s *session) model(path string, from, span float64) error {
	s.Progress("reading "+path, from)
	m, err := s.open(path, false, from, span)
	if err != nil {
		return err
	}
	defer m.close()
	m.report.Models = append(m.report.Models, ModelReport{Model: path, Units: len(m.ops), Signatures: len(m.bySi)})
	rep := &m.report.Models[len(m.report.Models)-1]
	w, err := m.whole()
	if err != nil {
		return err
	}
	defer w.close()
	if s.AllSignatures {
		if err := s.nodes(path, m); err != nil {
			return err
		}
	}
	fresh := !m.known[w.run.Key()]
	order := inOrder(m.graph())
	alone := make([][]ir.NodeID, len(order))
	for i := range order {
		alone[i] = order[i : i+1]
	}
	if err := m.measure(alone, w, "operations alone", 0, 0.5); err != nil {
		return err
	}
	if fresh || s.Again || m.file.Parameters.LaunchSpreadUs == nil {
		if err := m.launchAfter(w.piece); err != nil {
			return err
		}
	}
	rep.AloneUs = m.alone()
	rep.MeasuredUs = m.file.SubmodelRuns[m.at[w.run.Key()]].MedianUs
	cuts := m.cuts()
	for i, cut := range cuts {
		err := m.measure(cut, nil, fmt.Sprintf("%d stretches", len(cut)), 0.5+0.5*float64(i)/float64(len(cuts)), 0.5/float64(len(cuts)))
		if errors.Is(err, errNotBuilt) {
			m.note("%v; %d stretches are not measured", err, len(cut))
			continue
		}
		if err != nil {
			return err
		}
	}
	if fresh || s.Again {
		if err := m.wholeAgain(w, rep); err != nil {
			return err
		}
	}
	return m.beside(w)
}

// wholeAgain times the whole model once more. Something may have slowed the machine
// when it was timed first, and all that was measured since is held against it.
func (m *modelRun) wholeAgain(w *wholePiece, rep *ModelReport) error {
	for range 2 * minRounds {
		if err := w.piece.round(); err != nil {
			return err
		}
		if err := m.ctx.Err(); err != nil {
			return err
		}
	}
	m.took(&w.run, w.piece, m.name+" whole")
	m.session.report.Measured--
	m.add(w.run, m.bySi)
	rep.MeasuredUs = w.run.MedianUs
	Calibrate(m.file)
	return m.Save(m.file)
}

// open reads and lowers a model.
func (s *session) open(path string, keepNodes bool, from, span float64) (*modelRun, error) {
	o := s.Compile
	o.Model, o.KeepNodes = path, keepNodes
	r, err := compiler.Lower(s.ctx, o, s.fleet)
	if err != nil {
		return nil, err
	}
	m := &modelRun{session: s, path: path, name: filepath.Base(path), r: r, bySi: map[string]profiles.Op{}, feed: map[string]runtime.Held{}, from: from, span: span}
	g := m.graph()
	for n := range g.NumNodes() {
		op := r.Analysis.UnitOp(r.Lowered, ir.NodeID(n))
		m.ops = append(m.ops, op)
		if op.Signature == "" {
			continue
		}
		m.bySi[op.Signature] = op
		if i, ok := s.entry[op.Signature]; ok { // a file of before kernels were told apart
			s.file.Entries[i].Kernel = op.Kernel
		}
	}
	return m, nil
}

// nodes measures every node by itself.
func (s *session) nodes(path string, grouped *modelRun) error {
	m, err := s.open(path, true, grouped.from, 0)
	if err != nil {
		return err
	}
	feed := m.feed
	defer func() { m.feed = feed; m.close() }()
	m.feed = grouped.feed
	order := inOrder(m.graph())
	alone := make([][]ir.NodeID, len(order))
	for i := range order {
		alone[i] = order[i : i+1]
	}
	return m.measure(alone, nil, "nodes alone", 0, 0)
}

func (m *modelRun) graph() *ir.Graph { return m.r.Lowered.Problem.Graph }

func (m *modelRun) close() {
	for _, h := range m.feed {
		h.Release()
	}
	_ = m.r.Close()
}

func (m *modelRun) progress(what string, done float64) {
	m.Progress(m.name+": "+what, m.from+done*m.span)
}

// wholePiece is the whole model, ready to be timed.
type wholePiece struct {
	piece   *piece
	session runtime.Session
	run     profiles.SubmodelRun
}

// whole loads the whole model and makes the inputs.
func (m *modelRun) whole() (w *wholePiece, err error) {
	m.progress("whole", 0)
	w = &wholePiece{run: m.describe(inOrder(m.graph()))}
	w.run.Whole = true
	if len(w.run.Units) == 0 {
		return nil, fmt.Errorf("%s: it has no operations to measure", m.path)
	}
	m.on.Do(func() { w.session, err = m.eng.Load(runtime.Model{Path: m.path}, m.options()) })
	if err != nil {
		return nil, err
	}
	if w.piece, err = m.wholeInputs(w.session); err == nil {
		w.piece.call, err = w.session.Prepare(m.ctx)
	}
	if err != nil {
		_ = w.session.Close() // it never fails
		return nil, err
	}
	return w, nil
}

func (w *wholePiece) close() {
	w.piece.call.Close()
	_ = w.session.Close() // it never fails
}

// wholeInputs makes the graph inputs.
func (m *modelRun) wholeInputs(ses runtime.Session) (*piece, error) {
	in := m.Inputs
	in.Model = m.path
	if in.Dims == nil && in.Shapes == nil {
		in.Dims, in.Shapes = m.Compile.Dims, m.Compile.Inputs
	}
	feed, _, err := verify.Feed(m.ctx, ses, in)
	if err != nil {
		return nil, err
	}
	p := &piece{on: m.on, outs: len(ses.Outputs())}
	for _, port := range ses.Inputs() {
		v := feed[port.Name]
		if v == nil {
			p.in = append(p.in, nil)
			continue
		}
		h, err := m.eng.Hold(v)
		if err != nil {
			return nil, err
		}
		m.feed[port.Name] = h
		p.in = append(p.in, h)
	}
	return p, nil
}

// describe is a run of these nodes, without times.
func (m *modelRun) describe(nodes []ir.NodeID) profiles.SubmodelRun {
	g := m.graph()
	inside := make(map[ir.NodeID]bool, len(nodes))
	counts := map[string]int64{}
	for _, n := range nodes {
		inside[n] = true
		if s := m.ops[n].Signature; s != "" {
			counts[s]++
		}
	}
	run := profiles.SubmodelRun{Model: m.name}
	for s, c := range counts {
		run.Units = append(run.Units, profiles.UnitCount{Signature: s, Count: c})
	}
	slices.SortFunc(run.Units, func(a, b profiles.UnitCount) int { return strings.Compare(a.Signature, b.Signature) })
	taken := map[ir.ValueID]bool{}
	for _, n := range nodes {
		for _, v := range g.Inputs(n) {
			if taken[v] || !g.IsInput(v) && inside[g.Producer(v)] {
				continue
			}
			taken[v] = true
			run.Inputs++
			run.InputBytes += g.Bytes(v)
		}
		for _, v := range g.Outputs(n) {
			if g.IsOutput(v) || slices.ContainsFunc(g.Consumers(v), func(c ir.NodeID) bool { return !inside[c] }) {
				run.Outputs++
				run.OutputBytes += g.Bytes(v)
			}
		}
	}
	return run
}

// cuts are the scales and orders that the model is cut in, long stretches first.
func (m *modelRun) cuts() [][][]ir.NodeID {
	m.alone()
	g := m.graph()
	orders := [][]ir.NodeID{inOrder(g), depthFirst(g)}
	var out [][][]ir.NodeID
	for parts := 2; parts <= g.NumNodes()/2 && parts <= 512; parts *= 2 {
		for i, order := range orders {
			if cut := stretches(order, m.cost, parts, float64(i)/2); len(cut) > 1 {
				out = append(out, cut)
			}
		}
	}
	return out
}

// alone is what the operations take one by one, together; it fills cost.
func (m *modelRun) alone() float64 {
	took := map[string]float64{}
	for i := range m.file.SubmodelRuns {
		r := &m.file.SubmodelRuns[i]
		if len(r.Units) == 1 && r.Units[0].Count == 1 && !r.Whole {
			took[r.Units[0].Signature] = r.MedianUs
		}
	}
	m.cost = make([]float64, len(m.ops))
	var sum float64
	for n, op := range m.ops {
		m.cost[n] = max(took[op.Signature], 1e-3)
		sum += m.cost[n]
	}
	return sum
}

// measure measures the parts of a cut that are not known, and the whole model with
// them if w is not nil; it saves, and adds share to the model's progress from done on.
func (m *modelRun) measure(parts [][]ir.NodeID, w *wholePiece, what string, done, share float64) error {
	todo := map[string]bool{}
	for _, nodes := range parts {
		if run := m.describe(nodes); len(run.Units) > 0 && !m.known[run.Key()] {
			todo[run.Key()] = true
		}
	}
	if w != nil && m.known[w.run.Key()] {
		w = nil
	}
	if len(todo) == 0 && w == nil {
		return nil
	}
	if err := m.pieces(parts, w, what, done, share); err != nil {
		return err
	}
	Calibrate(m.file)
	return m.Save(m.file)
}

// timed is a piece with what it holds.
type timed struct {
	piece *piece
	run   profiles.SubmodelRun
	name  string
}

// pieces emits the parts, runs them in order on the values that the ones before
// have made, and times those that are not known.
func (m *modelRun) pieces(parts [][]ir.NodeID, w *wholePiece, what string, done, share float64) error {
	bundle, err := build(m.ctx, m.r.Analysis.Model, m.r.Lowered, parts)
	if m.ctx.Err() != nil {
		return m.ctx.Err()
	} else if err != nil {
		return fmt.Errorf("%w: %w", errNotBuilt, err)
	}
	values := map[string]runtime.Held{}
	var closers []func()
	defer func() {
		for _, f := range closers {
			f()
		}
		for _, h := range values {
			h.Release()
		}
	}()
	given := func(name string) (runtime.Held, error) {
		if h, ok := values[name]; ok {
			return h, nil
		}
		if h, ok := m.feed[name]; ok {
			return h, nil
		}
		return nil, errNoValue
	}
	var list []timed
	if w != nil {
		list = append(list, timed{w.piece, w.run, m.name + " whole"})
	}
	taken := map[string]bool{}
	for i, draft := range bundle.Models {
		m.progress(fmt.Sprintf("%s: loading %d of %d", what, i+1, len(parts)), done+share/2*float64(i)/float64(len(parts)))
		if err := m.ctx.Err(); err != nil {
			return err
		}
		var body bytes.Buffer
		body.Grow(int(draft.Size()))
		if _, err := draft.WriteTo(&body); err != nil {
			return err
		}
		t := timed{run: m.describe(parts[bundle.Plan[i]]), name: m.name + " (" + bundle.Manifest.Submodels[i].NodeNames[0] + ")"}
		p, closePiece, err := m.load(runtime.Model{Path: t.name, Data: body.Bytes(), Folder: filepath.Dir(m.path)}, given)
		if err == nil {
			closers = append(closers, closePiece)
			err = p.keep(values)
		}
		switch {
		case m.ctx.Err() != nil:
			return m.ctx.Err()
		case errors.Is(err, errNoValue):
			continue
		case err != nil:
			m.note("%v; what needs its results is not measured", err)
			continue
		}
		t.piece = p
		switch k := t.run.Key(); {
		case len(t.run.Units) == 0 || taken[k] || m.known[k]:
		default:
			taken[k] = true
			list = append(list, t)
		}
	}
	all := make([]*piece, len(list))
	for i, t := range list {
		all[i] = t.piece
	}
	err = timeAll(m.ctx, all, m.Confidence, func(round, open int) {
		part := max(float64(round)/maxRounds, 1-float64(open)/float64(len(all)))
		m.progress(fmt.Sprintf("%s: round %d, %d of %d to go", what, round, open, len(all)), done+share/2*(1+part))
	})
	if err != nil {
		return err
	}
	for _, t := range list {
		m.took(&t.run, t.piece, t.name)
		m.add(t.run, m.bySi)
	}
	return nil
}

// keep runs the piece once and puts what it makes into values.
func (p *piece) keep(values map[string]runtime.Held) error {
	out, err := p.once()
	if err != nil {
		return err
	}
	for i, port := range p.ports {
		if old, ok := values[port.Name]; ok {
			old.Release()
		}
		values[port.Name] = out[i]
	}
	return nil
}

// errNotBuilt says that a cut cannot be emitted: a stretch of a large model can
// have more weights than one file holds.
var errNotBuilt = errors.New("pieces of the model cannot be emitted")

// errNoValue says that a piece before did not run.
var errNoValue = errors.New("a value is missing")

func (s *session) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.report.Notes, text) {
		s.report.Notes = append(s.report.Notes, text)
	}
}
