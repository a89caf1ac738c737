//go:build linux

package pfring

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
)

var serial atomic.Uint32

// register makes a driver over an emulation known by a name of its own and returns that name.
func register(e *emulation) string {
	name := fmt.Sprintf("pfring-emulated-%d", serial.Add(1))
	port.Register(name, driver{e})
	return name
}

func TestConformance(t *testing.T) {
	for name, opts := range map[string]map[string]any{
		"default": nil, "waiting": {"wait": "5ms", "spread": "4-tuple"}, "unlocked": {"unlocked": true, "snap": 2000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			missing := register(newEmulation(t))
			porttest.Run(t, porttest.Driver{
				Live: func(t *testing.T, _ int) porttest.Device {
					e := newEmulation(t)
					return e.device("eth1", porttest.Device{
						Config: port.Config{Driver: register(e), Device: "eth1", Options: opts}, Exact: true, Shallow: map[string]any{},
					})
				},
				Missing: port.Config{Driver: missing, Device: "nosuchdev0"},
				Bad:     bad(),
			})
		})
	}
}

func bad() []porttest.Bad {
	var all []porttest.Bad
	for key, values := range map[string][]any{
		"snap": {63, 70000, "1k"}, "cluster": {-1, 65536}, "spread": {"", "hash"}, "promiscuous": {"yes"}, "outgoing": {1},
		"unlocked": {"no"}, "wait": {"-1ms", "11ms", 5},
	} {
		for _, v := range values {
			all = append(all, porttest.Bad{
				Name:   fmt.Sprint(key, " ", v),
				Config: port.Config{Device: "x", Options: map[string]any{key: v}}, Want: []string{"options." + key + ": "},
			})
		}
	}
	return append(all,
		porttest.Bad{
			Name: "unlocked and outgoing", Want: []string{"options.unlocked: "},
			Config: port.Config{Device: "x", Options: map[string]any{"unlocked": true, "outgoing": true}},
		},
		porttest.Bad{Name: "zero copy", Config: port.Config{Device: "zc:eth1"}, Want: []string{"ZC is not supported"}},
		porttest.Bad{Name: "long name", Config: port.Config{Device: "a23456789012345678"}, Want: []string{"device: "}},
		porttest.Bad{Name: "too many queues", Config: port.Config{Device: "x", Queues: 300}, Want: []string{"queues: 300"}})
}

func opened(t *testing.T, e *emulation, cfg port.Config) port.Port {
	t.Helper()
	cfg.Driver = register(e)
	p, err := port.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Any other version than the one whose layout we know is refused, and nothing stays open.
func TestVersionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*emulation){
		"PF_RING 7.4.0: only 8.x":           func(e *emulation) { e.version = 0x070400 },
		"PF_RING 9.0.0: only 8.x":           func(e *emulation) { e.version = 0x090000 },
		"flow slots of version 20: only 21": func(e *emulation) { e.slot = 20 },
		"headers of 56 bytes: only 48":      func(e *emulation) { e.header = 56 },
		"address family not supported":      func(e *emulation) { e.locked = true },
	} {
		e := newEmulation(t)
		e.add("eth1")
		change(e)
		_, err := port.Open(port.Config{Driver: register(e), Device: "eth1", Queues: 2})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
		if len(e.sockets) != 0 {
			t.Errorf("%s: %d sockets are open", want, len(e.sockets))
		}
	}
}

