package main

import (
	"fmt"
	"math"
	"os"
	"text/tabwriter"

	"github.com/dnnsplit/dnnsplit/backend/bench"
)

// The targets that results are held against.
const (
	targetMedian     = 0.05 // of the errors of prediction
	targetWorst      = 0.15
	targetSlower     = 1.03 // most time of a split, over one core
	targetThroughput = 1.8
)

// print prints the results and what they amount to.
func print(results []*outcome) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\tsplit\tsub-models\tpredicted ms\tmeasured ms\t±\terror\twhole pred.\twhole meas.\terror\tover one core\tat most\tover inter-op\tover intra-op\t")
	var errs, gains []float64
	var failed []string
	fail := func(o *outcome, t *trial, format string, args ...any) {
		failed = append(failed, o.Name+" "+t.Name+": "+fmt.Sprintf(format, args...))
	}
	for _, o := range results {
		for i := range o.Cases {
			t := &o.Cases[i]
			b := t.Bench
			if t.Name == "throughput" {
				continue
			}
			whole := best(b)
			fmt.Fprintf(w, "%s\t%s\t%d\t%.3f\t%.3f\t%.3f\t%s\t%s\t%.3f\t%s\t%s\t%s\t%s\t%s\t\n", o.Name, t.Name, t.Submodels,
				*b.Latency.PredictedUs/1e3, b.Latency.MedianUs/1e3, b.Latency.MADUs/1e3, share(b.Latency.Error),
				number(whole.PredictedUs), whole.MedianUs/1e3, share(whole.Error), times(b.Latency.Speedup), atMost(t), parallel(b, 0), parallel(b, 1))
			for _, e := range []*float64{b.Latency.Error, whole.Error} {
				if e != nil {
					errs = append(errs, math.Abs(*e))
				}
			}
			if s := b.Latency.Speedup; s != nil {
				if t.Submodels > 1 && whole.PredictedUs != nil {
					gains = append(gains, math.Abs(*whole.PredictedUs / *b.Latency.PredictedUs / *s - 1))
				}
				if *s < 1/targetSlower {
					fail(o, t, "%.2f times as fast as one core", *s)
				}
				if t.Name != "one" && *s < o.Target {
					fail(o, t, "%.2f times as fast as one core, the target is %.2f; by the costs no split can be more than %s", *s, o.Target, atMost(t))
				}
			}
		}
	}
	_ = w.Flush() // standard output
	fmt.Println()
	w = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "model\tsub-models\tpredicted ms\tmeasured ms\terror\tthroughput over one core\ttwo copies over one core\tshare of that\t")
	for _, o := range results {
		for i := range o.Cases {
			t := &o.Cases[i]
			if t.Name != "throughput" {
				continue
			}
			b := t.Bench
			copies, reached := "-", "-"
			if b.Copies != nil {
				copies, reached = times(b.Copies.Speedup), fmt.Sprintf("%.0f%%", 100*b.Copies.MedianUs/b.Interval.MedianUs)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%.3f\t%s\t%s\t%s\t%s\t\n", o.Name, t.Submodels, number(b.Interval.PredictedUs), b.Interval.MedianUs/1e3, share(b.Interval.Error), times(b.Interval.Speedup), copies, reached)
			if s := b.Interval.Speedup; s != nil && *s < targetThroughput {
				fail(o, t, "%.2f times the throughput of one core, the target is %.1f", *s, targetThroughput)
			}
		}
	}
	_ = w.Flush() // standard output
	errs = sorted(errs)
	if len(errs) > 0 {
		median, worst := errs[len(errs)/2], errs[len(errs)-1]
		fmt.Printf("\nerror of the prediction: median %.1f%% (target %.0f%%), worst %.1f%% (target %.0f%%)\n", 100*median, 100*targetMedian, 100*worst, 100*targetWorst)
	}
	if gains = sorted(gains); len(gains) > 0 {
		// Whole and split run in turns: how fast the machine is at the moment cancels out.
		fmt.Printf("error of the predicted speed-up of splits over one core: median %.1f%%, worst %.1f%%\n", 100*gains[len(gains)/2], 100*gains[len(gains)-1])
	}
	for _, f := range failed {
		fmt.Println("missed:", f)
	}
}

// best is the whole model on its fastest core.
func best(b *bench.Report) bench.Result {
	for _, w := range b.Whole {
		if w.Name == b.BestWhole {
			return w
		}
	}
	return bench.Result{}
}

// parallel is how much faster the split is than ONNX Runtime's i-th way to use both cores.
func parallel(b *bench.Report, i int) string {
	if i >= len(b.Parallel) {
		return "-"
	}
	return times(b.Parallel[i].Speedup)
}

// atMost is the bound on the speed-up over one core.
func atMost(t *trial) string {
	if t.AtMost == 0 {
		return "-"
	}
	return times(&t.AtMost)
}

func number(us *float64) string {
	if us == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *us/1e3)
}

func share(e *float64) string {
	if e == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1f%%", 100**e)
}

func times(s *float64) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *s)
}
