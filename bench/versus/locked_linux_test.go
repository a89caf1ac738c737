//go:build amd64 || arm64

package versus

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestChild: a program is told that it may lock memory, its other limits are as they were, and it is the process that was started.
func TestChild(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "sh", "-c", "ulimit -l 123456789 && echo locked; ulimit -n 77 && ulimit -n; echo $$ $"+lockedKey)
	cmd.Env = append(os.Environ(), lockedKey+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Fields(string(out))
	if len(lines) != 3 || lines[0] != "locked" || lines[1] != "77" {
		t.Errorf("%q", out)
	}
	cmd = exec.Command(os.Args[0], "no such program")
	cmd.Env = append(os.Environ(), lockedKey+"=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no such program") {
		t.Errorf("%v, %q", err, out)
	}
}
