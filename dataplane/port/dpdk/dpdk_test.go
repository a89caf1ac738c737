//go:build dpdk && cgo

package dpdk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/dpdk/dpdktest"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// childKey marks the environment of a process that runs one test: DPDK's environment starts once in a process.
const childKey = "WEIR_TEST_DPDK_CHILD"

// alone runs the calling test again in a process of its own, or returns true when it is in that process.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childKey) == t.Name() {
		return true
	}
	args := []string{"-test.run=^" + t.Name() + "$", "-test.count=1", "-test.timeout=150s"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childKey+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP: "+t.Name()+" (") {
		t.Skipf("%s", out)
	}
	t.Logf("%s", out)
	return false
}

// lean are options for a machine without huge pages.
func lean(more map[string]any) map[string]any {
	o := map[string]any{"huge_pages": false, "memory": 256, "descriptors": 512}
	for k, v := range more {
		o[k] = v
	}
	return o
}

var serial atomic.Uint32

func mustOpen(t *testing.T, device string, queues int, opts map[string]any) port.Port {
	t.Helper()
	p, err := port.Open(port.Config{Driver: "dpdk", Device: device, Queues: queues, Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// writePcap writes frames as a capture.
func writePcap(t *testing.T, name string, frames [][]byte) string {
	t.Helper()
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint32(b, 2|4<<16)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, 65535)
	b = le.AppendUint32(b, 1)
	for i, f := range frames {
		b = le.AppendUint32(b, uint32(1e9+i))
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, uint32(len(f)))
		b = le.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// recorded makes a net_pcap device of one file a queue; a flow stays in its queue.
func recorded(t *testing.T, queues int, frames [][]byte) port.Config {
	t.Helper()
	split := make([][][]byte, queues)
	for _, f := range frames {
		q := 0
		if len(f) >= 42 {
			q = int(f[len(f)-1]) % queues // the sequence number's low byte; flows are multiples of queues apart
		}
		split[q] = append(split[q], f)
	}
	device := fmt.Sprintf("net_pcap%d", serial.Add(1))
	for i, part := range split {
		device += ",rx_pcap=" + writePcap(t, fmt.Sprintf("q%d.pcap", i), part)
	}
	return port.Config{Driver: "dpdk", Device: device, Options: lean(nil)}
}

func bad() []porttest.Bad {
	var all []porttest.Bad
	for key, values := range map[string][]any{
		"memory": {-1, "1G"}, "descriptors": {0, 63, 1 << 20}, "mbufs": {-1, 1 << 30}, "buffer_size": {0, 100, 65536},
		"mtu": {1, 70000}, "rss": {"", "toeplitz"}, "huge_pages": {"no"}, "promiscuous": {1},
		"eal": {
			"-m 5", []any{""}, []any{"-l", "0", "--help"}, []any{"-h"}, []any{"--log-level=help"}, []any{"--log-level", "help"},
			[]any{"--proc-type=secondary"}, []any{"--proc-type", "secondary"}, []any{"--log-level debug"},
		},
		"vlan_strip": {"yes"},
	} {
		for _, v := range values {
			all = append(all, porttest.Bad{
				Name:   fmt.Sprint(key, " ", v),
				Config: port.Config{Device: "net_null0", Options: map[string]any{key: v}},
				Want:   []string{"options." + key + ": "},
			})
		}
	}
	return append(all,
		porttest.Bad{Name: "name", Config: port.Config{Device: "net null0"}, Want: []string{"device: "}},
		porttest.Bad{Name: "too many queues", Config: port.Config{Device: "net_null0", Queues: 300}, Want: []string{"queues: 300"}})
}

func TestConformancePcap(t *testing.T) {
	if !alone(t) {
		return
	}
	porttest.Run(t, porttest.Driver{
		Recorded: recorded,
		Missing:  port.Config{Driver: "dpdk", Device: "net_pcap99,rx_pcap=/nonexistent/x.pcap", Options: lean(nil)},
		Bad:      bad(),
	})
}

// cable makes a veth pair in the process's own namespace.
func cable(t *testing.T, queues int) (a, b string) {
	t.Helper()
	n := serial.Add(1)
	a, b = fmt.Sprintf("ta%d", n), fmt.Sprintf("tb%d", n)
	netns.Here(t, a, b, queues)
	return a, b
}

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

// The live suite runs on net_tap, where frames reach us as they were sent: what net_af_packet gets has lost the tag's
// protocol in the kernel.
func TestConformanceTap(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("the tun driver is needed: ", err)
	}
	cable(t, 1) // its set-up switches IPv6 off for devices made later, so that nobody but us sends
	porttest.Run(t, porttest.Driver{
		Live: func(t *testing.T, _ int) porttest.Device {
			tap := fmt.Sprintf("dtap%d", serial.Add(1))
			return porttest.Device{
				Config: port.Config{Driver: "dpdk", Options: lean(nil), Device: fmt.Sprintf("net_tap%d,iface=%s", serial.Load(), tap)},
				Send:   send(tap),
			}
		},
		Missing: port.Config{Driver: "dpdk", Device: "net_nosuch99", Options: lean(nil)},
	})
}

// arrive sends frames from a and checks that they come at p's first queue, whole and in order.
func arrive(t *testing.T, p port.Port, a string, frames [][]byte) []porttest.Got {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := send(a)(frames)
		done <- err
	}()
	got := porttest.Collect(t, p, len(frames))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(got) != len(frames) {
		t.Fatalf("%d frames of %d; %+v", len(got), len(frames), p.Stats())
	}
	for i, g := range got {
		if !bytes.Equal(g.Data, frames[i]) || int(g.WireLen) != len(frames[i]) {
			t.Fatalf("frame %d: wire length %d\n got %x\nwant %x", i, g.WireLen, g.Data, frames[i])
		}
	}
	return got
}

// mixed is n frames of both families and many lengths, of them every third with a tag.
func mixed(n int) [][]byte {
	var frames [][]byte
	for i := range n {
		s := porttest.Shape{Size: 60 + i%1400, V6: i%2 == 1, Flow: i % 7}
		if i%3 == 0 {
			s.Tags = []uint32{0x81000000 | uint32(1+i%4000)}
		}
		frames = append(frames, porttest.Build(uint32(i), s))
	}
	return frames
}

func TestAFPacketTags(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	for _, strip := range []bool{false, true} {
		a, b := cable(t, 1)
		p := mustOpen(t, fmt.Sprintf("net_af_packet%d,iface=%s,blocksz=65536,framesz=2048,framecnt=8192", serial.Load(), b), 0,
			lean(map[string]any{"vlan_strip": strip}))
		frames := mixed(700)
		arrive(t, p, a, frames)
		s := p.Stats()
		if want := map[bool]uint64{true: 234}[strip]; s.Extra["nic_untagged"] != want || s.Extra["ipackets"] != 700 || s.Err != "" {
			t.Errorf("strip %v: %+v", strip, s)
		}
		if strings.Contains(s.Mode, "stripped and restored") != strip || !strings.Contains(s.Mode, "net_af_packet") {
			t.Errorf("strip %v: mode %q", strip, s.Mode)
		}
	}
}

func TestAFXDP(t *testing.T) {
	netns.Inside(t)
	if !alone(t) {
		return
	}
	a, b := cable(t, 1)
	p := mustOpen(t, "net_af_xdp0,iface="+b+",start_queue=0,queue_count=1", 0, lean(map[string]any{"descriptors": 2048}))
	arrive(t, p, a, mixed(1500))
	if s := p.Stats(); s.Queues[0].Received != 1500 || s.Dropped != 0 || s.Err != "" || !strings.Contains(s.Mode, "net_af_xdp") {
		t.Errorf("%+v", s)
	}
}

func TestNull(t *testing.T) {
	if !alone(t) {
		return
	}
	p := mustOpen(t, "net_null0,size=80,copy=0", 2, lean(nil))
	if len(p.Queues()) != 2 {
		t.Fatalf("%d queues", len(p.Queues()))
	}
	got := porttest.Collect(t, p, 1000)
	for _, g := range got {
		if len(g.Data) != 80 || g.WireLen != 80 {
			t.Fatalf("frame of %d bytes, wire length %d", len(g.Data), g.WireLen)
		}
	}
	s := p.Stats()
	if n := s.Queues[0].Received + s.Queues[1].Received; n != uint64(len(got)) || s.Extra["ipackets"] != n || s.Queues[1].Received == 0 {
		t.Errorf("%d frames, %+v", len(got), s)
	}
	// A second port of the process uses the same environment; other wishes for it are refused, and so is an open device.
	mustOpen(t, "net_null1", 1, nil)
	for _, c := range []struct {
		device string
		queues int
		opts   map[string]any
		want   string
	}{
		{"net_null2", 1, map[string]any{"memory": 512}, "cannot be started again"},
		{"net_null0", 1, nil, "open already"},
		{"net_null3", 128, map[string]any{"mbufs": 1 << 22}, "too little memory"},
	} {
		q, err := port.Open(port.Config{Driver: "dpdk", Device: c.device, Queues: c.queues, Options: c.opts})
		if err == nil {
			t.Fatalf("%s: opened, closed with %v", c.device, q.Close())
		}
		if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.device) {
			t.Errorf("%s: error %q does not say %q", c.device, err, c.want)
		}
	}
	p = mustOpen(t, "net_null3", 1, nil) // what was begun was undone
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = mustOpen(t, "net_null3,size=90", 1, nil) // and what was closed is free
	if got := porttest.Collect(t, p, 10); len(got) < 10 || len(got[0].Data) != 90 {
		t.Errorf("opened again: %d frames", len(got))
	}
}

