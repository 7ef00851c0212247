package compiler

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
)

// WriteDepfile writes a rule for Make and Ninja: the manifest depends on every
// file that the compilation read. As with the option -MP of C compilers each of these
// files has an empty rule, so that one that is removed later makes Make run the command
// again instead of looking for a way to make the file.
func (r *Result) WriteDepfile(path string) error {
	files := append(r.Analysis.Model.Files(), r.Fleet.Files()...)
	if r.Options.Reuse != "" {
		reuse := r.Options.Reuse
		if st, err := os.Stat(reuse); err == nil && st.IsDir() {
			reuse = filepath.Join(reuse, backend.ManifestFile)
		}
		files = append(files, reuse)
	}
	if r.Options.PlacementFile != "" {
		files = append(files, r.Options.PlacementFile)
	}
	var b strings.Builder
	b.WriteString(depName(filepath.Join(r.Options.Output, "manifest.json")) + ":")
	for _, f := range files {
		b.WriteString(" \\\n  " + depName(f))
	}
	b.WriteString("\n")
	for _, f := range files {
		b.WriteString("\n" + depName(f) + ":\n")
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// depName escapes a path for a rule.
func depName(path string) string {
	return strings.NewReplacer(" ", `\ `, "#", `\#`, "$", "$$", ":", `\:`).Replace(path)
}
