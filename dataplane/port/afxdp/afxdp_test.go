//go:build linux

package afxdp

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
	_ "github.com/weir-ddos/weir/dataplane/port/afpacket" // shows what the kernel gets
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// childKey names the device that a child process of TestKill opens.
const childKey = "WEIR_AFXDP_CHILD"

func TestMain(m *testing.M) {
	if dev := os.Getenv(childKey); dev != "" {
		hold(dev)
	}
	netns.Main(m)
}

var serial atomic.Uint32

// cable makes a veth pair and returns the names of its ends.
func cable(t *testing.T, queues int) (a, b string) {
	t.Helper()
	n := serial.Add(1)
	a, b = fmt.Sprintf("xa%d", n), fmt.Sprintf("xb%d", n)
	netns.Here(t, a, b, queues)
	return a, b
}

// send sends on a device that may go away and come back.
func send(device string) func([][]byte) (int, error) {
	return func(frames [][]byte) (int, error) {
		s, err := porttest.NewSender(device)
		if err != nil {
			return 0, err
		}
		defer func() { _ = s.Close() }()
		return s.Send(frames)
	}
}

func ip(t *testing.T, args ...string) func() error {
	t.Helper()
	return func() error { netns.HereIP(t, args...); return nil }
}

func live(options map[string]any) func(t *testing.T, queues int) porttest.Device {
	return func(t *testing.T, queues int) porttest.Device {
		t.Helper()
		a, b := cable(t, queues)
		return porttest.Device{
			Config:  port.Config{Driver: "afxdp", Device: b, Options: options},
			Send:    send(a),
			Shallow: map[string]any{"frames": 256},
			Exact:   true,
			Remove:  ip(t, "link", "delete", b),
			Restore: func() error { return netns.HereAgain(a, b, queues) },
			Down:    ip(t, "link", "set", b, "down"),
			Up:      ip(t, "link", "set", b, "up"),
		}
	}
}

