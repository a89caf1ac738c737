package nets

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/wire"
)

func pfx(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func mustNew(t testing.TB, s Spec) *Table {
	t.Helper()
	table, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup(t *testing.T) {
	t.Parallel()
	table := mustNew(t, Spec{
		Networks: pfx("10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32", "2001:db8::/32", "2001:db8:1::/48", "2001:db8::1/128"),
		Groups: []Group{
			{Name: "web", Prefixes: pfx("10.1.2.0/24", "2001:db8:1:2::/64", "10.0.0.0/9")},
			{Name: "all", Prefixes: pfx("0.0.0.0/0", "::/0")},
			{Name: "one", Prefixes: pfx("10.1.2.3/32", "2001:db8:1:2::3/128")},
		},
	})
	for _, c := range []struct {
		addr           string
		network, group int32
	}{
		{"9.255.255.255", -1, 0},
		{"10.0.0.0", 0, 1},
		{"10.127.0.1", 0, 1},
		{"10.128.0.0", 0, 2},
		{"10.255.255.255", 0, 2},
		{"11.0.0.0", -1, 0},
		{"10.1.0.0", 1, 1},
		{"10.1.2.2", 1, 1},
		{"10.1.2.3", 1, 3},
		{"10.1.2.4", 1, 1},
		{"10.1.255.255", 1, 1},
		{"10.2.0.0", 0, 1},
		{"192.0.2.0", -1, 0},
		{"192.0.2.1", 2, 2},
		{"192.0.2.2", -1, 0},
		{"::ffff:192.0.2.1", 2, 2},
		{"0.0.0.0", -1, 0},
		{"255.255.255.255", -1, 0},
		{"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", -1, 0},
		{"2001:db8::", 3, 2},
		{"2001:db8::1", 5, 2},
		{"2001:db8::2", 3, 2},
		{"2001:db8:1::", 4, 2},
		{"2001:db8:1:2::", 4, 1},
		{"2001:db8:1:2::3", 4, 3},
		{"2001:db8:1:2:ffff::", 4, 1},
		{"2001:db8:1:3::", 4, 2},
		{"2001:db9::", -1, 0},
		{"::", -1, 0},
		{"ffff::", -1, 0},
	} {
		if got, want := table.Place(table.LookupAddr(netip.MustParseAddr(c.addr))), (Place{c.network, c.group}); got != want {
			t.Errorf("%s: got %+v, want %+v", c.addr, got, want)
		}
	}
	if got, want := table.Groups(), []string{"global", "web", "all", "one"}; !reflect.DeepEqual(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
	if got := len(table.Networks()); got != 6 {
		t.Errorf("%d networks", got)
	}
	if got, want := table.Place(ID(table.NumPlaces())), (Place{-1, 0}); got != want {
		t.Errorf("a foreign ID gives %+v", got)
	}
	if table.LookupAddr(netip.Addr{}) != Outside {
		t.Error("the zero address is inside")
	}
}

func TestEmptyAndWhole(t *testing.T) {
	t.Parallel()
	empty := mustNew(t, Spec{Groups: []Group{{Name: "g", Prefixes: pfx("10.0.0.0/8", "::/0")}}})
	all := mustNew(t, Spec{AllowAll: true, Networks: pfx("0.0.0.0/0", "::/0")})
	only6 := mustNew(t, Spec{AllowAll: true, Networks: pfx("::/0")})
	for _, a := range []string{"10.0.0.1", "0.0.0.0", "255.255.255.255", "::", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		addr := netip.MustParseAddr(a)
		if id := empty.LookupAddr(addr); id != Outside {
			t.Errorf("%s is in an empty table: %d", a, id)
		}
		if id := all.LookupAddr(addr); id == Outside {
			t.Errorf("%s is outside everything", a)
		}
		if id := only6.LookupAddr(addr); (id == Outside) != addr.Is4() {
			t.Errorf("%s: ::/0 says %d", a, id)
		}
	}
	if empty.NumPlaces() != 1 || all.NumPlaces() != 3 {
		t.Errorf("places: %d and %d", empty.NumPlaces(), all.NumPlaces())
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	mapped := netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)
	for name, c := range map[string]struct {
		spec Spec
		want []string // parts of the message; none: valid
	}{
		"good":         {spec: Spec{Networks: pfx("10.0.0.0/8", "10.0.0.0/16", "2001:db8::/32"), Groups: []Group{{Name: "a", Prefixes: pfx("10.0.0.0/8")}}}},
		"empty":        {},
		"host bits v4": {Spec{Networks: pfx("10.0.0.1/8")}, []string{"network 1 (10.0.0.1/8)", "host bits set", "write 10.0.0.0/8"}},
		"host bits v6": {Spec{Networks: pfx("2001:db8::1/32")}, []string{"write 2001:db8::/32"}},
		"twice":        {Spec{Networks: pfx("10.0.0.0/8", "::1/128", "10.0.0.0/8")}, []string{"network 3 (10.0.0.0/8): is listed twice"}},
		"zero":         {Spec{Networks: []netip.Prefix{{}}}, []string{"not a valid prefix"}},
		"mapped":       {Spec{Networks: []netip.Prefix{mapped}}, []string{"v4-mapped", "write 10.0.0.0/8"}},
		"mapped wide":  {Spec{Networks: []netip.Prefix{netip.PrefixFrom(mapped.Addr(), 80)}}, []string{"v4-mapped"}},
		"default v4":   {Spec{Networks: pfx("0.0.0.0/0")}, []string{"allow_all"}},
		"default v6":   {Spec{Networks: pfx("::/0")}, []string{"allow_all"}},
		"allowed":      {spec: Spec{Networks: pfx("::/0", "0.0.0.0/0"), AllowAll: true}},
		"groups": {
			Spec{Groups: []Group{
				{},
				{Name: "global"},
				{Name: "a", Prefixes: pfx("10.0.0.1/8", "192.0.2.0/24")},
				{Name: "a"},
				{Name: "b", Prefixes: pfx("192.0.2.0/24")},
			}},
			[]string{"hostgroup 1: has no name", `"global": is built in`, `"a": 10.0.0.1/8: has host bits`, `"a": is defined twice`, `"b": 192.0.2.0/24: is already in hostgroup "a"`},
		},
	} {
		table, err := New(c.spec)
		if (err == nil) != (c.want == nil) || (err == nil) != (table != nil) {
			t.Errorf("%s: error %v", name, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q is not in %q", name, w, err)
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	s := Spec{Networks: pfx("10.0.0.0/8", "10.0.0.0/9", "2001:db8::/32"), Groups: []Group{{Name: "g", Prefixes: pfx(
		"10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "10.255.255.255/32", "11.0.0.0/8", "2001:db8:5::/48", "2001:db9::/48", "2000::/3", "9.0.0.0/8")}}}
	got := strings.Join(s.Warnings(), "\n")
	if n := len(s.Warnings()); n != 3 {
		t.Errorf("%d warnings: %s", n, got)
	}
	for _, p := range []string{"11.0.0.0/8", "2001:db9::/48", "9.0.0.0/8"} {
		if !strings.Contains(got, p) {
			t.Errorf("no warning about %s", p)
		}
	}
}

// naive is the definition: the longest network that contains the address, and the longest group prefix if there is one.
func naive(s Spec, a netip.Addr) Place {
	p := Place{Network: -1}
	best := -1
	for i, n := range s.Networks {
		if n.Contains(a) && n.Bits() > best {
			best, p.Network = n.Bits(), int32(i)
		}
	}
	if best < 0 {
		return p
	}
	best = -1
	for i, g := range s.Groups {
		for _, n := range g.Prefixes {
			if n.Contains(a) && n.Bits() > best {
				best, p.Group = n.Bits(), int32(i)+1
			}
		}
	}
	return p
}

// randomPrefix draws from a small alphabet of bits so that prefixes nest and share long runs.
func randomPrefix(r *rand.Rand, v6 bool) netip.Prefix {
	var a [16]byte
	size := 4
	if v6 {
		size = 16
	}
	pool := [...]byte{0, 0, 1, 0x80, 0xff, 0xfe, byte(r.Uint32())}
	for i := range size {
		a[i] = pool[r.IntN(len(pool))]
	}
	addr := netip.AddrFrom16(a)
	if !v6 {
		addr = netip.AddrFrom4([4]byte(a[:4]))
	}
	if addr.Is4In6() {
		return randomPrefix(r, v6)
	}
	return netip.PrefixFrom(addr, r.IntN(size*8+1)).Masked()
}

func randomSpec(r *rand.Rand, n int) Spec {
	s := Spec{AllowAll: true, Groups: make([]Group, 4)}
	for i := range s.Groups {
		s.Groups[i].Name = fmt.Sprint("g", i)
	}
	seen := [2]map[netip.Prefix]bool{{}, {}}
	var earlier []netip.Prefix
	for i := range n {
		p := randomPrefix(r, i%2 == 1)
		if len(earlier) > 0 && r.IntN(2) == 0 { // one that nests with an earlier one
			q := earlier[r.IntN(len(earlier))]
			p = netip.PrefixFrom(q.Addr(), min(q.Addr().BitLen(), max(0, q.Bits()+r.IntN(15)-7))).Masked()
		}
		if p.Addr().Is4In6() {
			continue
		}
		earlier = append(earlier, p)
		k := r.IntN(2)
		if seen[k][p] {
			continue
		}
		seen[k][p] = true
		if k == 0 {
			s.Networks = append(s.Networks, p)
		} else {
			g := &s.Groups[r.IntN(len(s.Groups))]
			g.Prefixes = append(g.Prefixes, p)
		}
	}
	return s
}

// edges are the addresses at which an answer may change: both ends of every prefix and their neighbours.
func edges(s Spec) (out []netip.Addr) {
	all := append([]netip.Prefix(nil), s.Networks...)
	for _, g := range s.Groups {
		all = append(all, g.Prefixes...)
	}
	for _, p := range all {
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), end, end.Next()} {
			if a.IsValid() && !a.Is4In6() {
				out = append(out, a)
			}
		}
	}
	return out
}

func compare(t *testing.T, s Spec, r *rand.Rand) {
	t.Helper()
	table := mustNew(t, s)
	addrs := edges(s)
	for range 200 {
		addrs = append(addrs, randomPrefix(r, false).Addr(), randomPrefix(r, true).Addr())
	}
	for _, a := range addrs {
		id := table.LookupAddr(a)
		if int(id) >= table.NumPlaces() {
			t.Fatalf("%s: ID %d of %d", a, id, table.NumPlaces())
		}
		if got, want := table.Place(id), naive(s, a); got != want {
			t.Fatalf("%s: got %+v, want %+v\nnetworks %v\ngroups %v", a, got, want, s.Networks, s.Groups)
		}
	}
	comparePackets(t, table, addrs, r)
}

// comparePackets holds LookupAll against Lookup: packets of one family, and IPv6 headers with any address in them.
func comparePackets(t *testing.T, table *Table, addrs []netip.Addr, r *rand.Rand) {
	t.Helper()
	packets := make([]wire.IP, len(addrs))
	for i := range packets {
		src, dst := addrs[i], addrs[r.IntN(len(addrs))]
		packets[i] = wire.IP{Src: src.As16(), Dst: dst.As16(), Version: 6}
		if src.Is4() && dst.Is4() && i%8 > 0 {
			packets[i].Version = 4
		}
	}
	ends := make([]Ends, len(packets)+1)
	table.LookupAll(packets, ends)
	for i := range packets {
		ip := &packets[i]
		if want := (Ends{table.Lookup(&ip.Src), table.Lookup(&ip.Dst)}); ends[i] != want {
			t.Fatalf("version %d, %x to %x: %+v, want %+v", ip.Version, ip.Src, ip.Dst, ends[i], want)
		}
	}
	if ends[len(packets)] != (Ends{}) {
		t.Error("wrote behind the last packet")
	}
}

func TestDifferential(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		compare(t, randomSpec(r, 1+r.IntN(60)), r)
	}
	for seed := range uint64(4) { // the larger roots
		r := rand.New(rand.NewPCG(seed, 2))
		compare(t, randomSpec(r, 600+int(seed)*700), r)
	}
}

func FuzzLookup(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, 3+int(seed)*9)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n int) {
		r := rand.New(rand.NewPCG(seed, 3))
		compare(t, randomSpec(r, 1+(n&0x7fffffff)%80), r)
	})
}

// FuzzPrefixes feeds raw bytes as prefixes: whatever New accepts must agree with the naive scan.
func FuzzPrefixes(f *testing.F) {
	f.Add([]byte{8, 10, 0, 0, 0, 24, 10, 1, 2, 0, 0xa0, 0x20, 1, 0x0d, 0xb8})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := Spec{AllowAll: true}
		seen := map[netip.Prefix]bool{}
		for len(b) >= 5 && len(s.Networks) < 40 {
			var a [16]byte
			copy(a[:], b[1:5])
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(a[:4])), int(b[0])%33).Masked()
			if b[0] >= 128 {
				n := copy(a[:], b[1:])
				b = b[min(n, len(b)-5):]
				p = netip.PrefixFrom(netip.AddrFrom16(a), int(b[0])%129).Masked()
			}
			b = b[5:]
			if !seen[p] && !p.Addr().Is4In6() {
				seen[p] = true
				s.Networks = append(s.Networks, p)
			}
		}
		compare(t, s, rand.New(rand.NewPCG(1, uint64(len(s.Networks)))))
	})
}

