package profiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// maxDevices bounds a fleet: a default link can join every pair.
const maxDevices = 1000

// costsSuffix is how names of cost files end that are looked for in a folder.
const costsSuffix = ".costs.json"

// Load reads the profiles in a folder: every *.yaml in the folder itself (names
// that start with a dot excepted), fleet.yaml for the links, and the cost files
// that the devices name, by paths relative to the folder. Devices stand in the
// order of their file names, their processors in the order of the file, links
// in the order of fleet.yaml with default links behind them.
//
// The error is a diag.Error with file, line and column where they apply, or a
// diag.List of several.
func Load(dir string) (*Fleet, error) {
	if dir == "" {
		return nil, &diag.Error{Msg: "no folder of device profiles is named"}
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, &diag.Error{File: dir, Msg: notFolder}
	}
	return load(folder{os.DirFS(dir), ".", func(name string) string {
		if name == "." {
			return dir
		}
		return filepath.Join(dir, filepath.FromSlash(name))
	}})
}

const notFolder = "not a folder, expected one with device profiles (*.yaml)"

// LoadFS is Load for the folder dir (a slash-separated path, "." for the top)
// of a file system such as testing/fstest.MapFS or embed.FS.
func LoadFS(fsys fs.FS, dir string) (*Fleet, error) {
	if !fs.ValidPath(dir) {
		return nil, &diag.Error{File: dir, Msg: "not a path inside the file system, expected one such as \".\" or \"profiles\""}
	}
	return load(folder{fsys, dir, func(name string) string { return path.Join(dir, name) }})
}

// folder is where profiles are read from.
type folder struct {
	fsys fs.FS
	dir  string
	show func(name string) string // how errors name a file; "." is the folder
}

// read returns the content of a regular file of at most limit bytes; one byte
// more if the file is longer.
func (d folder) read(name string, limit int64) ([]byte, error) {
	full := path.Join(d.dir, name)
	info, err := fs.Stat(d.fsys, full)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	file, err := d.fsys.Open(full)
	if err != nil {
		return nil, cause(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	return data, cause(err)
}

// cause is err without the path that os puts into it; callers name the file.
func cause(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("no such file")
	}
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// list returns the names of the device files and of files that are named as cost files
// are, sorted, and whether there is a fleet.yaml.
func (d folder) list() (devices, costs []string, fleet bool, err error) {
	fail := func(format string, args ...any) error {
		return &diag.Error{File: d.show("."), Msg: fmt.Sprintf(format, args...)}
	}
	switch info, err := fs.Stat(d.fsys, d.dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, false, fail("no such folder, expected one with device profiles (*.yaml)")
	case err != nil:
		return nil, nil, false, fail("%v", cause(err))
	case !info.IsDir():
		return nil, nil, false, fail(notFolder)
	}
	entries, err := fs.ReadDir(d.fsys, d.dir) // sorted by name
	if err != nil {
		return nil, nil, false, fail("%v", cause(err))
	}
	yml := ""
	for _, e := range entries {
		name := e.Name()
		switch {
		case e.IsDir() || strings.HasPrefix(name, "."):
		case name == fleetFileName:
			fleet = true
		case strings.HasSuffix(name, ".yaml"):
			devices = append(devices, name)
		case strings.HasSuffix(name, costsSuffix):
			costs = append(costs, name)
		case strings.HasSuffix(name, ".yml") && yml == "":
			yml = name
		}
	}
	switch {
	case len(devices) == 0 && yml != "":
		return nil, nil, false, fail("no device profile, only files named *.yaml are read; rename %s", yml)
	case len(devices) == 0:
		return nil, nil, false, fail("no device profile, expected a file *.yaml for each device")
	case len(devices) > maxDevices:
		return nil, nil, false, fail("more than %d device profiles", maxDevices)
	}
	return devices, costs, fleet, nil
}

func load(d folder) (*Fleet, error) {
	names, measured, hasFleet, err := d.list()
	if err != nil {
		return nil, err
	}
	var errs diag.List
	fleet := &Fleet{Platform: &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}}
	costs := costLoader{folder: d, files: map[string]*CostFile{}}
	complete := true // every device's name is known
	files := map[string]*deviceFile{}
	for _, name := range names {
		file := &yamlFile{name: d.show(name)}
		data, err := d.read(name, maxYAMLBytes)
		if err != nil {
			errs = append(errs, &diag.Error{File: file.name, Msg: "cannot read the profile", Err: err})
			complete = false
			continue
		}
		dev := readDevice(file, data)
		if dev.name == "" {
			complete = false
		} else if other := files[strings.ToLower(dev.name)]; other != nil {
			how := ""
			if other.name != dev.name {
				how = " but for upper and lower case, which file names may not tell apart"
			}
			file.failAt(dev.nameAt, "name: the device %s is in %s already%s", quoted(dev.name), other.file.name, how)
		} else {
			files[strings.ToLower(dev.name)] = dev
			fleet.addDevice(dev, &costs)
		}
		errs = append(errs, file.sorted()...)
		errs = append(errs, costs.takeErrors()...)
		fleet.files = append(append(fleet.files, file.name), costs.takeFiles()...)
	}
	if hasFleet {
		file := &yamlFile{name: d.show(fleetFileName)}
		data, err := d.read(fleetFileName, maxYAMLBytes)
		if err != nil {
			errs = append(errs, &diag.Error{File: file.name, Msg: "cannot read the links", Err: err})
		} else {
			applyFleet(fleet.Platform, readFleet(file, data), complete)
			errs = append(errs, file.sorted()...)
			fleet.files = append(fleet.files, file.name)
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	for _, name := range measured {
		if !slices.Contains(fleet.files, d.show(name)) {
			fleet.idleCosts = append(fleet.idleCosts, name)
		}
	}
	return fleet, nil
}

// addDevice appends a device, its processors and their costs.
func (f *Fleet) addDevice(dev *deviceFile, costs *costLoader) {
	p := f.Platform
	id := ir.DeviceID(len(p.Devices))
	p.Devices = append(p.Devices, ir.Device{Name: dev.name, MemoryBytes: dev.memoryBytes})
	for i := range dev.processors {
		e := &dev.processors[i]
		name := dev.name
		if len(dev.processors) > 1 {
			name += "." + e.name
		}
		e.hardware.Name, e.hardware.Device, e.processor.Name = name, id, name
		e.processor.costs = costs.table(dev.file, e)
		p.Processors = append(p.Processors, e.hardware)
		f.Processors = append(f.Processors, e.processor)
	}
}
