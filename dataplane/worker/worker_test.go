package worker

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/cpu/turn"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/packetbuild"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/probe"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

var seed = traffic.NewSeed(rand.New(rand.NewPCG(6, 6)).Uint64)

func testNets(t testing.TB) *nets.Table {
	t.Helper()
	n, err := nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func newWorker(t testing.TB, change func(*Config, *Deps)) *Worker {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Traffic.Hosts, cfg.Flows.Flows = 20_000, 200_000
	var now atomic.Int64
	deps := Deps{Decoder: new(wire.Decoder), Nets: testNets(t), Seed: seed, Clock: func() int64 { return now.Add(1) }}
	if change != nil {
		change(&cfg, &deps)
	}
	w, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.Stop(), w.Free()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// process counts frames in bursts and returns the half that they were counted in, retired.
func process(t testing.TB, w *Worker, frames ...[]byte) *traffic.Half {
	t.Helper()
	var b port.Burst
	for len(frames) > 0 {
		b.N = min(len(frames), port.MaxBurst)
		for i := range b.N {
			b.Frames[i] = port.Frame{Data: frames[i], WireLen: uint32(len(frames[i]))}
		}
		frames = frames[b.N:]
		w.Process(&b, wire.LinkEthernet)
	}
	w.shard.Clear()
	w.shard.Request()
	h := w.shard.Collect()
	if h == nil {
		t.Fatal("not collected")
	}
	checkConservation(t, h)
	return h
}

func checkConservation(t testing.TB, h *traffic.Half) {
	t.Helper()
	var codes, addressed, counted uint64
	for c, n := range h.Codes {
		codes += n
		if wire.Code(c).Addressed() {
			addressed += n
		}
	}
	for f := range h.Totals {
		for d := range h.Totals[f] {
			for _, c := range h.Totals[f][d].Cells {
				counted += c.Packets
			}
		}
	}
	if codes != h.Frames || counted != addressed {
		t.Errorf("%d frames, %d codes, %d addressed, %d in totals", h.Frames, codes, addressed, counted)
	}
}

func row(h *traffic.Half, addr string, d traffic.Direction) *traffic.Host {
	a := netip.MustParseAddr(addr).As16()
	i, ok := h.Table().Find(&a, d)
	if !ok {
		return nil
	}
	out := new(traffic.Host)
	h.Table().Read(i, out)
	return out
}

// cells is one packet of one class.
func cells(c traffic.Class, bytes uint64) (x traffic.Cells) {
	x[c] = traffic.Counter{Packets: 1, Bytes: bytes}
	return x
}

// sides are the addresses of one family for a table of cases.
type sides struct {
	name                     string
	family                   traffic.Family
	ours, ours2, theirs, far string
	icmp                     func(*packetbuild.Packet) *packetbuild.Packet
	header                   int
}

var families = []sides{
	{"v4", traffic.IPv4, "10.0.0.1", "10.0.0.2", "192.0.2.1", "198.51.100.1", func(p *packetbuild.Packet) *packetbuild.Packet { return p.ICMP(8, 0) }, 20},
	{"v6", traffic.IPv6, "2001:db8::1", "2001:db8::2", "2001:db9::1", "2001:db9::2", func(p *packetbuild.Packet) *packetbuild.Packet { return p.ICMPv6(128, 0) }, 40},
}

func ip(src, dst string) *packetbuild.Packet {
	return packetbuild.Ether().IP(netip.MustParseAddr(src), netip.MustParseAddr(dst))
}

// TestDirections: which rows and which total a packet is charged to, by direction and policy.
func TestDirections(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		for _, c := range []struct {
			name, src, dst string
			policy         traffic.InternalPolicy
			dir            traffic.Direction
			in, out        bool
		}{
			{"incoming", f.theirs, f.ours, traffic.InternalNone, traffic.Incoming, true, false},
			{"outgoing", f.ours, f.theirs, traffic.InternalNone, traffic.Outgoing, false, true},
			{"internal both", f.ours, f.ours2, traffic.InternalBoth, traffic.Internal, true, true},
			{"internal incoming", f.ours, f.ours2, traffic.InternalIncoming, traffic.Internal, true, false},
			{"internal outgoing", f.ours, f.ours2, traffic.InternalOutgoing, traffic.Internal, false, true},
			{"internal none", f.ours, f.ours2, traffic.InternalNone, traffic.Internal, false, false},
			{"other", f.theirs, f.far, traffic.InternalBoth, traffic.Other, false, false},
		} {
			w := newWorker(t, func(cfg *Config, _ *Deps) { cfg.Internal = c.policy })
			frame := ip(c.src, c.dst).UDP(1, 2).Payload(100).Bytes()
			h := process(t, w, frame, frame)
			want := traffic.Counter{Packets: 2, Bytes: 2 * uint64(len(frame))}
			total := h.Totals[f.family][c.dir]
			if total.Cells[traffic.ClassUDP] != want || total.Flows != 1 {
				t.Errorf("%s %s: total %+v", f.name, c.name, total)
			}
			rows := 0
			for _, r := range []struct {
				addr string
				dir  traffic.Direction
				want bool
			}{{c.dst, traffic.Incoming, c.in}, {c.src, traffic.Outgoing, c.out}} {
				got := row(h, r.addr, r.dir)
				if (got != nil) != r.want {
					t.Errorf("%s %s: row of %s %v: %v", f.name, c.name, r.addr, r.dir, got != nil)
				}
				if got != nil {
					rows++
					if got.Cells[traffic.ClassUDP] != want || got.Flows != 1 || got.Place != h.Nets().Lookup(&got.Addr) {
						t.Errorf("%s %s: row %+v", f.name, c.name, got)
					}
				}
			}
			if h.Table().Len() != rows {
				t.Errorf("%s %s: %d rows, want %d", f.name, c.name, h.Table().Len(), rows)
			}
		}
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		for _, c := range []struct {
			name  string
			frame *packetbuild.Packet
			class traffic.Class
			flows uint64
		}{
			{"tcp ack", ip(f.theirs, f.ours).TCP(1, 2, wire.FlagACK), traffic.ClassTCP, 1},
			{"tcp syn", ip(f.theirs, f.ours).TCP(1, 2, wire.FlagSYN), traffic.ClassTCPSYN, 1},
			{"tcp syn+ack", ip(f.theirs, f.ours).TCP(1, 2, wire.FlagSYN|wire.FlagACK), traffic.ClassTCPSYN, 1},
			{"udp", ip(f.theirs, f.ours).UDP(1, 2).Payload(10), traffic.ClassUDP, 1},
			{"sctp", ip(f.theirs, f.ours).SCTP(1, 2), traffic.ClassOther, 1},
			{"esp", ip(f.theirs, f.ours).ESP(1), traffic.ClassOther, 0},
			{"icmp", f.icmp(ip(f.theirs, f.ours)), traffic.ClassICMP, 0},
			{"first udp fragment", ip(f.theirs, f.ours).Frag(1, 0, true).UDP(1, 2).Payload(64), traffic.ClassUDPFragment, 1},
			{"later udp fragment", ip(f.theirs, f.ours).Frag(1, 1480, false).Next(17).Payload(64), traffic.ClassUDPFragment, 0},
			{"later tcp fragment", ip(f.theirs, f.ours).Frag(1, 1480, true).Next(6).Payload(64), traffic.ClassTCPFragment, 0},
		} {
			frame := c.frame.Bytes()
			h := process(t, newWorker(t, nil), frame)
			got := row(h, f.ours, traffic.Incoming)
			if got == nil {
				t.Errorf("%s %s: no row; codes %v", f.name, c.name, h.Codes)
				continue
			}
			want := cells(c.class, uint64(len(frame)))
			if got.Cells != want || got.Flows != c.flows {
				t.Errorf("%s %s: %+v flows %d, want %+v flows %d", f.name, c.name, got.Cells, got.Flows, want, c.flows)
			}
		}
	}
}

func TestCountBytesIP(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		w := newWorker(t, func(cfg *Config, _ *Deps) { cfg.CountBytes = CountIP })
		frame := packetbuild.Ether().VLAN(5).IP(netip.MustParseAddr(f.theirs), netip.MustParseAddr(f.ours)).UDP(1, 2).Payload(3).Pad(64).Bytes()
		h := process(t, w, frame)
		if got := row(h, f.ours, traffic.Incoming); got == nil || got.Cells != cells(traffic.ClassUDP, uint64(f.header+8+3)) {
			t.Errorf("%s: %+v", f.name, got)
		}
		if h.Bytes != uint64(len(frame)) {
			t.Errorf("%s: %d bytes received, want %d", f.name, h.Bytes, len(frame))
		}
	}
}