func TestLookupAllocs(t *testing.T) {
	table := mustNew(t, randomSpec(rand.New(rand.NewPCG(5, 5)), 500))
	addrs := [...][16]byte{netip.MustParseAddr("10.0.0.1").As16(), netip.MustParseAddr("2001:db8::1").As16()}
	var sum ID
	if n := testing.AllocsPerRun(1000, func() { sum += table.Lookup(&addrs[0]) + table.Lookup(&addrs[1]) }); n != 0 {
		t.Errorf("%v allocations per lookup", n)
	}
	sink = sum
}

func TestNodeSize(t *testing.T) {
	t.Parallel()
	if got := reflect.TypeFor[node]().Size(); got != nodeSize {
		t.Errorf("a node has %d bytes, want %d", got, nodeSize)
	}
}

func TestBuildTime(t *testing.T) {
	start := time.Now()
	table := mustNew(t, Spec{Networks: append(scattered(50_000, false), scattered(50_000, true)...)})
	// The aim is under 1 s; the machine may be busy. Short tests also run where time means nothing: emulated, and on 32-bit machines.
	if d := time.Since(start); d > 30*time.Second && !testing.Short() {
		t.Errorf("100,000 prefixes took %v", d)
	}
	if got := table.NumPlaces(); got != 100_001 {
		t.Errorf("%d places", got)
	}
}

