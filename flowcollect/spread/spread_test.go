package spread

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

const second = int64(time.Second)

// bed is a shard whose clock the test moves, and a Spreader over it. Epochs are collected into sums a host.
type bed struct {
	t     *testing.T
	shard *traffic.Shard
	s     *Spreader
	now   int64
	half  *traffic.Half
	// epochs are what each epoch charged: rows by address and direction, and the totals.
	epochs []epoch
	sums   epoch
}

type row struct {
	addr [16]byte
	dir  traffic.Direction
}

type epoch struct {
	rows     map[row]traffic.Cells
	totals   [traffic.NumFamilies][traffic.NumDirections]traffic.Cells
	records  traffic.Counter
	overflow traffic.Counter
}

func newEpoch() epoch { return epoch{rows: map[row]traffic.Cells{}} }

func newBed(t *testing.T, cfg Config, hosts int) *bed {
	t.Helper()
	n, err := nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, sums: newEpoch(), now: 1000 * second}
	b.shard, err = traffic.NewShard(traffic.Config{Hosts: hosts}, traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64), n, func() int64 { return b.now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.shard.Leave()
		if err := b.shard.Free(); err != nil {
			t.Error(err)
		}
	})
	if b.s, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	b.shard.Enter()
	b.half = b.shard.Poll()
	b.s.Begin(b.half, b.half.Start)
	return b
}

// turn ends the epoch: the next one begins and is charged.
func (b *bed) turn() epoch {
	b.t.Helper()
	for !b.s.Work(b.half, 3) { // in small slices, as between bursts
	}
	b.shard.Request()
	next := b.shard.Poll()
	old := b.shard.Collect()
	e := newEpoch()
	for i := range old.Table().Len() {
		var h traffic.Host
		old.Table().Read(i, &h)
		e.rows[row{h.Addr, h.Direction}] = h.Cells
		sum := b.sums.rows[row{h.Addr, h.Direction}]
		sum.Add(&h.Cells)
		b.sums.rows[row{h.Addr, h.Direction}] = sum
	}
	for f := range old.Totals {
		for d := range old.Totals[f] {
			e.totals[f][d] = old.Totals[f][d].Cells
			b.sums.totals[f][d].Add(&old.Totals[f][d].Cells)
		}
	}
	e.records, e.overflow = old.Records, old.Overflowed
	b.sums.records.Add(e.records)
	b.sums.overflow.Add(e.overflow)
	b.shard.Clear()
	b.half = next
	b.s.Begin(next, next.Start)
	b.epochs = append(b.epochs, e)
	return e
}

func addr(s string) [16]byte { return netip.MustParseAddr(s).As16() }

func udp(src, dst string, packets, bytes uint64) *traffic.Record {
	return &traffic.Record{Src: addr(src), Dst: addr(dst), Class: traffic.ClassUDP, Counter: traffic.Counter{Packets: packets, Bytes: bytes}}
}

func config() Config { return Config{Entries: 1 << 14, Tick: time.Second} }

var families = []struct{ name, in, out string }{
	{"v4", "10.1.2.3", "192.0.2.1"}, {"v6", "2001:db8::1:2", "2001:db9::1"},
}