// TestTunnels: outer, inner and both, with totals counted once.
func TestTunnels(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		for _, c := range []struct {
			charge       wire.Charge
			outer, inner bool
			class        traffic.Class // of the total
			flows        uint64
		}{
			{wire.ChargeOuter, true, false, traffic.ClassOther, 0},
			{wire.ChargeInner, false, true, traffic.ClassUDP, 1},
			{wire.ChargeBoth, true, true, traffic.ClassOther, 0},
		} {
			w := newWorker(t, func(_ *Config, d *Deps) {
				d.Decoder = new(wire.Decoder)
				d.Decoder.Charge[wire.TunnelGRE] = c.charge
			})
			frame := ip(f.theirs, f.ours).GRE().IP(netip.MustParseAddr(f.far), netip.MustParseAddr(f.ours2)).UDP(1, 2).Payload(50).Bytes()
			h := process(t, w, frame)
			outer, inner := row(h, f.ours, traffic.Incoming), row(h, f.ours2, traffic.Incoming)
			if (outer != nil) != c.outer || (inner != nil) != c.inner {
				t.Fatalf("%s charge %d: outer %v inner %v", f.name, c.charge, outer != nil, inner != nil)
			}
			size := uint64(len(frame))
			if outer != nil && (outer.Cells != cells(traffic.ClassOther, size) || outer.Flows != 0) {
				t.Errorf("%s charge %d: outer %+v", f.name, c.charge, outer)
			}
			if inner != nil && (inner.Cells != cells(traffic.ClassUDP, size) || inner.Flows != 1) {
				t.Errorf("%s charge %d: inner %+v", f.name, c.charge, inner)
			}
			if total := h.Totals[f.family][traffic.Incoming]; total.Cells != cells(c.class, size) || total.Flows != c.flows {
				t.Errorf("%s charge %d: total %+v", f.name, c.charge, total)
			}
		}
	}
}

