package bgp

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/weir-ddos/weir/controlplane/mitigate"
)

func testPeer() *Peer {
	p := Peer{Address: netip.MustParseAddr("192.0.2.9"), RemoteASN: 65001}.withDefaults()
	return &p
}

// TestGoldenFlowSpec compares the NLRI with bytes written out by hand from RFC 8955 and 8956.
func TestGoldenFlowSpec(t *testing.T) {
	t.Parallel()
	d4, d6 := netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("2001:db8::9/128")
	const (
		dst4 = "01 20 cb007109"
		dst6 = "01 80 00 20010db8000000000000000000000009"
	)
	for _, tc := range []struct {
		name  string
		match mitigate.Match
		force bool
		want  string // without the length byte
	}{
		{"dst v4", mitigate.Match{Destination: d4}, false, dst4},
		{"dst v6", mitigate.Match{Destination: d6}, false, dst6},
		{"dst subnet v4", mitigate.Match{Destination: netip.MustParsePrefix("203.0.113.0/24")}, false, "01 18 cb0071"},
		{"dst subnet v6", mitigate.Match{Destination: netip.MustParsePrefix("2001:db8::/64")}, false, "01 40 00 20010db800000000"},
		{"src v4", mitigate.Match{Source: d4}, false, "02 20 cb007109"},
		{"src v6", mitigate.Match{Source: d6}, false, "02 80 00 20010db8000000000000000000000009"},
		{"both v4", mitigate.Match{Source: netip.MustParsePrefix("198.51.100.0/24"), Destination: d4}, false, dst4 + "02 18 c63364"},
		{"udp v4", mitigate.Match{Destination: d4, Protocols: []uint8{17}}, false, dst4 + "03 8111"},
		{"udp v6", mitigate.Match{Destination: d6, Protocols: []uint8{17}}, false, dst6 + "03 8111"},
		{"tcp or udp, ascending", mitigate.Match{Destination: d4, Protocols: []uint8{17, 6}}, false, dst4 + "03 0106 8111"},
		{
			"ports v4",
			mitigate.Match{Destination: d4, Protocols: []uint8{17}, SourcePorts: []uint16{11211, 53}, DestinationPorts: []uint16{80}},
			false, dst4 + "03 8111 05 8150 06 0135 912bcb",
		},
		{
			"ports v6",
			mitigate.Match{Destination: d6, Protocols: []uint8{17}, SourcePorts: []uint16{11211, 53}, DestinationPorts: []uint16{80}},
			false, dst6 + "03 8111 05 8150 06 0135 912bcb",
		},
		{"syn v4", mitigate.Match{Destination: d4, Protocols: []uint8{6}, TCPFlags: 0x02, TCPFlagsNot: 0x10}, false, dst4 + "03 8106 09 0102 c210"},
		{"syn v6", mitigate.Match{Destination: d6, Protocols: []uint8{6}, TCPFlags: 0x02, TCPFlagsNot: 0x10}, false, dst6 + "03 8106 09 0102 c210"},
		{"syn, match bit", mitigate.Match{Destination: d4, Protocols: []uint8{6}, TCPFlags: 0x02, TCPFlagsNot: 0x10}, true, dst4 + "03 8106 09 0102 c310"},
		{"syn-ack, no rst, no fin", mitigate.Match{Destination: d4, Protocols: []uint8{6}, TCPFlags: 0x12, TCPFlagsNot: 0x05}, false, dst4 + "03 8106 09 0112 4201 c204"},
		{"no flags at all", mitigate.Match{Destination: d4, Protocols: []uint8{6}, TCPFlagsNot: 0x03}, false, dst4 + "03 8106 09 0201 c202"},
		{"fragment v4", mitigate.Match{Destination: d4, Fragment: true}, false, dst4 + "0c 0002 8004"},
		{"fragment v6", mitigate.Match{Destination: d6, Fragment: true}, false, dst6 + "0c 0002 8004"},
		{"fragment, match bit", mitigate.Match{Destination: d6, Fragment: true}, true, dst6 + "0c 0102 8104"},
		{"length band", mitigate.Match{Destination: d4, MinLength: 400, MaxLength: 1500}, false, dst4 + "0a 130190 d505dc"},
		{"length one", mitigate.Match{Destination: d4, MinLength: 60, MaxLength: 60}, false, dst4 + "0a 813c"},
		{"length from", mitigate.Match{Destination: d6, MinLength: 1200}, false, dst6 + "0a 9304b0"},
		{"length to", mitigate.Match{Destination: d6, MaxLength: 100}, false, dst6 + "0a 8564"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := testPeer()
			p.Limits.ForceMatchBit = tc.force
			m := flow("id", tc.match)
			r, err := encode(&m, p, 64512)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.nlri.Serialize()
			if err != nil {
				t.Fatal(err)
			}
			want, err := hex.DecodeString(strings.ReplaceAll(tc.want, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if int(got[0]) != len(want) || string(got[1:]) != string(want) {
				t.Errorf("got  %x\nwant %02x%x", got, len(want), want)
			}
		})
	}
}

// attribute serialises the attribute of that type, or nothing.
func attribute(t *testing.T, r *route, typ gobgp.BGPAttrType) string {
	t.Helper()
	for _, a := range r.attrs {
		if a.GetType() == typ {
			b, err := a.Serialize()
			if err != nil {
				t.Fatal(err)
			}
			return hex.EncodeToString(b)
		}
	}
	return ""
}

func TestGoldenAttributes(t *testing.T) {
	t.Parallel()
	p := testPeer()
	id := "1f0c"
	marker := hex.EncodeToString([]byte{byte(markerID(id) >> 24), byte(markerID(id) >> 16), byte(markerID(id) >> 8), byte(markerID(id))})
	large := "c0 20 0c 0000fc00 00000002" + marker
	check := func(name string, m mitigate.Mitigation, typ gobgp.BGPAttrType, want string) {
		t.Helper()
		r, err := encode(&m, p, 64512)
		if err != nil {
			t.Fatal(err)
		}
		if got := attribute(t, r, typ); got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	b4, b6 := blackhole(id, "203.0.113.9/32"), blackhole(id, "2001:db8::9/128")
	check("origin", b4, gobgp.BGP_ATTR_TYPE_ORIGIN, "40 01 01 00")
	check("next hop v4", b4, gobgp.BGP_ATTR_TYPE_NEXT_HOP, "40 03 04 c0000201")
	check("no MP_REACH for v4", b4, gobgp.BGP_ATTR_TYPE_MP_REACH_NLRI, "")
	check("blackhole and no-export", b4, gobgp.BGP_ATTR_TYPE_COMMUNITIES, "c0 08 08 ffff029a ffffff01")
	check("marker", b4, gobgp.BGP_ATTR_TYPE_LARGE_COMMUNITY, large)
	check("next hop v6", b6, gobgp.BGP_ATTR_TYPE_MP_REACH_NLRI,
		"80 0e 26 0002 01 10 01000000000000000000000000000001 00 80 20010db8000000000000000000000009")
	// RFC 8955 section 4: next hop length 0.
	f := flow(id, mitigate.Match{Destination: b4.Prefix, Protocols: []uint8{17}})
	check("flow NLRI", f, gobgp.BGP_ATTR_TYPE_MP_REACH_NLRI, "80 0e 0f 0001 85 00 00 09 0120cb007109 038111")
	check("discard", f, gobgp.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES, "c0 10 08 8006 0000 00000000")
	f.Action, f.Rate = mitigate.RateLimit, 1_250_000
	check("limit to 10 Mbit/s", f, gobgp.BGP_ATTR_TYPE_EXTENDED_COMMUNITIES, "c0 10 08 8006 0000 49989680")

	p.NextHopIPv4, p.NextHopIPv6 = netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("100::77")
	p.Communities = []mitigate.Community{"65001:666", "blackhole", "4200000000:1:2"}
	check("the peer's next hop v4", b4, gobgp.BGP_ATTR_TYPE_NEXT_HOP, "40 03 04 c000024d")
	check("the peer's next hop v6", b6, gobgp.BGP_ATTR_TYPE_MP_REACH_NLRI,
		"80 0e 26 0002 01 10 01000000000000000000000000000077 00 80 20010db8000000000000000000000009")
	check("no community twice", b4, gobgp.BGP_ATTR_TYPE_COMMUNITIES, "c0 08 0c ffff029a ffffff01 fde9029a")
	check("large from the peer", b4, gobgp.BGP_ATTR_TYPE_LARGE_COMMUNITY, "c0 20 18 0000fc00 00000002"+marker+"fa56ea00 00000001 00000002")
}

func TestRouterLimits(t *testing.T) {
	t.Parallel()
	d := netip.MustParsePrefix("2001:db8::9/128")
	ports := []uint16{1, 2, 3, 4, 5, 6}
	for _, tc := range []struct {
		name  string
		peer  func(*Peer)
		match mitigate.Match
		rate  uint64
		want  string // part of the refusal; empty for none
	}{
		{"generic takes all", func(*Peer) {}, mitigate.Match{Destination: d, Protocols: []uint8{17}, SourcePorts: ports, MaxLength: 100}, 0, ""},
		{"no length", func(p *Peer) { p.Limits.NoLength = true }, mitigate.Match{Destination: d, MaxLength: 100}, 0, "lengths"},
		{"no flags", func(p *Peer) { p.Limits.NoTCPFlags = true }, mitigate.Match{Destination: d, Protocols: []uint8{6}, TCPFlagsNot: 2}, 0, "TCP flags"},
		{"no fragment", func(p *Peer) { p.Limits.NoFragment = true }, mitigate.Match{Destination: d, Fragment: true}, 0, "fragments"},
		{"no source", func(p *Peer) { p.Limits.NoSource = true }, mitigate.Match{Source: d, Protocols: []uint8{17}}, 0, "source"},
		{"no limit", func(p *Peer) { p.Limits.NoRateLimit = true }, mitigate.Match{Destination: d}, 9, "limit rates"},
		{"cisco: six ports", func(p *Peer) { *p = Peer{Profile: Cisco}.withDefaults() }, mitigate.Match{Destination: d, Protocols: []uint8{17}, SourcePorts: ports}, 0, "takes 5 values"},
		{"cisco: five ports", func(p *Peer) { *p = Peer{Profile: Cisco}.withDefaults() }, mitigate.Match{Destination: d, Protocols: []uint8{17}, SourcePorts: ports[:5]}, 0, ""},
		{"family off", func(p *Peer) { p.Families = Families{IPv6Unicast: true} }, mitigate.Match{Destination: d, Protocols: []uint8{17}}, 0, "ipv6_flowspec is off"},
		{"too long", func(*Peer) {}, mitigate.Match{Destination: d, Protocols: []uint8{17}, SourcePorts: manyPorts(80)}, 0, "bytes"},
		{"just short enough", func(*Peer) {}, mitigate.Match{Destination: d, Protocols: []uint8{17}, SourcePorts: manyPorts(71)}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := testPeer()
			tc.peer(p)
			m := flow("id", tc.match)
			if tc.rate > 0 {
				m.Action, m.Rate = mitigate.RateLimit, tc.rate
			}
			_, err := encode(&m, p, 64512)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func manyPorts(n int) (ports []uint16) {
	for i := range n {
		ports = append(ports, uint16(1000+i))
	}
	return ports
}

// FuzzEncode: whatever passes Lint is encoded or refused, never a panic, and what is encoded is short enough to be right.
func FuzzEncode(f *testing.F) {
	f.Add(true, uint8(6), uint16(53), uint16(80), uint8(2), uint8(16), false, uint16(0), uint16(0), uint64(0))
	f.Add(false, uint8(17), uint16(0), uint16(0), uint8(0), uint8(0), true, uint16(64), uint16(9000), uint64(1<<63))
	f.Fuzz(func(t *testing.T, v4 bool, proto uint8, sport, dport uint16, set, not uint8, frag bool, low, high uint16, rate uint64) {
		match := mitigate.Match{
			Destination: netip.MustParsePrefix("2001:db8::9/128"), Protocols: []uint8{proto}, TCPFlags: set, TCPFlagsNot: not,
			Fragment: frag, MinLength: low, MaxLength: high,
		}
		if v4 {
			match.Destination = netip.MustParsePrefix("203.0.113.9/32")
		}
		if sport != 0 {
			match.SourcePorts = []uint16{sport}
		}
		if dport != 0 {
			match.DestinationPorts = []uint16{dport, dport ^ 1}
		}
		m := flow("id", match)
		if rate > 0 {
			m.Action, m.Rate = mitigate.RateLimit, rate
		}
		if mitigate.Lint(m, mitigate.LintLimits{}) != nil {
			return
		}
		r, err := encode(&m, testPeer(), 64512)
		if err != nil {
			t.Fatalf("%+v passed Lint and cannot be encoded: %v", m, err)
		}
		if n := r.nlri.Len(); n >= maxNLRI {
			t.Fatalf("NLRI of %d bytes", n)
		}
	})
}
