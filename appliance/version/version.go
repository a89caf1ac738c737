// Package version holds what this binary is; the linker fills it in (see Makefile).
package version

import "runtime/debug"

// Version is the tag or commit that the binary was built from.
var Version = ""

// String returns Version, or the commit that the Go tool recorded, or "devel".
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return "devel"
}