// TestFlowsAreWithin2Percent: distinct 5-tuples, both families, against a map, below the capacity.
func TestFlowsAreWithin2Percent(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		w := newWorker(t, func(cfg *Config, _ *Deps) { cfg.Flows.Flows = 60_000 })
		base := ip(f.theirs, f.ours).UDP(1, 2).Payload(8).NoChecksum().Bytes()
		at := 14 + f.header // source port
		r := rand.New(rand.NewPCG(8, 8))
		type tuple struct{ ports, src uint32 }
		seen := map[tuple]bool{}
		var frames [][]byte
		for len(seen) < 59_000 {
			b := append([]byte(nil), base...)
			x := tuple{r.Uint32N(1 << 20), r.Uint32N(4)}
			binary.BigEndian.PutUint32(b[at:], x.ports)
			b[14+12+3+(f.header-20)/20*7] = byte(x.src) // last byte of an IPv4 source, some byte of an IPv6 one
			seen[x] = true
			frames = append(frames, b, b)
		}
		h := process(t, w, frames...)
		got := h.Totals[f.family][traffic.Incoming].Flows
		if off := float64(got)/float64(len(seen)) - 1; off > 0.001 || off < -0.02 {
			t.Errorf("%s: %d flows, truth is %d", f.name, got, len(seen))
		}
		if r := row(h, f.ours, traffic.Incoming); r.Flows != got || h.Saturated != 0 {
			t.Errorf("%s: row has %d flows, total %d, saturated %d", f.name, r.Flows, got, h.Saturated)
		}
		// above the capacity: a lower bound, and it says so
		for i := range 2000 {
			b := append([]byte(nil), base...)
			binary.BigEndian.PutUint32(b[at:], uint32(i)<<20|0xfffff)
			frames = append(frames, b)
		}
		h = process(t, w, frames...)
		if got := h.Totals[f.family][traffic.Incoming].Flows; got != 60_000 || h.Saturated == 0 {
			t.Errorf("%s: saturated: %d flows, %d unjudged", f.name, got, h.Saturated)
		}
	}
}

