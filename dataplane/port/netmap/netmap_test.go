//go:build linux

package netmap

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
)

var serial atomic.Uint32

// register makes a driver over an emulation known by a name of its own and returns that name.
func register(e *emulation) string {
	driverName := fmt.Sprintf("netmap-emulated-%d", serial.Add(1))
	port.Register(driverName, driver{e})
	return driverName
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name     string
		options  map[string]any
		fragment int
	}{
		{"poll", nil, 0},
		{"poll and wait", map[string]any{"wait": "5ms"}, 0},
		{"busy", map[string]any{"sync": "busy"}, 0},
		{"several slots a packet", nil, 700},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := newEmulation(t)
			driverName := register(root)
			porttest.Run(t, porttest.Driver{
				Live: func(t *testing.T, queues int) porttest.Device {
					e := newEmulation(t)
					dev := e.device("eth1", queues, porttest.Device{
						Config: port.Config{Driver: register(e), Device: "eth1", Options: c.options},
					})
					e.devices["eth1"].fragment = c.fragment
					return dev
				},
				Missing: port.Config{Driver: driverName, Device: "nosuchdev0"},
				Bad:     bad(),
			})
		})
	}
}

func bad() []porttest.Bad {
	var all []porttest.Bad
	for key, values := range map[string][]any{
		"sync": {"", "spin", 1}, "wait": {"-1ms", "11ms", "1500us", 3}, "promiscuous": {"yes"}, "exclusive": {1}, "monitor": {"rx"},
	} {
		for _, v := range values {
			all = append(all, porttest.Bad{
				Name:   fmt.Sprint(key, " ", v),
				Config: port.Config{Device: "x", Options: map[string]any{key: v}}, Want: []string{"options." + key + ": "},
			})
		}
	}
	for device, want := range map[string]string{
		"netmap:": "must be set", "eth1^": "host's rings", "eth1*": "host's rings", "eth1+": "host's rings", "eth1/z": "flag",
		"eth1@x": "memory region", "vale0": "no port of the switch", "vale0:": "no port of the switch", "eth 1": "blanks",
		"eth1{": "not a pipe", "{1": "not a pipe", "a:b": "only VALE", "eth1-9999": "not a ring", strings.Repeat("x", 64): "longer",
	} {
		all = append(all, porttest.Bad{
			Name: "device " + device, Config: port.Config{Device: device}, Want: []string{"device: ", want},
		})
	}
	return append(all,
		porttest.Bad{Name: "queues of one ring", Config: port.Config{Device: "eth1-0", Queues: 2}, Want: []string{"queues: 2 of one ring"}},
		porttest.Bad{
			Name: "busy waits", Want: []string{"options.wait: sync busy"},
			Config: port.Config{Device: "x", Options: map[string]any{"sync": "busy", "wait": "1ms"}},
		},
		porttest.Bad{Name: "too many queues", Config: port.Config{Device: "x", Queues: 300}, Want: []string{"queues: 300"}})
}

func TestNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]name{
		"eth1":               {kernel: "eth1", device: "eth1", ring: -1},
		"netmap:eth1":        {kernel: "eth1", device: "eth1", ring: -1},
		"netmap:eth1-3":      {kernel: "eth1", device: "eth1", ring: 3},
		"br-lan":             {kernel: "br-lan", device: "br-lan", ring: -1},
		"br-lan-2/x":         {kernel: "br-lan-2"[:6], device: "br-lan", ring: 2, exclusive: true},
		"eth1/xr":            {kernel: "eth1", device: "eth1", ring: -1, exclusive: true, monitor: 0x200},
		"eth1/rt@7":          {kernel: "eth1", device: "eth1", ring: -1, monitor: 0x300, memory: 7},
		"vale0:weir":         {kernel: "vale0:weir", ring: -1},
		"vale0:weir-1":       {kernel: "vale0:weir", ring: 1},
		"netmap:vale1:x}2":   {kernel: "vale1:x}2", ring: -1},
		"eth1{4":             {kernel: "eth1{4", ring: -1},
		"netmap:pipe{a-0/x":  {kernel: "pipe{a", ring: 0, exclusive: true},
		"enp3s0f0np0.100":    {kernel: "enp3s0f0np0.100", device: "enp3s0f0np0.100", ring: -1},
		"netmap:eth1-3@9/rx": {kernel: "eth1", device: "eth1", ring: 3, exclusive: true, monitor: 0x200, memory: 9},
	} {
		got, err := parseName(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// opened opens a port over an emulation.
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

// One queue takes all rings; two queues share four; each frame once.
func TestQueuesAndRings(t *testing.T) {
	t.Parallel()
	for queues, fds := range map[int]int{0: 4, 1: 1, 2: 4, 3: 4, 4: 4} {
		e := newEmulation(t)
		e.add("eth1", 4)
		p := opened(t, e, port.Config{Device: "eth1", Queues: queues})
		if want := map[int]int{0: 4}[queues] + queues; len(p.Queues()) != want {
			t.Errorf("%d queues, want %d", len(p.Queues()), want)
		}
		if len(e.fds) != fds {
			t.Errorf("%d queues: %d file descriptors, want %d", queues, len(e.fds), fds)
		}
		var frames [][]byte
		for i := range 400 {
			frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Flow: i, V6: i%2 == 1}))
		}
		if _, err := e.send("eth1", frames); err != nil {
			t.Fatal(err)
		}
		seen := map[uint32]int{}
		for _, g := range porttest.Collect(t, p, len(frames)) {
			seen[porttest.Seq(g.Data)]++
		}
		for i := range frames {
			if seen[uint32(i)] != 1 {
				t.Fatalf("%d queues: frame %d came %d times", queues, i, seen[uint32(i)])
			}
		}
		if e.promiscuity["eth1"] != 1 {
			t.Errorf("promiscuity %d while open", e.promiscuity["eth1"])
		}
		if err := p.Close(); err != nil || len(e.fds) != 0 || e.promiscuity["eth1"] != 0 {
			t.Errorf("after close: %v, %d file descriptors, promiscuity %d", err, len(e.fds), e.promiscuity["eth1"])
		}
	}
}

// One ring alone: the other ring's frames are none of ours, and its garbage is never touched.
func TestOneRing(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	d := e.add("eth1", 2)
	p := opened(t, e, port.Config{Device: "netmap:eth1-1"})
	var frames [][]byte
	for i := range 200 {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Flow: i}))
	}
	if _, err := e.send("eth1", frames); err != nil {
		t.Fatal(err)
	}
	want := len(frames) - d.rings[0].lost
	if got := porttest.Collect(t, p, want); len(got) != want || d.rings[1].lost != 0 || want == 0 {
		t.Errorf("%d frames, want %d", len(got), want)
	}
}

func TestErrorsOfOpen(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	e.add("eth1", 2)
	e.add("lo", 1).jumbo = true
	e.add("eth2", 1).enslaved = true
	opened(t, e, port.Config{Device: "eth1", Queues: 1})
	driverName := register(e)
	for _, c := range []struct {
		device  string
		queues  int
		options map[string]any
		want    string
	}{
		{"eth9", 0, nil, "no such interface"},
		{"vale3:x", 0, nil, "no such interface"},
		{"eth1", 3, nil, "eth1 has 2 receive rings"},
		{"eth1-2", 0, nil, "no such ring"},
		{"lo", 1, nil, "MTU"},
		{"eth2", 1, nil, "bridge or bond"},
		{"eth1", 1, map[string]any{"exclusive": true}, "exclusively"},
		{"vale0:x", 2, nil, "has 1 receive rings"},
	} {
		p, err := port.Open(port.Config{Driver: driverName, Device: c.device, Queues: c.queues, Options: c.options})
		if err == nil {
			t.Errorf("%s: opened; closed with %v", c.device, p.Close())
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q does not say %q", c.device, err, c.want)
		}
	}
	if len(e.fds) != 1 {
		t.Errorf("%d file descriptors are open", len(e.fds))
	}
}

