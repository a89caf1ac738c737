package traffic

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/weir-ddos/weir/dataplane/arena"
)

// fill counts at random for some hosts of both families: ordinary classes, fragments, and more than a word holds.
func fill(h *Half, r *rand.Rand, hosts int) {
	for range 4 * hosts {
		i := r.IntN(hosts)
		a := netip.AddrFrom4([4]byte{10, byte(i % 3), byte(i >> 8), byte(i)}).As16()
		if i%2 == 0 {
			a = [16]byte{0x20, 1, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)}
		}
		n := Counter{Packets: r.Uint64N(100), Bytes: r.Uint64N(100_000)}
		if r.IntN(200) == 0 {
			n.Bytes += maxWordBytes
		}
		class := Class(r.IntN(firstLine))
		if r.IntN(4) == 0 {
			class = Class(r.IntN(int(NumClasses)))
		}
		h.addHost(&a, h.nets.Lookup(&a), Direction(r.IntN(2)), class, n, r.Uint64N(3))
	}
}

// TestTally: sums, peaks and brief rows are what reading every row gives.
func TestTally(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 4000)
	r := rand.New(rand.NewPCG(7, 8))
	for _, hosts := range []int{1, 31, 32, 33, 1500} {
		s.Request()
		s.Collect()
		s.Clear()
		h := s.Poll()
		fill(h, r, hosts)
		tab := h.Table()
		if hosts == 1500 && len(tab.spills) == 0 {
			t.Fatal("nothing spilled: the test shows less than it should")
		}
		sums := make([]Sum, 2*h.nets.NumPlaces())
		peaks := tab.Tally(sums, nil)
		loads := make([]Load, tab.Len())
		tab.Loads(0, loads)
		for _, at := range []int{0, tab.Len() / 2, tab.Len()} {
			some := make([]Load, tab.Len()-at)
			if tab.Loads(at, some); !slices.Equal(some, loads[at:]) {
				t.Fatalf("rows from %d on differ", at)
			}
		}
		wantSums := make([]Sum, len(sums))
		wantPeaks := slices.Repeat([]Peaks{NoPeaks()}, (tab.Len()+PeakRows-1)/PeakRows)
		for i := range tab.Len() {
			var host Host
			tab.Read(i, &host)
			if host.Place != h.nets.Lookup(&host.Addr) {
				t.Fatalf("row %d: place %d", i, host.Place)
			}
			wantSums[int(host.Place)*2+int(host.Direction)].Add(&Sum{host.Cells, host.Flows})
			total := host.Cells.Overlapping(0).Total
			want := Load{Peak{total.Packets, total.Bytes, host.Flows}, host.Addr, FamilyOf(&host.Addr), host.Direction}
			if loads[i] != want {
				t.Fatalf("row %d: %+v, want %+v", i, loads[i], want)
			}
			wantPeaks[i/PeakRows][want.Family][want.Direction].Raise(&want.Peak, &want.Addr)
		}
		if !slices.Equal(sums, wantSums) || !slices.Equal(peaks, wantPeaks) {
			t.Fatalf("%d hosts: sums or peaks are wrong", hosts)
		}
	}
}

// TestBlockBelow: addresses are compared byte by byte from the front, in either family.
func TestBlockBelow(t *testing.T) {
	t.Parallel()
	for _, list := range [][]string{{"10.0.0.1", "10.0.1.0", "192.0.2.0"}, {"2001:db8::ff", "2001:db8::1:0", "2001:db8:1::"}} {
		var addrs [][16]byte
		for _, a := range list {
			addrs = append(addrs, netip.MustParseAddr(a).As16())
		}
		b := NoPeaks()[0][0]
		if b.Below(&[16]byte{0: 0xff}) {
			t.Error("no rows have a low address")
		}
		for _, i := range []int{2, 1} {
			b.Raise(&Peak{Packets: uint64(i)}, &addrs[i])
		}
		if b.Below(&addrs[0]) || b.Below(&addrs[1]) || !b.Below(&addrs[2]) || b.Packets != 2 {
			t.Errorf("%v: %+v", list, b)
		}
	}
}