// What the host sends is left out, unless it is asked for, and whether or not the module hands it over.
func TestOutgoing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options map[string]any
		want    int
		skipped uint64
	}{
		"default": {nil, 100, 100}, "outgoing": {map[string]any{"outgoing": true}, 200, 0}, "unlocked": {map[string]any{"unlocked": true}, 100, 0},
	} {
		e := newEmulation(t)
		e.add("eth1")
		p := opened(t, e, port.Config{Device: "eth1", Options: c.options})
		for i := range 100 {
			frame := [][]byte{porttest.Build(uint32(i), porttest.Shape{V6: i%2 == 1})}
			if _, err := e.out("eth1", frame); err != nil {
				t.Fatal(err)
			}
			if _, err := e.send("eth1", frame); err != nil {
				t.Fatal(err)
			}
		}
		if got := porttest.Collect(t, p, c.want); len(got) != c.want {
			t.Errorf("%s: %d frames, want %d", name, len(got), c.want)
		}
		// A burst of nothing but what is left out gives its slots back.
		if _, err := e.out("eth1", [][]byte{porttest.Build(1, porttest.Shape{})}); err != nil {
			t.Fatal(err)
		}
		var b port.Burst
		if n := p.Queues()[0].RxBurst(&b); n > 0 {
			p.Queues()[0].Release(&b)
		}
		for _, s := range e.sockets {
			if in, read := word(s.mem, infoTotInsert).Load(), word(s.mem, infoTotRead).Load(); in != read {
				t.Errorf("%s: %d slots inserted and %d given back", name, in, read)
			}
		}
		if s := p.Stats(); c.skipped > 0 && s.Extra["outgoing_skipped"] != c.skipped+1 || s.Dropped+s.Queues[0].Dropped != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// Long frames are cut to the snap length and count whole; the ring wraps many times.
func TestSnapAndWrap(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	e.minSlots = 64
	e.add("eth1")
	p := opened(t, e, port.Config{Device: "eth1", Options: map[string]any{"snap": 200}})
	for i := range uint32(2000) {
		f := porttest.Build(i, porttest.Shape{Size: 60 + int(i)%900, V6: i%2 == 1})
		if _, err := e.send("eth1", [][]byte{f}); err != nil {
			t.Fatal(err)
		}
		got := porttest.Collect(t, p, 1)
		if len(got) != 1 || int(got[0].WireLen) != len(f) || !bytes.Equal(got[0].Data, f[:min(len(f), 200)]) {
			t.Fatalf("frame %d of %d bytes: %+v", i, len(f), got)
		}
	}
	if s := p.Stats(); s.Queues[0].Received != 2000 || s.Queues[0].Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// A ring that loses packets while it is empty is opened anew, and what it lost stays counted.
func TestStuckRingIsReopened(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	e.add("eth1")
	p := opened(t, e, port.Config{Device: "eth1", Options: map[string]any{"unlocked": true}})
	setWedged := func(on bool) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.wedged = on
	}
	setWedged(true)
	var b port.Burst
	frame := [][]byte{porttest.Build(1, porttest.Shape{})}
	seen := ""
	for deadline := time.Now().Add(2 * porttest.Patience); p.Stats().Reopens == 0; time.Sleep(time.Millisecond) {
		if _, err := e.send("eth1", frame); err != nil {
			t.Fatal(err)
		}
		if q := p.Queues()[0]; q.RxBurst(&b) > 0 { // the ring that was opened anew may deliver already
			q.Release(&b)
		}
		if s := p.Stats().Err; s != "" {
			seen = s
			setWedged(false)
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reopened: %+v", p.Stats())
		}
	}
	if !strings.Contains(seen, "stuck") || !strings.Contains(seen, port.ErrGone.Error()) {
		t.Errorf("error %q", seen)
	}
	setWedged(false)
	lost := p.Stats().Queues[0].Dropped
	if _, err := e.send("eth1", frame); err != nil {
		t.Fatal(err)
	}
	if got := porttest.Collect(t, p, 1); len(got) != 1 || lost < 3 {
		t.Errorf("%d frames after %d lost", len(got), lost)
	}
}

// Whatever the memory holds, the driver stays inside of it, and opens a ring that makes no sense again.
func TestHostileRing(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(s *emuSocket, slot []byte){
		"caplen":       func(_ *emuSocket, slot []byte) { le.PutUint32(slot[16:], 0xffffffff) },
		"caplen small": func(_ *emuSocket, slot []byte) { le.PutUint32(slot[16:], 10) },
		"magic":        func(_ *emuSocket, slot []byte) { slot[48+le.Uint32(slot[16:])] = 0 },
		"insert ahead": func(s *emuSocket, slot []byte) { clear(slot[:64]); word(s.mem, infoTotInsert).Add(1 << 40) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEmulation(t)
			e.add("eth1")
			p := opened(t, e, port.Config{Device: "eth1"})
			if _, err := e.send("eth1", [][]byte{porttest.Build(1, porttest.Shape{})}); err != nil {
				t.Fatal(err)
			}
			e.mu.Lock()
			for _, s := range e.sockets {
				damage(s, s.mem[8192:])
			}
			e.mu.Unlock()
			var b port.Burst
			for deadline := time.Now().Add(porttest.Patience); p.Stats().Reopens == 0 || p.Stats().Err != ""; {
				if p.Queues()[0].RxBurst(&b) > 0 {
					t.Fatal("a frame out of nowhere")
				}
				if time.Now().After(deadline) {
					t.Fatalf("%+v", p.Stats())
				}
			}
			if _, err := e.send("eth1", [][]byte{porttest.Build(2, porttest.Shape{})}); err != nil {
				t.Fatal(err)
			}
			if got := porttest.Collect(t, p, 1); len(got) != 1 || porttest.Seq(got[0].Data) != 2 {
				t.Errorf("%d frames", len(got))
			}
		})
	}
}

