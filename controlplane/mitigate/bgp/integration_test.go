package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/dataplane/wire"
)

var (
	host4 = netip.MustParsePrefix("203.0.113.9/32")
	host6 = netip.MustParsePrefix("2001:db8::9/128")
)

// everyRule is one rule of each kind that the planner makes, for v4 and v6.
func everyRule() []mitigate.Mitigation {
	var ms []mitigate.Mitigation
	for name, p := range map[string]netip.Prefix{"4": host4, "6": host6} {
		icmp := uint8(wire.ProtoICMP)
		if p.Addr().Is6() {
			icmp = wire.ProtoICMPv6
		}
		limited := flow("limit"+name, mitigate.Match{Destination: p})
		limited.Action, limited.Rate = mitigate.RateLimit, 1_250_000
		ms = append(ms, limited,
			flow("udp"+name, mitigate.Match{Destination: p, Protocols: []uint8{17}, SourcePorts: []uint16{123, 53}}),
			flow("syn"+name, mitigate.Match{Destination: p, Protocols: []uint8{6}, TCPFlags: 2, TCPFlagsNot: 16}),
			flow("icmp"+name, mitigate.Match{Destination: p, Protocols: []uint8{icmp}, MinLength: 400, MaxLength: 1500}),
			flow("frag"+name, mitigate.Match{Destination: p, Fragment: true}),
			flow("out"+name, mitigate.Match{Source: p, Protocols: []uint8{17}, DestinationPorts: []uint16{53}}),
		)
	}
	return ms
}

func testAnnounceAndWithdraw(t *testing.T, b *testbed, r routertest.Router) {
	c := b.client(t)
	h4, h6 := blackhole("four", "203.0.113.9/32"), blackhole("six", "2001:db8::9/128")
	h4.Communities = append(h4.Communities, "65001:666", "64512:7:9")
	reconcile(t, c, append(everyRule(), h4, h6)...)
	expect(t, r, routertest.IPv4, "203.0.113.9/32 ")
	expect(t, r, routertest.IPv6, "2001:db8::9/128 ")

	rs, err := r.Routes(t.Context(), routertest.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"64512:7:9", "65001:666", "65535:65281", "65535:666", string(Marker(ourASN, "four"))}
	slices.Sort(want)
	if !slices.Equal(rs[0].Communities, want) || rs[0].NextHop.String() != "192.0.2.1" {
		t.Errorf("v4 route is %+v, want communities %v", rs[0], want)
	}
	rs, err = r.Routes(t.Context(), routertest.IPv6)
	if err != nil {
		t.Fatal(err)
	}
	if rs[0].NextHop.String() != "100::1" || !slices.Contains(rs[0].Communities, "65535:666") {
		t.Errorf("v6 route is %+v", rs[0])
	}
	for _, f := range []routertest.Family{routertest.IPv4FlowSpec, routertest.IPv6FlowSpec} {
		eventually(t, 20e9, "six rules", func() string {
			rs, err := r.Routes(t.Context(), f)
			if err != nil {
				return err.Error()
			}
			if len(rs) != 6 {
				return prefixes(t.Context(), r, f)
			}
			return ""
		})
		rs, err := r.Routes(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range rs {
			t.Logf("%s: %s | %s", f, x.Rule, x.Actions)
		}
	}
	eventually(t, 5e9, "all in force", func() string {
		if st := c.Status(); st.Announced != 14 || !st.Ready || len(st.Refused) > 0 || st.Peers[0].State != "established" {
			return strings.TrimSpace(stringOf(st))
		}
		return ""
	})

	reconcile(t, c, h6)
	expect(t, r, routertest.IPv4, "")
	expect(t, r, routertest.IPv6, "2001:db8::9/128 ")
	expect(t, r, routertest.IPv4FlowSpec, "")
	expect(t, r, routertest.IPv6FlowSpec, "")
	reconcile(t, c)
	expect(t, r, routertest.IPv6, "")
}

func TestBIRDAnnounceAndWithdraw(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	testAnnounceAndWithdraw(t, b, b.bird(t, nil))
}

func TestFRRAnnounceAndWithdraw(t *testing.T) {
	t.Parallel()
	b := newTestbed(t)
	testAnnounceAndWithdraw(t, b, b.frr(t))
}
