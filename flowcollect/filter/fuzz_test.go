package filter

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// eval is the meaning of a condition, taken from the tree by the book: what compiled programs must do.
func (n *node) eval(exporter netip.Addr, r *record.Record) bool {
	switch n.op {
	case opNot:
		return !n.args[0].eval(exporter, r)
	case opAnd:
		for i := range n.args {
			if !n.args[i].eval(exporter, r) {
				return false
			}
		}
		return true
	case opOr:
		for i := range n.args {
			if n.args[i].eval(exporter, r) {
				return true
			}
		}
		return false
	case opTest:
		return n.test.eval(exporter, r)
	case opAlways:
	}
	return true
}

func (t *test) eval(exporter netip.Addr, r *record.Record) bool {
	if needs := fields[t.field].needs; r.Has&needs != needs {
		return false
	}
	if t.field.isAddress() {
		a := map[field][16]byte{fieldSrc: r.Src, fieldDst: r.Dst, fieldExporter: exporter.As16(), fieldAgent: r.Agent, fieldNextHop: r.NextHop}[t.field]
		addr := netip.AddrFrom16(a)
		for _, g := range t.addresses {
			if !addr.Less(addr128(g.first)) && !addr128(g.last).Less(addr) {
				return true
			}
		}
		return false
	}
	if t.field == fieldPort {
		src, dst := *t, *t
		src.field, dst.field = fieldSrcPort, fieldDstPort
		return src.eval(exporter, r) || dst.eval(exporter, r)
	}
	v := number(t.field, r)
	for _, f := range t.flags {
		if uint8(v)&f.mask == f.want {
			return true
		}
	}
	for _, g := range t.numbers {
		if g.first <= v && v <= g.last {
			return true
		}
	}
	return false
}

func addr128(a u128) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b)
}

// randomRecord takes values from few, so that conditions meet.
func randomRecord(rng *rand.Rand) *record.Record {
	address := func() [16]byte {
		list := []string{"10.0.0.1", "10.1.0.1", "192.0.2.255", "2001:db8::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "::", "255.255.255.255"}
		return netip.MustParseAddr(list[rng.IntN(len(list))]).As16()
	}
	small := func() uint32 { return []uint32{0, 1, 53, 80, 443, 65535, 1 << 31}[rng.IntN(7)] }
	return &record.Record{
		Src: address(), Dst: address(), NextHop: address(), Agent: address(), Packets: uint64(small()), Bytes: uint64(small()) << 3,
		SrcPort: uint16(small()), DstPort: uint16(small()), Proto: []uint8{1, 6, 17, 58}[rng.IntN(4)], TCPFlags: uint8(rng.Uint32()),
		Input: small(), Output: small(), SrcAS: small(), DstAS: small(), SrcVLAN: uint16(small()), DstVLAN: uint16(small()),
		Direction: record.Direction(rng.IntN(3)), Protocol: record.Protocol(rng.IntN(int(record.NumProtocols))), TOS: uint8(rng.Uint32()),
		Duration: int64(small()), SamplingRate: float64(small()), Domain: small(), Dropped: rng.IntN(2) == 0, Fragment: rng.IntN(2) == 0,
		Has: record.Has(rng.Uint32() | rng.Uint32()),
	}
}

// FuzzRules: no text makes the parser fail other than by an error with a position, and what it accepts means the same compiled.
func FuzzRules(f *testing.F) {
	for _, s := range []string{
		"drop port 443 from 192.0.2.0/24", "drop proto udp and dst net 10.0.0.0/8 and port 53\nkeep all", "drop not (ipv6 or src as 1-9) flags S/SA",
		"keep bytes >= 1k, 5\ndrop", "drop duration < 1s or rate != 100,1-50", "drop !!!!udp", "drop src ::/0, ::ffff:1.2.3.4/120", "keep length > 18446744073709551615",
		"drop net 10.0.0.1, 10.0.0.2, 10.0.0.4, 10.0.0.6, 10.0.0.8, 10.0.0.10, 10.0.0.12", "drop port 1,3,5,7,9,11,13,65535", "drop vlan <= 0 or domain > 4294967295",
	} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		rules, err := parse("x", text, new(int))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "x:") {
				t.Fatalf("no position in %v", err)
			}
			return
		}
		check(t, rules, rand.New(rand.NewPCG(seed, 1)), 8)
	})
}

