//go:build linux

package afpacket

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

var serial atomic.Uint32

// cable makes a veth pair and returns the names of its ends.
func cable(t *testing.T, queues int) (a, b string) {
	t.Helper()
	n := serial.Add(1)
	a, b = fmt.Sprintf("ta%d", n), fmt.Sprintf("tb%d", n)
	netns.Here(t, a, b, queues)
	return a, b
}

// sender sends on a device that may go away and come back.
func sender(device string) func([][]byte) (int, error) {
	return func(frames [][]byte) (int, error) {
		s, err := porttest.NewSender(device)
		if err != nil {
			return 0, err
		}
		defer func() { _ = s.Close() }()
		return s.Send(frames)
	}
}

// ip runs ip in the test's namespace and returns what went wrong.
func ip(t *testing.T, args ...string) func() error {
	t.Helper()
	return func() error { netns.HereIP(t, args...); return nil }
}

func live(options map[string]any) func(t *testing.T, queues int) porttest.Device {
	return func(t *testing.T, queues int) porttest.Device {
		t.Helper()
		a, b := cable(t, queues)
		return porttest.Device{
			Config:  port.Config{Driver: "afpacket", Device: b, Options: options},
			Send:    sender(a),
			Shallow: map[string]any{"block_size": 65536, "blocks": 8},
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
		{"default", map[string]any{"head": 0}},
		{"waiting", map[string]any{"head": 65535, "wait": "5ms", "retire": "2ms", "block_size": 262144, "blocks": 32}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			porttest.Run(t, porttest.Driver{
				Live:    live(tc.options),
				Missing: port.Config{Driver: "afpacket", Device: "nosuchdev0"},
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
		{"block_size", 5000},
		{"block_size", 0},
		{"block_size", 1 << 30},
		{"block_size", "4MiB"},
		{"blocks", 1},
		{"blocks", 5000},
		{"blocks", -1},
		{"retire", "0s"},
		{"retire", "1s"},
		{"retire", 8},
		{"head", 127},
		{"head", 65536},
		{"fanout", "hsah"},
		{"fanout_group", 65536},
		{"fanout_group", -1},
		{"promiscuous", "yes"},
		{"outgoing", 1},
		{"wait", "11ms"},
		{"wait", "-1ms"},
	} {
		all = append(all, porttest.Bad{
			Name:   fmt.Sprint(b.key, " ", b.value),
			Config: port.Config{Device: "x", Options: map[string]any{b.key: b.value}},
			Want:   []string{"options." + b.key + ": "},
		})
	}
	return append(all,
		porttest.Bad{
			Name: "ring too large", Want: []string{"options.blocks: 4096 blocks of 1048576 bytes"},
			Config: port.Config{Device: "x", Options: map[string]any{"blocks": 4096, "block_size": 1 << 20}},
		},
		porttest.Bad{Name: "long name", Config: port.Config{Device: "a23456789012345678"}, Want: []string{"device: "}},
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
	cfg.Driver = "afpacket"
	p, err := port.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Every fanout mode delivers every frame exactly once.
func TestFanoutModes(t *testing.T) {
	netns.Inside(t)
	for mode := range fanouts {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			a, b := cable(t, 4)
			p := mustOpen(t, port.Config{
				Device: b, Queues: 3,
				Options: map[string]any{"fanout": mode, "block_size": 262144, "blocks": 16},
			})
			var frames [][]byte
			for i := range 600 {
				frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Flow: i, V6: i%2 == 1}))
			}
			var got []porttest.Got
			for part := range slices.Chunk(frames, 50) { // a busy kernel drops what it has no time to hand over
				if _, err := sender(a)(part); err != nil {
					t.Fatal(err)
				}
				got = append(got, porttest.Collect(t, p, len(part))...)
			}
			seen := make([]int, len(frames))
			used := map[int]bool{}
			for _, g := range got {
				seen[porttest.Seq(g.Data)]++
				used[g.Queue] = true
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("frame %d came %d times", i, n)
				}
			}
			if spread := map[string]bool{"hash": true, "lb": true, "random": true}[mode]; spread && len(used) != 3 {
				t.Errorf("queues used: %v", used)
			}
			if !strings.Contains(p.Stats().Mode, mode) {
				t.Errorf("mode %q does not name %s", p.Stats().Mode, mode)
			}
		})
	}
}

// Two ports may share a group on purpose; each gets a part.
func TestSharedGroup(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	a, b := cable(t, 1)
	cfg := port.Config{Device: b, Options: map[string]any{"fanout_group": 77, "fanout": "lb"}}
	one, two := mustOpen(t, cfg), mustOpen(t, cfg)
	var frames [][]byte
	for i := range 100 {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{}))
	}
	if _, err := sender(a)(frames); err != nil {
		t.Fatal(err)
	}
	if x, y := len(porttest.Collect(t, one, 50)), len(porttest.Collect(t, two, 50)); x != 50 || y != 50 {
		t.Errorf("%d and %d frames of 100", x, y)
	}
}

