package mitigate

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func lintTestBlackhole(prefix, nextHop string) Mitigation {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return Mitigation{
		ID: "a", Kind: Blackhole, Prefix: netip.MustParsePrefix(prefix), NextHop: netip.MustParseAddr(nextHop),
		Communities: []Community{"blackhole", "no-export"}, Reason: "test", Created: now, Expires: now.Add(time.Minute),
	}
}

func lintTestFlow(prefix string, protocols ...uint8) Mitigation {
	m := lintTestBlackhole(prefix, "192.0.2.1")
	m.Kind, m.NextHop, m.Action = FlowSpec, netip.Addr{}, Discard
	m.Match = Match{Destination: m.Prefix, Protocols: protocols}
	return m
}

// rules lists the rules that err names, sorted and without repeats.
func lintTestRules(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var rules []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var le *LintError
		if !errors.As(e, &le) {
			t.Fatalf("%v is not a *LintError", e)
		}
		rules = append(rules, le.Rule)
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

func TestLint(t *testing.T) {
	t.Parallel()
	limits := LintLimits{
		Networks:  []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Protected: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/32"), netip.MustParsePrefix("2001:db8::1/128")},
	}
	host4 := func() Mitigation { return lintTestBlackhole("203.0.113.9/32", "192.0.2.1") }
	host6 := func() Mitigation { return lintTestBlackhole("2001:db8::9/128", "100::1") }
	flow4 := func() Mitigation { return lintTestFlow("203.0.113.9/32", 17) }
	flow6 := func() Mitigation { return lintTestFlow("2001:db8::9/128", 17) }
	with := func(m Mitigation, f func(*Mitigation)) Mitigation { f(&m); return m }
	for _, tc := range []struct {
		name string
		m    Mitigation
		want string // the rules broken; empty for none
	}{
		{"blackhole v4", host4(), ""},
		{"blackhole v6", host6(), ""},
		{"flow v4", flow4(), ""},
		{"flow v6", flow6(), ""},
		{"zero value", Mitigation{}, "V1 plain"},
		{"unknown kind", with(host4(), func(m *Mitigation) { m.Kind = "pray" }), "plain"},
		{"no id", with(host4(), func(m *Mitigation) { m.ID = "" }), "plain"},
		{"no reason", with(host4(), func(m *Mitigation) { m.Reason = "" }), "plain"},
		{"never expires", with(host4(), func(m *Mitigation) { m.Expires = time.Time{} }), "plain"},
		{"expires before it begins", with(host4(), func(m *Mitigation) { m.Expires = m.Created }), "plain"},

		{"default route v4", lintTestBlackhole("0.0.0.0/0", "192.0.2.1"), "V1 V2"},
		{"default route v6", lintTestBlackhole("::/0", "100::1"), "V1 V2"},
		{"empty prefix", with(host4(), func(m *Mitigation) { m.Prefix = netip.Prefix{} }), "V1"},
		{"too short v4", lintTestBlackhole("203.0.112.0/23", "192.0.2.1"), "V1 V2"},
		{"too short v6", lintTestBlackhole("2001:db8::/47", "100::1"), "V1 V2"},
		{"subnet v4 over the router", lintTestBlackhole("203.0.113.0/24", "192.0.2.1"), "V2"},
		{"subnet v6", lintTestBlackhole("2001:db8:1::/48", "100::1"), ""},
		{"outside v4", lintTestBlackhole("198.51.100.9/32", "192.0.2.1"), "V1"},
		{"outside v6", lintTestBlackhole("2001:db9::9/128", "100::1"), "V1"},
		{"protected router v4", lintTestBlackhole("203.0.113.1/32", "192.0.2.1"), "V2"},
		{"protected router v6", lintTestBlackhole("2001:db8::1/128", "100::1"), "V2"},
		{"host bits v4", lintTestBlackhole("203.0.113.9/31", "192.0.2.1"), "V1"},
		{"host bits v6", lintTestBlackhole("2001:db8::9/127", "100::1"), "V1"},
		{"v4-mapped", lintTestBlackhole("::ffff:203.0.113.9/128", "100::1"), "V1"},
		{"multicast", lintTestBlackhole("224.0.0.1/32", "192.0.2.1"), "V1 V2"},
		{"link local v6", lintTestBlackhole("fe80::1/128", "100::1"), "V1 V2"},
		{"no next hop", with(host4(), func(m *Mitigation) { m.NextHop = netip.Addr{} }), "V1"},
		{"unspecified next hop", with(host6(), func(m *Mitigation) { m.NextHop = netip.IPv6Unspecified() }), "V1"},
		{"next hop of the other family", lintTestBlackhole("203.0.113.9/32", "100::1"), "V1"},
		{"next hop inside", lintTestBlackhole("203.0.113.9/32", "203.0.113.9"), "V2"},
		{"blackhole with a match", with(host4(), func(m *Mitigation) { m.Match.Fragment = true }), "plain"},
		{"bad community", with(host4(), func(m *Mitigation) { m.Communities = []Community{"70000:1"} }), "V4"},
		{"33 communities", with(host4(), func(m *Mitigation) { m.Communities = slices.Repeat([]Community{"1:1"}, 33) }), "V4"},

		{"empty match", with(flow4(), func(m *Mitigation) { m.Match = Match{} }), "V1 V6"},
		{"no action", with(flow4(), func(m *Mitigation) { m.Action = "" }), "V5"},
		{"discard with a rate", with(flow4(), func(m *Mitigation) { m.Rate = 1 }), "V5"},
		{"limit of nothing", with(flow4(), func(m *Mitigation) { m.Action = RateLimit }), "V5"},
		{"limit", with(flow6(), func(m *Mitigation) { m.Action, m.Rate = RateLimit, 1_250_000 }), ""},
		{"limit everything to the host", with(lintTestFlow("203.0.113.9/32"), func(m *Mitigation) { m.Action, m.Rate = RateLimit, 1 }), ""},
		{"discard everything to the host", lintTestFlow("203.0.113.9/32"), "V6"},
		{"flow with a next hop", with(flow4(), func(m *Mitigation) { m.NextHop = netip.MustParseAddr("192.0.2.1") }), "plain"},
		{"wildcard source", with(flow4(), func(m *Mitigation) { m.Match.Source = netip.MustParsePrefix("0.0.0.0/0") }), "V2"},
		{"foreign destination", with(flow4(), func(m *Mitigation) {
			m.Match.Source, m.Match.Destination = m.Prefix, netip.MustParsePrefix("8.8.8.8/32")
		}), "V1"},
		{"source of the other family", with(flow4(), func(m *Mitigation) { m.Match.Source = netip.MustParsePrefix("2001:db8::/32") }), "V1"},
		{"outgoing attack", with(flow4(), func(m *Mitigation) { m.Match.Source, m.Match.Destination = m.Prefix, netip.Prefix{} }), ""},
		{"flow outside", lintTestFlow("198.51.100.9/32", 17), "V1"},
		{"flow too short v6", lintTestFlow("2001:db8:1::/63", 17), "V1"},
		{"ICMPv6 in IPv4", lintTestFlow("203.0.113.9/32", 58), "V4"},
		{"ICMP in IPv6", lintTestFlow("2001:db8::9/128", 1), "V4"},
		{"protocol twice", lintTestFlow("203.0.113.9/32", 6, 6), "V3"},
		{"17 protocols", lintTestFlow("203.0.113.9/32", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18), "V3"},
		{"ports without protocol", with(lintTestFlow("203.0.113.9/32"), func(m *Mitigation) { m.Match.SourcePorts = []uint16{53} }), "V3"},
		{"ports of ICMP", with(lintTestFlow("203.0.113.9/32", 1), func(m *Mitigation) { m.Match.DestinationPorts = []uint16{53} }), "V3"},
		{"port twice", with(flow6(), func(m *Mitigation) { m.Match.DestinationPorts = []uint16{53, 53} }), "V3"},
		{"TCP flags of UDP", with(flow4(), func(m *Mitigation) { m.Match.TCPFlags = 2 }), "V3"},
		{"SYN and not SYN", with(lintTestFlow("2001:db8::9/128", 6), func(m *Mitigation) { m.Match.TCPFlags, m.Match.TCPFlagsNot = 2, 18 }), "V4"},
		{"SYN and not ACK", with(lintTestFlow("2001:db8::9/128", 6), func(m *Mitigation) { m.Match.TCPFlags, m.Match.TCPFlagsNot = 2, 16 }), ""},
		{"ports of fragments", with(flow4(), func(m *Mitigation) { m.Match.Fragment, m.Match.SourcePorts = true, []uint16{53} }), "V3"},
		{"fragments", with(lintTestFlow("203.0.113.9/32"), func(m *Mitigation) { m.Match.Fragment = true }), ""},
		{"length that killed a fleet", with(flow4(), func(m *Mitigation) { m.Match.MinLength, m.Match.MaxLength = 65000, 65535 }), "V4"},
		{"length over jumbo", with(flow6(), func(m *Mitigation) { m.Match.MaxLength = 9217 }), "V4"},
		{"length under a header v4", with(flow4(), func(m *Mitigation) { m.Match.MaxLength = 19 }), "V4"},
		{"length under a header v6", with(flow6(), func(m *Mitigation) { m.Match.MinLength = 39 }), "V4"},
		{"length upside down", with(flow4(), func(m *Mitigation) { m.Match.MinLength, m.Match.MaxLength = 900, 800 }), "V4"},
		{"length of every packet", with(lintTestFlow("203.0.113.9/32"), func(m *Mitigation) { m.Match.MinLength, m.Match.MaxLength = 20, 9216 }), "V6"},
		{"length band", with(lintTestFlow("203.0.113.9/32"), func(m *Mitigation) { m.Match.MinLength, m.Match.MaxLength = 400, 1500 }), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := Lint(tc.m, limits)
			if got := strings.Join(lintTestRules(t, err), " "); got != tc.want {
				t.Fatalf("broke %q, want %q: %v", got, tc.want, err)
			}
		})
	}
}