func TestBurstAllocatesNothing(t *testing.T) {
	e := newEmulation(t)
	e.add("eth1")
	p := opened(t, e, port.Config{Device: "eth1"})
	var frames [][]byte
	for i := range 1000 {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{}))
	}
	if _, err := e.send("eth1", frames); err != nil {
		t.Fatal(err)
	}
	var b port.Burst
	q := p.Queues()[0]
	total := 0
	if n := testing.AllocsPerRun(10, func() {
		if n := q.RxBurst(&b); n > 0 {
			total += n
			q.Release(&b)
		}
	}); n != 0 || total != 11*port.MaxBurst {
		t.Errorf("%v allocations a burst, %d frames", n, total)
	}
}

// Numbers as measured on the real module (PACKETIO.md 2): a slip of the pen in layout.go must not pass.
func TestLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"family", family, 27},
		{"flow slot", slotVer, 21},
		{"short header", headerLen, 48},
		{"RING_BUCKET_LEN", optBucketLen, 107},
		{"USE_SHORT_PKT_HEADER", optShortHeader, 127},
		{"SET_PACKET_DIRECTION", optDirection, 111},
		{"SET_SOCKET_MODE", optSocketMode, 126},
		{"SET_IFF_PROMISC", optPromiscuous, 140},
		{"SET_POLL_WATERMARK", optWatermark, 117},
		{"ADD_TO_CLUSTER", optAddToCluster, 99},
		{"SET_APPL_NAME", optApplName, 110},
		{"ACTIVATE_RING", optActivate, 106},
		{"GET_RING_VERSION", optRingVersion, 170},
		{"GET_PKT_HEADER_LEN", optHeaderLen, 179},
		{"FlowSlotInfo", infoSize, 8192},
		{"version", infoVersion, 0},
		{"min_num_slots", infoMinSlots, 4},
		{"slot_len", infoSlotLen, 8},
		{"tot_mem", infoTotMem, 16},
		{"tot_pkts", infoTotPkts, 40},
		{"tot_lost", infoTotLost, 48},
		{"tot_insert", infoTotInsert, 56},
		{"tot_read", infoTotRead, 4096},
		{"remove_off", infoRemoveOff, 4104},
		{"tv_sec", pktSec, 0},
		{"tv_usec", pktUsec, 8},
		{"caplen", pktCaplen, 16},
		{"len", pktLen, 20},
		{"timestamp_ns", pktNanos, 24},
		{"rx_direction", pktDirection, 36},
		{"stride of 60", int(stride(60)), 112},
		{"stride of 70", int(stride(70)), 120},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
	if got, want := sockaddr(7), []byte{27, 0, 3, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("sockaddr % x", got)
	}
	if got, want := cluster(0x1234, 2), []byte{0x34, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("cluster % x", got)
	}
}

// The real module, where there is one.
func TestRealDevice(t *testing.T) {
	p, err := port.Open(port.Config{Driver: "pfring", Device: "lo", Options: map[string]any{"promiscuous": false}})
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPERM) {
		t.Skip("PF_RING's kernel module and CAP_NET_ADMIN are needed: ", err)
	}
	if errors.Is(err, port.ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil && strings.Contains(err.Error(), "is it PF_RING?") {
		t.Skip("the socket is not PF_RING's: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Err != "" {
		t.Errorf("%+v", s)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
