// Command benchmodels repeats the experiment that model placement is usually
// judged by: the latency of well-known networks and of synthetic graphs on 2 to 8
// processors, beside that of every baseline.
//
//	go run ./compiler/cmd/benchmodels [-devices profiles] [-out DIR] [-only REGEXP] [-limit 1s] [-objective throughput]
//
// Networks run on the processors of a fleet, synthetic graphs on processors of
// their own: first those of the source's device, then the slowest first, so that
// every step adds a faster one. It prints a table, and writes latency.tsv and
// latency.svg (or throughput.tsv and .svg) into the folder.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/bench/reference"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "benchmodels:", err)
		os.Exit(1)
	}
}

// network is a model of the experiment: its name in the catalogue and in the figure, and the extents that its symbolic
// dimensions are costed with.
type network struct {
	name, label string
	dims        map[string]int64
}

func networks() []network {
	return []network{
		{"alexnet", "AlexNet", nil},
		{"vgg16", "VGG-16", nil},
		{"resnet50", "ResNet-50", nil},
		{"googlenet", "GoogLeNet", nil},
		{"inception_v3", "Inception-v3", nil},
		{"densenet121", "DenseNet-121", nil},
		{"bert_base", "BERT base, 128 tokens", map[string]int64{"batch": 1, "seq": 128}},
		{"gpt2", "GPT-2, 128 after 128", map[string]int64{"batch": 1, "seq": 128, "past": 128}},
	}
}

// Numbers of processors.
const (
	fewest = 2
	most   = 8
)

// synthetic is how many nodes the synthetic graphs have.
const synthetic = 200

type settings struct {
	devices, out string
	only         *regexp.Regexp
	limit        time.Duration
	objective    ir.Objective
	seed         uint64
}

func run() error {
	var s settings
	var pattern, objective string
	flag.StringVar(&s.devices, "devices", "profiles", "folder of device profiles")
	flag.StringVar(&s.out, "out", ".", "folder for the table and the figure")
	flag.StringVar(&pattern, "only", "", "networks and shapes whose name matches this expression alone")
	flag.DurationVar(&s.limit, "limit", 0, "time limit of a placement; 0: the default effort")
	flag.StringVar(&objective, "objective", "latency", "latency or throughput")
	flag.Uint64Var(&s.seed, "seed", 1, "seed of the search and of the synthetic graphs")
	flag.Parse()
	var err error
	if s.only, err = regexp.Compile(pattern); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	switch objective {
	case "latency":
	case "throughput":
		s.objective = ir.Throughput
	default:
		return fmt.Errorf("-objective %q: latency or throughput", objective)
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is no option", flag.Arg(0))
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	if !reference.HasMETIS() {
		fmt.Fprintln(os.Stderr, "benchmodels: gpmetis is not installed (Debian: metis), its column stays empty")
	}
	series, err := s.measure()
	if err != nil {
		return err
	}
	if len(series) == 0 {
		return fmt.Errorf("nothing matches %q", pattern)
	}
	printSummary(series)
	if err := os.WriteFile(filepath.Join(s.out, objective+".tsv"), tsv(series, s.objective), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.out, objective+".svg"), figure(series, s.objective), 0o644)
}

// series are the points of one network or shape.
type series struct {
	name   string
	nodes  int
	points []point
}

// point is a placement on some processors. Times are in microseconds, NaN where there is no plan.
type point struct {
	procs       int
	ours, bound float64
	base        map[string]float64
	submodels   int
	seconds     float64
}

// best is the least of the baselines, NaN if none has a plan.
func (p *point) best() float64 {
	least := math.NaN()
	for _, name := range reference.Names() {
		if x := p.base[name]; !math.IsNaN(x) && !(x >= least) {
			least = x
		}
	}
	return least
}

func (s *settings) measure() ([]series, error) {
	printHead(s.objective)
	var all []series
	for _, n := range networks() {
		if !s.only.MatchString(n.name) && !s.only.MatchString(n.label) {
			continue
		}
		p, err := s.problem(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.label, err)
		}
		line, err := s.line(n.label, p)
		if err != nil {
			return nil, err
		}
		all = append(all, line)
	}
	for _, shape := range gen.Shapes() {
		if !s.only.MatchString(shape) {
			continue
		}
		p, err := gen.Make(shape, synthetic, most, s.seed, false)
		if err != nil {
			return nil, err
		}
		line, err := s.line("synthetic "+shape, p)
		if err != nil {
			return nil, err
		}
		all = append(all, line)
	}
	return all, nil
}