// The reason for the package: 6 GB in a minute is 100 MB/s, in every second of the minute that follows, and nothing after.
func TestALongRecordIsNoSpike(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		b := newBed(t, config(), 1000)
		b.now += second / 4
		b.s.Add(b.half, udp(f.out, f.in, 6_000_000, 6_000_000_000), b.now, time.Minute)
		var got []uint64
		for i := range 62 {
			b.now = 1000*second + int64(i+1)*second
			e := b.turn()
			c := e.rows[row{addr(f.in), traffic.Incoming}][traffic.ClassUDP]
			if total := e.totals[traffic.FamilyOf(ptr(addr(f.in)))][traffic.Incoming][traffic.ClassUDP]; total != c || e.records != c {
				t.Errorf("%s second %d: row %+v, total %+v, records %+v", f.name, i, c, total, e.records)
			}
			got = append(got, c.Bytes)
		}
		for i, n := range got {
			lo, hi := uint64(99_999_990), uint64(100_000_010)
			switch {
			case i == 0:
				lo, hi = 75_000_000, 75_000_000
			case i == 60:
				lo, hi = 24_999_000, 25_001_000
			case i > 60:
				lo, hi = 0, 0
			}
			if n < lo || n > hi {
				t.Errorf("%s second %d: %d bytes, want %d to %d", f.name, i, n, lo, hi)
			}
		}
		if c := b.sums.rows[row{addr(f.in), traffic.Incoming}][traffic.ClassUDP]; c != (traffic.Counter{Packets: 6_000_000, Bytes: 6_000_000_000}) {
			t.Errorf("%s: %+v in the end", f.name, c)
		}
		if st := b.s.Stats(); st.Entries != 0 || st.Pending != (traffic.Counter{}) || st.Spread != 1 {
			t.Errorf("%s: %+v is left", f.name, st)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// A flow that goes on is charged at its rate without a gap or a hump, wherever in a second its records arrive.
func TestAFlowThatGoesOnIsSeamless(t *testing.T) {
	t.Parallel()
	for _, period := range []time.Duration{1700 * time.Millisecond, 15 * time.Second, 59_700 * time.Millisecond, 300 * time.Second} {
		for _, f := range families {
			b := newBed(t, config(), 1000)
			next := b.now + second/3
			const rate = 1_000_000 // bytes a second
			for i := range 1000 {
				end := 1000*second + int64(i+1)*second
				for next < end {
					b.now = next
					b.s.Add(b.half, udp(f.in, f.out, uint64(period.Seconds()*1000), uint64(period.Seconds()*rate)), b.now, period)
					next += int64(period)
				}
				b.now = end
				e := b.turn()
				n := e.rows[row{addr(f.in), traffic.Outgoing}][traffic.ClassUDP].Bytes
				if i > 0 && (n < rate-2000 || n > rate+2000) {
					t.Fatalf("%s every %v: second %d has %d bytes, want %d", f.name, period, i, n, rate)
				}
			}
		}
	}
}

// Whatever comes, whenever epochs end: every packet and byte is charged exactly once, to its row and in the totals.
func TestConservation(t *testing.T) {
	t.Parallel()
	seeds := uint64(30)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 7))
		cfg := config()
		cfg.Entries = MinEntries // some runs overflow it
		b := newBed(t, cfg, 1<<14)
		want := newEpoch()
		hosts := 1 << (2 + r.IntN(10))
		var announced traffic.Counter
		for range 60 {
			for range r.IntN(60) {
				b.now += r.Int64N(30_000_000)
				rec := randomRecord(r, hosts)
				d := time.Duration(r.Int64N(int64(1) << (20 + r.IntN(24))))
				dir := b.s.Add(b.half, rec, b.now, d)
				announced.Add(rec.Counter)
				want.totals[traffic.FamilyOf(&rec.Dst)][dir][rec.Class].Add(rec.Counter)
				in, out := traffic.InternalBoth.Rows(dir)
				if in {
					addTo(want.rows, row{rec.Dst, traffic.Incoming}, rec)
				}
				if out {
					addTo(want.rows, row{rec.Src, traffic.Outgoing}, rec)
				}
			}
			if r.IntN(10) == 0 {
				b.now += r.Int64N(90 * second) // the appliance stood still
			}
			b.now += r.Int64N(second)
			b.turn()
			if st := b.s.Stats(); st.Pending.Packets+b.sums.records.Packets+b.half.Records.Packets != announced.Packets {
				t.Fatalf("seed %d: pending %d, charged %d and %d, announced %d", seed, st.Pending.Packets, b.sums.records.Packets, b.half.Records.Packets, announced.Packets)
			}
		}
		for range 2500 {
			b.now += second
			if b.turn(); b.s.Stats().Pending == (traffic.Counter{}) && b.s.Stats().Entries == 0 {
				break
			}
		}
		b.turn() // what was charged last
		if b.sums.totals != want.totals || b.sums.records != announced {
			t.Fatalf("seed %d: totals are not what was announced", seed)
		}
		checkRows(t, seed, b, want)
		if st := b.s.Stats(); st.Entries != 0 || st.Pending != (traffic.Counter{}) {
			t.Errorf("seed %d: left %+v", seed, st)
		}
	}
}

