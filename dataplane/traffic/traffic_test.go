package traffic

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/wire"
)

func testSeed(n uint64) Seed { return NewSeed(rand.New(rand.NewPCG(n, n)).Uint64) }

func addr(s string) [16]byte { return netip.MustParseAddr(s).As16() }

// host returns the i-th address of the test networks, every second one IPv6.
func host(i int) [16]byte {
	var a [16]byte
	if i%2 == 0 {
		a = addr("10.0.0.0")
	} else {
		a = addr("2001:db8::")
	}
	binary.BigEndian.PutUint16(a[14:], uint16(i/2))
	a[13] |= byte(i / 2 >> 16)
	return a
}

func testNets(t testing.TB) *nets.Table {
	t.Helper()
	n, err := nets.New(nets.Spec{
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
		Groups:   []nets.Group{{Name: "customers", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func newTable(t testing.TB, limit int) *Table {
	t.Helper()
	var a arena.Arena
	tab, err := NewTable(&a, testSeed(1), limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Free() })
	return tab
}

func newShard(t testing.TB, hosts int) (*Shard, *int64) {
	t.Helper()
	now := new(int64)
	s, err := NewShard(Config{Hosts: hosts}, testSeed(1), testNets(t), func() int64 { return *now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Free() })
	return s, now
}

func TestLayout(t *testing.T) {
	t.Parallel()
	for _, typ := range []reflect.Type{reflect.TypeFor[row](), reflect.TypeFor[tail]()} {
		if typ.Size() != rowSize {
			t.Errorf("a %v has %d bytes, want %d", typ, typ.Size(), rowSize)
		}
		if err := arena.PointerFree(typ); err != nil {
			t.Error(err)
		}
	}
	s := reflect.TypeFor[Shard]()
	want, _ := s.FieldByName("want")
	done, _ := s.FieldByName("done")
	epoch, _ := s.FieldByName("epoch")
	if want.Offset%8 != 0 || done.Offset < want.Offset+arena.Line || epoch.Offset < done.Offset+arena.Line {
		t.Errorf("want, done, epoch at %d, %d, %d", want.Offset, done.Offset, epoch.Offset)
	}
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		proto, flags uint8
		frag         bool
		want         Class
	}{
		{wire.ProtoTCP, 0, false, ClassTCP},
		{wire.ProtoTCP, wire.FlagACK, false, ClassTCP},
		{wire.ProtoTCP, wire.FlagSYN, false, ClassTCPSYN},
		{wire.ProtoTCP, wire.FlagSYN | wire.FlagACK | wire.FlagFIN, false, ClassTCPSYN},
		{wire.ProtoTCP, wire.FlagSYN, true, ClassTCPSYNFragment},
		{wire.ProtoTCP, 0, true, ClassTCPFragment},
		{wire.ProtoUDP, 0, false, ClassUDP},
		{wire.ProtoUDP, wire.FlagSYN, true, ClassUDPFragment},
		{wire.ProtoICMP, 0, false, ClassICMP},
		{wire.ProtoICMPv6, 0, false, ClassICMP},
		{wire.ProtoICMPv6, 0, true, ClassICMPFragment},
		{wire.ProtoSCTP, 0, false, ClassOther},
		{wire.ProtoGRE, 0, true, ClassOtherFragment},
		{0, 0, false, ClassOther},
		{255, 255, true, ClassOtherFragment},
	} {
		if got := ClassOf(c.proto, c.flags, c.frag); got != c.want {
			t.Errorf("ClassOf(%d, %#x, %v) = %d, want %d", c.proto, c.flags, c.frag, got, c.want)
		}
	}
}

func TestDirectionAndFamily(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		src, dst nets.ID
		want     Direction
	}{{0, 0, Other}, {0, 5, Incoming}, {7, 0, Outgoing}, {1, 1, Internal}} {
		if got := DirectionOf(c.src, c.dst); got != c.want {
			t.Errorf("DirectionOf(%d, %d) = %v, want %v", c.src, c.dst, got, c.want)
		}
	}
	for s, want := range map[string]Family{"1.2.3.4": IPv4, "0.0.0.0": IPv4, "::": IPv6, "::1.2.3.4": IPv6, "2001:db8::1": IPv6, "::fffe:1.2.3.4": IPv6} {
		a := addr(s)
		if got := FamilyOf(&a); got != want {
			t.Errorf("FamilyOf(%s) = %d, want %d", s, got, want)
		}
	}
}

// rowOf is the row of a host, started if need be.
func rowOf(t *Table, addr [16]byte, d Direction, place nets.ID) uint32 {
	var c Charge
	c.Set(&addr, place, d)
	return t.search(&c)
}

// charge takes one charge through all steps.
func charge(h *Half, c Charge, a [16]byte, place nets.ID, d Direction) {
	charges := []Charge{c}
	var addrs [1]uintptr
	charges[0].Set(&a, place, d)
	h.Prepare(charges, addrs[:])
	h.Locate(charges, addrs[:])
	h.Add(charges)
}

type hostKey struct {
	addr [16]byte
	dir  Direction
}

// TestTableAgainstMap adds at random, over several epochs, and compares every row with a map.
func TestTableAgainstMap(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2, 63, 1000, 20000} {
		tab := newTable(t, limit)
		r := rand.New(rand.NewPCG(3, uint64(limit)))
		for epoch := range 4 {
			want := map[hostKey]*Host{}
			for range 4 * limit {
				k := hostKey{host(r.IntN(max(limit/2, 1))), Direction(r.IntN(2))}
				class, n := Class(r.IntN(int(NumClasses))), Counter{1 + r.Uint64N(3), r.Uint64N(9000)}
				if limit == 1 {
					k.dir = Incoming
				}
				w := want[k]
				if w == nil {
					w = &Host{Addr: k.addr, Direction: k.dir, Place: 3}
					want[k] = w
				}
				w.Cells[class].Add(n)
				i := rowOf(tab, k.addr, k.dir, 3)
				if i == noRow {
					t.Fatalf("limit %d: full at %d", limit, tab.Len())
				}
				tab.addCounter(i, class, n)
			}
			compareRows(t, tab, want)
			tab.Clear()
			if tab.Len() != 0 {
				t.Fatalf("limit %d epoch %d: rows left after Clear", limit, epoch)
			}
		}
	}
}

func compareRows(t *testing.T, tab *Table, want map[hostKey]*Host) {
	t.Helper()
	if tab.Len() != len(want) {
		t.Fatalf("Len %d, want %d", tab.Len(), len(want))
	}
	for s := range tab.Len() {
		var h Host
		tab.Read(s, &h)
		w := want[hostKey{h.Addr, h.Direction}]
		if w == nil || h != *w {
			t.Fatalf("row %+v, want %+v", h, w)
		}
		if at, ok := tab.Find(&h.Addr, h.Direction); !ok || at != s {
			t.Fatalf("Find(%v) = %d %v, want %d", h.Addr, at, ok, s)
		}
	}
	missing := addr("192.0.2.1")
	if _, ok := tab.Find(&missing, Incoming); ok {
		t.Fatal("found a host that is not there")
	}
}

func TestFullTableIsFullExactlyAtItsLimit(t *testing.T) {
	t.Parallel()
	tab := newTable(t, 50_000)
	for i := range 60_000 {
		at := rowOf(tab, host(i), Incoming, 1)
		if (at != noRow) != (i < 50_000) {
			t.Fatalf("host %d: row %d", i, at)
		}
	}
}

// TestLyingFingerprints gives every host the same hash: only comparing keys tells them apart.
func TestLyingFingerprints(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 1000)
	h := s.Poll()
	const hosts = 100
	charges, addrs := make([]Charge, hosts), make([]uintptr, hosts)
	for round := range 3 {
		for i := range charges {
			a := host(i)
			charges[i].Word, charges[i].Class = OnePacket+uint64(i), Class(i%int(NumClasses))
			charges[i].Set(&a, 1, Incoming)
			charges[i].hash = 42
		}
		h.Locate(charges, addrs)
		h.Add(charges)
		if h.Table().Len() != hosts {
			t.Fatalf("round %d: %d rows, want %d", round, h.Table().Len(), hosts)
		}
	}
	seen := map[[16]byte]bool{}
	for i := range hosts {
		var got Host
		h.Table().Read(i, &got)
		seen[got.Addr] = true
		sum := got.Cells.Sum(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		if sum.Packets != 3 || host(int(sum.Bytes/3)) != got.Addr {
			t.Errorf("row %d: %+v for %v", i, sum, got.Addr)
		}
	}
	if len(seen) != hosts {
		t.Errorf("%d hosts, want %d", len(seen), hosts)
	}
}

// TestEndlessRun: when a run of full lines is longer than a search may be, hosts overflow instead of being looked for
// for ever.
func TestEndlessRun(t *testing.T) {
	t.Parallel()
	tab := newTable(t, 10_000)
	for i := range 2 * maxLines * lanes {
		a := host(i)
		var c Charge
		c.Set(&a, 1, Incoming)
		c.hash = ^uint64(0) // the last line
		if got := tab.find(&c); (got == noRow) != (i >= maxLines*lanes) {
			t.Fatalf("host %d: row %d", i, got)
		}
	}
}

func TestTagWrap(t *testing.T) {
	t.Parallel()
	tab := newTable(t, 100)
	tab.tag = maxTag - 2
	a := addr("2001:db8::1")
	for range 6 {
		if _, ok := tab.Find(&a, Incoming); ok {
			t.Fatalf("tag %d: a row of an earlier epoch is alive", tab.tag)
		}
		i := rowOf(tab, a, Incoming, 1)
		tab.addCounter(i, ClassOther, Counter{1, 100})
		var h Host
		tab.Read(int(i), &h)
		if got := h.Cells[ClassOther]; got != (Counter{1, 100}) {
			t.Fatalf("tag %d: %+v", tab.tag, got)
		}
		if tab.tag == 0 || tab.tag > maxTag {
			t.Fatalf("tag %d", tab.tag)
		}
		tab.Clear()
	}
}

// TestSpill drives words over their limits, one frame and one record at a time.
func TestSpill(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 10)
	h := s.Poll()
	src, dst := addr("192.0.2.1"), addr("10.0.0.1")
	var c Charge
	var want Counter
	for _, class := range []Class{ClassUDP, ClassOtherFragment} {
		c.Class = class
		c.Word = OnePacket + 1<<32 - 1 // the most that a frame can say
		for range 100 {
			charge(h, c, dst, 1, Incoming)
		}
		want = Counter{100, 100 * (1<<32 - 1)}
		r := Record{Src: src, Dst: dst, Class: class}
		for _, n := range []Counter{{1<<27 - 1, 0}, {1 << 27, 1}, {1<<63 - 1, 1 << 40}, {3, 1<<35 - 1}, {2, 5}, {1<<27 - 1, 1<<35 - 1}, {1<<27 - 1, 1<<35 - 1}} {
			r.Counter = n
			want.Add(n)
			if d := h.AddRecord(InternalBoth, &r); d != Incoming {
				t.Fatal(d)
			}
		}
		at, ok := h.Table().Find(&dst, Incoming)
		if !ok {
			t.Fatal("no row")
		}
		var got Host
		h.Table().Read(at, &got)
		if got.Cells[class] != want {
			t.Errorf("class %d: %+v, want %+v", class, got.Cells[class], want)
		}
	}
	if h.Table().Lost() != (Counter{}) {
		t.Error("lost")
	}
}

