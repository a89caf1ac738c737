package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// TestLive sends on the loopback of a network namespace that ends with its thread.
func TestLive(t *testing.T) {
	truth := filepath.Join(t.TempDir(), "truth.json")
	var code int
	var out, errs string
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			done <- err
			return
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq("lo")
		if err == nil {
			req.SetUint16(unix.IFF_UP)
			err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
		}
		if err == nil {
			code, out, errs = exec("--device", "lo", "--kind", "syn", "--target", "2001:db8::9", "--count", "500", "--pps", "5000", "--truth", truth)
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, syscall.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN and CAP_NET_ADMIN to make a network namespace")
	} else if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var attack, end event
	if code != 0 || len(lines) != 2 || json.Unmarshal([]byte(lines[0]), &attack) != nil || json.Unmarshal([]byte(lines[1]), &end) != nil {
		t.Fatalf("code %d: %s%s", code, out, errs)
	}
	if attack.Event != "attack" || attack.Target != "2001:db8::9" || attack.Kind != "syn" || attack.UnixNS != attack.Time.UnixNano() {
		t.Errorf("%+v", attack)
	}
	if end.Event != "done" || end.Stats == nil || end.Stats.Sent != 500 || end.UnixNS <= attack.UnixNS {
		t.Errorf("%+v %+v", end, end.Stats)
	}
	var r gen.Result
	b, err := os.ReadFile(truth)
	if err != nil || json.Unmarshal(b, &r) != nil || r.Totals.Incoming.TCPSYN.Packets != 500 {
		t.Errorf("truth: %v, %+v", err, r.Totals)
	}
}
