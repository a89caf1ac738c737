package gen

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// TestCountingCoreAgrees plays every kind and encapsulation, and a flood with background, through worker and merge, and compares
// every counter of every host, direction and class with the truth, for each way of charging and of counting bytes.
func TestCountingCoreAgrees(t *testing.T) {
	t.Parallel()
	flood := builtin(t, "quiet-then-syn6")
	flood.Streams[0].Start, flood.Streams[0].Duration, flood.Length = seconds(1), seconds(2), seconds(4)
	for _, s := range []Scenario{builtin(t, "all-cases"), flood} {
		for _, opt := range []Options{
			{Charge: ChargeOuter},
			{Charge: ChargeInner},
			{Charge: ChargeBoth},
			{Charge: ChargeOuter, CountIP: true},
			{Charge: ChargeInner, CountIP: true, Epoch: 100 * time.Millisecond},
		} {
			truth, got := play(t, s, opt)
			if !reflect.DeepEqual(got.Totals, truth.Totals) {
				t.Errorf("%s %+v: totals\n%+v, want\n%+v", s.Name, opt, got.Totals, truth.Totals)
			}
			if !reflect.DeepEqual(got.Codes, truth.Codes) || got.Packets != truth.Packets || got.Bytes != truth.Bytes {
				t.Errorf("%s %+v: codes %v of %d packets, want %v of %d", s.Name, opt, got.Codes, got.Packets, truth.Codes, truth.Packets)
			}
			hosts := make(map[netip.Addr]Host)
			for _, h := range got.Hosts {
				hosts[h.Addr] = h
			}
			if len(hosts) != len(truth.Hosts) {
				t.Errorf("%s %+v: %d hosts, want %d", s.Name, opt, len(hosts), len(truth.Hosts))
			}
			for _, h := range truth.Hosts {
				if hosts[h.Addr] != h {
					t.Errorf("%s %+v: host\n%+v, want\n%+v", s.Name, opt, hosts[h.Addr], h)
					break
				}
			}
		}
	}
}

// play counts the scenario in the core, a tick for each epoch, and in a Truth.
func play(t *testing.T, s Scenario, opt Options) (truth, got Result) {
	t.Helper()
	g, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := NewTruth(g, opt)
	if err != nil {
		t.Fatal(err)
	}
	c := newCore(t, g, tr.opt)
	defer c.free(t)
	var f Frame
	var burst port.Burst
	for g.Next(&f) {
		tr.Add(&f)
		for ; !c.tick.IsZero() && f.Time >= c.tick.UnixNano(); c.tick = c.tick.Add(tr.opt.Epoch) {
			c.turn(t)
		}
		if c.tick.IsZero() {
			c.tick = time.Unix(0, f.Time).Add(tr.opt.Epoch)
		}
		burst.N = 1
		burst.Frames[0] = port.Frame{Data: f.Data, Time: f.Time, WireLen: uint32(len(f.Data))}
		c.worker.Process(&burst, wire.LinkEthernet)
	}
	c.turn(t)
	return tr.Result(), c.result()
}

type core struct {
	worker *worker.Worker
	merger *merge.Merger
	tick   time.Time
	now    int64
	res    Result
	totals [traffic.NumDirections]traffic.Sum
	hosts  map[netip.Addr]*[2]traffic.Sum
}

func newCore(t *testing.T, g *Generator, opt Options) *core {
	t.Helper()
	table, err := nets.New(nets.Spec{Networks: g.Scenario().Networks})
	if err != nil {
		t.Fatal(err)
	}
	c := &core{hosts: make(map[netip.Addr]*[2]traffic.Sum), res: Result{Codes: make(map[string]uint64)}}
	clock := func() int64 { return c.now }
	seed := traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64)
	cfg := worker.DefaultConfig()
	if opt.CountIP {
		cfg.CountBytes = worker.CountIP
	}
	d := &wire.Decoder{}
	for i := range d.Charge {
		d.Charge[i] = map[Charge]wire.Charge{ChargeOuter: wire.ChargeOuter, ChargeInner: wire.ChargeInner, ChargeBoth: wire.ChargeBoth}[opt.Charge]
	}
	if c.worker, err = worker.New(cfg, worker.Deps{Decoder: d, Nets: table, Seed: seed, Clock: clock}); err != nil {
		t.Fatal(err)
	}
	mc := merge.DefaultConfig()
	if c.merger, err = merge.New(mc, seed, table, clock); err != nil {
		t.Fatal(err)
	}
	if err := c.merger.Add(c.worker.Shard()); err != nil {
		t.Fatal(err)
	}
	return c
}

// free gives the memory back at once: what many cores reserve is more than a 32-bit machine has addresses for.
func (c *core) free(t *testing.T) {
	t.Helper()
	c.merger.Remove(c.worker.Shard())
	if err := errors.Join(c.worker.Free(), c.merger.Free()); err != nil {
		t.Error(err)
	}
}

func (c *core) turn(t *testing.T) {
	t.Helper()
	c.now += int64(time.Second)
	snap, err := c.merger.Tick(c.tick)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	if snap.Conservation != nil || snap.Saturated != 0 || snap.Overflowed.Packets != 0 || snap.Late != 0 {
		t.Fatalf("conservation %v, saturated %d, overflowed %d, late %d", snap.Conservation, snap.Saturated, snap.Overflowed.Packets, snap.Late)
	}
	c.res.Packets += snap.Frames
	c.res.Bytes += snap.Bytes
	for i, n := range snap.Codes {
		if n > 0 {
			c.res.Codes[wire.Code(i).String()] += n
		}
	}
	for f := range snap.Totals {
		for d := range snap.Totals[f] {
			c.totals[d].Add(&snap.Totals[f][d])
		}
	}
	var h traffic.Host
	for i := range snap.Len() {
		snap.Read(i, &h)
		a := netip.AddrFrom16(h.Addr).Unmap()
		if c.hosts[a] == nil {
			c.hosts[a] = new([2]traffic.Sum)
		}
		c.hosts[a][h.Direction].Add(&traffic.Sum{Cells: h.Cells, Flows: h.Flows})
	}
}

func (c *core) result() Result {
	d := func(s *traffic.Sum) D {
		u := s.Cells.Overlapping(s.Flows)
		return D{C(u.Total), C(u.TCP), C(u.TCPSYN), C(u.UDP), C(u.ICMP), C(u.Fragments), C(u.Other), u.Flows}
	}
	c.res.Totals = Totals{d(&c.totals[0]), d(&c.totals[1]), d(&c.totals[2]), d(&c.totals[3])}
	for a, h := range c.hosts {
		c.res.Hosts = append(c.res.Hosts, Host{a, d(&h[0]), d(&h[1])})
	}
	return c.res
}