func TestLintWithoutNetworks(t *testing.T) {
	t.Parallel()
	// The speaker does not know the networks; every other rail still stands.
	if err := Lint(lintTestBlackhole("198.51.100.9/32", "192.0.2.1"), LintLimits{}); err != nil {
		t.Fatal(err)
	}
	if err := Lint(lintTestBlackhole("0.0.0.0/0", "192.0.2.1"), LintLimits{}); err == nil {
		t.Fatal("a default route passed")
	}
	// An empty list, unlike none, means that nothing is ours.
	if err := Lint(lintTestBlackhole("198.51.100.9/32", "192.0.2.1"), LintLimits{Networks: []netip.Prefix{}}); err == nil {
		t.Fatal("an empty list of networks let a prefix out")
	}
}

func TestCommunityParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[Community]ParsedCommunity{
		"65535:666":          {Standard: 0xFFFF029A},
		"blackhole":          {Standard: 0xFFFF029A},
		"No-Export":          {Standard: 0xFFFFFF01},
		"no-advertise":       {Standard: 0xFFFFFF02},
		"0:0":                {},
		"65000:65535":        {Standard: 65000<<16 | 65535},
		"64512:1:4294967295": {IsLarge: true, Large: [3]uint32{64512, 1, 4294967295}},
		"4200000000:0:7":     {IsLarge: true, Large: [3]uint32{4200000000, 0, 7}},
	} {
		got, err := text.Parse()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []Community{"", ":", "1", "1:", ":1", "65536:1", "1:65536", "-1:1", "+1:1", "1:2:3:4", "1:2:4294967296", "1: 2", "blackholes", "0x1:2"} {
		if got, err := text.Parse(); err == nil {
			t.Errorf("%q gave %+v, want an error", text, got)
		}
	}
}
