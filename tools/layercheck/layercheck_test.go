package layercheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weir-ddos/weir/"

// rule forbids packages under from (a path prefix below the module) to depend on packages under deny.
type rule struct {
	from, deny string
	// except are packages under from that may.
	except []string
	why    string
}

var rules = []rule{
	{"dataplane", module + "controlplane", nil, "the dataplane never knows its readers"},
	{"dataplane", module + "flowcollect", nil, "siblings meet in dataplane/traffic"},
	{"dataplane", module + "appliance", nil, "wiring lives above"},
	{"dataplane", module + "tools", nil, "tools are built on the product"},
	{"controlplane", module + "dataplane/port", nil, "drivers are wired in appliance/app"},
	{"controlplane", module + "dataplane/worker", nil, "read shards, not workers"},
	{"controlplane", module + "appliance", nil, "wiring lives above"},
	{"controlplane", module + "tools", nil, "tools are built on the product"},
	{"flowcollect", module + "controlplane", nil, "the collector never knows its readers"},
	{"flowcollect", module + "appliance", nil, "wiring lives above"},
	{"dataplane/wire", module, nil, "wire is pure"},
	{"dataplane/arena", module, nil, "arena is pure"},
	{"dataplane/cpu", module, nil, "cpu is pure"},
	{"dataplane/nets", module + "dataplane/traffic", nil, "traffic is built on nets"},
	{"dataplane", "github.com/osrg/gobgp", nil, "only mitigate/bgp may know GoBGP"},
	{"controlplane", "github.com/osrg/gobgp", []string{"controlplane/mitigate/bgp"}, "only mitigate/bgp may know GoBGP"},
	{"dataplane", "github.com/gopacket", nil, "gopacket is for tests and tools"},
	{"controlplane", "github.com/gopacket", nil, "gopacket is for tests and tools"},
	{"appliance", "github.com/gopacket", nil, "gopacket is for tests and tools"},
	{"flowcollect", "github.com/gopacket", nil, "gopacket is for tests and tools"},
}

// imports lists what hot packages must not import themselves.
var hotDeny = map[string][]string{
	"dataplane/wire":    {"fmt", "log", "log/slog", "reflect", "time", "unsafe"},
	"dataplane/traffic": {"fmt", "log", "log/slog", "reflect"},
	"dataplane/worker":  {"log", "log/slog", "reflect"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	CgoFiles   []string
	Standard   bool
}

// list runs go list for the default product: no cgo, no tags.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps,CgoFiles,Standard"}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

// TestLayers enforces "who may import whom" of DESIGN.md 1, transitively.
func TestLayers(t *testing.T) {
	pkgs := list(t, "./...")
	if len(pkgs) < 10 {
		t.Fatalf("go list found %d packages only", len(pkgs))
	}
	for _, r := range rules {
		seen := false
		for _, p := range pkgs {
			own := strings.TrimPrefix(p.ImportPath, module)
			if !under(own, r.from) || slices.ContainsFunc(r.except, func(e string) bool { return under(own, e) }) {
				continue
			}
			seen = true
			for _, dep := range p.Deps {
				if under(dep, r.deny) {
					t.Errorf("%s depends on %s: %s", own, dep, r.why)
				}
			}
		}
		if !seen && r.from != "flowcollect" {
			t.Errorf("rule about %s matches no package: delete or mend it", r.from)
		}
	}
}

// TestHotImports keeps formatting, logging, clocks and unsafe out of packages that handle every packet.
func TestHotImports(t *testing.T) {
	for own, deny := range hotDeny {
		for _, p := range list(t, "./"+own) {
			for _, imp := range p.Imports {
				if slices.Contains(deny, imp) {
					t.Errorf("%s imports %s", own, imp)
				}
			}
		}
	}
}

// TestNoCgo proves that the default product needs no C compiler.
func TestNoCgo(t *testing.T) {
	for _, p := range list(t, "-deps", "./appliance/cmd/weir", "./tools/weirctl") {
		if len(p.CgoFiles) > 0 && !p.Standard {
			t.Errorf("%s uses cgo in the default build", p.ImportPath)
		}
	}
}

// TestPackageComments: every package says what it is.
func TestPackageComments(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", "{{if not .Doc}}{{.ImportPath}}{{end}}", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if s := strings.Fields(string(out)); len(s) > 0 {
		t.Errorf("no package comment: %v", s)
	}
}
