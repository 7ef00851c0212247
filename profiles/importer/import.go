package importer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// File is a file to import.
type File struct {
	Name string // for messages
	R    io.Reader
}

// Options steer an import.
type Options struct {
	// WarmUp is how many runs of an ONNX Runtime profile to leave out; a profile
	// with no more runs keeps them all, and says so.
	WarmUp int
	// Provider is the execution provider whose kernels count; "" is the only one in
	// the profile. Other layers ran on other processors.
	Provider string
	// WholeUs is how long a run takes that is not profiled, in microseconds; 0 if it
	// is not known. Profiling slows small kernels down: times are scaled so that all
	// kernels together take as long.
	WholeUs float64
	// Work predicts how long a node takes relative to others, without overheads. It
	// divides the time of a kernel that does the work of several nodes.
	Work func(n *Node) float64
}

// Result is what profiles say of a model.
type Result struct {
	Entries  []profiles.CostEntry // ascending by signature
	Machine  map[string]string    // what is known of where it was measured, as in a cost file
	Coverage Coverage
}

// Import reads profiles of runs of the model m. The files are of one format, but
// for TensorRT the layer information beside the profile. Errors are diag.Error.
func Import(ctx context.Context, files []File, m *Model, o Options) (*Result, error) {
	if len(m.Nodes) == 0 {
		return nil, &diag.Error{File: m.File, Msg: "no node of the model has a cost: all of it depends on stored values only"}
	}
	names := newNames(m)
	traces, err := readAll(ctx, files, names, o)
	if err != nil {
		return nil, err
	}
	provider, err := chooseProvider(traces, o.Provider)
	if err != nil {
		return nil, err
	}
	work := o.Work
	if work == nil {
		work = plainWork
	}
	r := &Result{Machine: map[string]string{}}
	var times [][]nodeTime
	cover := newCoverage(m)
	for _, t := range traces {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a := attribute(t, m, names)
		a.dropForeign(provider)
		scale := 1.0
		if o.WholeUs > 0 {
			if sum := a.runSum(); sum > 0 {
				scale = o.WholeUs / sum
			}
		}
		share := a.share(work)
		for i := range share {
			share[i].us = float64(share[i].us * scale)
			share[i].spread = float64(share[i].spread * scale)
		}
		times = append(times, share)
		cover.add(a, scale)
	}
	r.Entries = entries(m, times)
	r.Coverage = cover.finish()
	switch traces[0].format {
	case ORTProfile:
		if provider != "" {
			r.Machine["provider"] = provider
		}
	case TRTProfile:
		r.Machine["runtime"] = "TensorRT"
	case OVCounters:
		r.Machine["runtime"] = "OpenVINO"
	}
	if len(r.Entries) == 0 || r.Coverage.Attributed.Events == 0 {
		if i := slices.IndexFunc(r.Coverage.LeftOut, func(l LeftOut) bool { return l.Reason == otherShapes }); i >= 0 {
			return nil, &diag.Error{File: traces[0].file, Msg: "it ran with other shapes than the model's here; bind them with --shape: " + strings.Join(r.Coverage.Notes, "; ")}
		}
		return nil, &diag.Error{File: traces[0].file, Msg: "none of its " + diag.Count(int(r.Coverage.Events), "event", "events") + " names a node of " + m.File + "; is it the profile of another model?"}
	}
	return r, nil
}

// plainWork is the work of a node on a core of a few years ago: 50 GFLOP/s and
// 10 GB/s. Only the ratio counts.
func plainWork(n *Node) float64 { return max(float64(n.FLOPs)/50e3, float64(n.Bytes)/10e3) }

// readAll reads every file: layer information first, whatever the order.
func readAll(ctx context.Context, files []File, names *names, o Options) ([]*trace, error) {
	if len(files) == 0 {
		return nil, errors.New("no profile is named")
	}
	readers := make([]*bufio.Reader, len(files))
	formats := make([]Format, len(files))
	json := make([]bool, len(files))
	info := trtLayers{}
	var kind Format
	for i, f := range files {
		readers[i] = bufio.NewReaderSize(&bounded{ctx: ctx, r: f.R, left: maxFileBytes, file: f.Name}, sniffBytes)
		var err error
		if formats[i], json[i], err = detect(f.Name, readers[i]); err != nil {
			return nil, err
		}
		if formats[i] == TRTLayerInfo {
			if err := readTRTLayers(f.Name, newScanner(readers[i]), info); err != nil {
				return nil, err
			}
			continue
		}
		if kind == "" {
			kind = formats[i]
		} else if kind != formats[i] {
			return nil, fileError(f.Name, 0, "its format is %s, that of the files before it %s: a cost file is about one runtime, import them apart", formats[i], kind)
		}
	}
	switch {
	case kind == "":
		return nil, fileError(files[0].Name, 0, "layer information holds no times; give the file of trtexec --exportProfile too")
	case kind != TRTProfile && len(info) > 0:
		return nil, fileError(files[0].Name, 0, "layer information of TensorRT helps with a profile of TensorRT only")
	}
	var traces []*trace
	for i, f := range files {
		var t *trace
		var err error
		switch {
		case formats[i] == TRTLayerInfo:
			continue
		case formats[i] == ORTProfile:
			var r *ortReader
			if r, err = readORT(f.Name, newScanner(readers[i])); err == nil {
				t = r.finish(o.WarmUp, names)
			}
		case formats[i] == TRTProfile:
			t, err = readTRTProfile(f.Name, newScanner(readers[i]), info)
		case json[i]:
			t, err = readOVJSON(f.Name, newScanner(readers[i]))
		default:
			t, err = readOVTable(f.Name, readers[i])
		}
		if err != nil {
			return nil, err
		}
		traces = append(traces, t)
	}
	return traces, nil
}