// TestExchange: rows go over as they are, spilled ones too; the half goes on with the other table's memory, and both are freed
// apart. What does not fit is left alone.
func TestExchange(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 3000)
	r := rand.New(rand.NewPCG(9, 10))
	other, err := NewTable(new(arena.Arena), testSeed(1), 3000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Free(); err != nil {
			t.Error(err)
		}
	}()
	for round := range 20 {
		h := s.Poll()
		fill(h, r, 1000)
		s.Request()
		s.Collect()
		var want, got []Host
		for i := range h.Table().Len() {
			var host Host
			h.Table().Read(i, &host)
			want = append(want, host)
		}
		other.Clear()
		if !h.Exchange(other) {
			t.Fatal("not exchanged")
		}
		for i := range other.Len() {
			var host Host
			other.Read(i, &host)
			got = append(got, host)
			if at, ok := other.Find(&host.Addr, host.Direction); !ok || at != i {
				t.Fatalf("round %d: row %d is found at %d, %v", round, i, at, ok)
			}
		}
		if !slices.Equal(got, want) || h.Table().Len() != 0 {
			t.Fatalf("round %d: rows differ", round)
		}
		s.Clear()
	}
	h := s.Poll()
	full := newTable(t, 3000)
	full.count = 1
	for name, tab := range map[string]*Table{"larger": newTable(t, 3001), "used": full, "of another seed": newTable(t, 3000)} {
		if name == "of another seed" {
			tab.seed[0]++
		}
		if h.Exchange(tab) {
			t.Errorf("a table that is %s was taken", name)
		}
	}
}

// TestReady: an empty half's pages are written to, as far as they were used, and nothing but an empty table comes of it; a half that
// is not free is left alone.
func TestReady(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 3000)
	sets := &readied{}
	s.AttachFlows(sets)
	s.Ready()
	if sets.sets != [2]int{0, 1} {
		t.Errorf("a fresh shard: %v", sets.sets)
	}
	r := rand.New(rand.NewPCG(5, 6))
	const step = pageSize / rowSize
	for range 20 {
		fill(s.Poll(), r, 1000)
		idle := &s.halves[(s.want.Load()+1)&1].table
		for i := range idle.rows {
			idle.rows[i].flows = 7
		}
		s.Ready()
		for i := range idle.rows {
			want := uint64(7)
			if i%step == 0 && i < idle.resident {
				want = 0
			}
			if got := idle.rows[i].flows; got != want {
				t.Fatalf("row %d of %d: %d, want %d", i, idle.resident, got, want)
			}
		}
		before := *sets
		s.Request()
		s.Ready()
		s.Poll()
		h := s.Collect()
		s.Ready()
		if *sets != before {
			t.Fatal("flows of a half that is not free were touched")
		}
		for i := range h.table.count {
			var host Host
			h.table.Read(i, &host)
			if at, ok := h.table.Find(&host.Addr, host.Direction); !ok || at != i || host.Flows > 2*4000 {
				t.Fatalf("row %d is %+v at %d, %v", i, host, at, ok)
			}
		}
		s.Clear()
	}
}

// readied counts calls of Ready.
type readied struct{ sets [2]int }

func (r *readied) Clear(int)   {}
func (r *readied) Ready(i int) { r.sets[i]++ }

// TestClearWhenEmpty: an empty table is cleared at no cost, however often, and keeps apart what was counted before.
func TestClearWhenEmpty(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 100)
	h := s.Poll()
	fill(h, rand.New(rand.NewPCG(1, 1)), 20)
	h.table.Clear()
	tag := h.table.tag
	h.table.Clear()
	if h.table.tag != tag {
		t.Error("an empty table was cleared")
	}
	a := netip.MustParseAddr("10.0.0.0").As16()
	if _, ok := h.table.Find(&a, Incoming); ok || h.table.Len() != 0 || len(h.table.spills) != 0 {
		t.Error("something is left")
	}
}

func TestTallyAllocs(t *testing.T) {
	s, _ := newShard(t, 4000)
	h := s.Poll()
	fill(h, rand.New(rand.NewPCG(3, 3)), 1000)
	sums, peaks, loads := make([]Sum, 2*h.nets.NumPlaces()), make([]Peaks, 0, 100), make([]Load, PeakRows)
	if n := testing.AllocsPerRun(10, func() {
		h.table.Tally(sums, peaks[:0])
		h.table.Loads(0, loads)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