// line places a problem on more and more of its processors.
func (s *settings) line(name string, p *ir.Problem) (series, error) {
	order := processors(p)
	line := series{name: name, nodes: p.Graph.NumNodes()}
	for k := fewest; k <= min(most, len(order)); k++ {
		if err := s.place(&line, restrict(p, order[:k])); err != nil {
			return line, err
		}
	}
	return line, nil
}

// problem is a network of the catalogue on the whole fleet.
func (s *settings) problem(n network) (*ir.Problem, error) {
	m, err := onnxtest.Named(n.name, 1)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "benchmodels")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, n.name+".onnx")
	if err := m.WriteFile(file); err != nil {
		return nil, err
	}
	in, err := compiler.Inspect(context.Background(), compiler.Options{Model: file, Devices: s.devices, Dims: n.dims, Submodels: 1})
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Analysis.Model.Close() }()
	if in.Lowered.Problem == nil {
		return nil, fmt.Errorf("there is no fleet in %s", s.devices)
	}
	p := *in.Lowered.Problem
	p.Submodels = 1
	return &p, nil
}

// processors orders those of a problem: the source's device first, then the slowest first.
func processors(p *ir.Problem) []ir.ProcID {
	pf := p.Platform
	order := make([]ir.ProcID, len(pf.Processors))
	time := make([]float64, len(order))
	for q := range order {
		order[q] = ir.ProcID(q)
	}
	for n := range ir.NodeID(p.Graph.NumNodes()) {
		for q, c := range p.Costs.Row(n) {
			time[q] += c.Us() // an unsupported node costs nothing here
		}
	}
	away := func(q ir.ProcID) bool { return pf.Source != ir.NoDevice && pf.Processors[q].Device != pf.Source }
	slices.SortStableFunc(order, func(a, b ir.ProcID) int {
		if away(a) != away(b) {
			if away(b) {
				return -1
			}
			return 1
		}
		return int(math.Copysign(1, time[b]-time[a]))
	})
	return order
}

// restrict is the problem on some of its processors. Devices and links stay.
func restrict(p *ir.Problem, keep []ir.ProcID) *ir.Problem {
	pf := *p.Platform
	pf.Processors = nil
	costs := ir.NewCosts(p.Graph.NumNodes(), len(keep))
	for i, q := range keep {
		pf.Processors = append(pf.Processors, p.Platform.Processors[q])
		for n := range ir.NodeID(p.Graph.NumNodes()) {
			costs.Set(n, ir.ProcID(i), p.Costs.Of(n, q))
		}
	}
	return &ir.Problem{Graph: p.Graph, Platform: &pf, Costs: costs, Submodels: p.Submodels}
}

// place adds a point.
func (s *settings) place(line *series, p *ir.Problem) error {
	start := time.Now()
	got, err := passes.Place(context.Background(), p, passes.Options{Objective: s.objective, Seed: s.seed, TimeLimit: s.limit})
	pt := point{procs: len(p.Platform.Processors), ours: math.NaN(), bound: math.NaN(), seconds: time.Since(start).Seconds()}
	if _, none := passes.IsInfeasible(err); none {
		pt.base = map[string]float64{}
		for _, name := range reference.Names() {
			pt.base[name] = math.NaN()
		}
	} else if err != nil {
		return fmt.Errorf("%s on %d processors: %w", line.name, pt.procs, err)
	} else {
		if err := ir.CheckPlan(p, got.Plan); err != nil {
			return fmt.Errorf("%s on %d processors: %w", line.name, pt.procs, err)
		}
		pt.ours, pt.bound, pt.submodels = got.Plan.Value().Us(), got.Plan.LowerBound.Us(), len(got.Plan.Submodels)
		if pt.base, err = reference.Values(p, s.objective, s.seed, got); err != nil {
			return err
		}
	}
	line.points = append(line.points, pt)
	printPoint(line, &pt)
	return nil
}