func TestSpillListIsBoundedAndHonest(t *testing.T) {
	t.Parallel()
	tab := newTable(t, 2*maxSpills)
	big := Counter{1 << 40, 1 << 50}
	for i := range 2 * maxSpills {
		tab.addCounter(rowOf(tab, host(i), Outgoing, 1), ClassTCP, big)
	}
	var sum Counter
	for slot := range tab.Len() {
		var h Host
		tab.Read(slot, &h)
		sum.Add(h.Cells[ClassTCP])
	}
	if want := (Counter{maxSpills << 40, maxSpills << 50}); sum != want || tab.Lost() != want {
		t.Errorf("in rows %+v, lost %+v, want each %+v", sum, tab.Lost(), want)
	}
}

func TestOverflowIsHonest(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 10)
	h := s.Poll()
	var c Charge
	for i := range 1000 {
		a := host(i)
		c.Class, c.Word = ClassTCPSYN, OnePacket+60
		place := h.Nets().Lookup(&a)
		if place == nets.Outside {
			t.Fatal("outside")
		}
		c.NewFlows = 1
		charge(h, c, a, place, Outgoing)
	}
	var rows, over Sum
	for slot := range h.Table().Len() {
		var got Host
		h.Table().Read(slot, &got)
		rows.Add(&Sum{got.Cells, got.Flows})
	}
	for p := range h.Nets().NumPlaces() {
		over.Add(h.Overflow(nets.ID(p), Outgoing))
		if *h.Overflow(nets.ID(p), Incoming) != (Sum{}) {
			t.Error("wrong direction")
		}
	}
	if rows.Cells[ClassTCPSYN] != (Counter{10, 600}) || over.Cells[ClassTCPSYN] != (Counter{990, 59400}) ||
		h.Overflowed != (Counter{990, 59400}) || rows.Flows != 10 || over.Flows != 990 {
		t.Errorf("rows %+v, overflow %+v, Overflowed %+v", rows, over, h.Overflowed)
	}
	a4, a6 := addr("10.0.0.1"), addr("2001:db8::1")
	if h.Overflow(h.Nets().Lookup(&a4), Outgoing).Cells[ClassTCPSYN].Packets == 0 ||
		h.Overflow(h.Nets().Lookup(&a6), Outgoing).Cells[ClassTCPSYN].Packets == 0 {
		t.Error("a network has no overflow")
	}
	s.Request()
	if s.Collect() != h {
		t.Fatal("not collected")
	}
	s.Clear()
	if h.Overflowed != (Counter{}) || *h.Overflow(1, Outgoing) != (Sum{}) {
		t.Error("overflow survives Clear")
	}
}