const sniffBytes = 64 << 10

// bounded ends reading at a limit with an error, and when ctx is done.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left int64
	file string
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left+1)])
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

var errTooLarge = fmt.Errorf("the file is larger than %d bytes", maxFileBytes)

// detect tells the format of a file from its beginning, and whether it is JSON.
func detect(file string, in *bufio.Reader) (Format, bool, error) {
	head, err := in.Peek(sniffBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, &diag.Error{File: file, Msg: "cannot be read", Err: err}
	}
	text := strings.TrimLeft(string(head), "\ufeff \t\r\n")
	switch {
	case text == "":
		return "", false, fileError(file, 0, "the file is empty")
	case strings.HasPrefix(text, "layerName"):
		return OVCounters, false, nil
	case strings.HasPrefix(text, "#name,"):
		return "", false, fileError(file, 0, "it holds sizes of memory, no times; import the profile that ONNX Runtime writes with profiling on")
	case text[0] != '[' && text[0] != '{':
		return "", false, unknownFormat(file)
	}
	keys := firstKeys(head)
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(keys, n) })
	}
	switch {
	case text[0] == '[' && has("cat", "ph"):
		return ORTProfile, true, nil
	case text[0] == '[' && has("count", "timeMs", "averageMs", "medianMs"):
		return TRTProfile, true, nil
	case text[0] == '{' && has("Layers"):
		return TRTLayerInfo, true, nil
	case text[0] == '{' && has("report_type", "avg_performance", "detailed_performance"):
		return OVCounters, true, nil
	}
	return "", false, unknownFormat(file)
}

func unknownFormat(file string) error {
	return fileError(file, 0, "its format is not known; expected a profile of ONNX Runtime (JSON), of trtexec --exportProfile, or counters of OpenVINO's benchmark_app (CSV or JSON)")
}

// firstKeys lists the keys of the first object in a text.
func firstKeys(head []byte) []string {
	s := newScanner(bytes.NewReader(head))
	var keys []string
	object := func() error {
		return s.object(func(key string) error {
			if keys = append(keys, key); len(keys) > 32 {
				return errEnd
			}
			return s.skip()
		})
	}
	// Where the text ends early the keys so far have to do.
	if kind, err := s.peek(); err == nil && kind == '[' {
		_ = s.array(func() error { return errors.Join(object(), errEnd) })
	} else {
		_ = object()
	}
	return keys
}

// chooseProvider decides whose kernels count.
func chooseProvider(traces []*trace, want string) (string, error) {
	count := map[string]int{}
	for _, t := range traces {
		for i := range t.layers {
			if p := t.layers[i].provider; p != "" {
				count[p]++
			}
		}
	}
	list := slices.Sorted(maps.Keys(count))
	const shown = 8
	var described []string
	for _, p := range list[:min(len(list), shown)] {
		described = append(described, fmt.Sprintf("%s (%s)", plain(p), diag.Count(count[p], "kernel", "kernels")))
	}
	if len(list) > shown {
		described = append(described, fmt.Sprintf("%d more", len(list)-shown))
	}
	switch {
	case want != "" && len(list) > 0 && count[want] == 0:
		return "", fmt.Errorf("no kernel ran on provider %s; there are %s", plain(want), strings.Join(described, ", "))
	case want == "" && len(list) > 1:
		return "", fmt.Errorf("kernels ran on several providers: %s; name the one of this processor with --provider", strings.Join(described, ", "))
	case want == "" && len(list) == 1:
		return list[0], nil
	}
	return want, nil
}

// plain is a name or a list of types for a message: as it is if that is short and of
// printable ASCII.
func plain(name string) string {
	const longest = 120
	if len(name) > longest || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Sprintf("%.120q", name)
	}
	return name
}

// runSum is the time of all kernels in a run, those of other processors included.
func (a *attribution) runSum() float64 {
	sum := 0.0
	for l := range a.t.layers {
		sum += a.t.layers[l].us
	}
	if math.IsInf(sum, 0) {
		return 0
	}
	return sum
}

// dropForeign unties the layers that ran on other providers; their nodes have no
// time on this processor.
func (a *attribution) dropForeign(provider string) {
	foreign := func(l int) bool {
		p := a.t.layers[l].provider
		return p != "" && provider != "" && p != provider
	}
	for i := range a.m.Nodes {
		kept := slices.DeleteFunc(a.taken[i], foreign)
		if len(kept) == 0 && a.state[i] == hasOwn || a.state[i] == inFused && foreign(a.fused[i]) {
			a.state[i] = elsewhere
			a.fused[i] = -1
		}
		a.taken[i] = kept
	}
	for l := range a.t.layers {
		if foreign(l) && a.how[l] != unresolved {
			a.of[l], a.how[l], a.why[l] = nil, unresolved, "ran on another provider"
		}
	}
}