func TestFlowsOff(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		w := newWorker(t, func(cfg *Config, _ *Deps) { cfg.Flows.Flows = 0 })
		h := process(t, w, ip(f.theirs, f.ours).UDP(1, 2).Bytes())
		if r := row(h, f.ours, traffic.Incoming); r == nil || r.Flows != 0 || h.Saturated != 0 {
			t.Errorf("%s: %+v", f.name, r)
		}
	}
}

// TestGarbageIsConserved: any bytes are a frame with exactly one code, and nothing panics.
func TestGarbageIsConserved(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	w := newWorker(t, nil)
	for range 20 {
		var frames [][]byte
		for range 2000 {
			f := families[r.IntN(2)]
			b := ip(f.theirs, f.ours).GRE().IP(netip.MustParseAddr(f.far), netip.MustParseAddr(f.ours2)).TCP(1, 2, 2).Bytes()
			for range r.IntN(6) {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
			frames = append(frames, b[:r.IntN(len(b)+1)])
		}
		if h := process(t, w, frames...); h.Frames != 2000 {
			t.Fatalf("%d frames", h.Frames)
		}
	}
}

// TestBurstsOfAllKinds: bursts in which frames that the shortcut takes stand beside tunnels that charge two headers, packets without
// ports and garbage count the same, frame by frame, as one by one.
func TestBurstsOfAllKinds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(21, 21))
	charging := func(_ *Config, d *Deps) {
		d.Decoder = new(wire.Decoder)
		d.Decoder.Charge[wire.TunnelGRE] = wire.ChargeBoth
	}
	var kinds [][]byte
	for _, f := range families {
		kinds = append(kinds,
			ip(f.theirs, f.ours).UDP(1, 2).Payload(20).Bytes(), ip(f.ours, f.theirs).TCP(3, 4, 2).Bytes(), ip(f.ours, f.ours2).UDP(5, 6).Bytes(),
			ip(f.theirs, f.far).UDP(7, 8).Bytes(), f.icmp(ip(f.theirs, f.ours)).Bytes(), ip(f.theirs, f.ours).UDP(9, 10).Bytes()[:16],
			ip(f.theirs, f.ours).GRE().IP(netip.MustParseAddr(f.far), netip.MustParseAddr(f.ours2)).UDP(11, 12).Payload(50).Bytes(),
			ip(f.ours, f.ours2).GRE().IP(netip.MustParseAddr(f.ours2), netip.MustParseAddr(f.ours)).TCP(13, 14, 16).Bytes())
	}
	for range 50 {
		var frames [][]byte
		for range 1 + r.IntN(200) {
			frames = append(frames, kinds[r.IntN(len(kinds))])
		}
		together, single := newWorker(t, charging), newWorker(t, charging)
		got := process(t, together, frames...)
		var b port.Burst
		for _, f := range frames {
			b.N, b.Frames[0] = 1, port.Frame{Data: f, WireLen: uint32(len(f))}
			single.Process(&b, wire.LinkEthernet)
		}
		want := process(t, single)
		if got.Totals != want.Totals || got.Codes != want.Codes || got.Frames != want.Frames || got.Bytes != want.Bytes {
			t.Fatalf("%d frames: %+v %v, want %+v %v", len(frames), got.Totals, got.Codes, want.Totals, want.Codes)
		}
		for _, f := range families {
			for _, a := range []string{f.ours, f.ours2, f.theirs} {
				for _, side := range []traffic.Direction{traffic.Incoming, traffic.Outgoing} {
					g, w := row(got, a, side), row(want, a, side)
					if (g == nil) != (w == nil) || g != nil && *g != *w {
						t.Fatalf("%s %v: %+v, want %+v", a, side, g, w)
					}
				}
			}
		}
	}
}

func FuzzProcess(f *testing.F) {
	for _, x := range families {
		f.Add(ip(x.theirs, x.ours).UDP(1, 2).Bytes(), uint8(0))
		f.Add(ip(x.ours, x.ours2).GRE().IPv4("1.2.3.4", "10.0.0.9").TCP(1, 2, 2).Bytes(), uint8(2))
	}
	f.Fuzz(func(t *testing.T, b []byte, charge uint8) {
		w := newWorker(t, func(cfg *Config, d *Deps) {
			cfg.Traffic.Hosts, cfg.Flows.Flows = 1, 1
			for i := range d.Decoder.Charge {
				d.Decoder.Charge[i] = wire.Charge(charge % 3)
			}
		})
		h := process(t, w, b, b, b)
		if h.Frames != 3 || h.Bytes != 3*uint64(len(b)) {
			t.Fatalf("%d frames, %d bytes", h.Frames, h.Bytes)
		}
	})
}