func TestAddRecordDirections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, src, dst string
		policy         InternalPolicy
		want           Direction
		in, out        bool
	}{
		{"incoming v4", "192.0.2.1", "10.0.0.1", InternalNone, Incoming, true, false},
		{"incoming v6", "2001:db9::1", "2001:db8::1", InternalNone, Incoming, true, false},
		{"outgoing v4", "10.0.0.1", "192.0.2.1", InternalNone, Outgoing, false, true},
		{"outgoing v6", "2001:db8::1", "2001:db9::1", InternalNone, Outgoing, false, true},
		{"internal both v4", "10.0.0.1", "10.0.0.2", InternalBoth, Internal, true, true},
		{"internal in v6", "2001:db8::1", "2001:db8::2", InternalIncoming, Internal, true, false},
		{"internal out v4", "10.0.0.1", "10.0.0.2", InternalOutgoing, Internal, false, true},
		{"internal none v6", "2001:db8::1", "2001:db8::2", InternalNone, Internal, false, false},
		{"other v4", "192.0.2.1", "198.51.100.1", InternalBoth, Other, false, false},
		{"other v6", "2001:db9::1", "2001:db9::2", InternalBoth, Other, false, false},
	} {
		s, _ := newShard(t, 10)
		h := s.Poll()
		r := Record{Src: addr(c.src), Dst: addr(c.dst), Class: ClassUDP, Counter: Counter{7, 7000}, Flow: true}
		if got := h.AddRecord(c.policy, &r); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		_, in := h.Table().Find(&r.Dst, Incoming)
		_, out := h.Table().Find(&r.Src, Outgoing)
		if in != c.in || out != c.out {
			t.Errorf("%s: rows %v %v, want %v %v", c.name, in, out, c.in, c.out)
		}
		total := h.Totals[FamilyOf(&r.Dst)][c.want]
		if total.Cells[ClassUDP] != r.Counter || total.Flows != 1 || h.Records != r.Counter {
			t.Errorf("%s: total %+v", c.name, total)
		}
	}
	s, _ := newShard(t, 1)
	if s.Poll().AddRecord(InternalBoth, &Record{Class: 200}) != Other {
		t.Error("a class that does not exist was counted")
	}
}

