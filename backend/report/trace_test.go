package report

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// readEvent is one event as a viewer sees it.
type readEvent struct {
	Name, Cat, Ph, Bp string
	Ts, Dur           float64
	Pid, Tid, ID      int
	Args              map[string]any
}

func readTrace(t *testing.T, body []byte) []readEvent {
	t.Helper()
	var doc struct {
		DisplayTimeUnit string
		OtherData       map[string]any
		TraceEvents     []readEvent
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc.TraceEvents
}

func TestTrace(t *testing.T) {
	l, p := towers(t, 7, 12)
	body, err := Trace(l, p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Trace(l, p)
	if err != nil || !bytes.Equal(body, again) {
		t.Errorf("a second trace differs: %v", err)
	}
	events := readTrace(t, body)

	type thread struct{ pid, tid int }
	names := map[thread]string{}
	slicesOf := map[thread][]readEvent{}
	flows := map[int][]readEvent{}
	counters := map[int][]readEvent{}
	for _, e := range events {
		k := thread{e.Pid, e.Tid}
		switch e.Ph {
		case "M":
			if e.Name == "thread_name" {
				names[k] = e.Args["name"].(string)
			}
			if e.Name == "process_name" {
				names[thread{e.Pid, 0}] = e.Args["name"].(string)
			}
		case "X":
			slicesOf[k] = append(slicesOf[k], e)
		case "s", "f":
			flows[e.ID] = append(flows[e.ID], e)
		case "C":
			counters[e.Pid] = append(counters[e.Pid], e)
		default:
			t.Errorf("there is an event of phase %q", e.Ph)
		}
	}
	var all []string
	for _, n := range names {
		all = append(all, n)
	}
	slices.Sort(all)
	want := "jetson|jetson -> pi|jetson -> server (wifi-1)|jetson.cpu|jetson.gpu|links|pi|pi|pi -> jetson|server|server|server -> jetson (wifi-1)"
	if got := strings.Join(all, "|"); got != want {
		t.Errorf("processes and threads are\n%s, want\n%s", got, want)
	}

	// Slices of one thread nest or follow one another, and the steps of a run fill it.
	const eps = 1e-6
	nodes := 0
	for k, list := range slicesOf {
		if names[k] == "" || names[thread{k.pid, 0}] == "" {
			t.Errorf("thread %v has no name", k)
		}
		var open []readEvent
		for _, e := range list {
			for len(open) > 0 && open[len(open)-1].Ts+open[len(open)-1].Dur <= e.Ts+eps {
				open = open[:len(open)-1]
			}
			if len(open) > 0 && e.Ts+e.Dur > open[len(open)-1].Ts+open[len(open)-1].Dur+eps {
				t.Errorf("%s on %s overlaps %s", e.Name, names[k], open[len(open)-1].Name)
			}
			open = append(open, e)
		}
		for i, e := range list {
			if e.Cat == "node" {
				nodes++
			}
			if e.Cat != "run" {
				continue
			}
			var sum float64
			for _, c := range list[i+1:] {
				if c.Cat == "run" {
					break
				}
				sum += c.Dur
			}
			if math.Abs(sum-e.Dur) > eps {
				t.Errorf("the steps of %s take %v us, the run %v", e.Name, sum, e.Dur)
			}
		}
	}
	held := 0
	for _, s := range p.Plan.Submodels {
		held += len(s.Nodes) + len(s.Replicas)
	}
	if nodes != held {
		t.Errorf("%d nodes are shown, want %d", nodes, held)
	}

	// Both ends of an arrow lie in slices, and no arrow points back in time.
	bound := func(e readEvent) bool {
		return slices.ContainsFunc(slicesOf[thread{e.Pid, e.Tid}], func(s readEvent) bool {
			return s.Ts <= e.Ts+eps && e.Ts <= s.Ts+s.Dur+eps && (s.Cat == "run" || s.Cat == "transfer")
		})
	}
	for id, ends := range flows {
		if len(ends) != 2 || ends[0].Ph != "s" || ends[1].Ph != "f" || ends[1].Bp != "e" || ends[0].Name != ends[1].Name || ends[0].Ts > ends[1].Ts {
			t.Errorf("flow %d is %+v", id, ends)
			continue
		}
		if !bound(ends[0]) || !bound(ends[1]) {
			t.Errorf("flow %d is bound to no slice: %+v", id, ends)
		}
	}
	// x: the stem's replica; each transfer ends an arrow unless its value is an input at its source.
	arrows := 0
	for _, in := range dataflowInputs(l, p) {
		arrows += in
	}
	if len(flows) < arrows {
		t.Errorf("there are %d arrows for %d inputs that other sub-models make", len(flows), arrows)
	}

	for pid, list := range counters {
		last := -1.0
		for _, c := range list {
			if c.Ts < last {
				t.Errorf("the counter of process %d goes back in time", pid)
			}
			last = c.Ts
		}
		end := list[len(list)-1].Args
		if end["activations MB"] != 0.0 || end["kept MB"] != 0.0 || end["weights MB"] != list[0].Args["weights MB"] {
			t.Errorf("at the end process %d holds %v", pid, end)
		}
	}
	if len(counters) != 3 {
		t.Errorf("there are counters of %d devices, want 3", len(counters))
	}
}

// dataflowInputs counts, by sub-model, the inputs that other sub-models make.
func dataflowInputs(l *ir.Lowered, p *ir.Placement) []int {
	inputs, maker := dataflow(l.Problem.Graph, p.Plan)
	out := make([]int, len(inputs))
	for i, list := range inputs {
		for _, v := range list {
			if maker[v] >= 0 {
				out[i]++
			}
		}
	}
	return out
}

// A value that stays on a processor for a later run shows as kept in between.
func TestTraceKept(t *testing.T) {
	l, p := towers(t, 4, 3)
	body, err := Trace(l, p)
	if err != nil {
		t.Fatal(err)
	}
	// The head on pi needs the end of tower 0, which pi has made in an earlier run.
	kept := false
	for _, e := range readTrace(t, body) {
		kept = kept || e.Ph == "C" && e.Pid == 1 && e.Args["kept MB"] == 0.4
	}
	if !kept {
		t.Error("no counter shows the value that stays on pi")
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "0.98 KiB", 1024: "1.00 KiB", 10 << 10: "10.0 KiB", 102_348: "99.9 KiB", 102_400: "100 KiB",
		999 << 10: "999 KiB", 1000 << 10: "0.98 MiB", 1 << 30: "1.00 GiB", math.MaxInt64: "8.00 EiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}