func TestRing(t *testing.T) {
	if !alone(t) {
		return
	}
	p := mustOpen(t, "net_ring0", 0, lean(nil))
	var frames [][]byte
	for i, tags := range [][]uint32{nil, {0x81000064}, {0x88a80064, 0x8100e065}, {0x8100ffff}, {0x91000064}} {
		for _, v6 := range []bool{false, true} {
			frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Size: 100 + i, V6: v6, Tags: tags}))
		}
	}
	if n, err := dpdktest.Enqueue("ETH_RXTX0_net_ring0", frames); err != nil {
		t.Fatal(n, err)
	}
	q, ok := p.Queues()[0].(*Queue)
	if !ok {
		t.Fatalf("queue is %T", p.Queues()[0])
	}
	var b port.Burst
	if n := q.RxBurst(&b); n != len(frames) {
		t.Fatalf("%d frames of %d", n, len(frames))
	}
	for i, f := range b.Frames[:b.N] {
		if !bytes.Equal(f.Data, frames[i]) || int(f.WireLen) != len(frames[i]) {
			t.Errorf("frame %d: wire length %d\n got %x\nwant %x", i, f.WireLen, f.Data, frames[i])
		}
		if m := q.Meta(i); m != (Meta{Hash: uint32(len(frames[i])), HasHash: true, Type: 1}) {
			t.Errorf("frame %d: %+v", i, m)
		}
	}
	q.Release(&b)
	s := p.Stats()
	if s.Extra["nic_hashed"] != 10 || s.Extra["nic_typed"] != 10 || s.Extra["nic_untagged"] != 6 || s.Queues[0].Received != 10 {
		t.Errorf("%+v", s)
	}
	if n := testing.AllocsPerRun(100, func() {
		if q.RxBurst(&b) > 0 {
			q.Release(&b)
		}
	}); n != 0 {
		t.Errorf("%v allocations a burst", n)
	}
}

