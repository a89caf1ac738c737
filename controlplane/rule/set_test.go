package rule

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

var (
	host4 = netip.MustParseAddr("192.0.2.7")
	host6 = netip.MustParseAddr("2001:db8::7")
)

func ptr[T any](v T) *T { return &v }

func mustCompile(t testing.TB, configs map[string]GroupConfig) *Set {
	t.Helper()
	s, err := Compile(configs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEveryThreshold switches one of the 26 limits on at a time and checks, for both families, that exactly this one fires,
// only above its limit, only in its direction, and that the breach says why.
func TestEveryThreshold(t *testing.T) {
	t.Parallel()
	for _, host := range []netip.Addr{host4, host6} {
		for _, d := range Directions {
			for m := range NumMetrics {
				t.Run(fmt.Sprint(m.Threshold(d), " ", host), func(t *testing.T) {
					var g GroupConfig
					g.SetSwitch(m, d, true)
					g.SetLimit(m, d, 1000)
					s := mustCompile(t, map[string]GroupConfig{"global": g})
					for value, want := range map[float64]int{0: 0, 999: 0, 1000: 0, 1000.5: 1, 1e9: 1} {
						sub := Subject{Target: Target{Host: host}, Window: time.Second}
						for i := range sub.In { // every other metric is far above 1000, and not limited
							sub.In[i], sub.Out[i] = 1e12, 1e12
						}
						sub.rates(side(d))[m] = value
						got := s.Judge(nil, &sub)
						if len(got) != want {
							t.Fatalf("value %v: %d breaches, want %d", value, len(got), want)
						}
						if want == 1 {
							exp := Breach{
								Target: sub.Target, Direction: d, Hostgroup: "global", Metric: m, Limit: 1000, Value: value,
								Window: time.Second, In: sub.In, Out: sub.Out,
							}
							if got[0] != exp {
								t.Fatalf("got %+v\nwant %+v", got[0], exp)
							}
						}
						if level := s.Level(&sub, d); level != value/1000 {
							t.Fatalf("level %v, want %v", level, value/1000)
						}
					}
				})
			}
		}
	}
}

func TestSwitches(t *testing.T) {
	t.Parallel()
	base := func(change func(*GroupConfig)) map[string]GroupConfig {
		var g GroupConfig
		for _, d := range Directions {
			g.SetSwitch(PPS, d, true)
			g.SetLimit(PPS, d, 10)
		}
		change(&g)
		return map[string]GroupConfig{"global": g}
	}
	for _, tc := range []struct {
		name   string
		change func(*GroupConfig)
		want   string
	}{
		{"nothing said", func(*GroupConfig) {}, "incoming outgoing"},
		{"enable_ban true", func(g *GroupConfig) { g.EnableBan = ptr(true) }, "incoming outgoing"},
		{"enable_ban false", func(g *GroupConfig) { g.EnableBan = ptr(false) }, ""},
		{"incoming off", func(g *GroupConfig) { g.EnableBanIncoming = ptr(false) }, "outgoing"},
		{"outgoing off", func(g *GroupConfig) { g.EnableBanOutgoing = ptr(false) }, "incoming"},
		{"switch off", func(g *GroupConfig) { g.BanForPPS = ptr(false) }, "outgoing"},
		{"switch unset", func(g *GroupConfig) { g.BanForPPSOutgoing = nil }, "incoming"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := mustCompile(t, base(tc.change))
			for _, h := range []netip.Addr{host4, host6} {
				sub := Subject{Target: Target{Host: h}, In: Rates{PPS: 11}, Out: Rates{PPS: 11}}
				var got []string
				for _, b := range s.Judge(nil, &sub) {
					got = append(got, b.Direction.String())
				}
				if strings.Join(got, " ") != tc.want {
					t.Fatalf("got %v, want %q", got, tc.want)
				}
			}
		})
	}
}

func TestInheritance(t *testing.T) {
	t.Parallel()
	configs := map[string]GroupConfig{
		"global": {
			BanForPPS: ptr(true), ThresholdPPS: ptr[uint64](100), BanForUDPPPS: ptr(true), ThresholdUDPPPS: ptr[uint64](50),
			ThresholdMbps: ptr[uint64](7),
		},
		"web":    {ThresholdPPS: ptr[uint64](1000), BanForBandwidth: ptr(true), Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		"shop":   {Parent: "web", BanForUDPPPS: ptr(false), ThresholdMbps: ptr[uint64](9), Networks: []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}},
		"silent": {Parent: "shop", EnableBan: ptr(false)},
		"loud":   {Parent: "silent", EnableBan: ptr(true)},
	}
	s := mustCompile(t, configs)
	if got := fmt.Sprint(s.Names()); got != "[global loud shop silent web]" {
		t.Fatal(got)
	}
	for _, tc := range []struct {
		group          string
		pps, udp, mbps float64 // 0: off
	}{
		{"global", 100, 50, 0},
		{"web", 1000, 50, 7},
		{"shop", 1000, 0, 9},
		{"silent", 0, 0, 0},
		{"loud", 1000, 0, 9},
	} {
		i, ok := s.Index(tc.group)
		if !ok {
			t.Fatal(tc.group)
		}
		for m, want := range map[Metric]float64{PPS: tc.pps, UDPPPS: tc.udp, Mbps: tc.mbps, TCPPPS: 0} {
			got, on := s.Limit(i, m, traffic.Incoming)
			if on != (want != 0) || on && got != want {
				t.Errorf("%s %s: %v %v, want %v", tc.group, m.Threshold(traffic.Incoming), got, on, want)
			}
			if _, on := s.Limit(i, m, traffic.Outgoing); on {
				t.Errorf("%s: outgoing limit from an incoming one", tc.group)
			}
		}
	}
	members := s.Members()
	if len(members) != 4 || members[1].Name != "shop" || members[1].Prefixes[0] != netip.MustParsePrefix("2001:db8::/64") {
		t.Fatalf("%+v", members)
	}
}

// TestTotalGroups: the sum is judged by the group's own limits, its hosts by those of the nearest per_host ancestor.
func TestTotalGroups(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, map[string]GroupConfig{
		"global":   {BanForPPS: ptr(true), ThresholdPPS: ptr[uint64](100)},
		"customer": {Calculation: Total, ThresholdPPS: ptr[uint64](500)},
		"special":  {Parent: "customer", ThresholdPPS: ptr[uint64](200)},
	})
	idx := func(name string) int { i, _ := s.Index(name); return i }
	for _, tc := range []struct {
		name  string
		sub   Subject
		limit float64
		group string
	}{
		{"total below", Subject{Target: Target{Group: "customer"}, Group: idx("customer"), In: Rates{PPS: 500}}, 0, ""},
		{"total above", Subject{Target: Target{Group: "customer"}, Group: idx("customer"), In: Rates{PPS: 501}}, 500, "customer"},
		{"v4 host in the total group", Subject{Target: Target{Host: host4}, Group: idx("customer"), In: Rates{PPS: 101}}, 100, "global"},
		{"v6 host in the total group", Subject{Target: Target{Host: host6}, Group: idx("customer"), In: Rates{PPS: 101}}, 100, "global"},
		{"host in a child", Subject{Target: Target{Host: host6}, Group: idx("special"), In: Rates{PPS: 200}}, 0, ""},
		{"host in a child above", Subject{Target: Target{Host: host4}, Group: idx("special"), In: Rates{PPS: 201}}, 200, "special"},
		{"a per_host group has no total", Subject{Target: Target{Group: "special"}, Group: idx("special"), In: Rates{PPS: 1e9}}, 0, ""},
		{"unknown index", Subject{Target: Target{Host: host4}, Group: 99, In: Rates{PPS: 1e9}}, 0, ""},
		{"NaN", Subject{Target: Target{Host: host4}, In: Rates{PPS: math.NaN()}}, 0, ""},
	} {
		got := s.Judge(nil, &tc.sub)
		switch {
		case tc.limit == 0 && len(got) != 0:
			t.Errorf("%s: %+v", tc.name, got)
		case tc.limit != 0 && (len(got) != 1 || got[0].Limit != tc.limit || got[0].Hostgroup != tc.group):
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
	for name, want := range map[string]string{"global": "global", "customer": "global", "special": "special"} {
		if got := s.Name(s.HostLimits(idx(name))); got != want {
			t.Errorf("hosts of %s are judged by %s", name, got)
		}
	}
	all := mustCompile(t, map[string]GroupConfig{"global": {Calculation: Total, BanForPPS: ptr(true), ThresholdPPS: ptr[uint64](1)}})
	if got := all.Judge(nil, &Subject{Target: Target{Host: host4}, In: Rates{PPS: 5}}); len(got) != 0 {
		t.Errorf("a host was judged though global is total: %+v", got)
	}
	if all.HostLimits(0) != -1 {
		t.Error("hosts have limits though no group judges hosts")
	}
	if f := all.Floor()[0].packets; !math.IsInf(f, 1) {
		t.Errorf("floor %v", f)
	}
}

func TestBadConfigs(t *testing.T) {
	t.Parallel()
	p := netip.MustParsePrefix
	for _, tc := range []struct {
		name    string
		configs map[string]GroupConfig
		want    string
	}{
		{"zero limit", map[string]GroupConfig{"global": {ThresholdUDPPPS: ptr[uint64](0)}}, "hostgroups.global.threshold_udp_pps: a limit of zero"},
		{"zero limit outgoing", map[string]GroupConfig{"g": {ThresholdTCPSYNMbpsOutgoing: ptr[uint64](0)}}, "hostgroups.g.threshold_tcp_syn_mbps_outgoing: a limit of zero"},
		{"switch without limit", map[string]GroupConfig{"global": {BanForFlows: ptr(true)}}, "hostgroups.global.ban_for_flows: is on, and threshold_flows is set neither"},
		{"switch without limit in a child", map[string]GroupConfig{"a": {BanForBandwidthOutgoing: ptr(true)}}, "hostgroups.a.ban_for_bandwidth_outgoing: is on"},
		{"unknown parent", map[string]GroupConfig{"a": {Parent: "b"}}, `hostgroups.a.parent: there is no hostgroup "b"`},
		{"loop", map[string]GroupConfig{"a": {Parent: "b"}, "b": {Parent: "a"}}, "hostgroups.a.parent: the chain of parents is a loop"},
		{"own parent", map[string]GroupConfig{"a": {Parent: "a"}}, "hostgroups.a.parent: the chain of parents is a loop"},
		{"global with parent", map[string]GroupConfig{"global": {Parent: "a"}, "a": {}}, "hostgroups.global.parent: global has no parent"},
		{"global with networks", map[string]GroupConfig{"global": {Networks: []netip.Prefix{p("192.0.2.0/24")}}}, "hostgroups.global.networks: global holds"},
		{"calculation", map[string]GroupConfig{"a": {Calculation: "sum"}}, `hostgroups.a.calculation: "sum" is neither`},
		{"same prefix twice", map[string]GroupConfig{"a": {Networks: []netip.Prefix{p("2001:db8::/48")}}, "b": {Networks: []netip.Prefix{p("2001:db8::/48")}}}, "hostgroups.b.networks: 2001:db8::/48 is already in hostgroup a"},
		{"host bits", map[string]GroupConfig{"a": {Networks: []netip.Prefix{p("192.0.2.1/24")}}}, "did you mean 192.0.2.0/24?"},
		{"mapped", map[string]GroupConfig{"a": {Networks: []netip.Prefix{p("::ffff:192.0.2.0/120")}}}, "v4-mapped"},
		{"no prefix", map[string]GroupConfig{"a": {Networks: []netip.Prefix{{}}}}, "not a prefix"},
		{"name", map[string]GroupConfig{"a b": {}}, "hostgroups.a b: the name must be"},
		{"empty name", map[string]GroupConfig{"": {}}, "the name must be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := Compile(tc.configs)
			if err == nil || s != nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
		})
	}
	_, err := Compile(map[string]GroupConfig{"a": {Parent: "x", Calculation: "y"}, "b": {ThresholdPPS: ptr[uint64](0)}})
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != 3 {
		t.Errorf("%d problems reported at once, want 3: %v", n, err)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, nil)
	if s.Len() != 1 || s.Name(0) != "global" || s.Parent(0) != -1 || s.Calculation(0) != PerHost {
		t.Fatal("an empty configuration is not just global")
	}
	huge := Subject{Target: Target{Host: host6}}
	for m := range huge.In {
		huge.In[m] = 1e15
	}
	if got := s.Judge(nil, &huge); len(got) != 0 || s.Level(&huge, traffic.Incoming) != 0 {
		t.Fatalf("fires without limits: %+v", got)
	}
	b := s.Floor().Bounds(time.Second, 1)
	if b[0].Above(1<<62, 1<<62, 1<<62) {
		t.Fatal("prefilter passes rows though nothing is limited")
	}
}

// TestFloorNeverHides: whatever Judge would report is above the floor's bounds, for any epoch length.
func TestFloorNeverHides(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, map[string]GroupConfig{
		"global": {
			BanForPPS: ptr(true), ThresholdPPS: ptr[uint64](20000), BanForTCPSYNPPS: ptr(true), ThresholdTCPSYNPPS: ptr[uint64](1000),
			BanForBandwidth: ptr(true), ThresholdMbps: ptr[uint64](3), BanForFlows: ptr(true), ThresholdFlows: ptr[uint64](17),
		},
		"g": {ThresholdTCPSYNPPS: ptr[uint64](77)},
	})
	for _, elapsed := range []time.Duration{100 * time.Millisecond, 333333333, time.Second, 1000000007} {
		b := s.Floor().Bounds(elapsed, 1)
		for n := range uint64(3000) {
			for _, shape := range []struct {
				m     Metric
				value float64
				p, by uint64
				fl    uint64
			}{
				{TCPSYNPPS, float64(n) / elapsed.Seconds(), n, n, 0},
				{Mbps, float64(n*1000) * 8 / 1e6 / elapsed.Seconds(), 1, n * 1000, 0},
				{Flows, float64(n) / elapsed.Seconds(), 0, 0, n},
			} {
				sub := Subject{Target: Target{Host: host6}, Group: 1}
				sub.In[shape.m] = shape.value
				fires := len(s.Judge(nil, &sub)) > 0
				if fires && !b[0].Above(shape.p, shape.by, shape.fl) {
					t.Fatalf("%v in %v: %d is hidden by %+v", shape.m.Threshold(0), elapsed, n, b[0])
				}
			}
		}
		if b[0].Above(uint64(77*elapsed.Seconds())-1, 0, 0) || b[0].Above(0, 0, 1) {
			t.Fatalf("prefilter is useless: %+v", b[0])
		}
	}
}