// A record that is counted in parts is the record.
func TestPartsOfARecord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ src, dst string }{
		{"192.0.2.1", "10.0.0.1"}, {"2001:db9::1", "2001:db8::1"}, {"10.0.0.1", "10.0.0.2"}, {"2001:db8::1", "2001:db8::2"},
	} {
		whole, _ := newShard(t, 10)
		parts, _ := newShard(t, 10)
		r := Record{Src: addr(c.src), Dst: addr(c.dst), Class: ClassTCP, Counter: Counter{9, 9000}}
		w, p := whole.Poll(), parts.Poll()
		d := w.AddRecord(InternalBoth, &r)
		in, out := InternalBoth.Rows(d)
		for range 3 {
			n := Counter{3, 3000}
			p.AddTotal(FamilyOf(&r.Dst), d, r.Class, n)
			if in {
				p.AddRow(&r.Dst, Incoming, r.Class, n)
			}
			if out {
				p.AddRow(&r.Src, Outgoing, r.Class, n)
			}
		}
		if w.Totals != p.Totals || w.Records != p.Records || w.Table().Len() != p.Table().Len() {
			t.Errorf("%s to %s: %+v and %+v", c.src, c.dst, w.Records, p.Records)
		}
		for i := range w.Table().Len() {
			var a, b Host
			w.Table().Read(i, &a)
			p.Table().Read(i, &b)
			if a != b {
				t.Errorf("%s to %s: row %+v, in parts %+v", c.src, c.dst, a, b)
			}
		}
	}
	s, _ := newShard(t, 10)
	h := s.Poll()
	outside, ours := addr("192.0.2.1"), addr("2001:db8::1")
	h.AddRow(&outside, Incoming, ClassUDP, Counter{1, 1})
	if h.Table().Len() != 0 {
		t.Error("an address outside has a row")
	}
	h.AddOverflow(&ours, Outgoing, ClassUDP, Counter{2, 200})
	if got := h.Overflow(h.Nets().Lookup(&ours), Outgoing).Cells[ClassUDP]; got != (Counter{2, 200}) || h.Overflowed != got {
		t.Errorf("overflow %+v, %+v", got, h.Overflowed)
	}
}

