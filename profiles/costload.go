package profiles

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// costLoader reads the cost files that device profiles name, each once.
type costLoader struct {
	folder folder
	files  map[string]*CostFile // nil: it has been reported
	errs   diag.List            // inside cost files
	read   []string             // names of files as errors show them
}

// takeErrors returns what was wrong inside cost files since the last call.
func (l *costLoader) takeErrors() diag.List {
	errs := l.errs
	l.errs = nil
	return errs
}

// takeFiles returns the names of the files that were read since the last call.
func (l *costLoader) takeFiles() []string {
	names := l.read
	l.read = nil
	return names
}

// table reads the cost files of a processor into a table and puts their
// parameters into its hardware. Of several files the later one counts.
func (l *costLoader) table(profile *yamlFile, e *processorEntry) *costTable {
	all := CostFile{}
	for _, el := range e.costFiles {
		file, known := l.files[el.text]
		if !known {
			file = l.load(profile, el)
			l.files[el.text] = file
		}
		if file == nil {
			continue
		}
		part := *file
		part.Machine = nil // several machines may serve one profile
		if err := all.Merge(&part); err != nil {
			profile.failAt(el.tok, "costs: %v", err)
		}
	}
	all.Parameters.apply(&e.hardware)
	table := newCostTable(&all)
	if len(e.costFiles) > 0 {
		table.all = &all
	}
	for _, el := range e.costFiles {
		table.files = append(table.files, l.folder.show(el.text))
	}
	return table
}

func (l *costLoader) load(profile *yamlFile, el element) *CostFile {
	if !fs.ValidPath(el.text) || strings.Contains(el.text, `\`) {
		profile.failAt(el.tok, "costs: %s is no path inside the folder of the profiles, expected one such as jetson-gpu.costs.json", quoted(el.text))
		return nil
	}
	data, err := l.folder.read(el.text, maxCostBytes)
	if err != nil {
		profile.failAt(el.tok, "costs: cannot read %s: %v", quoted(el.text), err)
		return nil
	}
	l.read = append(l.read, l.folder.show(el.text))
	file, err := ReadCosts(l.folder.show(el.text), data)
	if err != nil {
		if list := diag.List(nil); errors.As(err, &list) {
			l.errs = append(l.errs, list...)
		} else {
			l.errs = append(l.errs, err)
		}
		return nil
	}
	return file
}