// Jumbo frames that span buffers: the first buffer is seen, the whole length counts.
func TestChainedBuffers(t *testing.T) {
	if !alone(t) {
		return
	}
	frames := [][]byte{porttest.Build(1, porttest.Shape{Size: 9000}), porttest.Build(2, porttest.Shape{Size: 9000, V6: true})}
	p := mustOpen(t, "net_pcap0,rx_pcap="+writePcap(t, "jumbo.pcap", frames), 0, lean(map[string]any{"buffer_size": 2048}))
	got := porttest.Collect(t, p, 2)
	if len(got) != 2 {
		t.Fatalf("%d frames: %+v", len(got), p.Stats())
	}
	for i, g := range got {
		if g.WireLen != 9000 || len(g.Data) != 2048 || !bytes.Equal(g.Data, frames[i][:2048]) {
			t.Errorf("frame %d: %d bytes of %d", i, len(g.Data), g.WireLen)
		}
	}
	if s := p.Stats(); s.Extra["chained"] != 2 || s.Queues[0].Bytes != 18000 {
		t.Errorf("%+v", s)
	}
}

// A worker that restarts runs on a new thread each time: DPDK has 128 numbers for threads and must get them back.
func TestThreadsComeAndGo(t *testing.T) {
	if !alone(t) {
		return
	}
	p := mustOpen(t, "net_null0", 1, lean(nil))
	q := p.Queues()[0]
	for i := range 300 {
		n := make(chan int)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			var b port.Burst
			got := q.RxBurst(&b)
			if got > 0 {
				q.Release(&b)
			}
			n <- got
		}()
		if got := <-n; got != port.MaxBurst {
			t.Fatalf("thread %d: %d frames", i, got)
		}
	}
	if full := p.(*Port).queues[0].rx.unregistered(); full {
		t.Error("DPDK ran out of thread numbers")
	}
}

func TestArgumentsOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{HugePages: true}, "weir --no-telemetry --in-memory --lcores=0@(0-3) -a 0000:00:00.0"},
		{Options{HugePages: true, Memory: 512}, "weir --no-telemetry --in-memory -m 512 --lcores=0@(0-3) -a 0000:00:00.0"},
		{Options{}, "weir --no-telemetry --no-shconf --no-huge -m 256 --lcores=0@(0-3) -a 0000:00:00.0"},
		{Options{HugePages: true, EAL: []string{"-l1", "--no-pci", "--socket-mem=64"}, Memory: 9}, "weir --no-telemetry --in-memory -l1 --no-pci --socket-mem=64"},
		{Options{HugePages: true, EAL: []string{"--allow=1:2.3", "-c", "3"}}, "weir --no-telemetry --in-memory --allow=1:2.3 -c 3"},
		{Options{HugePages: true, EAL: []string{"--no-huge", "-m64"}}, "weir --no-telemetry --no-shconf --lcores=0@(0-3) -a 0000:00:00.0 --no-huge -m64"},
		{Options{EAL: []string{"--no-huge"}}, "weir --no-telemetry --no-shconf -m 256 --lcores=0@(0-3) -a 0000:00:00.0 --no-huge"},
		{Options{HugePages: true, Memory: 64, EAL: []string{"--legacy-mem"}}, "weir --no-telemetry --no-shconf --huge-unlink -m 64 --lcores=0@(0-3) -a 0000:00:00.0 --legacy-mem"},
		{Options{EAL: []string{"--legacy-mem"}}, "weir --no-telemetry --no-shconf --no-huge -m 256 --lcores=0@(0-3) -a 0000:00:00.0 --legacy-mem"},
		{
			Options{HugePages: true, EAL: []string{"--huge-dir=/mnt", "--huge-unlink=never"}},
			"weir --no-telemetry --no-shconf --lcores=0@(0-3) -a 0000:00:00.0 --huge-dir=/mnt --huge-unlink=never",
		},
		{Options{HugePages: true, EAL: []string{"--log-level=debug"}}, "weir --no-telemetry --in-memory --lcores=0@(0-3) -a 0000:00:00.0 --log-level=debug"},
	} {
		if got := strings.Join(c.options.ealArgs("0-3"), " "); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.options, got, c.want)
		}
	}
	for device, want := range map[string]string{
		"0000:03:00.0": "0000:03:00.0", "03:00.0": "0000:03:00.0", "0000:AF:1f.7,a=B": "0000:af:1f.7,a=B", "net_null0,a=3:00.0": "net_null0,a=3:00.0",
		"03:00.8": "03:00.8", "net_pcap0": "net_pcap0",
	} {
		if got := canonical(device); got != want {
			t.Errorf("%s is %s, want %s", device, got, want)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

// The environment starts with arguments that exclude what we would add; a wrong one is named in the error, without DPDK's manual.
func TestArgumentsStart(t *testing.T) {
	for _, c := range []struct {
		name string
		opts map[string]any
		want string // of the error
	}{
		{"no-huge", map[string]any{"eal": []any{"--no-huge"}}, ""},
		{"legacy", map[string]any{"huge_pages": false, "eal": []any{"--legacy-mem", "-m", "64"}}, ""},
		{"prefix", map[string]any{"huge_pages": false, "eal": []any{"--file-prefix", "weirtest", "-n", "4", "--iova-mode=va"}}, ""},
		{"unknown", map[string]any{"huge_pages": false, "eal": []any{"--nosuch"}}, "unrecognized option '--nosuch'"},
		{"processor", map[string]any{"huge_pages": false, "eal": []any{"-l", "1022"}}, "lcore 1022"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !alone(t) {
				return
			}
			p, err := port.Open(port.Config{Driver: "dpdk", Device: "net_null0,size=70", Queues: 1, Options: c.opts})
			if c.want != "" {
				if err == nil {
					t.Fatal("opened, closed with ", p.Close())
				}
				if text := err.Error(); !strings.Contains(text, c.want) || strings.Contains(text, "huge pages are reserved") || len(text) > 1000 {
					t.Errorf("the error does not say %q: %s", c.want, text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := porttest.Collect(t, p, 100); len(got) < 100 || len(got[0].Data) != 70 {
				t.Errorf("%d frames", len(got))
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A device that cannot be had: the error says what to look at.
func TestProbeHints(t *testing.T) {
	if !alone(t) {
		return
	}
	for device, want := range map[string]string{
		"0000:ff:1f.7": "bound to vfio-pci", "eth99": "net_af_packet0,iface=eth99", "net_null0,nosuch=1": "are its arguments right",
		"net_pcap0,rx_pcap=/nonexistent": "No such file or directory", "net_af_packet0,iface=nosuch0": "No such device",
	} {
		p, err := port.Open(port.Config{Driver: "dpdk", Device: device, Queues: 1, Options: lean(nil)})
		if err == nil {
			t.Errorf("%s: opened, closed with %v", device, p.Close())
			continue
		}
		if text := err.Error(); !strings.Contains(text, want) || strings.Contains(text, "not permitted") {
			t.Errorf("%s: the error does not say %q: %s", device, want, text)
		}
	}
}

// Without huge pages the error says what to do.
func TestHugeHint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wanted bool
		pages  []string
		hint   bool
	}{
		"none reserved": {true, []string{"0\n", "0\n"}, true}, "some": {true, []string{"0\n", "16\n"}, false}, "no pools": {true, nil, true},
		"none wanted": {false, []string{"0\n"}, false},
	} {
		dir := t.TempDir()
		for i, n := range c.pages {
			pool := filepath.Join(dir, fmt.Sprintf("hugepages-%dkB", 2048<<i))
			if err := os.Mkdir(pool, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(pool, "nr_hugepages"), []byte(n), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := hugeHint(Options{HugePages: c.wanted}, dir); strings.Contains(got, "vm.nr_hugepages") != c.hint {
			t.Errorf("%s: %q", name, got)
		}
	}
}