func check(t *testing.T, rules []rule, rng *rand.Rand, records int) {
	t.Helper()
	p := compile(rules)
	for range records {
		r := randomRecord(rng)
		exporter := []netip.Addr{exporter4, exporter6, netip.MustParseAddr("10.0.0.1")}[rng.IntN(3)]
		want, verdict := len(rules), keep
		for i := range rules {
			if rules[i].when.eval(exporter, r) {
				want, verdict = i, rules[i].verdict
				break
			}
		}
		if rule, kept := p.run(exporter, r); int(rule) != want || kept != bool(verdict) {
			t.Fatalf("%+v: rule %d (keep %v), by the book %d (%v)", r, rule, kept, want, verdict)
		}
	}
}

// Random rules mean the same compiled and by the book.
func TestCompiledMeansTheSame(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	terms := []string{
		"all", "udp", "tcp", "icmp", "ipv4", "ipv6", "port 53", "src port 1-100, 443", "dst port != 80", "port 0,2,4,6,8,53,55,57,59,61,443,445",
		"src 10.0.0.0/8", "dst 2001:db8::/32", "net 10.1.0.1, 192.0.2.0/24, ::/0", "host != 10.0.0.1, 10.0.0.3, 10.0.0.5, 10.0.0.7, 10.0.0.9, 10.1.0.1",
		"from 10.0.0.1", "agent 0.0.0.0/0", "nexthop ::", "flags S/SA", "flags R, F", "flags != A", "packets > 53", "bytes <= 640", "length 8",
		"interface 443", "as 80", "src vlan 53", "direction egress", "protocol sflow", "dropped", "fragment", "duration > 0.0000000005h", "rate >= 80",
	}
	var build func(depth int) string
	build = func(depth int) string {
		switch n := rng.IntN(6); {
		case depth == 0 || n == 0:
			return terms[rng.IntN(len(terms))]
		case n == 1:
			return "not " + build(depth-1)
		case n < 4:
			return "(" + build(depth-1) + " and " + build(depth-1) + ")"
		}
		return "(" + build(depth-1) + " or " + build(depth-1) + ")"
	}
	for range 300 {
		var text strings.Builder
		for range 1 + rng.IntN(5) {
			text.WriteString([]string{"drop ", "keep "}[rng.IntN(2)] + build(4) + "\n")
		}
		rules, err := parse("x", text.String(), new(int))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		check(t, rules, rng, 50)
	}
}

// FuzzHook: no script that compiles breaks out of its bounds.
func FuzzHook(f *testing.F) {
	f.Add("return flow.src ~= agent")
	f.Add("local t = {} for i = 1, 100 do t[i * i] = flow.bytes end return #t > 3")
	f.Add("return pcall(string.format, '%99.99f', 1/0)")
	f.Add("return select(-1, unpack({1, 2, 3})) == tostring(flow)")
	f.Add("string.rep = nil table.insert(_G, 1, _G) return setmetatable(_G, {__index = rawget})")
	f.Fuzz(func(t *testing.T, body string) {
		c := Default()
		c.LuaErrors = 2
		c.LuaNetflow = write(t, "n.lua", "function process_netflow(agent, flow) "+body+" end")
		s, err := New(c, Deps{Clock: monotonic})
		if err != nil {
			return
		}
		w, err := s.Worker()
		if err != nil {
			return
		}
		for range 4 {
			w.Keep(exporter4, v4())
			w.Keep(exporter6, v6())
		}
		if h := s.Stats().Hooks[0]; h.Calls+h.Skipped != 8 || h.Errors > h.Calls {
			t.Errorf("got %+v", h)
		}
	})
}
