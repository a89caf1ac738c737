package hotcheck

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list anew")

// hot are the files whose functions run for every packet.
var hot = []string{
	"dataplane/wire/decode.go", "dataplane/wire/headers.go", "dataplane/wire/ip.go", "dataplane/wire/l2tp.go", "dataplane/wire/link.go",
	"dataplane/wire/plain.go", "dataplane/wire/plain_asm.go", "dataplane/wire/tunnel.go", "dataplane/wire/walker.go",
	"dataplane/nets/table.go", "dataplane/flowtrack/flowtrack.go",
	"dataplane/traffic/classify.go", "dataplane/traffic/half.go", "dataplane/traffic/key.go", "dataplane/traffic/prepare.go", "dataplane/traffic/prepare_asm.go", "dataplane/traffic/table.go",
	"dataplane/worker/count.go",
}

// compiler is the release that the list is of; another one proves more or less.
const compiler = "go1.26"

const (
	root = "../.."
	list = "testdata/bounds.txt"
)

func TestBoundsChecks(t *testing.T) {
	t.Parallel()
	if v := runtime.Version(); v != compiler && !strings.HasPrefix(v, compiler+".") {
		t.Skipf("the list is of %s, this is %s", compiler, v)
	}
	got := checks(t)
	if *update {
		if err := os.WriteFile(list, []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, l := range without(got, want) {
		t.Errorf("a bounds check more: %s", l)
	}
	for _, l := range without(want, got) {
		t.Errorf("a bounds check less, good: %s", l)
	}
	if t.Failed() {
		t.Log("look at what the compiler could not prove; then: go test ./tools/hotcheck -update")
	}
}

// without are the lines of a beyond those of b, each as often as it is there too often.
func without(a, b []string) (rest []string) {
	n := make(map[string]int)
	for _, l := range b {
		n[l]++
	}
	for _, l := range a {
		if n[l]--; n[l] < 0 {
			rest = append(rest, l)
		}
	}
	return rest
}

// found is a line of the compiler's.
var found = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: Found (\w+)$`)

// checks lists the bounds checks of the hot files: file, function, kind and the line's text, but not its number, which changes.
func checks(t *testing.T) (lines []string) {
	var packages []string
	for _, f := range hot {
		packages = append(packages, "./"+filepath.Dir(f))
	}
	slices.Sort(packages)
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-gcflags=-d=ssa/check_bce/debug=1"}, slices.Compact(packages)...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := make(map[string]*source)
	for _, m := range found.FindAllStringSubmatch(string(out), -1) {
		name := filepath.ToSlash(m[1])
		if !slices.Contains(hot, name) {
			continue
		}
		if files[name] == nil {
			files[name] = read(t, name)
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s: %s", name, files[name].function(n), m[3], files[name].lines[n-1]))
	}
	slices.Sort(lines)
	return lines
}

// source is a hot file.
type source struct {
	set   *token.FileSet
	file  *ast.File
	lines []string
}

func read(t *testing.T, name string) *source {
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	s := &source{set: token.NewFileSet()}
	if s.file, err = parser.ParseFile(s.set, name, b, parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	for l := range bytes.Lines(b) {
		s.lines = append(s.lines, strings.TrimSpace(string(l)))
	}
	return s
}

// function is the one that line n is in.
func (s *source) function(n int) string {
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && s.set.Position(f.Pos()).Line <= n && n <= s.set.Position(f.End()).Line {
			return f.Name.Name
		}
	}
	return "-"
}