func addTo(rows map[row]traffic.Cells, k row, r *traffic.Record) {
	c := rows[k]
	c[r.Class].Add(r.Counter)
	rows[k] = c
}

// checkRows compares rows where nothing overflowed, and the sum of rows and overflow always.
func checkRows(t *testing.T, seed uint64, b *bed, want epoch) {
	t.Helper()
	var all, charged traffic.Counter
	for k, c := range want.rows {
		for class := range c {
			all.Add(c[class])
			got := b.sums.rows[k][class]
			charged.Add(got)
			if b.s.Stats().Coarse == 0 && got != c[class] {
				t.Errorf("seed %d: %v %v: %+v, want %+v", seed, k, traffic.Class(class), got, c[class])
			}
		}
	}
	charged.Add(b.sums.overflow)
	if charged != all {
		t.Errorf("seed %d: rows and overflow %+v, want %+v", seed, charged, all)
	}
}

func randomRecord(r *rand.Rand, hosts int) *traffic.Record {
	host := func() [16]byte {
		i := r.IntN(hosts)
		switch r.IntN(4) {
		case 0:
			return [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		case 1:
			return [16]byte{0x20, 1, 0x0d, 0xb8, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		case 2:
			return addr("192.0.2.77")
		default:
			return addr("2001:db9::77")
		}
	}
	return &traffic.Record{
		Src: host(), Dst: host(), Class: traffic.Class(r.IntN(int(traffic.NumClasses))),
		Counter: traffic.Counter{Packets: r.Uint64N(1 << (1 + r.IntN(25))), Bytes: r.Uint64N(1 << (1 + r.IntN(33)))},
	}
}

// What one Spreader has not charged, another charges in the time that is left: no packet is lost and nothing comes at once.
func TestInherit(t *testing.T) {
	t.Parallel()
	for _, f := range families {
		first, second2 := newBed(t, config(), 1<<12), newBed(t, config(), 1<<12)
		for i := range 20 {
			first.s.Add(first.half, udp(f.out, f.in, 60_000, 60_000_000), first.now, time.Minute)
			first.s.Add(first.half, udp(f.in, f.out, 10, 1000), first.now, time.Duration(i)*time.Second)
			first.now += second
			first.turn()
		}
		charged := first.sums.records
		charged.Add(first.half.Records)
		for range 3 { // into what is there already
			second2.s.Add(second2.half, udp(f.out, f.in, 60_000, 60_000_000), second2.now, time.Minute)
		}
		second2.s.Inherit(second2.half, first.s)
		if got := second2.s.Stats().Pending; got.Bytes < first.s.Stats().Pending.Bytes {
			t.Fatalf("%s: pending %+v of %+v", f.name, got, first.s.Stats().Pending)
		}
		var most uint64
		for range 65 {
			second2.now += second
			most = max(most, second2.turn().records.Bytes)
		}
		want := traffic.Counter{Packets: 23*60_000 + 200, Bytes: 23*60_000_000 + 20_000}
		sum := charged
		sum.Add(second2.sums.records)
		if sum != want {
			t.Errorf("%s: %+v before and %+v after, want %+v together", f.name, charged, second2.sums.records, want)
		}
		if most > 25_000_000 { // 23 records of 1 MB a second
			t.Errorf("%s: %d bytes in one second", f.name, most)
		}
		if st := second2.s.Stats(); st.Entries != 0 || st.Pending != (traffic.Counter{}) {
			t.Errorf("%s: left %+v", f.name, st)
		}
	}
}

// A minute in which the appliance stood still is not charged to the second after it.
func TestStandstillIsNoSpike(t *testing.T) {
	t.Parallel()
	b := newBed(t, config(), 1000)
	b.s.Add(b.half, udp("192.0.2.1", "10.0.0.1", 60_000, 60_000_000), b.now, time.Minute)
	b.now += second
	b.turn()
	b.now += 45 * second
	b.turn()
	b.now += second
	e := b.turn()
	if n := e.totals[traffic.IPv4][traffic.Incoming][traffic.ClassUDP].Bytes; n > 1_250_000 {
		t.Errorf("%d bytes in the second after a standstill, at most 1250000 are due", n)
	}
}

// A record that is no longer than a tick needs no spreading, and one of unknown duration cannot be spread.
func TestShortAndUnknownAreChargedAtOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t, config(), 1000)
	for _, d := range []time.Duration{-1, 0, time.Millisecond, time.Second} {
		b.s.Add(b.half, udp("192.0.2.1", "10.0.0.1", 10, 1000), b.now, d)
	}
	b.now += second
	if e := b.turn(); e.records != (traffic.Counter{Packets: 40, Bytes: 4000}) {
		t.Errorf("%+v", e.records)
	}
	if st := b.s.Stats(); st.AtOnce != 4 || st.Spread != 0 {
		t.Errorf("%+v", st)
	}
}

