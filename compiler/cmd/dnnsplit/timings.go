package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"runtime/trace"
	"sync"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/rusage"
	"github.com/spf13/pflag"
)

// developer holds the flags that say where time and memory go. Every command has them.
type developer struct {
	timings    bool
	cpuProfile string
	trace      string

	watch *stopwatch
	ends  []func() error
}

func (d *developer) flags(fl *pflag.FlagSet) {
	fl.BoolVar(&d.timings, "timings", false, "print time and memory of each stage on standard error")
	fl.StringVar(&d.cpuProfile, "cpuprofile", "", "write a CPU profile, for go tool pprof, to `FILE`")
	fl.StringVar(&d.trace, "trace", "", "write an execution trace, for go tool trace, to `FILE`")
	for _, name := range []string{"cpuprofile", "trace"} {
		fl.Lookup(name).Hidden = true
	}
}

// begin starts what the flags ask for.
func (d *developer) begin(u *ui) error {
	if d.timings {
		d.watch = newStopwatch()
		u.watch = d.watch
	}
	record := func(path string, start func(*os.File) error, stop func()) error {
		if path == "" {
			return nil
		}
		f, err := os.Create(filepath.Clean(path))
		if err != nil {
			return err
		}
		if err := start(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		d.ends = append(d.ends, func() error { stop(); return f.Close() })
		return nil
	}
	err := record(d.cpuProfile, func(f *os.File) error { return pprof.StartCPUProfile(f) }, pprof.StopCPUProfile)
	if err == nil {
		err = record(d.trace, func(f *os.File) error { return trace.Start(f) }, trace.Stop)
	}
	return err
}

// end finishes the recordings and prints the timings, of a failed command too.
func (d *developer) end(u *ui) error {
	var first error
	for _, f := range d.ends {
		if err := f(); err != nil && first == nil {
			first = err
		}
	}
	if d.watch != nil {
		u.endProgress()
		d.watch.print(u)
	}
	return first
}

// lap is what one stage took.
type lap struct {
	stage string
	wall  time.Duration
	cpu   time.Duration // of all threads, in the program and in the system for it; 0 if the system does not say
	bytes uint64        // allocated on the heap during the stage
	heap  uint64        // on the heap at its end, garbage included
	peak  int64         // resident memory at most since the start of the program; 0 if the system does not say
}

// stopwatch measures the stages that progress reports name. A stage that comes
// again goes on.
type stopwatch struct {
	mu      sync.Mutex
	laps    []lap
	current int
	at      time.Time
	cpu     time.Duration
	bytes   uint64
}

func newStopwatch() *stopwatch {
	w := &stopwatch{laps: []lap{{stage: "start"}}}
	w.mark()
	return w
}

// mark starts a lap.
func (w *stopwatch) mark() {
	w.at, w.cpu = time.Now(), rusage.CPUTime()
	w.bytes, _ = heap()
}

// enter ends the stage that runs, unless it is that one, and begins another.
func (w *stopwatch) enter(stage string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.laps[w.current].stage == stage {
		return
	}
	w.settle()
	for i := range w.laps {
		if w.laps[i].stage == stage {
			w.current = i
			return
		}
	}
	w.current = len(w.laps)
	w.laps = append(w.laps, lap{stage: stage})
}

// settle adds what has passed since the last mark to the stage that runs.
func (w *stopwatch) settle() {
	l := &w.laps[w.current]
	allocated, live := heap()
	l.wall += time.Since(w.at)
	l.cpu += rusage.CPUTime() - w.cpu
	l.bytes += allocated - w.bytes
	l.heap = live
	l.peak = rusage.PeakMemory()
	w.mark()
}

// heap is how many bytes the program has allocated so far, and how many there are.
func heap() (allocated, live uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// print writes a table: a line for each stage and one for the whole.
func (w *stopwatch) print(u *ui) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	all := lap{stage: "total"}
	for _, l := range w.laps {
		all.wall += l.wall
		all.cpu += l.cpu
		all.bytes += l.bytes
		all.heap = l.heap
		all.peak = max(all.peak, l.peak)
	}
	fmt.Fprintf(u.err, "%-10s %10s %10s %12s %12s %12s\n", "stage", "time", "cpu", "allocated", "heap", "peak memory")
	for _, l := range append(w.laps, all) {
		fmt.Fprintf(u.err, "%-10s %10s %10s %12s %12s %12s\n", l.stage, secondsText(l.wall), knownText(l.cpu > 0, secondsText(l.cpu)),
			bytesText(int64(l.bytes)), bytesText(int64(l.heap)), knownText(l.peak > 0, bytesText(l.peak)))
	}
	fmt.Fprintf(u.err, "%d cores, %s\n", runtime.GOMAXPROCS(0), runtime.Version())
}

func knownText(known bool, text string) string {
	if !known {
		return "-"
	}
	return text
}

func secondsText(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