func TestShardProtocol(t *testing.T) {
	t.Parallel()
	s, now := newShard(t, 10)
	s.Enter()
	first := s.Poll()
	if s.Collect() != nil {
		t.Fatal("collected without a request")
	}
	*now = 1000
	s.Request()
	s.Request()
	if s.Collect() != nil {
		t.Fatal("collected before the owner answered")
	}
	first.Frames = 7
	second := s.Poll()
	if second == first || s.Poll() != second {
		t.Fatal("halves do not alternate")
	}
	h := s.Collect()
	if h != first || h.Frames != 7 || h.Stop != 1000 || second.Start != 1000 {
		t.Fatalf("collected %+v", h)
	}
	s.Request() // refused: not cleared yet
	if s.Poll() != second {
		t.Fatal("rotated over an unread half")
	}
	n := testNets(t)
	s.SetNets(n)
	s.Clear()
	s.Clear()
	if first.Frames != 0 || second.Nets() == n {
		t.Fatal("Clear")
	}
	s.Leave()
	*now = 3000
	s.Request()
	if h = s.Collect(); h != second || h.Start != 1000 || h.Stop != 3000 {
		t.Fatal("a shard without an owner does not turn")
	}
	s.Clear()
	s.Enter()
	if got := s.Poll(); got != first || got.Nets() != n || got.Start != 3000 {
		t.Fatal("new table is not in the new epoch")
	}
	if s.Free() == nil {
		t.Fatal("freed under its owner")
	}
	s.Leave()
}