// What this host sends is left out, unless it is asked for.
func TestOutgoing(t *testing.T) {
	netns.Inside(t)
	for _, outgoing := range []bool{false, true} {
		for _, queues := range []int{1, 2} {
			t.Run(fmt.Sprint(outgoing, queues), func(t *testing.T) {
				t.Parallel()
				a, b := cable(t, 1)
				p := mustOpen(t, port.Config{Device: b, Queues: queues, Options: map[string]any{"outgoing": outgoing}})
				out, in := porttest.Build(1, porttest.Shape{}), porttest.Build(2, porttest.Shape{})
				if _, err := sender(b)([][]byte{out}); err != nil {
					t.Fatal(err)
				}
				if _, err := sender(a)([][]byte{in}); err != nil {
					t.Fatal(err)
				}
				want := map[uint32]bool{2: true}
				if outgoing {
					want[1] = true
				}
				got := porttest.Collect(t, p, len(want))
				for _, g := range got {
					if !want[porttest.Seq(g.Data)] {
						t.Errorf("unwanted frame %d", porttest.Seq(g.Data))
					}
					delete(want, porttest.Seq(g.Data))
				}
				if len(want) != 0 {
					t.Errorf("missing: %v", want)
				}
			})
		}
	}
}

// A port on a device that is switched off opens, says so, and receives once it is switched on.
func TestDownAtStart(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	a, b := cable(t, 1)
	netns.HereIP(t, "link", "set", b, "down")
	p := mustOpen(t, port.Config{Device: b})
	if s := p.Stats(); !strings.Contains(s.Err, b+": it is down") {
		t.Errorf("stats of a device that is down: %+v", s)
	}
	netns.HereIP(t, "link", "set", b, "up")
	deadline := time.Now().Add(porttest.Patience)
	for p.Stats().Err != "" && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if _, err := sender(a)([][]byte{porttest.Build(5, porttest.Shape{})}); err != nil {
		t.Fatal(err)
	}
	if got := porttest.Collect(t, p, 1); len(got) != 1 {
		t.Errorf("nothing received: %+v", p.Stats())
	}
}

func TestPromiscuousIsUndone(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	_, b := cable(t, 1)
	n := netns.Promiscuity(t, b)
	p := mustOpen(t, port.Config{Device: b, Queues: 2})
	if got := netns.Promiscuity(t, b); got <= n {
		t.Errorf("promiscuity %d while open, was %d", got, n)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(porttest.Patience); netns.Promiscuity(t, b) != n; { // a child of another test has the socket until it has started
		if time.Now().After(deadline) {
			t.Fatalf("promiscuity %d after close, was %d", netns.Promiscuity(t, b), n)
		}
	}
}

// Close does not pull memory from under a worker that still looks at its burst.
func TestCloseWaitsForRelease(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b})
	want := porttest.Build(5, porttest.Shape{Size: 200})
	if _, err := sender(a)([][]byte{want}); err != nil {
		t.Fatal(err)
	}
	var burst port.Burst
	q := p.Queues()[0]
	for deadline := time.Now().Add(porttest.Patience); q.RxBurst(&burst) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("no frame")
		}
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	for range 1000 {
		if !bytes.Equal(burst.Frames[0].Data, want) {
			t.Fatal("the frame changed")
		}
	}
	select {
	case err := <-closed:
		t.Fatal("closed while a burst was held: ", err)
	default:
	}
	q.Release(&burst)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestHead: of a long frame the beginning is delivered, with its tag, and the length of the whole.
func TestHead(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	const head = 256
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b})
	var frames [][]byte
	for i, v6 := range []bool{false, true, false, true} {
		for _, size := range []int{60, head, head + 1, 1514} {
			s := porttest.Shape{Size: size, V6: v6}
			if i >= 2 {
				s.Tags = []uint32{0x81000064}
			}
			frames = append(frames, porttest.Build(uint32(i), s))
		}
	}
	if _, err := sender(a)(frames); err != nil {
		t.Fatal(err)
	}
	got := porttest.Collect(t, p, len(frames))
	if len(got) != len(frames) {
		t.Fatalf("%d frames of %d", len(got), len(frames))
	}
	for i, g := range got {
		want := frames[i][:min(head, len(frames[i]))]
		if tagged := i >= len(frames)/2; tagged { // the kernel has put it aside before it cuts
			want = frames[i][:min(head+tagLen, len(frames[i]))]
		}
		if !bytes.Equal(g.Data, want) || int(g.WireLen) != len(frames[i]) {
			t.Errorf("frame %d of %d bytes: %d of %d, %x", i, len(frames[i]), len(g.Data), g.WireLen, g.Data)
		}
	}
}

func TestAllocs(t *testing.T) {
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b})
	var frames [][]byte
	for i := range 3000 {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Tags: []uint32{0x81000001}}))
	}
	if _, err := sender(a)(frames); err != nil {
		t.Fatal(err)
	}
	porttest.Collect(t, p, 1) // the rest is there by then
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
