//go:build pcap && cgo

package pcaplive

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

var serial atomic.Uint32

func cable(t *testing.T) (a, b string) {
	t.Helper()
	n := serial.Add(1)
	a, b = fmt.Sprintf("ta%d", n), fmt.Sprintf("tb%d", n)
	netns.Here(t, a, b, 1)
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

func TestConformance(t *testing.T) {
	netns.Inside(t)
	porttest.Run(t, porttest.Driver{
		OneQueue: true,
		Live: func(t *testing.T, _ int) porttest.Device {
			a, b := cable(t)
			ip := func(args ...string) func() error {
				return func() error { netns.HereIP(t, args...); return nil }
			}
			return porttest.Device{
				Config: port.Config{Driver: "pcap", Device: b}, Send: sender(a),
				Shallow: map[string]any{"buffer": 256},
				// Not Down and Up: libpcap 1.10 says nothing and goes on when the device is up again.
				Remove: ip("link", "delete", b), Restore: func() error { return netns.HereAgain(a, b, 1) },
			}
		},
		Missing: port.Config{Driver: "pcap", Device: "nosuchdev0"},
		Bad:     bad(),
	})
}

func bad() []porttest.Bad {
	var all []porttest.Bad
	for key, values := range map[string][]any{
		"snap": {63, 65536, "all"}, "buffer": {1, 1 << 30}, "promiscuous": {"yes"}, "outgoing": {1}, "filter": {5},
	} {
		for _, v := range values {
			all = append(all, porttest.Bad{
				Name:   fmt.Sprint(key, " ", v),
				Config: port.Config{Device: "x", Options: map[string]any{key: v}}, Want: []string{"options." + key + ": "},
			})
		}
	}
	return append(all, porttest.Bad{Name: "two queues", Config: port.Config{Device: "x", Queues: 2}, Want: []string{"queues: 2"}})
}

func TestFilterSnapAndOutgoing(t *testing.T) {
	netns.Inside(t)
	a, b := cable(t)
	_, err := port.Open(port.Config{Driver: "pcap", Device: b, Options: map[string]any{"filter": "ip and"}})
	if err == nil || !strings.Contains(err.Error(), "options.filter: ") {
		t.Errorf("a bad filter: %v", err)
	}
	for _, outgoing := range []bool{false, true} {
		p, err := port.Open(port.Config{Driver: "pcap", Device: b, Options: map[string]any{"filter": "ip6", "snap": 100, "outgoing": outgoing}})
		if err != nil {
			t.Fatal(err)
		}
		frame := func(seq uint32, v6 bool) [][]byte {
			return [][]byte{porttest.Build(seq, porttest.Shape{Size: 500, V6: v6})}
		}
		for i, send := range []struct {
			dev string
			v6  bool
		}{{b, true}, {a, false}, {a, true}} {
			if _, err := sender(send.dev)(frame(uint32(i), send.v6)); err != nil {
				t.Fatal(err)
			}
		}
		want := map[bool]int{false: 1, true: 2}[outgoing]
		got := porttest.Collect(t, p, want)
		if len(got) != want {
			t.Fatalf("outgoing %v: %d frames, want %d: %+v", outgoing, len(got), want, p.Stats())
		}
		for _, g := range got {
			if len(g.Data) != 100 || g.WireLen != 500 || g.Data[12] != 0x86 {
				t.Errorf("outgoing %v: %d bytes of %d: %x", outgoing, len(g.Data), g.WireLen, g.Data)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
