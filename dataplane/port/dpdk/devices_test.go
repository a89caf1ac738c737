//go:build dpdk && cgo

package dpdk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/dpdk/dpdktest"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// eventually waits until ok, polling every queue of p meanwhile, as a worker would.
func eventually(t *testing.T, p port.Port, what string, ok func(port.Stats) bool) {
	t.Helper()
	var b port.Burst
	for end := time.Now().Add(porttest.Patience); !ok(p.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s: %+v", what, p.Stats())
		}
		for _, q := range p.Queues() {
			if q.RxBurst(&b) > 0 {
				q.Release(&b)
			}
		}
	}
}

// net_memif waits for its other side: the link is down, which is said and is no lost device. Then it comes up, and frames pass.
func TestMemif(t *testing.T) {
	if !alone(t) {
		return
	}
	socket := filepath.Join(t.TempDir(), "memif.sock")
	p := mustOpen(t, "net_memif0,role=server,socket-abstract=no,socket="+socket, 0, lean(nil))
	var b port.Burst
	if n := p.Queues()[0].RxBurst(&b); n != 0 {
		t.Errorf("%d frames out of nowhere", n)
	}
	s := p.Stats()
	if s.Err != "link is down" || !strings.Contains(s.Mode, "net_memif, 1 of ") || !strings.Contains(s.Mode, "link down") || s.Reopens != 0 {
		t.Errorf("%+v", s)
	}
	peer, err := dpdktest.Open("net_memif1,role=client,socket-abstract=no,socket=" + socket)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, p, "link", func(s port.Stats) bool { return s.Err == "" && strings.Contains(s.Mode, "link up") && peer.Up() })
	frames := mixed(200)
	if n, err := peer.Send(frames); err != nil {
		t.Fatal(n, err)
	}
	for i, g := range porttest.Collect(t, p, len(frames)) {
		if !bytes.Equal(g.Data, frames[i]) || int(g.WireLen) != len(frames[i]) {
			t.Fatalf("frame %d: wire length %d\n got %x\nwant %x", i, g.WireLen, g.Data, frames[i])
		}
	}
	if s := p.Stats(); s.Queues[0].Received != 200 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, p, "end of the link", func(s port.Stats) bool { return s.Err == "link is down" })
}

// Several ports of several kinds and queues in one process, one goroutine a queue, as the appliance runs them: each
// delivers its own frames, and all of them.
func TestSeveralPorts(t *testing.T) {
	if !alone(t) {
		return
	}
	const each = 3000
	var ports []port.Port
	want := map[int]uint64{}
	for i, queues := range []int{1, 2, 4} {
		device := fmt.Sprintf("net_pcap%d", i)
		for q := range queues {
			device += ",rx_pcap=" + writePcap(t, fmt.Sprintf("p%dq%d.pcap", i, q), mixed(each))
		}
		want[len(ports)] = uint64(each * queues)
		ports = append(ports, mustOpen(t, device, queues, lean(nil)))
	}
	ports = append(ports, mustOpen(t, "net_null0", 2, lean(nil)))
	var workers sync.WaitGroup
	deadline := time.Now().Add(porttest.Patience)
	for i, p := range ports {
		for _, q := range p.Queues() {
			workers.Go(func() {
				var b port.Burst
				for time.Now().Before(deadline) && (q.Stats().Received < each || want[i] == 0 && q.Stats().Received < 100*each) {
					if q.RxBurst(&b) > 0 {
						q.Release(&b)
					}
				}
			})
		}
	}
	workers.Wait()
	for i, p := range ports {
		var received uint64
		s := p.Stats()
		for _, q := range s.Queues {
			received += q.Received
		}
		if want[i] != 0 && received != want[i] || want[i] == 0 && received < 200*each || s.Dropped != 0 || s.Err != "" {
			t.Errorf("port %d: %d frames, want %d; %+v", i, received, want[i], s)
		}
		if want[i] != 0 && (s.Extra["ipackets"] != received || s.Extra["xstat_rx_good_packets"] != received || s.Extra["xstat_rx_q0_packets"] != each) {
			t.Errorf("port %d: hardware counters %v", i, s.Extra)
		}
	}
}