// Hosts without number: memory stays what it was, and their network has what they have not.
func TestFullTableSpreadsForTheNetwork(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		b := newBed(t, Config{Entries: MinEntries, Tick: time.Second}, 1<<14)
		size := cap(b.s.table.entries)
		for i := range 5000 {
			dst := [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: 9, 14: byte(i >> 8), 15: byte(i)}
			if v6 {
				dst = [16]byte{0x20, 1, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)}
			}
			b.s.Add(b.half, &traffic.Record{Dst: dst, Src: addr("192.0.2.1"), Class: traffic.ClassTCP, Counter: traffic.Counter{Packets: 100, Bytes: 10_000}}, b.now, 10*time.Second)
		}
		if cap(b.s.table.entries) != size || b.s.Stats().Coarse == 0 {
			t.Errorf("v6 %v: %+v", v6, b.s.Stats())
		}
		for range 13 {
			b.now += second
			b.turn()
		}
		if b.sums.records != (traffic.Counter{Packets: 500_000, Bytes: 50_000_000}) || b.sums.overflow == (traffic.Counter{}) {
			t.Errorf("v6 %v: %+v, overflow %+v", v6, b.sums.records, b.sums.overflow)
		}
		n := b.epochs[5].records.Bytes
		if n < 4_900_000 || n > 5_100_000 {
			t.Errorf("v6 %v: %d bytes in a second in the middle, want about 5000000", v6, n)
		}
	}
}

func TestAddAllocs(t *testing.T) {
	b := newBed(t, config(), 1<<14)
	r := rand.New(rand.NewPCG(3, 4))
	list := make([]*traffic.Record, 1000)
	for i := range list {
		list[i] = randomRecord(r, 1000)
	}
	i := 0
	if n := testing.AllocsPerRun(10_000, func() {
		b.s.Add(b.half, list[i%len(list)], b.now, time.Duration(i%300)*time.Second)
		b.s.Work(b.half, 1)
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := config().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Config{{Entries: 1, Tick: time.Second}, {Entries: MaxEntries + 1, Tick: time.Second}, {Entries: 1 << 12}} {
		if c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct {
		name  string
		hosts int
	}{{"1k", 1000}, {"100k", 100_000}} {
		b.Run(c.name, func(b *testing.B) {
			n, _ := nets.New(nets.Spec{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
			shard, err := traffic.NewShard(traffic.Config{Hosts: 1 << 20}, traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64), n, func() int64 { return 0 })
			if err != nil {
				b.Fatal(err)
			}
			s, err := New(Config{Entries: 1 << 18, Tick: time.Second})
			if err != nil {
				b.Fatal(err)
			}
			shard.Enter()
			h := shard.Poll()
			s.Begin(h, 0)
			r := rand.New(rand.NewPCG(3, 4))
			list := make([]*traffic.Record, 1<<17)
			for i := range list {
				list[i] = randomRecord(r, c.hosts)
			}
			for i := range b.N {
				s.Add(h, list[i&(1<<17-1)], 0, time.Minute)
			}
		})
	}
}
