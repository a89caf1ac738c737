//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
	"github.com/weir-ddos/weir/tools/lab"
	"github.com/weir-ddos/weir/tools/trafficgen/send"
)

// faultConfig is a small appliance.
const faultConfig = `
ports: [{driver: afxdp, device: w0}]
tick: 100ms
bans: {ban_time: 4s, quiet: 3s}
guard: {min_hold: 1s}
engine: {reconcile_every: 1s}
hostgroups: {global: {ban_for_pps: true, threshold_pps: 300}}
`

var faultVictims = []string{"10.0.7.1", "2001:db8:7::1"}

// alarm waits until an alarm has these words.
func (r *rig) alarm(w *lab.Weir, words string) {
	r.t.Helper()
	r.wait("alarm "+words, func() (bool, error) {
		list, err := w.Alarms()
		if !slices.ContainsFunc(list, func(a string) bool { return strings.Contains(a, words) }) {
			return false, errors.Join(err, fmt.Errorf("alarms %q", list))
		}
		return true, err
	})
}

// TestBrokenConfigurations offers every broken configuration to a running appliance, by import, by reload and by SIGHUP: each is refused
// with file and line, and the appliance runs on as it was. At the end it still finds and mitigates an attack.
func TestBrokenConfigurations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../config/testdata/broken/*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d broken configurations (%v), want 40 at least", len(files), err)
	}
	r := newRig(t, 1)
	r.bird(nil)
	good := r.Base(lab.BIRD) + faultConfig
	w := r.start(good)
	f := r.flood(attack("udp", 20), send.Config{})
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		refusedBy(t, name+", import", string(want), w.Call(http.MethodPut, "import", bytes.NewReader(text), nil))
		if err := os.WriteFile(w.Config, text, 0o600); err != nil {
			t.Fatal(err)
		}
		refusedBy(t, name+", reload", string(want), w.Put("reload"))
		out, err := exec.CommandContext(t.Context(), binary, "check", "-c", w.Config).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%s: weir check: %v", name, err)
		}
		refusedBy(t, name+", weir check", string(want), errors.New(string(out)))
		unchanged(t, w, name, good)
	}
	if err := w.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.wait("refusal of SIGHUP", func() (bool, error) { return strings.Contains(w.Log(), "was not taken over"), nil })
	unchanged(t, w, "SIGHUP", good)

	if err := os.WriteFile(w.Config, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Put("reload"); err != nil {
		t.Errorf("the good configuration is refused: %v", err)
	}
	f.stop()
	f = r.flood(attack("udp", 1000, faultVictims...), send.Config{})
	r.expect("routes after all that", blackholes(faultVictims...)...)
	f.stop()
	r.expect("withdrawal")
	if n := counter(t, w, "conservation_faults"); n != 0 {
		t.Errorf("%v conservation faults", n)
	}
}

// refusedBy checks that every expected problem is in the error: its file, line and key. The words may differ, since this binary knows
// which drivers it has.
func refusedBy(t *testing.T, what, want string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: was taken", what)
		return
	}
	for line := range strings.Lines(want) {
		parts := strings.SplitN(strings.TrimSpace(line), ": ", 3)
		if len(parts) < 2 {
			t.Fatalf("%s: %q is no problem", what, line)
		}
		if line = parts[0] + ": " + parts[1]; !strings.Contains(err.Error(), line) {
			t.Errorf("%s: the refusal\n%v\ndoes not say\n%s", what, err, line)
		}
	}
}

// unchanged checks that the appliance runs, that the configuration in force is text, and that nothing waits to be committed.
func unchanged(t *testing.T, w *lab.Weir, what, text string) {
	t.Helper()
	var got string
	if err := w.Get("export", &got); err != nil || got != text {
		t.Fatalf("%s: configuration in force (%v)\n%s\nwant\n%s", what, err, got, text)
	}
	var diff []any
	if err := w.Get("diff", &diff); err != nil || len(diff) > 0 {
		t.Fatalf("%s: something waits to be committed: %v (%v)", what, diff, err)
	}
}

// TestUnappliable offers configurations that are well-formed and cannot be put in force: a device that is not there, a script's
// place that cannot be. Each is refused whole, and the appliance detects as before.
func TestUnappliable(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	good := r.Base(lab.BIRD) + faultConfig
	w := r.start(good)
	for what, change := range map[string][2]string{
		"device":  {"device: w0", "device: nowhere0"},
		"queues":  {"device: w0", "device: w0, queues: 8"}, // found out only when the port is closed and opened again
		"journal": {"journal: {path: " + r.Path("journal.db") + "}", "journal: {path: " + r.Path("other.db") + "}"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if text == good {
			t.Fatalf("%s: nothing to change", what)
		}
		if err := w.Call(http.MethodPut, "import", strings.NewReader(text), nil); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := w.Put("commit"); err == nil || !strings.Contains(err.Error(), "the old configuration stays in force") {
			t.Errorf("%s: commit says %v", what, err)
		}
		if err := w.Put("discard"); err != nil {
			t.Error(err)
		}
		unchanged(t, w, what, good)
		if b, err := os.ReadFile(w.Config); err != nil || string(b) != good {
			t.Errorf("%s: the file has changed (%v):\n%s", what, err, b)
		}
	}
	r.flood(attack("udp", 1000, faultVictims...), send.Config{})
	r.expect("routes after all that", blackholes(faultVictims...)...)
}

// TestPortChanges closes and opens the port under way: other options, another driver and back, and a device that goes away and returns.
// Every time the appliance sees the traffic again, and the routes of the attack that goes on stay.
func TestPortChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	bird := r.bird(nil)
	good := strings.Replace(r.Base(lab.BIRD)+faultConfig, "ban_time: 4s", "ban_time: 1h", 1)
	w := r.start(good)
	f := r.flood(attack("udp", 1000, faultVictims...), send.Config{})
	r.expect("routes", blackholes(faultVictims...)...)
	stop := r.watch(bird, blackholes(faultVictims...))
	for _, port := range []string{
		"{driver: afxdp, device: w0, options: {frames: 1024}}", "{driver: afxdp, device: w0, options: {mode: generic}}",
		"{driver: afpacket, device: w0}", "{driver: afxdp, device: w0}",
	} {
		commit(t, w, strings.Replace(good, "{driver: afxdp, device: w0}", port, 1))
		before := counter(t, w, "packets_counted")
		r.wait("packets through "+port, func() (bool, error) {
			n, err := w.Counter("packets_counted")
			return n > before+500, err
		})
	}
	f.stop()
	if err := r.App.IP("link", "delete", lab.Watch); err != nil {
		t.Fatal(err)
	}
	r.alarm(w, "port w0")
	if err := netns.Cable(&netns.Link{NS: r.Gen, Name: lab.Wire}, &netns.Link{NS: r.App, Name: lab.Watch}, 1); err != nil {
		t.Fatal(err)
	}
	r.wait("end of the alarm", func() (bool, error) {
		list, err := w.Alarms()
		return !slices.ContainsFunc(list, func(a string) bool { return strings.Contains(a, "port w0") }), err
	})
	stop()
	r.flood(attack("syn", 1000, "10.0.7.3", "2001:db8:7::3"), send.Config{})
	r.expect("routes after the device's return", blackholes(append(slices.Clone(faultVictims), "10.0.7.3", "2001:db8:7::3")...)...)
	if n := counter(t, w, "conservation_faults"); n != 0 {
		t.Errorf("%v conservation faults", n)
	}
}

// TestJournalDiskFull fills the journal's disk during operation: an alarm says so, and attacks are found and mitigated all the same.
// With room again the journal is written again, and a restart knows everything.
func TestJournalDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	disk := r.Path("disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("weir-e2e", disk, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("a small file system cannot be mounted here (CAP_SYS_ADMIN): %v", err)
	}
	r.OnClose(func() error { return unix.Unmount(disk, unix.MNT_DETACH) })
	config := strings.Replace(r.Base(lab.BIRD), r.Path("journal.db"), filepath.Join(disk, "journal.db"), 1) + faultConfig
	config = strings.Replace(config, "ban_time: 4s", "ban_time: 1h", 1)
	w := r.start(config)

	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	victims := slices.Clone(faultVictims)
	for i := range 40 { // more than fits into the pages that the journal has already
		victims = append(victims, fmt.Sprintf("10.0.11.%d", i+1), fmt.Sprintf("2001:db8:11::%x", i+1))
	}
	f := r.flood(attack("udp", 500, victims...), send.Config{})
	r.expect("routes with a full disk", blackholes(victims...)...)
	r.alarm(w, "journal")
	if n := counter(t, w, "journal_failures"); n < 1 {
		t.Errorf("%v journal failures", n)
	}
	f.stop()

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.wait("end of the alarm", func() (bool, error) {
		list, err := w.Alarms()
		return !slices.ContainsFunc(list, func(a string) bool { return strings.Contains(a, "journal") }), err
	})
	w.Kill()
	if err := w.KillSpeakers(); err != nil {
		t.Fatal(err)
	}
	w = r.restart()
	r.expect("routes from the journal", blackholes(victims...)...)

	// A disk that is full from the start is an alarm too, and no reason not to start.
	if err := w.Stop(patience); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(disk, "journal.db")); err != nil {
		t.Fatal(err)
	}
	fill(t, filler)
	w = r.restart()
	r.alarm(w, "journal")
	r.flood(attack("udp", 500, "10.0.12.1", "2001:db8:12::1"), send.Config{})
	for _, a := range []string{"10.0.12.1", "2001:db8:12::1"} {
		r.wait("route of "+a, func() (bool, error) {
			got, err := routesOf(t.Context(), r.routers["bird"])
			return slices.Contains(got, blackhole(a)), err
		})
	}
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
}

// TestScriptMissing: a notify script that is not there is an alarm; detection and mitigation go on.
func TestScriptMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	w := r.start(r.Base(lab.BIRD) + faultConfig + "notify: {script: " + r.Path("missing.sh") + "}\n")
	f := r.flood(attack("syn", 1000, faultVictims...), send.Config{})
	r.expect("routes without the script", blackholes(faultVictims...)...)
	r.alarm(w, "missing.sh")
	r.wait("failed calls", func() (bool, error) {
		n, err := w.Counter("script_failed")
		return n >= 2, err
	})
	f.stop()
	r.expect("withdrawal")
}

// TestRouterRefuses has one router that takes the session and one that expects another AS and refuses it. The one gets its routes as
// ever, the other is an alarm; once its configuration is right it has the same routes.
func TestRouterRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.bird(nil)
	w := r.start(r.Base(lab.BIRD, lab.FRR) + faultConfig)
	wrong, err := r.StartBIRD(t.Context(), func(c *routertest.Config) {
		c.Name, c.Address, c.ASN = "wrong", lab.FRR, lab.RouterASN+1
	})
	if err != nil {
		t.Fatal(err)
	}
	r.flood(attack("icmp", 1000, faultVictims...), send.Config{})
	r.expect("routes at the good router", blackholes(faultVictims...)...)
	r.alarm(w, lab.FRR.String())
	if n, err := wrong.Count(t.Context(), routertest.IPv4); err != nil || n != 0 {
		t.Errorf("the refusing router has %d routes (%v)", n, err)
	}
	if err := wrong.Stop(); err != nil {
		t.Fatal(err)
	}
	right, err := r.StartBIRD(t.Context(), func(c *routertest.Config) { c.Name, c.Address = "right", lab.FRR })
	if err != nil {
		t.Fatal(err)
	}
	r.expectAt("the router that was wrong", right, "routes", blackholes(faultVictims...)...)
	r.wait("end of the alarm", func() (bool, error) {
		list, err := w.Alarms()
		return !slices.ContainsFunc(list, func(a string) bool { return strings.Contains(a, lab.FRR.String()) }), err
	})
}

// TestRouterResets ends the router in the middle of an attack and starts it again. The other one keeps its routes all the time;
// the new one gets exactly the routes of now: those of the first attack, which goes on, and those of one that began meanwhile.
func TestRouterResets(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	other := r.bird(nil)
	first, err := r.StartBIRD(t.Context(), func(c *routertest.Config) { c.Name, c.Address = "first", lab.FRR })
	if err != nil {
		t.Fatal(err)
	}
	w := r.start(r.Base(lab.BIRD, lab.FRR) + strings.Replace(faultConfig, "quiet: 3s", "quiet: 8s", 1)) // a busy machine's flood has pauses
	f := r.flood(attack("udp", 1000, faultVictims...), send.Config{})
	r.expect("routes", blackholes(faultVictims...)...)
	r.expectAt("the other router", first, "routes", blackholes(faultVictims...)...)
	stop := r.watch(other, blackholes(faultVictims...))
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	r.alarm(w, lab.FRR.String())
	later := []string{"10.0.7.2", "2001:db8:7::2"}
	second := r.flood(attack("syn", 1000, later...), send.Config{})
	want := blackholes(append(slices.Clone(faultVictims), later...)...)
	r.expect("routes while one router is away", want...)
	again, err := r.StartBIRD(t.Context(), func(c *routertest.Config) { c.Name, c.Address = "again", lab.FRR })
	if err != nil {
		t.Fatal(err)
	}
	r.expectAt("the router that came back", again, "routes", want...)
	stop()
	f.stop()
	second.stop()
	r.expect("withdrawal")
	r.expectAt("the router that came back", again, "withdrawal")
}