func TestConformance(t *testing.T) {
	netns.Inside(t)
	for _, tc := range []struct {
		name    string
		options map[string]any
	}{
		{"native", map[string]any{"mode": "native"}},
		{"generic", map[string]any{"mode": "generic"}},
		{"observing native", map[string]any{"mode": "native", "observe": true, "head": 2048}},
		{"observing generic", map[string]any{"mode": "generic", "observe": true, "head": 2048, "wait": "5ms"}},
		{"waiting", map[string]any{"wait": "5ms", "frame_size": 4096, "copy": "copy", "frames": 2048, "pass": []any{"arp", "tcp/179"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.options["observe"] == true {
				canObserve(t)
			}
			porttest.Run(t, porttest.Driver{
				Live:    live(tc.options),
				Missing: port.Config{Driver: "afxdp", Device: "nosuchdev0"},
				Bad:     bad(),
			})
		})
	}
}

// bad are configurations that every machine refuses, with the key that the error names.
func bad() []porttest.Bad {
	var all []porttest.Bad
	for _, b := range []struct {
		key   string
		value any
	}{
		{"mode", "fast"},
		{"mode", 1},
		{"copy", "no"},
		{"frame_size", 1024},
		{"frame_size", "2048"},
		{"frames", 1000},
		{"frames", 32},
		{"frames", 131072},
		{"frames", -64},
		{"pass", "arp"},
		{"pass", []any{"ospf"}},
		{"pass", []any{"host/nobody"}},
		{"observe", "yes"},
		{"head", 64},
		{"head", 4096},
		{"wait", "1s"},
		{"wait", true},
	} {
		all = append(all, porttest.Bad{
			Name:   fmt.Sprint(b.key, " ", b.value),
			Config: port.Config{Device: "x", Options: map[string]any{b.key: b.value}},
			Want:   []string{"options." + b.key + ": "},
		})
	}
	return append(all,
		porttest.Bad{
			Name:   "generic zerocopy",
			Config: port.Config{Device: "x", Options: map[string]any{"mode": "generic", "copy": "zerocopy"}},
			Want:   []string{"options.copy: "},
		},
		porttest.Bad{
			Name:   "observe and others",
			Config: port.Config{Device: "x", Options: map[string]any{"observe": true, "copy": "copy", "pass": []any{"arp"}}},
			Want:   []string{"options.copy: ", "options.pass: "},
		},
		porttest.Bad{Name: "too many queues", Config: port.Config{Device: "x", Queues: 300}, Want: []string{"queues: 300"}})
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func mustOpen(t *testing.T, cfg port.Config) port.Port {
	t.Helper()
	cfg.Driver = "afxdp"
	p, err := port.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// attached reports whether an XDP program is on the device.
func attached(t *testing.T, dev string) bool {
	t.Helper()
	out, err := exec.Command("ip", "link", "show", dev).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Contains(string(out), "xdp")
}

// stays reports whether an XDP program remains on the device. A child that another test starts holds what this process has closed until it
// has started.
func stays(t *testing.T, dev string) bool {
	t.Helper()
	for deadline := time.Now().Add(porttest.Patience); attached(t, dev); {
		if time.Now().After(deadline) {
			return true
		}
	}
	return false
}

func TestModes(t *testing.T) {
	netns.Inside(t)
	for _, tc := range []struct {
		options map[string]any
		queues  int
		mode    string
	}{
		{nil, 0, "native, copy"},
		{map[string]any{"mode": "native"}, 4, "native, copy"},
		{map[string]any{"mode": "generic"}, 0, "generic, copy"},
		{map[string]any{"copy": "copy"}, 2, "native, copy, 2 of the device's 4 queues"},
	} {
		t.Run(tc.mode, func(t *testing.T) {
			t.Parallel()
			_, b := cable(t, 4)
			p := mustOpen(t, port.Config{Device: b, Queues: tc.queues, Options: tc.options})
			want := tc.queues
			if want == 0 {
				want = 4
			}
			if s := p.Stats(); s.Mode != tc.mode || len(p.Queues()) != want {
				t.Errorf("mode %q with %d queues, want %q with %d", s.Mode, len(p.Queues()), tc.mode, want)
			}
			if !attached(t, b) {
				t.Error("no program on the device while open")
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if stays(t, b) {
				t.Error("a program on the device after Close")
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	_, b := cable(t, 2)
	for _, tc := range []struct {
		name string
		cfg  port.Config
		want string
	}{
		{"more queues than there are", port.Config{Device: b, Queues: 3}, "queues: 3 are configured and the device has 2"},
		{"zerocopy on veth", port.Config{Device: b, Options: map[string]any{"copy": "zerocopy"}}, "zerocopy"},
	} {
		tc.cfg.Driver = "afxdp"
		p, err := port.Open(tc.cfg)
		if err == nil {
			_ = p.Close()
			t.Errorf("%s: opened", tc.name)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), b) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if stays(t, b) {
			t.Errorf("%s: a program stays on the device", tc.name)
		}
	}
	p := mustOpen(t, port.Config{Device: b})
	if _, err := port.Open(port.Config{Driver: "afxdp", Device: b}); err == nil || !strings.Contains(err.Error(), "another program is attached") {
		t.Errorf("second port on a device: %v", err)
	}
	if s := p.Stats(); s.Err != "" || !attached(t, b) {
		t.Errorf("the first port suffers from the second: %+v", s)
	}
}

// What is passed reaches the kernel's stack and not the worker; the rest the other way round.
func TestPassedFramesReachTheKernel(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"pass": []any{"host/192.0.2.200", "host/2001:db8:200::c8"}}})
	kernel, err := port.Open(port.Config{Driver: "afpacket", Device: b})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kernel.Close() }()
	for i, s := range []porttest.Shape{{Flow: 200}, {Flow: 200, V6: true}, {Flow: 201}, {Flow: 201, V6: true}} {
		if _, err := send(a)([][]byte{porttest.Build(uint32(i), s)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, side := range []struct {
		name string
		port port.Port
		want []uint32
	}{{"worker", p, []uint32{2, 3}}, {"kernel", kernel, []uint32{0, 1}}} {
		got := porttest.Collect(t, side.port, 2)
		if len(got) != 2 || porttest.Seq(got[0].Data) != side.want[0] || porttest.Seq(got[1].Data) != side.want[1] {
			t.Errorf("%s got %d frames, want numbers %v", side.name, len(got), side.want)
		}
	}
}

// Frames too long for a chunk are dropped and counted; those around them arrive.
func TestJumboIsCounted(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	a, b := cable(t, 1)
	netns.HereIP(t, "link", "set", a, "mtu", "3000")
	netns.HereIP(t, "link", "set", b, "mtu", "3000")
	p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"mode": "generic"}})
	var frames [][]byte
	for i, size := range []int{60, 1792, 1793, 2900, 100} {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Size: size}))
	}
	if _, err := send(a)(frames); err != nil {
		t.Fatal(err)
	}
	got := porttest.Collect(t, p, 3)
	if len(got) != 3 || porttest.Seq(got[1].Data) != 1 || porttest.Seq(got[2].Data) != 4 {
		t.Errorf("%d frames", len(got))
	}
	if d := p.Stats().Queues[0].Dropped; d != 2 {
		t.Errorf("%d dropped, want 2", d)
	}
}

// hold is the child of TestKill: it opens the port and waits for its end.
func hold(dev string) {
	p, err := port.Open(port.Config{Driver: "afxdp", Device: dev})
	if err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, "open", p.Stats().Mode)
	select {}
}

// kill -9 leaves nothing behind: the program is off the device and the queues are free.
func TestKill(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	a, b := cable(t, 2)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childKey+"="+b)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "open native") {
		t.Errorf("child says %q, %v", line, err)
	}
	if !attached(t, b) {
		t.Error("no program while the child runs")
	}
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit status is the signal
	if stays(t, b) {
		t.Fatal("the program stays on the device after kill -9")
	}
	deadline := time.Now().Add(porttest.Patience)
	// Freeing the queues is the kernel's deferred work.
	var p port.Port
	for p == nil {
		if p, err = port.Open(port.Config{Driver: "afxdp", Device: b}); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer func() { _ = p.Close() }()
	if _, err := send(a)([][]byte{porttest.Build(1, porttest.Shape{})}); err != nil {
		t.Fatal(err)
	}
	if got := porttest.Collect(t, p, 1); len(got) != 1 {
		t.Error("nothing received after the kill")
	}
}

func TestAllocs(t *testing.T) {
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b})
	var frames [][]byte
	for i := range 3000 {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{}))
	}
	if _, err := send(a)(frames); err != nil {
		t.Fatal(err)
	}
	q := p.Queues()[0]
	var burst port.Burst
	if n := testing.AllocsPerRun(30, func() {
		if q.RxBurst(&burst) > 0 {
			q.Release(&burst)
		}
	}); n != 0 {
		t.Errorf("%v allocations a burst", n)
	}
}
