package profiles

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestParameters varies every parameter of the sample fleet: its value can be
// printed and read, the fleet made with another value has it, and the fleet that it
// was made of keeps its own.
func TestParameters(t *testing.T) {
	fleet, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	names := fleet.Parameters()
	if len(names) < 40 {
		t.Fatalf("only %d parameters: %v", len(names), names)
	}
	for _, name := range names {
		p, err := fleet.Parameter(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		was := p.Current()
		other := was*2 + 1000
		if strings.HasSuffix(name, ".speed") {
			other = 4
		}
		if strings.HasSuffix(name, "memory") && was >= float64(MaxBytes) {
			other = 1 << 30
		}
		text := p.Format(other)
		if v, err := p.Parse(text); err != nil || v != other {
			t.Errorf("%s: %v is printed as %q and read as %v, %v", name, other, text, v, err)
		}
		q, err := fleet.With(p, other).Parameter(name)
		if err != nil || !strings.HasSuffix(name, ".speed") && math.Abs(q.Current()/other-1) > 1e-12 {
			t.Errorf("%s: with %v it is %v, %v", name, other, q.Current(), err)
		}
		if again, _ := fleet.Parameter(name); again.Current() != was {
			t.Errorf("%s: the fleet itself changed from %v to %v", name, was, again.Current())
		}
	}
}

// TestWithoutDevice takes each device away: names and links of the others stay.
func TestWithoutDevice(t *testing.T) {
	fleet, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, dev := range fleet.Platform.Devices {
		less, err := fleet.WithoutDevice(dev.Name)
		if dev.Name == fleet.Platform.Devices[fleet.Platform.Source].Name {
			if want := fmt.Sprintf("inputs appear on %s (source)", dev.Name); err == nil || err.Error() != want {
				t.Errorf("the source %s is taken away: %v, want %s", dev.Name, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", dev.Name, err)
			continue
		}
		want := map[string]int{}
		for _, l := range fleet.Platform.Links {
			a, b := fleet.Platform.Devices[l.From].Name, fleet.Platform.Devices[l.To].Name
			if a != dev.Name && b != dev.Name {
				want[a+" "+b]++
			}
		}
		for _, l := range less.Platform.Links {
			want[less.Platform.Devices[l.From].Name+" "+less.Platform.Devices[l.To].Name]--
		}
		for ends, n := range want {
			if n != 0 {
				t.Errorf("without %s the links %s differ by %d", dev.Name, ends, n)
			}
		}
		for i, p := range less.Platform.Processors {
			if owner := less.Platform.Devices[p.Device].Name; owner == dev.Name || !strings.HasPrefix(less.Processors[i].Name, owner) || p.Name != less.Processors[i].Name {
				t.Errorf("without %s processor %s is on %s", dev.Name, p.Name, owner)
			}
		}
		if less.Platform.Devices[less.Platform.Source].Name != fleet.Platform.Devices[fleet.Platform.Source].Name {
			t.Errorf("without %s the source is another", dev.Name)
		}
	}
}

func TestLastDevice(t *testing.T) {
	fleet := mustLoad(t, "a.yaml", device("a"), "b.yaml", device("b"))
	fleet.Platform.Sink = 1
	if _, err := fleet.WithoutDevice("b"); err == nil || err.Error() != "outputs must arrive on b (sink)" {
		t.Errorf("without the sink: %v", err)
	}
	fleet = mustLoad(t, "a.yaml", device("a"))
	if _, err := fleet.WithoutDevice("a"); err == nil || err.Error() != "a is the only device" {
		t.Errorf("without the only device: %v", err)
	}
}