// A ring of 1024 holds 1023, and its slots come back with the next sync: a test that sends 512 a round and syncs after
// consumption loses nothing, as with the real module.
func TestSlotsComeBackAtTheNextSync(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"poll", "busy"} {
		e := newEmulation(t)
		d := e.add("eth1", 1)
		p := opened(t, e, port.Config{Device: "eth1", Options: map[string]any{"sync": mode}})
		var frames [][]byte
		for i := range 1200 {
			frames = append(frames, porttest.Build(uint32(i), porttest.Shape{}))
		}
		if _, err := e.send("eth1", frames); err != nil {
			t.Fatal(err)
		}
		if got := porttest.Collect(t, p, 1023); len(got) != 1023 || d.rings[0].lost != 177 {
			t.Fatalf("%s: %d frames and %d lost of 1200", mode, len(got), d.rings[0].lost)
		}
		for round := range 50 {
			var b port.Burst
			if n := p.Queues()[0].RxBurst(&b); n != 0 { // the sync after consumption
				t.Fatal("frames out of nowhere")
			}
			if _, err := e.send("eth1", frames[:512]); err != nil {
				t.Fatal(err)
			}
			if got := porttest.Collect(t, p, 512); len(got) != 512 || d.rings[0].lost != 177 {
				t.Fatalf("%s: round %d: %d frames, %d lost", mode, round, len(got), d.rings[0].lost)
			}
		}
	}
}

// Packets over several slots are joined whole up to 16 KiB, also when the end comes later; bad slots are counted.
func TestPacketsOverSeveralSlots(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	d := e.add("vale0:x", 1)
	p := opened(t, e, port.Config{Device: "vale0:x"})
	var frames [][]byte
	for i, size := range []int{2048, 2049, 4096, 9000, 16384, 60000, 64} {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Size: size, V6: i%2 == 0}))
	}
	if _, err := e.send("vale0:x", frames); err != nil {
		t.Fatal(err)
	}
	got := porttest.Collect(t, p, len(frames))
	if len(got) != len(frames) {
		t.Fatalf("%d of %d: %+v", len(got), len(frames), p.Stats())
	}
	for i, g := range got {
		n := min(len(frames[i]), 16384)
		if int(g.WireLen) != len(frames[i]) || !bytes.Equal(g.Data, frames[i][:n]) {
			t.Errorf("frame %d: %d bytes of %d, want %d of %d", i, len(g.Data), g.WireLen, n, len(frames[i]))
		}
	}
	if s := p.Stats(); s.Extra["joined"] != 5 || s.Extra["cut"] != 1 || s.Dropped+s.Queues[0].Dropped != 0 {
		t.Errorf("%+v", s)
	}
	_ = d
}

