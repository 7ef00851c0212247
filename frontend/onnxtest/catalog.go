package onnxtest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Catalog lists every model that has a name: the full-size networks, their scaled
// versions ("small/" before the name) and the odd models ("odd/").
func Catalog() []Case {
	var l []Case
	for _, a := range Architectures() {
		l = append(l, a.Case)
	}
	return append(l, All()...)
}

// All lists the models that are small enough for every test: the odd ones and
// scaled versions of the networks.
func All() []Case {
	var l []Case
	for _, a := range Architectures() {
		l = append(l, Case{Name: "small/" + a.Name, What: a.What + ", scaled down", Build: a.Small, Tags: a.Tags &^ Large})
	}
	return append(l, Odd()...)
}

// SizedCase is a family of models that takes a number.
type SizedCase struct {
	Name, What string
	Build      func(n, seed uint64) *Model
}

// Named builds the model of that name: one of Catalog, or of Sized with "=" and a
// number, which may end in KiB, MiB or GiB.
func Named(name string, seed uint64) (*Model, error) {
	for _, c := range Catalog() {
		if c.Name == name {
			return c.Build(seed), nil
		}
	}
	family, size, _ := strings.Cut(name, "=")
	for _, c := range Sized() {
		if c.Name != family {
			continue
		}
		n, err := parseSize(size)
		if err != nil {
			return nil, &diag.Error{Msg: fmt.Sprintf("model %q needs a number, as in %s=1000", name, family)}
		}
		return c.Build(n, seed), nil
	}
	return nil, &diag.Error{Msg: fmt.Sprintf("no model is named %q, see -list", name)}
}

func parseSize(s string) (uint64, error) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if t, ok := strings.CutSuffix(s, unit); ok {
			s, shift = t, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(s, 10, 63-shift)
	return n << shift, err
}
