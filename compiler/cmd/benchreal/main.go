// Command benchreal holds predictions against what really happens on two cores of
// this machine, one thread each: it measures the costs of models, splits them for
// latency, with one and with any number of sub-models, and for throughput, runs
// the splits, and prints predicted beside measured times, and speed-ups over one
// core and over ONNX Runtime's own ways to use both.
//
// What is known stands in the work folder: a run goes on where the last one ended,
// model by model. Nothing else should run on the machine meanwhile. A high priority
// (nice -n -20) helps where something does; a real-time one does not: Linux holds
// such threads up for 50 ms of every second that they fill, which pipelines do.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// models are the files of the models' folder and the networks built in Go, with
// the speed-up over one core that --submodels auto is to reach; 0: none is set. In
// googlenet two LRN nodes of one path take two fifths of the time of one core, so
// that 1.25 cannot be reached there; googlenet_bn is the same network without.
var models = []struct {
	name    string
	built   bool
	speedup float64
}{
	{"light_inception_v1", false, 0},
	{"light_resnet50", false, 0},
	{"light_densenet121", false, 0},
	{"squeezenet1_1", false, 0},
	{"multi_tower_tiny", false, 1.5},
	{"raft_small", false, 0},
	{"bert_tiny_tied", false, 0},
	{"ch_PP-OCRv4_det_infer", false, 0},
	{"inception_v3", true, 1.25},
	{"googlenet", true, 0},
	{"googlenet_bn", true, 1.25},
	{"three_towers", true, 1.5},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchreal:", err)
		os.Exit(1)
	}
}

// job is one call of the command.
type job struct {
	models, work string
	cpus         [2]int
	budget       time.Duration
	again        bool
	calibrate    int
}

func run(ctx context.Context) error {
	var j job
	flag.StringVar(&j.models, "models", "testdata/models", "folder of ONNX models")
	flag.StringVar(&j.work, "work", ".bench-real", "folder for models, cost files, splits and results")
	only := flag.String("only", "", "regular expression: only models whose name matches")
	flag.DurationVar(&j.budget, "time", 4*time.Second, "most time to measure one split in")
	flag.BoolVar(&j.again, "again", false, "measure anew what is known")

	flag.IntVar(&j.calibrate, "calibrate", 0, "most splits that are run to learn from, in a further split of each model; 0: none")
	transfer := flag.Bool("transfer", false, "predict light_inception_v1 and light_squeezenet from profiles of light_vgg19, light_resnet50 and light_densenet121")
	report := flag.Bool("report", false, "print what is known, measure nothing")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	available, err := runtime.BoundCPUs()
	if err != nil {
		return err
	}
	if len(available) < 2 {
		return errors.New("two cores are needed")
	}
	j.cpus = [2]int{available[0], available[1]}
	if err := os.MkdirAll(j.work, 0o755); err != nil {
		return err
	}
	if *transfer {
		return j.transfer(ctx, *report)
	}
	var results []*outcome
	for _, m := range models {
		if !match.MatchString(m.name) {
			continue
		}
		o, err := j.known(m.name)
		if err != nil {
			return err
		}
		if (o == nil || j.again) && !*report {
			start := time.Now()
			if o, err = j.measure(ctx, m.name, m.built); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				fmt.Fprintf(os.Stderr, "%s: %v\n", m.name, err)
				continue
			}
			fmt.Fprintf(os.Stderr, "%s: %.0f s\n", m.name, time.Since(start).Seconds())
		}
		if o != nil {
			o.Target = m.speedup
			results = append(results, o)
		}
	}
	if len(results) == 0 {
		return errors.New("there are no results")
	}
	print(results)
	return nil
}

// known is the result of an earlier run, nil if there is none.
func (j *job) known(name string) (*outcome, error) {
	text, err := os.ReadFile(j.result(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	o := &outcome{}
	return o, json.Unmarshal(text, o)
}

func (j *job) result(name string) string { return filepath.Join(j.work, name+".result.json") }

// model puts a model into the work folder: builds it, fills its weights, or copies
// nothing and names the file where it is.
func (j *job) model(ctx context.Context, name string, built bool) (string, error) {
	out := filepath.Join(j.work, name+".onnx")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	if built {
		m, err := onnxtest.Named(name, 0)
		if err != nil {
			return "", err
		}
		return out, m.WriteFile(out)
	}
	file := filepath.Join(j.models, name+".onnx")
	if _, err := os.Stat(file); err != nil {
		return "", err
	}
	script := filepath.Join(j.models, "fill_light.py")
	if _, err := os.Stat(script); err != nil || !strings.HasPrefix(name, "light_") {
		return file, nil
	}
	// All weights of such a model are equal; the script gives it random ones.
	if text, err := exec.CommandContext(ctx, "/usr/bin/python3", script, file, out+".part").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", script, err, text)
	}
	return out, os.Rename(out+".part", out)
}

// shapes are the input shapes of a model's hints file; nil if it has none.
func shapes(model string) (map[string][]int64, error) {
	text, err := os.ReadFile(model + ".hints.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var h struct {
		Shapes map[string][]int64 `json:"shapes"`
	}
	return h.Shapes, json.Unmarshal(text, &h)
}

func sorted(values []float64) []float64 { return slices.Sorted(slices.Values(values)) }