var sink ID

// scattered are n distinct random /24s or /48s.
func scattered(n int, v6 bool) (out []netip.Prefix) {
	r := rand.New(rand.NewPCG(7, 7))
	seen := map[netip.Prefix]bool{}
	for len(out) < n {
		var p netip.Prefix
		x := r.Uint64()
		if v6 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20 | byte(x)&0x1f, byte(x >> 8), byte(x >> 16), byte(x >> 24), byte(x >> 32), byte(x >> 40)}), 48)
		} else {
			p = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(x), byte(x >> 8), byte(x >> 16), 0}), 24)
		}
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// dense are n neighbouring /24s or /48s below one block, as an operator has them.
func dense(n int, v6 bool) (out []netip.Prefix) {
	for i := range n {
		if v6 {
			out = append(out, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, 1, 0, byte(i >> 16), byte(i >> 8), byte(i)}), 48))
		} else {
			out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{10 + byte(i>>16), byte(i >> 8), byte(i), 0}), 24))
		}
	}
	return out
}

// BenchmarkLookup2 is the cost of a packet: two lookups. outside+inside is the usual packet (a random source, a random
// host of ours), inside+inside the dearest, hot the same 64 pairs again and again.
func BenchmarkLookup2(b *testing.B) {
	for _, v6 := range []bool{false, true} {
		for shape, gen := range map[string]func(int, bool) []netip.Prefix{"scattered": scattered, "dense": dense} {
			for _, n := range []int{1, 100, 100_000} {
				prefixes := gen(n, v6)
				table := mustNew(b, Spec{Networks: prefixes})
				name := fmt.Sprintf("v6=%v/%s-%d", v6, shape, n)
				for _, mix := range []string{"outside+inside", "inside+inside", "hot"} {
					pairs := pairsOf(prefixes, v6, mix)
					b.Run(name+"/"+mix, func(b *testing.B) {
						var sum ID
						mask := len(pairs) - 1
						for i := range b.N {
							p := &pairs[i&mask]
							sum += table.Lookup(&p[0]) + table.Lookup(&p[1])
						}
						sink = sum
						b.ReportMetric(float64(table.Size())/1024, "KiB")
					})
				}
			}
		}
	}
}

func pairsOf(prefixes []netip.Prefix, v6 bool, mix string) [][2][16]byte {
	r := rand.New(rand.NewPCG(9, 9))
	inside := func() [16]byte {
		p := prefixes[r.IntN(len(prefixes))]
		a := p.Addr().As16()
		for i := 16 - (p.Addr().BitLen()-p.Bits())/8; i < 16; i++ {
			a[i] = byte(r.Uint32())
		}
		return a
	}
	n := 1 << 16
	if mix == "hot" {
		n = 64
	}
	pairs := make([][2][16]byte, n)
	for i := range pairs {
		pairs[i] = [2][16]byte{inside(), inside()}
		if mix == "outside+inside" {
			var a netip.Addr
			if v6 {
				a = netip.AddrFrom16([16]byte{0x20 | byte(r.Uint32())&0x1f, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
			} else {
				x := r.Uint32()
				a = netip.AddrFrom4([4]byte{byte(x), byte(x >> 8), byte(x >> 16), byte(x >> 24)})
			}
			pairs[i][0] = a.As16()
		}
	}
	return pairs
}