func TestProcessAllocs(t *testing.T) {
	e, err := probe.NewEvidence(probe.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	e.SetTargets([]probe.Target{{Addr: netip.MustParseAddr("10.0.0.1"), Direction: traffic.Incoming}})
	w := newWorker(t, func(_ *Config, d *Deps) { d.Evidence = e; d.Decoder.Charge[wire.TunnelGRE] = wire.ChargeBoth })
	var b port.Burst
	for i := range b.Frames {
		f := families[i%2]
		p := ip(f.theirs, f.ours)
		if i%3 == 0 {
			p = ip(f.ours, f.ours2).GRE().IPv4("192.0.2.9", "10.0.0.1")
		}
		d := p.UDP(uint16(i), 2).Bytes()
		b.Frames[i] = port.Frame{Data: d, WireLen: uint32(len(d))}
	}
	b.N = len(b.Frames)
	if n := testing.AllocsPerRun(100, func() { w.Process(&b, wire.LinkEthernet) }); n != 0 {
		t.Fatalf("%v allocations a burst", n)
	}
}

// queue delivers a fixed number of frames, then nothing.
type queue struct {
	frames   [][]byte
	total    int
	sent     atomic.Int64
	held     bool
	bad      atomic.Pointer[string]
	maxBurst int
}

func (q *queue) RxBurst(b *port.Burst) int {
	if q.held {
		q.bad.Store(new("RxBurst before Release"))
	}
	sent := int(q.sent.Load())
	b.N = min(q.total-sent, q.maxBurst)
	for i := range b.N {
		f := q.frames[(sent+i)%len(q.frames)]
		b.Frames[i] = port.Frame{Data: f, WireLen: uint32(len(f)), Time: int64(sent + i + 1)}
	}
	q.held = b.N > 0
	return b.N
}

func (q *queue) Release(b *port.Burst) {
	if !q.held {
		q.bad.Store(new("Release without RxBurst"))
	}
	q.held = false
	q.sent.Add(int64(b.N))
}

func (q *queue) LinkType() wire.LinkType { return wire.LinkEthernet }
func (q *queue) Stats() port.QueueStats  { return port.QueueStats{} }

// TestLoop runs the worker for real, with every idle policy, while the control plane rotates and swaps prefix tables.
func TestLoop(t *testing.T) {
	t.Parallel()
	for _, idle := range []Idle{IdleSleep, IdlePause, IdleSpin} {
		t.Run(idle.String(), func(t *testing.T) {
			e, err := probe.NewEvidence(probe.Config{SampleEvery: 100, Heads: 64, PerTarget: 8, Epochs: 100})
			if err != nil {
				t.Fatal(err)
			}
			e.SetTargets([]probe.Target{{Addr: netip.MustParseAddr("2001:db8::1"), Direction: traffic.Incoming}})
			const each = 20_000
			qs := []*queue{{total: each, maxBurst: 64}, {total: each, maxBurst: 3}}
			pinned := false
			w := newWorker(t, func(cfg *Config, d *Deps) {
				cfg.Idle = idle
				for i, q := range qs {
					q.frames = [][]byte{ip(families[i].theirs, families[i].ours).UDP(1, 2).Payload(80).Bytes(), packetbuild.Ether().ARP().Bytes()}
					d.Queues = append(d.Queues, q)
				}
				d.Evidence = e
				d.Pin = func() error { pinned = true; return nil }
			})
			if err := w.Start(context.Background()); err != nil {
				t.Fatal(err)
			}
			if !pinned || w.Start(context.Background()) == nil {
				t.Error("not pinned, or started twice")
			}
			var frames, arps, gaps uint64
			var rows traffic.Sum
			collect := func(h *traffic.Half) {
				checkConservation(t, h)
				frames += h.Frames
				arps += h.Codes[wire.ARP]
				gaps += uint64(h.MaxGap)
				for i := range h.Table().Len() {
					var r traffic.Host
					h.Table().Read(i, &r)
					rows.Add(&traffic.Sum{Cells: r.Cells})
				}
				w.shard.Clear()
			}
			deadline, next := time.Now().Add(time.Minute), int64(0)
			for qs[0].sent.Load() < each || qs[1].sent.Load() < each {
				if time.Now().After(deadline) {
					t.Fatal("the worker does not get on")
				}
				if sent := qs[0].sent.Load() + qs[1].sent.Load(); sent >= next { // not more epochs than the evidence holds
					next = sent + 1000
					w.shard.SetNets(testNets(t))
					w.shard.Request()
				}
				if h := w.shard.Collect(); h != nil {
					collect(h)
				}
			}
			if err := errors.Join(w.Stop(), w.Stop()); err != nil {
				t.Fatal(err)
			}
			for range 4 { // a request that is under way, and both halves
				w.shard.Request()
				if h := w.shard.Collect(); h != nil {
					collect(h)
				}
			}
			if frames != 2*each || arps != each || rows.Cells[traffic.ClassUDP].Packets != each || gaps == 0 {
				t.Errorf("%d frames, %d arps, %d in rows, gaps %d", frames, arps, rows.Cells[traffic.ClassUDP].Packets, gaps)
			}
			for _, q := range qs {
				if s := q.bad.Load(); s != nil {
					t.Error(*s)
				}
			}
			for _, a := range []string{"10.0.0.1", "2001:db8::1"} {
				if len(e.Samples(netip.MustParseAddr(a), traffic.Incoming, 10)) == 0 {
					t.Errorf("no evidence of %s", a)
				}
			}
			if s := w.Stats(); s.Rounds == 0 || s.Busy == 0 || s.Queues != 2 || s.Memory == 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestKeepsTurn: only a worker with a CPU of its own keeps its turn, and only while a P is left to others.
func TestKeepsTurn(t *testing.T) {
	for _, c := range []struct {
		name   string
		pin    func() error
		procs  int
		expect bool
	}{
		{"pinned", func() error { return nil }, 2, turn.Check() == nil},
		{"pinned, one P", func() error { return nil }, 1, false},
		{"not pinned", nil, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.procs))
			w := newWorker(t, func(_ *Config, d *Deps) { d.Pin = c.pin })
			for range 2 { // what one run took, the next can take again
				if err := w.Start(context.Background()); err != nil {
					t.Fatal(err)
				}
				if got := w.Stats().KeepsTurn; got != c.expect {
					t.Errorf("keeps its turn: %t", got)
				}
				if err := w.Stop(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestPinFails(t *testing.T) {
	t.Parallel()
	w := newWorker(t, func(_ *Config, d *Deps) { d.Pin = func() error { return errors.New("no such cpu") } })
	if err := w.Start(context.Background()); err == nil || err.Error() != "no such cpu" {
		t.Fatalf("Start: %v", err)
	}
}

func TestContextEndsTheLoop(t *testing.T) {
	t.Parallel()
	w := newWorker(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	if err := w.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-w.done:
	case <-time.After(time.Minute):
		t.Fatal("the loop does not end with its context")
	}
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := DefaultConfig()
	bad.Idle, bad.CountBytes, bad.Internal, bad.Traffic.Hosts, bad.Flows.Flows = 9, 9, 9, 0, -1
	if _, err := New(bad, Deps{}); err == nil {
		t.Error("a bad configuration is taken")
	}
	if _, err := New(DefaultConfig(), Deps{}); err == nil {
		t.Error("missing dependencies are taken")
	}
	for _, i := range []Idle{IdleSleep, IdlePause, IdleSpin} {
		b, _ := i.MarshalText()
		var j Idle
		if err := j.UnmarshalText(b); err != nil || i != j {
			t.Errorf("%s: %v", b, err)
		}
	}
	for _, i := range []CountBytes{CountFrame, CountIP} {
		b, _ := i.MarshalText()
		var j CountBytes
		if err := j.UnmarshalText(b); err != nil || i != j {
			t.Errorf("%s: %v", b, err)
		}
	}
	if new(Idle).UnmarshalText([]byte("nap")) == nil || new(CountBytes).UnmarshalText([]byte("words")) == nil {
		t.Error("bad names are taken")
	}
	if Idle(9).String() != "invalid" || CountBytes(9).String() != "invalid" {
		t.Error("names of invalid values")
	}
}
