//go:build snabb && linux

package snabbtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest/counted"
)

// Snabb is LuaJIT: the Go runtime starts in its process, and every frame is received or counted as dropped while compiled Lua
// calls the library as fast as it can.
func TestInLuaJIT(t *testing.T) {
	t.Parallel()
	if missing != "" {
		t.Skip(missing)
	}
	if _, err := exec.LookPath("luajit"); err != nil {
		t.Skip("luajit is needed: ", err)
	}
	const frames = 200_000
	dir := socketDir(t)
	p := &process{socket: filepath.Join(dir, "s"), nics: []string{nic, "0000:03:00.1"}}
	gone := filepath.Join(dir, "go")
	cmd := exec.Command("luajit", "testdata/loop.lua", library(), fmt.Sprint(frames), gone)
	cmd.Env = append(os.Environ(), "WEIR_SNABB_SOCKET="+p.socket)
	cmd.Stderr = &p.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // when it has not ended by itself
	if err := p.polled(); err != nil {
		t.Fatal(err, p.err.String())
	}
	q := p.open(t, p.config(nic, 2, nil))
	if err := os.WriteFile(gone, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := counted.Of(t, q, frames/2) // the rest may be dropped
	var b port.Burst
	waitFor(t, "every frame", func() bool {
		for _, queue := range q.Queues() {
			if queue.RxBurst(&b) > 0 {
				queue.Release(&b)
			}
		}
		s := q.Stats()
		return received(q)+s.Queues[0].Dropped+s.Queues[1].Dropped == frames
	})
	if s := q.Stats(); s.Dropped != 0 || s.Err != "" || s.Queues[0].Received == 0 || s.Queues[1].Received == 0 {
		t.Errorf("%+v", s)
	}
	if len(got.Hosts) < 7 || got.Frames == 0 {
		t.Errorf("%d frames of %d hosts", got.Frames, len(got.Hosts))
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, p.err.String())
	}
	for _, want := range []string{
		"0000:03:00.0: 200000 frames, ", "0000:03:00.1: 200000 frames, 0 dropped by full rings, 200000 without a reader",
	} {
		if !strings.Contains(p.err.String(), want) {
			t.Errorf("%q is not in %q", want, p.err.String())
		}
	}
}
