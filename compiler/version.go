package compiler

import "runtime/debug"

// Version is the version of this module as the program was built, "(devel)" for
// a checkout.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	if info.Main.Path == modulePath && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == modulePath {
			return d.Version
		}
	}
	return "(devel)"
}

const modulePath = "github.com/dnnsplit/dnnsplit"
