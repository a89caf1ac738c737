package tick

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Groups is how many hostgroups there are besides global.
const Groups = 100

// Threshold is every group's limit in packets per second.
const Threshold = 20_000

// Case is one measurement.
type Case struct {
	// Hosts are active in every epoch, half of them IPv6 when Mixed, else all of the family that IPv6 says.
	Hosts       int
	IPv6, Mixed bool
	// Attacked of them are over the threshold from the second tick on, spread over all.
	Attacked int
	// Ticks is how many are measured.
	Ticks int
}

// Result is what a Case gave.
type Result struct {
	Case
	// Times are the whole ticks, sorted; Merges the part of each that merging took, sorted; CPU the run time of the
	// ticking thread, sorted: far below Times, the machine was busy.
	Times, Merges, CPU []time.Duration
	// First is the measured tick that found the attacks: it opens all incidents. 0 without attacks.
	First time.Duration
	// BytesPerHost is what a worker's counters reserve, without flows.
	BytesPerHost float64
}

// world is an engine over one shard, in virtual time.
type world struct {
	shard  *traffic.Shard
	merger *merge.Merger
	engine *engine.Engine
	source *source
	now    time.Time
}

// source notes the time that merging takes, and any fault.
type source struct {
	engine.Source
	took    time.Duration
	longest time.Duration                   // gap between two polls
	each    func(counted uint64, hosts int) // told of every snapshot; nil is left out
	err     error
}

func (s *source) Tick(now time.Time) (*merge.Snapshot, error) {
	began := time.Now()
	snap, err := s.Source.Tick(now)
	s.took = time.Since(began)
	if err == nil {
		err = snap.Conservation
		if snap.Overflowed.Packets > 0 {
			err = fmt.Errorf("%d packets overflowed", snap.Overflowed.Packets)
		}
		s.longest = max(s.longest, snap.MaxGap)
		if s.each != nil {
			s.each(snap.Codes[wire.OK], snap.Len())
		}
	}
	s.err = errors.Join(s.err, err)
	return snap, err
}

func settings() (engine.Settings, error) {
	yes, limit := true, uint64(Threshold)
	groups := map[string]rule.GroupConfig{"global": {
		BanForPPS: &yes, ThresholdPPS: &limit, BanForPPSOutgoing: &yes, ThresholdPPSOutgoing: &limit,
	}}
	for i := range Groups {
		groups[fmt.Sprint("customer", i)] = rule.GroupConfig{Networks: []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 20),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 13: byte(i)}), 112),
		}}
	}
	rules, err := rule.Compile(groups)
	if err != nil {
		return engine.Settings{}, err
	}
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	table, err := nets.New(nets.Spec{Networks: networks, Groups: rules.Members()})
	return engine.Settings{
		Engine: engine.Default(), Tick: time.Second, Rates: rate.Default(), Bans: incident.Default(), Rules: rules, Nets: table,
		Mitigate: mitigate.Config{Guard: mitigate.DefaultGuard(), Site: mitigate.Site{Networks: networks}},
	}, err
}

func newWorld(hosts int) (*world, error) {
	set, err := settings()
	if err != nil {
		return nil, err
	}
	w := &world{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() int64 { return w.now.UnixNano() }
	seed := traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64)
	if w.shard, err = traffic.NewShard(traffic.Config{Hosts: hosts}, seed, set.Nets, clock); err != nil {
		return nil, err
	}
	if err := w.build(set, seed, clock); err != nil {
		return nil, errors.Join(err, w.shard.Free())
	}
	return w, nil
}

// build makes merger and engine over the shard. On an error no merger stays.
func (w *world) build(set engine.Settings, seed traffic.Seed, clock func() int64) (err error) {
	if w.merger, err = merge.New(merge.DefaultConfig(), seed, set.Nets, clock); err != nil {
		return err
	}
	w.source = &source{Source: w.merger}
	ids := 0
	w.engine, err = engine.New(set, engine.Deps{Source: w.source, NewID: func() string { ids++; return fmt.Sprint("id-", ids) }})
	if err = errors.Join(err, w.merger.Add(w.shard)); err != nil {
		return errors.Join(err, w.merger.Free())
	}
	return nil
}

func (w *world) free() error { return errors.Join(w.merger.Free(), w.shard.Free()) }

// Run measures one case.
func Run(c Case) (r Result, err error) {
	r.Case = c
	w, err := newWorld(c.Hosts)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.free()) }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.BytesPerHost = float64(w.shard.Size()) / float64(c.Hosts)
	const warmUp = 2 // both halves, and the snapshots
	for i := range c.Ticks + warmUp {
		w.count(c, i >= warmUp)
		w.now = w.now.Add(time.Second)
		used, began := threadCPU(), time.Now()
		w.engine.Tick(w.now)
		took := time.Since(began)
		used = threadCPU() - used
		if i < warmUp {
			continue
		}
		if i == warmUp && c.Attacked > 0 {
			r.First = took
			continue
		}
		r.Times, r.Merges, r.CPU = append(r.Times, took), append(r.Merges, w.source.took), append(r.CPU, used)
	}
	slices.Sort(r.Times)
	slices.Sort(r.Merges)
	slices.Sort(r.CPU)
	h := w.engine.View().Health
	if h.Hosts != c.Hosts || h.Incidents.Open != c.Attacked {
		err = fmt.Errorf("%d hosts and %d incidents instead of %d and %d", h.Hosts, h.Incidents.Open, c.Hosts, c.Attacked)
	}
	return r, errors.Join(err, w.source.err)
}

func threadCPU() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every kernel that Go runs on has it
	}
	return time.Duration(t.Nano())
}

// count fills the active half: every host has a little UDP traffic, the attacked ones twice the threshold.
func (w *world) count(c Case, attack bool) {
	half := w.shard.Poll()
	every := 0
	if attack && c.Attacked > 0 {
		every = c.Hosts / c.Attacked
	}
	remote := [2]netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:2::1")}
	from := [2][16]byte{remote[0].As16(), remote[1].As16()}
	for i := range c.Hosts {
		r := traffic.Record{Class: traffic.ClassUDP, Counter: traffic.Counter{Packets: 1 + uint64(i%600), Bytes: 60 * (1 + uint64(i%600))}}
		if every > 0 && i%every == 0 && i/every < c.Attacked {
			r.Counter = traffic.Counter{Packets: 2 * Threshold, Bytes: 120 * Threshold}
		}
		v6, n := c.IPv6, uint32(i)
		if c.Mixed {
			v6, n = i%2 == 1, uint32(i/2)
		}
		if v6 {
			r.Src, r.Dst = from[1], [16]byte{0x20, 1, 0x0d, 0xb8, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
		} else {
			r.Src, r.Dst = from[0], [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}
		}
		half.AddRecord(traffic.InternalBoth, &r)
	}
}

// Cases are quiet hosts of either family, and a mix with a thousand of them attacked.
func Cases(hosts, ticks int) []Case {
	return []Case{
		{Hosts: hosts, Ticks: ticks},
		{Hosts: hosts, Ticks: ticks, IPv6: true},
		{Hosts: hosts, Ticks: ticks, Mixed: true, Attacked: 1000},
	}
}