// What net_tap says that it can would end the process.
func TestTapQueues(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("the tun driver is needed: ", err)
	}
	for i, c := range []struct{ ask, get int }{{0, 1}, {1, 1}, {4, 4}, {5, 0}, {16, 0}} {
		p, err := port.Open(port.Config{Driver: "dpdk", Device: fmt.Sprintf("net_tap%d,iface=qtap%d", i, i), Queues: c.ask, Options: lean(nil)})
		if err != nil {
			if want := fmt.Sprintf("queues: %d are configured and the device offers 4", c.ask); c.get > 0 || !strings.Contains(err.Error(), want) {
				t.Errorf("%d queues: %v", c.ask, err)
			}
			continue
		}
		if n := len(p.Queues()); n != c.get {
			t.Errorf("%d queues of %d, want %d", n, c.ask, c.get)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A device that came with the EAL's arguments is found by its name, and can be closed and opened again.
func TestDeviceOfTheArguments(t *testing.T) {
	if !alone(t) {
		return
	}
	opts := lean(map[string]any{"eal": []any{"--vdev=net_null7,size=100", "--log-level=lib.eal:error", "-l", "0"}})
	for range 2 {
		p, err := port.Open(port.Config{Driver: "dpdk", Device: "net_null7", Queues: 1, Options: opts})
		if err != nil {
			t.Fatal(err)
		}
		if got := porttest.Collect(t, p, 10); len(got) < 10 || len(got[0].Data) != 100 {
			t.Errorf("%d frames", len(got))
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A pool that is too small loses frames, and every frame is either received or dropped.
func TestOutOfBuffers(t *testing.T) {
	if !alone(t) {
		return
	}
	const frames = 2000
	p := mustOpen(t, "net_pcap0,rx_pcap="+writePcap(t, "x.pcap", mixed(frames)), 1, lean(map[string]any{"mbufs": 40}))
	eventually(t, p, "end", func(s port.Stats) bool { return s.Queues[0].Received+s.Dropped >= frames })
	s := p.Stats()
	if n := s.Queues[0].Received; s.Extra["rx_nombuf"] == 0 || s.Dropped != s.Extra["rx_nombuf"] || n+s.Dropped != frames || n == 0 {
		t.Errorf("%+v", s)
	}
}

// What comes while nobody polls is missed by the device, and counted. Of the virtual ones net_pcap on a live interface says so.
func TestMissed(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	a, b := cable(t, 1)
	p := mustOpen(t, "net_pcap0,rx_iface="+b, 1, lean(nil))
	frames := mixed(100)
	sent := uint64(0)
	for end := time.Now().Add(porttest.Patience); p.Stats().Extra["imissed"] == 0 && time.Now().Before(end); {
		n, err := send(a)(frames) // a cable holds 256
		if sent += uint64(n); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, p, "sum of all frames", func(s port.Stats) bool { return s.Queues[0].Received+s.Dropped >= sent })
	if s := p.Stats(); s.Extra["imissed"] == 0 || s.Dropped < s.Extra["imissed"] || s.Queues[0].Received+s.Dropped != sent {
		t.Errorf("%d sent: %+v", sent, s)
	}
}

// A port makes its device promiscuous, and leaves it as it was.
func TestPromiscuous(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	for i, want := range []bool{true, false} {
		_, b := cable(t, 1)
		p, err := port.Open(port.Config{
			Driver: "dpdk", Device: fmt.Sprintf("net_af_packet%d,iface=%s,blocksz=65536,framesz=2048,framecnt=512", i, b),
			Options: lean(map[string]any{"promiscuous": want}),
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := netns.Promiscuity(t, b); (n > 0) != want {
			t.Errorf("promiscuous %v: %d users want it", want, n)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := netns.Promiscuity(t, b); n != 0 {
			t.Errorf("after it was closed %d users want it promiscuous", n)
		}
	}
}

// A device that is pulled out is said to be gone, is let go of, and is opened again when it is back; the counters go on.
func TestUnplug(t *testing.T) {
	if !alone(t) {
		return
	}
	p := mustOpen(t, "net_null0,size=64", 2, lean(nil))
	other := mustOpen(t, "net_null1,size=64", 1, lean(nil))
	for round := range uint64(3) {
		if got := porttest.Collect(t, p, 1000); len(got) < 1000 {
			t.Fatalf("%d frames", len(got))
		}
		before := p.Stats()
		dpdktest.Unplug("net_null0")
		eventually(t, p, "new device", func(s port.Stats) bool { return s.Reopens == round+1 && s.Err == "" })
		after := p.Stats()
		for i, q := range after.Queues {
			if q.Received < before.Queues[i].Received || after.Extra["ipackets"] < before.Extra["ipackets"] {
				t.Errorf("counters began anew: %+v", after)
			}
		}
	}
	if s := other.Stats(); s.Reopens != 0 || s.Err != "" {
		t.Errorf("the other port: %+v", s)
	}
}

// The interface under a virtual device loses its link and gets it back, is deleted, and comes back.
func TestInterfaceGoesAndReturns(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	for i, device := range []string{"net_af_packet%d,iface=%s,blocksz=65536,framesz=2048,framecnt=512", "net_pcap%d,rx_iface=%s"} {
		a, b := cable(t, 1)
		p := mustOpen(t, fmt.Sprintf(device, i, b), 0, lean(nil))
		for round := range uint64(2) {
			arrive(t, p, a, mixed(2))
			netns.HereIP(t, "link", "set", a, "down")
			eventually(t, p, "link down", func(s port.Stats) bool { return s.Err == "link is down" && strings.Contains(s.Mode, "link down") })
			netns.HereIP(t, "link", "set", a, "up")
			eventually(t, p, "link", func(s port.Stats) bool {
				return s.Err == "" && strings.Contains(s.Mode, "link up") && s.Reopens == round
			})
			netns.HereIP(t, "link", "delete", a)
			eventually(t, p, "report", func(s port.Stats) bool { return strings.Contains(s.Err, port.ErrGone.Error()) })
			if err := netns.HereAgain(a, b, 1); err != nil {
				t.Fatal(err)
			}
			eventually(t, p, "return", func(s port.Stats) bool { return s.Reopens == round+1 && s.Err == "" })
		}
		if s := p.Stats(); s.Queues[0].Received != 4 {
			t.Errorf("%+v", s)
		}
	}
}

// freeHugePages is how many huge pages of 2 MB the kernel has to give.
func freeHugePages(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
	if err != nil {
		t.Skip("no huge pages of 2 MB here: ", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// With huge pages memory is taken when a port needs it, given back when it is closed, and no file system for them is needed.
func TestHugePages(t *testing.T) {
	if n := freeHugePages(t); n < 32 {
		t.Skipf("%d huge pages are free, 32 are needed: sysctl vm.nr_hugepages=32", n)
	}
	if !alone(t) {
		return
	}
	before := freeHugePages(t)
	frames := mixed(3000)
	p, err := port.Open(port.Config{
		Driver: "dpdk", Device: "net_pcap0,rx_pcap=" + writePcap(t, "x.pcap", frames), Options: map[string]any{"descriptors": 512},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := porttest.Collect(t, p, len(frames))
	if len(got) != len(frames) {
		t.Fatalf("%d frames: %+v", len(got), p.Stats())
	}
	for i, g := range got {
		if !bytes.Equal(g.Data, frames[i]) {
			t.Fatalf("frame %d: %x", i, g.Data)
		}
	}
	open := freeHugePages(t)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if closed := freeHugePages(t); open >= before || closed <= open {
		t.Errorf("huge pages free: %d before, %d with the port open, %d after", before, open, closed)
	}
}
