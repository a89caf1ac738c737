package mitigate

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

func TestDefaultsAreValidAndComplete(t *testing.T) {
	t.Parallel()
	if err := DefaultPolicy().Validate(); err != nil {
		t.Error(err)
	}
	if err := DefaultGuard().Validate(); err != nil {
		t.Error(err)
	}
	unset := []string{"NextHopSubnetIPv4", "NextHopSubnetIPv6", "CommunitiesSubnet", "BanTime"} // mean "as the other"
	v := reflect.ValueOf(DefaultPolicy())
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() != slices.Contains(unset, name) {
			t.Errorf("DefaultPolicy().%s is zero: %v", name, v.Field(i).IsZero())
		}
	}
}

// TestInherit sets each field alone, by reflection, so that a field added later cannot be forgotten.
func TestInherit(t *testing.T) {
	t.Parallel()
	parent := Policy{
		Mitigation: ModeFlowSpec, AnnounceHost: new(true), AnnounceSubnet: new(true), SubnetLengthIPv4: 25, SubnetLengthIPv6: 50,
		NextHopIPv4: netip.MustParseAddr("192.0.2.1"), NextHopIPv6: netip.MustParseAddr("100::1"),
		NextHopSubnetIPv4: netip.MustParseAddr("192.0.2.2"), NextHopSubnetIPv6: netip.MustParseAddr("100::2"),
		CommunitiesHost: []Community{"1:1"}, CommunitiesSubnet: []Community{"1:2"}, FlowSpecAction: RateLimit, FlowSpecRateMbps: 5,
		FlowSpecFallback: FallbackNone, DryRun: new(true), BanTime: time.Minute,
	}
	if got := (Policy{}).Inherit(parent); !reflect.DeepEqual(got, parent) {
		t.Errorf("inherited %+v", got)
	}
	v := reflect.ValueOf(parent)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).IsZero() {
			t.Fatalf("the test does not set %s", name)
		}
		var child Policy
		reflect.ValueOf(&child).Elem().Field(i).Set(v.Field(i))
		if got := child.Inherit(DefaultPolicy()); !reflect.DeepEqual(reflect.ValueOf(got).Field(i).Interface(), v.Field(i).Interface()) {
			t.Errorf("%s: own value lost: %+v", name, got)
		}
	}
	child := Policy{AnnounceHost: new(false), CommunitiesHost: []Community{}}
	if got := child.Inherit(parent); *got.AnnounceHost || len(got.CommunitiesHost) != 0 {
		t.Errorf("false and an empty list are values: %+v", got)
	}
}

func TestPolicyJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`: `{}`,
		`{"announce_host":false,"communities_host":[],"next_hop_ipv6":"100::2"}`: `{"announce_host":false,"next_hop_ipv6":"100::2","communities_host":[]}`,
	} {
		var p Policy
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(p); err != nil || string(got) != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	tests := []struct {
		key    string // the error begins with it
		policy Policy
	}{
		{"mitigation", Policy{Mitigation: "drop"}},
		{"subnet_length_ipv4", Policy{SubnetLengthIPv4: 33}},
		{"subnet_length_ipv4", Policy{SubnetLengthIPv4: 7}},
		{"subnet_length_ipv6", Policy{SubnetLengthIPv6: 129}},
		{"subnet_length_ipv6", Policy{SubnetLengthIPv6: -1}},
		{"next_hop_ipv4", Policy{NextHopIPv4: addr("100::1")}},
		{"next_hop_ipv4", Policy{NextHopIPv4: addr("0.0.0.0")}},
		{"next_hop_ipv6", Policy{NextHopIPv6: addr("192.0.2.1")}},
		{"next_hop_ipv6", Policy{NextHopIPv6: addr("::")}},
		{"next_hop_ipv6", Policy{NextHopIPv6: addr("fe80::1%eth0")}},
		{"next_hop_subnet_ipv4", Policy{NextHopSubnetIPv4: addr("127.0.0.1")}},
		{"next_hop_subnet_ipv6", Policy{NextHopSubnetIPv6: addr("ff02::1")}},
		{"communities_host", Policy{CommunitiesHost: []Community{"65536:1"}}},
		{"communities_host", Policy{CommunitiesHost: []Community{""}}},
		{"communities_subnet", Policy{CommunitiesSubnet: []Community{"1:2:3:4"}}},
		{"communities_subnet", Policy{CommunitiesSubnet: make([]Community, 33)}},
		{"flowspec_action", Policy{FlowSpecAction: "redirect"}},
		{"flowspec_rate_mbps", Policy{FlowSpecRateMbps: 1_000_001}},
		{"flowspec_fallback", Policy{FlowSpecFallback: "pray"}},
		{"ban_time", Policy{BanTime: time.Second}},
		{"ban_time", Policy{BanTime: -time.Hour}},
	}
	for _, tt := range tests {
		if err := tt.policy.Validate(); err == nil || !strings.HasPrefix(err.Error(), tt.key+": ") {
			t.Errorf("%+v: %v, want %s", tt.policy, err, tt.key)
		}
	}
	guards := map[string]func(*Guard){
		"min_length_ipv4": func(g *Guard) { g.MinLengthIPv4 = 0 }, "min_length_ipv6": func(g *Guard) { g.MinLengthIPv6 = 129 },
		"max_blackholes": func(g *Guard) { g.MaxBlackholes = 0 }, "max_flowspec": func(g *Guard) { g.MaxFlowSpec = 100_001 },
		"max_per_hostgroup": func(g *Guard) { g.MaxPerHostgroup = -1 }, "max_new_per_minute": func(g *Guard) { g.MaxNewPerMinute = 0 },
		"min_hold": func(g *Guard) { g.MinHold = -1 }, "max_manual_time": func(g *Guard) { g.MaxManualTime = 0 },
		"protected": func(g *Guard) { g.Protected = []netip.Prefix{{}} },
	}
	for key, change := range guards {
		g := DefaultGuard()
		change(&g)
		if err := g.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := New(Config{Guard: DefaultGuard(), Policies: map[string]Policy{"web": {BanTime: 1}}}, Deps{NewID: func() string { return "x" }}); err == nil ||
		!strings.Contains(err.Error(), "hostgroup web: ban_time: ") {
		t.Errorf("%v", err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	rates := func(kv ...any) (r rule.Rates) {
		for i := 0; i < len(kv); i += 2 {
			r[kv[i].(rule.Metric)] = float64(kv[i+1].(int))
		}
		return r
	}
	const synFlags = "proto 6 flags 0x02/0x12"
	tests := []struct {
		name   string
		metric rule.Metric
		rates  rule.Rates
		v4, v6 string
	}{
		{"udp pps", rule.UDPPPS, rates(), "proto 17", "proto 17"},
		{"udp mbps", rule.UDPMbps, rates(), "proto 17", "proto 17"},
		{"icmp pps", rule.ICMPPPS, rates(), "proto 1", "proto 58"},
		{"icmp mbps", rule.ICMPMbps, rates(), "proto 1", "proto 58"},
		{"syn pps", rule.TCPSYNPPS, rates(), synFlags, synFlags},
		{"syn mbps", rule.TCPSYNMbps, rates(), synFlags, synFlags},
		{"fragments pps", rule.FragmentsPPS, rates(), "fragment", "fragment"},
		{"fragments mbps", rule.FragmentsMbps, rates(), "fragment", "fragment"},
		{"tcp of all sorts", rule.TCPPPS, rates(rule.TCPPPS, 100, rule.TCPSYNPPS, 90), "proto 6", "proto 6"},
		{"tcp, nearly all syn", rule.TCPPPS, rates(rule.TCPPPS, 100, rule.TCPSYNPPS, 91), synFlags, synFlags},
		{"tcp mbps, nearly all syn", rule.TCPMbps, rates(rule.TCPMbps, 100, rule.TCPSYNMbps, 91), synFlags, synFlags},
		{"total pps, udp", rule.PPS, rates(rule.PPS, 100, rule.UDPPPS, 91), "proto 17", "proto 17"},
		{"total pps, fragments before udp", rule.PPS, rates(rule.PPS, 100, rule.UDPPPS, 100, rule.FragmentsPPS, 91), "fragment", "fragment"},
		{"total pps, icmp", rule.PPS, rates(rule.PPS, 100, rule.ICMPPPS, 100), "proto 1", "proto 58"},
		{"total pps, tcp", rule.PPS, rates(rule.PPS, 100, rule.TCPPPS, 95, rule.TCPSYNPPS, 50), "proto 6", "proto 6"},
		{"total pps, syn", rule.PPS, rates(rule.PPS, 100, rule.TCPPPS, 95, rule.TCPSYNPPS, 95), synFlags, synFlags},
		{"flows, by packets", rule.Flows, rates(rule.Flows, 9, rule.PPS, 100, rule.UDPPPS, 95), "proto 17", "proto 17"},
		{"total mbps by bytes, not packets", rule.Mbps, rates(rule.Mbps, 100, rule.UDPMbps, 95, rule.PPS, 100, rule.TCPPPS, 99), "proto 17", "proto 17"},
		{"total pps, exactly 90 %", rule.PPS, rates(rule.PPS, 100, rule.UDPPPS, 90), "", ""},
		{"total mbps, mixed", rule.Mbps, rates(rule.Mbps, 100, rule.UDPMbps, 50, rule.TCPMbps, 50), "", ""},
		{"nothing measured", rule.PPS, rates(), "", ""},
	}
	for _, tt := range tests {
		for prefix, want := range map[string]string{"10.1.1.7/32": tt.v4, "2001:db8::7/128": tt.v6} {
			for dir, side := range map[traffic.Direction]string{traffic.Incoming: "dst ", traffic.Outgoing: "src "} {
				b := rule.Breach{Metric: tt.metric, Direction: dir, In: tt.rates}
				if dir == traffic.Outgoing {
					b.In, b.Out = rule.Rates{}, tt.rates
				}
				got, ok := describe(&b, netip.MustParsePrefix(prefix))
				if text := strings.TrimSpace(side + prefix + " " + want); got.String() != text || ok != (want != "") {
					t.Errorf("%s, %s: %q %v, want %q", tt.name, dir, got, ok, text)
				}
			}
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix("2001:db8::7/128")
	a := Mitigation{Kind: FlowSpec, Prefix: prefix, Match: Match{
		Destination: prefix, Protocols: []uint8{17, 6, 17}, SourcePorts: []uint16{123, 53}, DestinationPorts: []uint16{80},
		MinLength: 100, MaxLength: 200, TCPFlags: 2, TCPFlagsNot: 0x10, Fragment: true,
	}}
	b := a
	b.Match.Protocols, b.Match.SourcePorts = []uint8{6, 17}, []uint16{53, 123}
	b.ID, b.Action, b.Rate, b.Communities = "other", RateLimit, 9, []Community{"1:1"}
	const want = "flowspec dst 2001:db8::7/128 proto 6,17 dport 80 sport 53,123 flags 0x02/0x12 length 100-200 fragment"
	if a.Key() != want || b.Key() != want {
		t.Errorf("%q\n%q\nwant %q", a.Key(), b.Key(), want)
	}
	c := Mitigation{Kind: Blackhole, Prefix: prefix}
	if c.Key() != "blackhole 2001:db8::7/128" {
		t.Errorf("%q", c.Key())
	}
	for _, other := range []Match{{Destination: prefix}, {Source: prefix}, {Destination: prefix, TCPFlagsNot: 2}, {Destination: prefix, TCPFlags: 2}, {Destination: prefix, MaxLength: 100}, {Destination: prefix, MinLength: 100}} {
		d := Mitigation{Kind: FlowSpec, Prefix: prefix, Match: other}
		for _, o := range []Mitigation{a, c} {
			if d.Key() == o.Key() {
				t.Errorf("%+v and %+v share a key", d, o)
			}
		}
	}
}