func TestJudgeAllocs(t *testing.T) {
	s := mustCompile(t, map[string]GroupConfig{"global": {BanForPPS: ptr(true), ThresholdPPS: ptr[uint64](1)}})
	sub := Subject{Target: Target{Host: host6}, In: Rates{PPS: 2}}
	dst := make([]Breach, 0, 4)
	if n := testing.AllocsPerRun(100, func() { dst = s.Judge(dst[:0], &sub); s.Level(&sub, traffic.Incoming) }); n != 0 || len(dst) != 1 {
		t.Fatalf("%v allocations, %d breaches", n, len(dst))
	}
}

// TestKeys: every metric has its two keys per direction in GroupConfig, and nothing there is unknown to a metric.
func TestKeys(t *testing.T) {
	t.Parallel()
	known := map[string]bool{
		"networks": true, "parent": true, "description": true, "calculation": true,
		"enable_ban": true, "enable_ban_incoming": true, "enable_ban_outgoing": true,
	}
	for _, d := range Directions {
		for m := range NumMetrics {
			known[m.Ban(d)], known[m.Threshold(d)] = true, true
		}
	}
	if len(known) != 7+52 {
		t.Fatalf("%d keys", len(known))
	}
	for key := range fieldIndex {
		if !known[key] {
			t.Errorf("%s is no metric's key", key)
		}
		delete(known, key)
	}
	if len(known) != 0 {
		t.Errorf("missing in GroupConfig: %v", known)
	}
}
