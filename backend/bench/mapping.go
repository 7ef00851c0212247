package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// Mapping says which cores of this machine stand for a processor of the bundle.
type Mapping struct {
	Processor string
	CPUs      []int
	Provider  string // ONNX Runtime's execution provider; "" is the CPU's
}

// ParseMapping reads PROCESSOR=CPUS[:PROVIDER], for example "pi=0-1" or
// "jetson.gpu=2:CUDAExecutionProvider".
func ParseMapping(text string) (Mapping, error) {
	at := strings.LastIndex(text, "=")
	if at <= 0 || at == len(text)-1 {
		return Mapping{}, fmt.Errorf("want PROCESSOR=CPUS[:PROVIDER], for example pi=0-1 or jetson.gpu=2:CUDAExecutionProvider")
	}
	cpus, provider, _ := strings.Cut(text[at+1:], ":")
	list, err := runtime.ParseCPUs(cpus)
	if err != nil {
		return Mapping{}, err
	}
	return Mapping{text[:at], list, provider}, nil
}

// place is a processor of the bundle on this machine.
type place struct {
	Mapping
	device    string
	submodels int // how many run there
}

// places puts the processors of a bundle on cores: as the user says, and those
// that have sub-models and are not named on equal shares of the cores that are
// left. shared says that a core stands for several processors.
func places(m *backend.Manifest, given []Mapping, available []int) (list []place, shared bool, err error) {
	byName := map[string]Mapping{}
	taken := map[int]bool{}
	for _, g := range given {
		if !slices.ContainsFunc(m.Processors, func(p backend.Processor) bool { return p.Name == g.Processor }) {
			names := make([]string, 0, len(m.Processors))
			for _, p := range m.Processors {
				names = append(names, p.Name)
			}
			return nil, false, fmt.Errorf("--map %s: the bundle has no such processor; there are %s", g.Processor, strings.Join(names, ", "))
		}
		if _, twice := byName[g.Processor]; twice {
			return nil, false, fmt.Errorf("--map names processor %s twice", g.Processor)
		}
		for _, c := range g.CPUs {
			if !slices.Contains(available, c) {
				return nil, false, fmt.Errorf("--map %s: this program may not use core %d, only %s", g.Processor, c, runtime.FormatCPUs(available))
			}
			shared = shared || taken[c]
			taken[c] = true
		}
		byName[g.Processor] = g
	}
	var free []int
	for _, c := range available {
		if !taken[c] {
			free = append(free, c)
		}
	}
	open := 0
	for _, p := range m.Processors {
		if _, ok := byName[p.Name]; !ok && len(p.Submodels) > 0 {
			open++
		}
	}
	if open > 0 && len(free) == 0 {
		free, shared = available, true
	}
	next := 0
	for _, p := range m.Processors {
		g, ok := byName[p.Name]
		if !ok {
			if len(p.Submodels) == 0 {
				continue
			}
			g = Mapping{Processor: p.Name, CPUs: share(free, next, open)}
			shared = shared || open > len(free)
			next++
		}
		list = append(list, place{g, p.Device, len(p.Submodels)})
	}
	return list, shared, nil
}

// share is the i-th of n shares of the cores: neighbours, and where there are
// fewer cores than shares one core in turn.
func share(cpus []int, i, n int) []int {
	if n >= len(cpus) {
		return []int{cpus[i%len(cpus)]}
	}
	return cpus[i*len(cpus)/n : (i+1)*len(cpus)/n]
}

// union is all cores of the places that have sub-models.
func union(list []place) []int {
	return cores(slices.DeleteFunc(slices.Clone(list), func(p place) bool { return p.submodels == 0 }))
}

// cores is all cores of the places.
func cores(list []place) []int {
	var cpus []int
	for _, p := range list {
		cpus = append(cpus, p.CPUs...)
	}
	slices.Sort(cpus)
	return slices.Compact(cpus)
}