// Whatever the memory holds, the driver stays inside of it, gives up on a ring that makes no sense, and opens it again.
func TestHostileRing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(r *emuRing, m []byte)
		lost   bool
	}{
		{"tail out of range", func(r *emuRing, m []byte) { le.PutUint32(m[r.at+ringTail:], 5000) }, true},
		{"our head is not the kernel's", func(r *emuRing, _ []byte) { r.hwcur, r.hwtail = (r.hwtail+3)%emuSlots, (r.hwtail+3)%emuSlots }, true},
		{"buffer out of memory", func(r *emuRing, m []byte) {
			for i := range uint64(emuSlots) {
				le.PutUint32(m[r.at+ringSlots+slotSize*i+slotBuf:], 0xffffffff)
				le.PutUint16(m[r.at+ringSlots+slotSize*i+slotLen:], 60)
			}
			le.PutUint32(m[r.at+ringTail:], (r.hwtail+5)%emuSlots)
			r.hwtail = (r.hwtail + 5) % emuSlots
		}, false},
		{"longer than a buffer", func(r *emuRing, m []byte) {
			for i := range uint64(emuSlots) {
				le.PutUint16(m[r.at+ringSlots+slotSize*i+slotLen:], 65535)
			}
			r.hwtail = (r.hwtail + 5) % emuSlots
		}, false},
		{"no end", func(r *emuRing, m []byte) {
			for i := range uint64(emuSlots) {
				le.PutUint16(m[r.at+ringSlots+slotSize*i+slotLen:], 2000)
				le.PutUint16(m[r.at+ringSlots+slotSize*i+slotFlags:], moreFrag)
			}
			r.hwtail = (r.hwtail + emuSlots - 1) % emuSlots
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := newEmulation(t)
			d := e.add("eth1", 1)
			p := opened(t, e, port.Config{Device: "eth1"})
			one := func(seq uint32) {
				t.Helper()
				if _, err := e.send("eth1", [][]byte{porttest.Build(seq, porttest.Shape{})}); err != nil {
					t.Fatal(err)
				}
				got := porttest.Collect(t, p, 1)
				if len(got) != 1 || porttest.Seq(got[0].Data) != seq {
					t.Fatalf("%d frames, %+v", len(got), p.Stats())
				}
			}
			one(1)
			var b port.Burst
			p.Queues()[0].RxBurst(&b) // the kernel has every slot
			e.mu.Lock()
			c.damage(d.rings[0], d.mem)
			e.mu.Unlock()
			for deadline := time.Now().Add(porttest.Patience); ; {
				if p.Queues()[0].RxBurst(&b) > 0 {
					t.Fatal("a frame out of nowhere")
				}
				s := p.Stats()
				if c.lost && s.Reopens == 1 && s.Err == "" || !c.lost && s.Queues[0].Dropped > 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("not noticed: %+v", s)
				}
			}
			one(2)
		})
	}
}

// A removed device is not asked again and again.
func TestRemovedDeviceIsLeftInPeace(t *testing.T) {
	t.Parallel()
	e := newEmulation(t)
	d := e.add("eth1", 1)
	p := opened(t, e, port.Config{Device: "eth1"})
	e.mu.Lock()
	d.removed = true
	e.polls = 0
	e.mu.Unlock()
	var b port.Burst
	for deadline := time.Now().Add(porttest.Patience); !strings.Contains(p.Stats().Err, "cannot be opened"); {
		p.Queues()[0].RxBurst(&b)
		if time.Now().After(deadline) {
			t.Fatalf("%+v", p.Stats())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.polls > 2 || len(e.fds) != 0 {
		t.Errorf("%d polls of a removed device, %d file descriptors open", e.polls, len(e.fds))
	}
}

func TestBurstAllocatesNothing(t *testing.T) {
	e := newEmulation(t)
	e.add("eth1", 1)
	p := opened(t, e, port.Config{Device: "eth1"})
	var frames [][]byte
	for i := range 1000 {
		frames = append(frames, porttest.Build(uint32(i), porttest.Shape{}))
	}
	if _, err := e.send("eth1", frames); err != nil {
		t.Fatal(err)
	}
	q := p.Queues()[0]
	var b port.Burst
	if q.RxBurst(&b) > 0 { // the sync, which allocates in the emulation
		q.Release(&b)
	}
	total := 0
	if n := testing.AllocsPerRun(2, func() {
		if n := q.RxBurst(&b); n > 0 {
			total += n
			q.Release(&b)
		}
	}); n != 0 || total != 3*port.MaxBurst {
		t.Errorf("%v allocations a burst, %d frames", n, total)
	}
}

// The real module, where there is one.
func TestRealDevice(t *testing.T) {
	if _, err := os.Stat("/dev/netmap"); err != nil {
		t.Skip("netmap's kernel module is needed, which no Debian package has: ", err)
	}
	p, err := port.Open(port.Config{Driver: "netmap", Device: "vale0:weirtest"})
	if err != nil {
		t.Fatal(err)
	}
	var b port.Burst
	if n := p.Queues()[0].RxBurst(&b); n != 0 {
		t.Errorf("%d frames out of nowhere", n)
	}
	if s := p.Stats(); s.Err != "" {
		t.Errorf("%+v", s)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