func TestHotAllocs(t *testing.T) {
	s, now := newShard(t, 100)
	s.Enter()
	defer s.Leave()
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		h := s.Poll()
		i++
		a, b := host(i%300), host(i%7)
		var c Charge
		c.Class, c.Word = Class(i%int(NumClasses)), OnePacket+1<<31
		charge(h, c, a, h.Nets().Lookup(&a), Direction(i&1))
		h.AddRecord(InternalBoth, &Record{Src: a, Dst: b, Counter: Counter{1 << 30, 1 << 40}})
		if i%10 == 0 {
			*now++
			s.Request()
			s.Poll()
			s.Collect()
			s.Clear()
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, hosts := range []int{-1, 0, MaxRows + 1} {
		if (Config{Hosts: hosts}).Validate() == nil {
			t.Errorf("%d hosts are valid", hosts)
		}
		if _, err := NewShard(Config{Hosts: hosts}, testSeed(1), testNets(t), func() int64 { return 0 }); err == nil {
			t.Errorf("a shard of %d hosts", hosts)
		}
	}
	s, _ := newShard(t, 12345)
	if got := (Config{Hosts: 12345}).Size(); got != s.Size() {
		t.Errorf("size %d, announced %d", s.Size(), got)
	}
	for _, p := range []InternalPolicy{InternalBoth, InternalIncoming, InternalOutgoing, InternalNone} {
		b, _ := p.MarshalText()
		var q InternalPolicy
		if err := q.UnmarshalText(b); err != nil || q != p {
			t.Errorf("%s: %v %v", b, q, err)
		}
	}
	if new(InternalPolicy).UnmarshalText([]byte("sideways")) == nil || InternalPolicy(9).String() != "invalid" {
		t.Error("invalid policy")
	}
}

func FuzzAddRecord(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), uint64(1), uint64(2), uint8(3))
	f.Fuzz(func(t *testing.T, addrs []byte, packets, bytes uint64, class uint8) {
		s, _ := newShard(t, 2)
		h := s.Poll()
		r := Record{Class: Class(class), Counter: Counter{packets % (1 << 60), bytes % (1 << 60)}}
		copy(r.Src[:], addrs)
		if len(addrs) > 16 {
			copy(r.Dst[:], addrs[16:])
		}
		d := h.AddRecord(InternalBoth, &r)
		h.AddRecord(InternalBoth, &r)
		if class >= uint8(NumClasses) {
			return
		}
		if got, want := h.Totals[FamilyOf(&r.Dst)][d].Cells[class], (Counter{2 * r.Packets, 2 * r.Bytes}); got != want {
			t.Fatalf("total %+v, want %+v", got, want)
		}
		for _, side := range []Direction{Incoming, Outgoing} {
			for slot := range h.Table().Len() {
				var got Host
				h.Table().Read(slot, &got)
				if got.Direction == side && got.Cells[class] != (Counter{2 * r.Packets, 2 * r.Bytes}) {
					t.Fatalf("row %+v", got)
				}
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	for _, hosts := range []int{1, 1 << 16, 1 << 20} {
		b.Run(map[int]string{1: "1", 1 << 16: "65k", 1 << 20: "1M"}[hosts], func(b *testing.B) {
			s, _ := newShard(b, hosts)
			h := s.Poll()
			var charges [64]Charge
			var addrs [64]uintptr
			i := 0
			for b.Loop() {
				k := i % 64
				a := addr4(uint32(i) * 2654435761 % uint32(hosts))
				charges[k].Word = OnePacket + 60
				charges[k].Set(&a, 1, Incoming)
				if i++; k == 63 {
					h.Prepare(charges[:], addrs[:])
					arena.Prefetch(&addrs[0], 64)
					h.Locate(charges[:], addrs[:])
					arena.Prefetch(&addrs[0], 64)
					h.Add(charges[:])
				}
			}
		})
	}
}

func addr4(n uint32) (a [16]byte) {
	a[10], a[11] = 0xff, 0xff
	binary.BigEndian.PutUint32(a[12:], 10<<24|n)
	return a
}
