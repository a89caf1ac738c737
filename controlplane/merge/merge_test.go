package merge

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

var seed = traffic.NewSeed(rand.New(rand.NewPCG(5, 5)).Uint64)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func table(t testing.TB, networks []netip.Prefix, groups ...nets.Group) *nets.Table {
	t.Helper()
	n, err := nets.New(nets.Spec{Networks: networks, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func both(t testing.TB) *nets.Table {
	return table(t, prefixes("10.0.0.0/8", "2001:db8::/32"),
		nets.Group{Name: "a", Prefixes: prefixes("10.0.0.0/24", "2001:db8::/112")})
}

// clock is a virtual clock.
type clock struct{ atomic.Int64 }

func newMerger(t testing.TB, cfg Config, n *nets.Table, c *clock) *Merger {
	t.Helper()
	m, err := New(cfg, seed, n, c.Load)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Free() })
	return m
}

func newShard(t testing.TB, m *Merger, hosts int, n *nets.Table, c *clock) *traffic.Shard {
	t.Helper()
	s, err := traffic.NewShard(traffic.Config{Hosts: hosts}, seed, n, c.Load)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Free() })
	if err := m.Add(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// host returns the i-th address, every second one IPv6.
func host(i int) (a [16]byte) {
	if i%2 == 0 {
		a = netip.MustParseAddr("10.0.0.0").As16()
	} else {
		a = netip.MustParseAddr("2001:db8::").As16()
	}
	binary.BigEndian.PutUint16(a[14:], uint16(i/2))
	return a
}

var outside = [2][16]byte{netip.MustParseAddr("192.0.2.1").As16(), netip.MustParseAddr("2001:db9::1").As16()}

func tick(t testing.TB, m *Merger) *Snapshot {
	t.Helper()
	s, err := m.Tick(time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	if s.Conservation != nil {
		t.Error(s.Conservation)
	}
	return s
}

type key struct {
	addr [16]byte
	dir  traffic.Direction
}

// truth is one big map.
type truth struct {
	hosts  map[key]*traffic.Sum
	frames uint64
	totals traffic.Totals
}

func (w *truth) add(k key, s traffic.Sum) {
	h := w.hosts[k]
	if h == nil {
		h = new(traffic.Sum)
		w.hosts[k] = h
	}
	h.Add(&s)
}

// write counts at random what a worker or a collector would, into s and into w.
func write(s *traffic.Shard, r *rand.Rand, w *truth, bursts int) {
	s.Enter()
	defer s.Leave()
	var charges [64]traffic.Charge
	var addrs [64]uintptr
	for range bursts {
		h := s.Poll()
		if r.IntN(10) == 0 { // most of these spill: fewer than there is room for, also when no tick comes in between
			rec := traffic.Record{
				Src: outside[0], Dst: host(r.IntN(3000)), Class: traffic.Class(r.IntN(int(traffic.NumClasses))),
				Counter: traffic.Counter{Packets: r.Uint64N(1 << 28), Bytes: r.Uint64N(1 << 36)}, Flow: r.IntN(2) == 0,
			}
			if r.IntN(3) == 0 {
				rec.Src = host(r.IntN(3000))
			}
			d := h.AddRecord(traffic.InternalBoth, &rec)
			one := traffic.Sum{}
			one.Cells[rec.Class] = rec.Counter
			if rec.Flow {
				one.Flows = 1
			}
			w.add(key{rec.Dst, traffic.Incoming}, one)
			if d == traffic.Internal {
				w.add(key{rec.Src, traffic.Outgoing}, one)
			}
			w.totals[traffic.FamilyOf(&rec.Dst)][d].Add(&one)
			continue
		}
		for i := range charges {
			k := key{host(r.IntN(3000)), traffic.Direction(r.IntN(2))}
			c := &charges[i]
			c.Class, c.NewFlows = traffic.Class(r.IntN(int(traffic.NumClasses))), uint8(r.IntN(2))
			size := r.Uint64N(9000)
			c.Word = traffic.OnePacket + size
			c.Set(&k.addr, h.Nets().Lookup(&k.addr), k.dir)
			one := traffic.Sum{Flows: uint64(c.NewFlows)}
			one.Cells[c.Class] = traffic.Counter{Packets: 1, Bytes: size}
			w.add(k, one)
			f := traffic.FamilyOf(&k.addr)
			w.totals[f][k.dir].Add(&one)
			h.Totals[f][k.dir].Add(&one)
			h.Codes[wire.OK]++
			h.Frames++
			w.frames++
		}
		h.Prepare(charges[:], addrs[:])
		h.Locate(charges[:], addrs[:])
		h.Add(charges[:])
		if r.IntN(100) == 0 {
			runtime.Gosched()
		}
	}
}

// TestShardsAgainstOneMap: four owners, or a single one, whose rows are taken over and not copied, count while another
// goroutine ticks as fast as it can and swaps prefix tables.
// Everything must come out exactly once, and every place must belong to the snapshot's table.
func TestShardsAgainstOneMap(t *testing.T) {
	t.Parallel()
	for _, owners := range []int{4, 1} {
		t.Run(fmt.Sprint(owners), func(t *testing.T) {
			t.Parallel()
			againstOneMap(t, owners)
		})
	}
}

func againstOneMap(t *testing.T, owners int) {
	var c clock
	tables := []*nets.Table{both(t), table(t, prefixes("10.0.0.0/24", "10.0.0.0/8", "2001:db8::/32", "2001:db8::/112"))}
	m := newMerger(t, Config{Wait: time.Minute}, tables[0], &c)
	var wg sync.WaitGroup
	truths := make([]truth, owners)
	for i := range truths {
		truths[i].hosts = map[key]*traffic.Sum{}
		s := newShard(t, m, 6000+i*777, tables[0], &c)
		wg.Go(func() { write(s, rand.New(rand.NewPCG(9, uint64(i))), &truths[i], 1500) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()

	got := truth{hosts: map[key]*traffic.Sum{}}
	ticks, last := 0, 0
	for last < 2 { // two ticks after the writers have ended: both halves
		select {
		case <-done:
			last++
		default:
		}
		c.Add(int64(time.Second))
		m.SetNets(tables[ticks/3%2])
		s := tick(t, m)
		ticks++
		if s.Late > 0 || s.Overflowed != (traffic.Counter{}) || s.Lost != (traffic.Counter{}) || s.Scaled > 0 || s.Shards != owners {
			t.Fatalf("late %d, overflowed %v, lost %v, scaled %d", s.Late, s.Overflowed, s.Lost, s.Scaled)
		}
		if s.Elapsed != time.Second {
			t.Fatalf("elapsed %v", s.Elapsed)
		}
		got.frames += s.Frames
		for f := range s.Totals {
			for d := range s.Totals[f] {
				got.totals[f][d].Add(&s.Totals[f][d])
			}
		}
		checkSums(t, s)
		for i := range s.Len() {
			h := s.At(i)
			got.add(key{h.Addr, h.Direction}, traffic.Sum{Cells: h.Cells, Flows: h.Flows})
			if again, ok := s.Find(netip.AddrFrom16(h.Addr), h.Direction); !ok || again != h {
				t.Fatalf("Find: %+v, want %+v", again, h)
			}
		}
		s.Release()
	}
	want := truth{hosts: map[key]*traffic.Sum{}}
	for i := range truths {
		for k, s := range truths[i].hosts {
			want.add(k, *s)
		}
		for f := range want.totals {
			for d := range want.totals[f] {
				want.totals[f][d].Add(&truths[i].totals[f][d])
			}
		}
		want.frames += truths[i].frames
	}
	if got.totals != want.totals || got.frames != want.frames || len(got.hosts) != len(want.hosts) {
		t.Fatalf("%d ticks: totals %v, frames %d of %d, hosts %d of %d", ticks, got.totals == want.totals, got.frames, want.frames, len(got.hosts), len(want.hosts))
	}
	for k, w := range want.hosts {
		if g := got.hosts[k]; g == nil || *g != *w {
			t.Fatalf("%v %v: %+v, want %+v", netip.AddrFrom16(k.addr), k.dir, g, w)
		}
	}
	t.Logf("%d ticks, %d frames, %d rows", ticks, got.frames, len(got.hosts))
}

// checkSums adds rows and overflow up by network and group and compares; it looks at every row's peaks, too.
func checkSums(t *testing.T, s *Snapshot) {
	t.Helper()
	networks, groups := make([]Sides, len(s.Networks)), make([]Sides, len(s.Groups))
	add := func(id nets.ID, d traffic.Direction, sum *traffic.Sum) {
		p := s.Nets.Place(id)
		if p.Network < 0 {
			return
		}
		networks[p.Network][d].Add(sum)
		groups[p.Group][d].Add(sum)
	}
	for i := range s.Len() {
		h := s.At(i)
		if want := s.Nets.Lookup(&h.Addr); h.Place != want {
			t.Fatalf("place %d, want %d", h.Place, want)
		}
		add(h.Place, h.Direction, &traffic.Sum{Cells: h.Cells, Flows: h.Flows})
		var one traffic.Counter
		for _, n := range h.Cells {
			one.Add(n)
		}
		if p := s.Peaks(i / traffic.PeakRows)[traffic.FamilyOf(&h.Addr)][h.Direction]; p.Packets < one.Packets || p.Bytes < one.Bytes || p.Flows < h.Flows {
			t.Fatalf("row %d has more than its peak %+v", i, p)
		}
	}
	for i := range s.Overflow {
		add(s.Overflow[i].Place, s.Overflow[i].Direction, &s.Overflow[i].Sum)
	}
	if !slices.Equal(networks, s.Networks) || !slices.Equal(groups, s.Groups) {
		t.Fatal("sums of networks or groups are wrong")
	}
}

func count(s *traffic.Shard, a [16]byte, packets uint64) {
	h := s.Poll()
	for i := range packets {
		h.AddRecord(traffic.InternalBoth, &traffic.Record{Src: outside[i%2], Dst: a, Class: traffic.ClassUDP, Counter: traffic.Counter{Packets: 1, Bytes: 100}})
	}
}

// TestLate: a worker that does not answer is left out, and comes scaled with the next tick; totals stay exact.
func TestLate(t *testing.T) {
	t.Parallel()
	var c clock
	n := both(t)
	m := newMerger(t, Config{Wait: time.Millisecond}, n, &c)
	good, bad := newShard(t, m, 10, n, &c), newShard(t, m, 10, n, &c)
	bad.Enter()
	bad.Poll()
	for _, a := range [][16]byte{host(2), host(3)} {
		count(good, a, 100)
		h := bad.Poll()
		h.AddRecord(traffic.InternalBoth, &traffic.Record{Src: outside[0], Dst: a, Class: traffic.ClassUDP, Counter: traffic.Counter{Packets: 200, Bytes: 20000}})
	}
	c.Add(int64(time.Second))
	s := tick(t, m)
	if s.Late != 1 || s.Shards != 2 || s.Len() != 2 || s.Elapsed != time.Second || s.At(0).Cells[traffic.ClassUDP].Packets != 100 {
		t.Fatalf("late %d, rows %d, elapsed %v", s.Late, s.Len(), s.Elapsed)
	}
	s.Release()
	count(good, host(2), 100)
	count(good, host(3), 100)
	c.Add(int64(time.Second))
	bad.Poll() // answers at last, having counted for two seconds
	s = tick(t, m)
	if s.Late != 0 || s.Scaled != 1 || s.Elapsed != time.Second {
		t.Fatalf("late %d, scaled %d, elapsed %v", s.Late, s.Scaled, s.Elapsed)
	}
	for i := range 2 {
		if got := s.At(i).Cells[traffic.ClassUDP]; got != (traffic.Counter{Packets: 200, Bytes: 20000}) { // 100 + 200 in two seconds
			t.Errorf("row %d: %+v", i, got)
		}
	}
	var total traffic.Counter
	for f := range s.Totals {
		total.Add(s.Totals[f][traffic.Incoming].Cells[traffic.ClassUDP])
	}
	if total != (traffic.Counter{Packets: 600, Bytes: 60000}) {
		t.Errorf("total %+v", total)
	}
	bad.Leave()
	s.Release()
}

// TestLateWithOldNets: the late half has the prefix table of before the swap; its rows and its overflow move.
func TestLateWithOldNets(t *testing.T) {
	t.Parallel()
	var c clock
	old := both(t)
	m := newMerger(t, Config{Wait: time.Millisecond}, old, &c)
	s := newShard(t, m, 1, old, &c)
	s.Enter()
	h := s.Poll()
	for _, a := range [][16]byte{host(2), host(3)} { // the second one overflows
		h.AddRecord(traffic.InternalBoth, &traffic.Record{Src: outside[0], Dst: a, Class: traffic.ClassICMP, Counter: traffic.Counter{Packets: 10, Bytes: 1000}})
	}
	swapped := table(t, prefixes("2001:db8::/32", "192.168.0.0/16", "10.0.0.0/8"))
	m.SetNets(swapped)
	tick(t, m).Release()
	c.Add(int64(time.Second))
	s.Poll()
	got := tick(t, m)
	defer got.Release()
	if got.Nets != swapped || got.Len() != 1 || len(got.Overflow) != 1 {
		t.Fatalf("rows %d, overflow %d", got.Len(), len(got.Overflow))
	}
	checkSums(t, got)
	want := traffic.Counter{Packets: 10, Bytes: 1000}
	if got.Networks[2][traffic.Incoming].Cells[traffic.ClassICMP] != want || got.Networks[0][traffic.Incoming].Cells[traffic.ClassICMP] != want {
		t.Errorf("networks %+v", got.Networks)
	}
	if got.Overflowed != want {
		t.Errorf("overflowed %+v", got.Overflowed)
	}
	s.Leave()
}

// TestSnapshotFull: hosts beyond the snapshot's limit are in the overflow of their network.
func TestSnapshotFull(t *testing.T) {
	t.Parallel()
	var c clock
	n := both(t)
	m := newMerger(t, Config{Wait: time.Second, Hosts: 10}, n, &c)
	s := newShard(t, m, 100, n, &c)
	for i := range 100 {
		count(s, host(i), 1)
	}
	got := tick(t, m)
	defer got.Release()
	checkSums(t, got)
	if got.Len() != 10 || got.Overflowed != (traffic.Counter{Packets: 90, Bytes: 9000}) {
		t.Errorf("rows %d, overflowed %+v", got.Len(), got.Overflowed)
	}
	if _, ok := got.Find(netip.AddrFrom16(host(0)), traffic.Incoming); !ok {
		t.Error("the first host is not there")
	}
}

func TestSnapshotsAreIndependentAndReused(t *testing.T) {
	t.Parallel()
	var c clock
	n := both(t)
	m := newMerger(t, DefaultConfig(), n, &c)
	s := newShard(t, m, 10, n, &c)
	count(s, host(0), 5)
	a := tick(t, m)
	count(s, host(0), 7)
	b := tick(t, m)
	if a == b || a.At(0).Cells[traffic.ClassUDP].Packets != 5 || b.At(0).Cells[traffic.ClassUDP].Packets != 7 || a.Seq != 1 || b.Seq != 2 {
		t.Fatal("snapshots share memory")
	}
	a.Release()
	third := tick(t, m)
	if third != a || third.Len() != 0 || third.Frames != 0 || third.Networks[0] != (Sides{}) {
		t.Fatal("memory is not used again, or not empty")
	}
	third.Release()
	newShard(t, m, 1000, n, &c) // needs larger snapshots
	if d := tick(t, m); d == third || d.table.Cap() < 1010 {
		t.Fatal("snapshot is too small")
	}
	defer func() {
		if recover() == nil {
			t.Error("released twice without notice")
		}
	}()
	b.Release()
	b.Release()
}

func TestRemoveAndSeeds(t *testing.T) {
	t.Parallel()
	var c clock
	n := both(t)
	m := newMerger(t, DefaultConfig(), n, &c)
	s := newShard(t, m, 10, n, &c)
	m.Remove(s)
	m.Remove(s)
	if got := tick(t, m); got.Shards != 0 || got.Len() != 0 {
		t.Error("a removed shard was asked")
	}
	other := seed
	other[0]++
	stranger, err := traffic.NewShard(traffic.Config{Hosts: 1}, other, n, c.Load)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Free()
	if m.Add(stranger) == nil {
		t.Error("a shard with another seed was added")
	}
	for _, bad := range []Config{{Wait: -1}, {Hosts: -1}, {Hosts: traffic.MaxRows + 1}} {
		if _, err := New(bad, seed, n, c.Load); err == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

func TestTickAllocs(t *testing.T) {
	var c clock
	n := both(t)
	m := newMerger(t, DefaultConfig(), n, &c)
	s := newShard(t, m, 1000, n, &c)
	s.Poll().AddRecord(traffic.InternalBoth, &traffic.Record{Src: outside[0], Dst: host(1)})
	if got := testing.AllocsPerRun(100, func() {
		c.Add(1000)
		x, err := m.Tick(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		x.Release()
	}); got > 2 {
		t.Errorf("%v allocations a tick", got)
	}
}

// BenchmarkTick merges shards with a million active hosts each.
func BenchmarkTick(b *testing.B) {
	for _, shards := range []int{1, 2} {
		b.Run(map[int]string{1: "1x1M", 2: "2x1M"}[shards], func(b *testing.B) {
			const hosts = 1 << 20
			var c clock
			n := both(b)
			m := newMerger(b, DefaultConfig(), n, &c)
			var list []*traffic.Shard
			for range shards {
				list = append(list, newShard(b, m, hosts, n, &c))
			}
			for b.Loop() {
				b.StopTimer()
				for _, s := range list {
					h := s.Poll()
					for i := range hosts {
						var a [16]byte
						a[10], a[11] = 0xff, 0xff
						binary.BigEndian.PutUint32(a[12:], 10<<24|uint32(i))
						h.AddRecord(traffic.InternalBoth, &traffic.Record{Src: outside[0], Dst: a, Class: traffic.ClassUDP, Counter: traffic.Counter{Packets: 1, Bytes: 60}})
					}
				}
				c.Add(int64(time.Second))
				b.StartTimer()
				s, err := m.Tick(time.Time{})
				if err != nil || s.Len() != hosts {
					b.Fatal(err, s.Len())
				}
				s.Release()
			}
		})
	}
}
