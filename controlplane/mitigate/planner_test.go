package mitigate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

var epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func pfx(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func testConfig() Config {
	return Config{
		Guard: DefaultGuard(),
		Site: Site{
			Networks:       pfx("198.51.100.0/24", "203.0.113.128/25", "10.0.0.0/8", "2001:db8::/32"),
			Whitelist:      pfx("198.51.100.250/32", "2001:db8:0:250::/64"),
			Infrastructure: pfx("198.51.100.1/32", "2001:db8::1/128"),
			Groups: map[string][]netip.Prefix{
				"web":  pfx("10.1.1.0/24", "10.1.2.7/32", "2001:db8:1::/48"),
				"wide": pfx("10.8.0.0/16", "10.9.9.0/24"),
			},
		},
		Policies: map[string]Policy{},
	}
}

func newTestPlanner(t *testing.T, change func(*Config)) *Planner {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	n := 0
	p, err := New(cfg, Deps{NewID: func() string { n++; return fmt.Sprintf("m%d", n) }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// attack is an active incident on host by the UDP packet threshold.
func attack(id, host string) incident.Incident {
	inc := incident.Incident{
		ID: id, Target: rule.Target{Host: netip.MustParseAddr(host)}, Direction: traffic.Incoming, Hostgroup: Global,
		State: incident.Active, Vector: incident.UDPFlood, Protocol: "udp", InitialPPS: 30000, PeakPPS: 30000,
		Start: epoch, LastBreach: epoch, Until: at(1900 * time.Second),
	}
	inc.Why = rule.Breach{Target: inc.Target, Metric: rule.UDPPPS, Limit: 20000, Value: 30000}
	inc.Why.In[rule.PPS], inc.Why.In[rule.UDPPPS] = 30000, 30000
	inc.Why.In[rule.Mbps], inc.Why.In[rule.UDPMbps] = 120, 120
	return inc
}

// shown is what a plan announces, in words.
func shown(p Plan) []string {
	out := []string{}
	for _, m := range p.Wanted {
		s := m.Key()
		if m.Kind == Blackhole {
			s += fmt.Sprintf(" via %s %v", m.NextHop, m.Communities)
		} else {
			s += fmt.Sprintf(" %s %d", m.Action, m.Rate)
		}
		if m.DryRun {
			s += " dry"
		}
		out = append(out, s)
	}
	return out
}

func railsOf(p Plan) []Rail {
	out := []Rail{}
	for _, f := range p.Refusals {
		out = append(out, f.Rail)
	}
	return out
}

func TestPlanByPolicy(t *testing.T) {
	t.Parallel()
	const std = "[65535:666 no-export]"
	inside := func(i *incident.Incident) {}
	tests := []struct {
		name   string
		policy Policy
		host   string
		change func(*incident.Incident)
		want   []string
		rails  []Rail
	}{
		{"blackhole is the default", Policy{}, "198.51.100.7", inside, []string{"blackhole 198.51.100.7/32 via 192.0.2.1 " + std}, nil},
		{"blackhole v6", Policy{}, "2001:db8::7", inside, []string{"blackhole 2001:db8::7/128 via 100::1 " + std}, nil},
		{"v4-mapped host is v4", Policy{}, "::ffff:198.51.100.7", inside, []string{"blackhole 198.51.100.7/32 via 192.0.2.1 " + std}, nil},
		{"none reports only", Policy{Mitigation: ModeNone}, "198.51.100.7", inside, nil, nil},
		{"suspects are left alone", Policy{}, "198.51.100.7", func(i *incident.Incident) { i.State = incident.Suspect }, nil, nil},
		{"cooling stays", Policy{}, "198.51.100.7", func(i *incident.Incident) { i.State = incident.Cooling }, []string{"blackhole 198.51.100.7/32 via 192.0.2.1 " + std}, nil},
		{
			"host and subnet",
			Policy{AnnounceSubnet: new(true), CommunitiesSubnet: []Community{"65001:777"}, NextHopSubnetIPv4: netip.MustParseAddr("192.0.2.9")},
			"10.1.1.7", inside,
			[]string{"blackhole 10.1.1.0/24 via 192.0.2.9 [65001:777]", "blackhole 10.1.1.7/32 via 192.0.2.1 " + std},
			nil,
		},
		{
			"subnet only v6",
			Policy{AnnounceHost: new(false), AnnounceSubnet: new(true), NextHopSubnetIPv6: netip.MustParseAddr("100::9"), CommunitiesSubnet: []Community{}},
			"2001:db8:5::7", inside,
			[]string{"blackhole 2001:db8:5::/48 via 100::9 []"},
			nil,
		},
		{
			"subnet stays inside its network",
			Policy{AnnounceHost: new(false), AnnounceSubnet: new(true)},
			"203.0.113.200",
			func(i *incident.Incident) { i.Network = netip.MustParsePrefix("203.0.113.128/25") },
			[]string{"blackhole 203.0.113.128/25 via 192.0.2.1 " + std},
			nil,
		},
		{
			"subnet of an unknown network is checked all the same",
			Policy{AnnounceHost: new(false), AnnounceSubnet: new(true)},
			"203.0.113.200",
			inside, nil,
			[]Rail{RailOutside},
		},
		{"nothing to announce", Policy{AnnounceHost: new(false)}, "10.1.1.7", inside, nil, []Rail{RailPolicy}},
		{"dry run", Policy{DryRun: new(true)}, "10.1.1.7", inside, []string{"blackhole 10.1.1.7/32 via 192.0.2.1 " + std + " dry"}, nil},
		{"flowspec udp", Policy{Mitigation: ModeFlowSpec}, "10.1.1.7", inside, []string{"flowspec dst 10.1.1.7/32 proto 17 discard 0"}, nil},
		{
			"flowspec udp v6, rate",
			Policy{Mitigation: ModeFlowSpec, FlowSpecAction: RateLimit, FlowSpecRateMbps: 8},
			"2001:db8::7", inside,
			[]string{"flowspec dst 2001:db8::7/128 proto 17 rate-limit 1000000"},
			nil,
		},
		{
			"flowspec outgoing",
			Policy{Mitigation: ModeFlowSpec},
			"2001:db8::7", func(i *incident.Incident) { i.Direction = traffic.Outgoing },
			[]string{"flowspec src 2001:db8::7/128 proto 17 discard 0"},
			nil,
		},
		{"flowspec mixed total falls back to blackhole", Policy{Mitigation: ModeFlowSpec}, "10.1.1.7", mixed, []string{"blackhole 10.1.1.7/32 via 192.0.2.1 " + std}, nil},
		{
			"flowspec mixed total v6, limited",
			Policy{Mitigation: ModeFlowSpec, FlowSpecFallback: FallbackRateLimit},
			"2001:db8::7", mixed,
			[]string{"flowspec dst 2001:db8::7/128 rate-limit 1250000"},
			nil,
		},
		{"flowspec mixed total, refused", Policy{Mitigation: ModeFlowSpec, FlowSpecFallback: FallbackNone}, "10.1.1.7", mixed, nil, []Rail{RailNoSignature}},
		{
			"manual incident of a group that does nothing by itself",
			Policy{Mitigation: ModeNone},
			"2001:db8::7",
			func(i *incident.Incident) { i.Manual = true },
			[]string{"blackhole 2001:db8::7/128 via 100::1 " + std},
			nil,
		},
		{
			"hostgroup total",
			Policy{CommunitiesSubnet: []Community{"65001:777"}},
			"10.1.1.7", group("web"),
			[]string{
				"blackhole 10.1.1.0/24 via 192.0.2.1 [65001:777]", "blackhole 10.1.2.7/32 via 192.0.2.1 " + std,
				"blackhole 2001:db8:1::/48 via 100::1 [65001:777]",
			},
			nil,
		},
		{"hostgroup total, each inside the rails", Policy{}, "10.1.1.7", group("wide"), []string{"blackhole 10.9.9.0/24 via 192.0.2.1 " + std}, []Rail{RailTooShort}},
		{"global has no networks of its own", Policy{}, "10.1.1.7", group(Global), nil, []Rail{RailPolicy}},
		{
			"flowspec for a hostgroup: rules of v6 are /64 at least",
			Policy{Mitigation: ModeFlowSpec},
			"10.1.1.7", group("web"),
			[]string{"flowspec dst 10.1.1.0/24 proto 17 discard 0", "flowspec dst 10.1.2.7/32 proto 17 discard 0"},
			[]Rail{RailLint},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newTestPlanner(t, func(c *Config) { c.Policies[Global] = tt.policy })
			inc := attack("i1", tt.host)
			tt.change(&inc)
			plan := p.Plan(epoch, []incident.Incident{inc}, nil)
			if got := shown(plan); !slices.Equal(got, tt.want) {
				t.Errorf("plan\n got %q\nwant %q", got, tt.want)
			}
			if got := railsOf(plan); !slices.Equal(got, tt.rails) {
				t.Errorf("rails: got %v, want %v (%+v)", got, tt.rails, plan.Refusals)
			}
			for _, m := range plan.Wanted {
				if m.ID == "" || m.Reason == "" || m.Incident != "i1" || !m.Created.Equal(epoch) || !m.Expires.Equal(inc.Until) {
					t.Errorf("incomplete mitigation %+v", m)
				}
			}
		})
	}
}

func mixed(i *incident.Incident) {
	i.Why.Metric = rule.PPS
	i.Why.In[rule.UDPPPS], i.Why.In[rule.TCPPPS] = 20000, 10000
}

func group(name string) func(*incident.Incident) {
	return func(i *incident.Incident) { i.Target = rule.Target{Group: name} }
}

// TestRails has, for each rail, a request that would be announced but for it: the twin without the reason must pass.
func TestRails(t *testing.T) {
	t.Parallel()
	fill := func(n int, p *Planner) {
		var list []incident.Incident
		for i := range n {
			list = append(list, attack(fmt.Sprintf("f%d", i), fmt.Sprintf("10.99.0.%d", i+1)))
		}
		p.Plan(epoch, list, nil)
	}
	tests := []struct {
		name      string
		rail      Rail
		prefix    string // asked for by hand, since only people can ask for such things
		pass      string // the twin that passes
		config    func(*Config)
		prepare   func(*Planner)
		unprepare func(*Planner)
	}{
		{name: "outside", rail: RailOutside, prefix: "198.51.101.7/32", pass: "198.51.100.7/32"},
		{name: "outside v6", rail: RailOutside, prefix: "2001:db9::7/128", pass: "2001:db8::7/128"},
		{name: "partly outside", rail: RailOutside, prefix: "203.0.113.0/24", pass: "203.0.113.128/25"},
		{name: "default route", rail: RailDefaultRoute, prefix: "0.0.0.0/0", pass: "10.0.0.0/24", config: everything},
		{name: "default route v6", rail: RailDefaultRoute, prefix: "::/0", pass: "2001:db8:9::/48", config: everything},
		{name: "too short", rail: RailTooShort, prefix: "10.0.0.0/23", pass: "10.0.0.0/24"},
		{name: "too short v6", rail: RailTooShort, prefix: "2001:db8:2::/47", pass: "2001:db8:2::/48"},
		{name: "whitelisted host", rail: RailWhitelist, prefix: "198.51.100.250/32", pass: "198.51.100.251/32"},
		{name: "covers a whitelisted host", rail: RailWhitelist, prefix: "198.51.100.248/29", pass: "198.51.100.240/29"},
		{name: "in a whitelisted net v6", rail: RailWhitelist, prefix: "2001:db8:0:250::9/128", pass: "2001:db8:0:251::9/128"},
		{name: "infrastructure", rail: RailProtected, prefix: "198.51.100.1/32", pass: "198.51.100.2/32"},
		{name: "covers infrastructure", rail: RailProtected, prefix: "198.51.100.0/30", pass: "198.51.100.4/30"},
		{name: "infrastructure v6", rail: RailProtected, prefix: "2001:db8::1/128", pass: "2001:db8::2/128"},
		{
			name: "protected by hand v6", rail: RailProtected, prefix: "2001:db8:77::1/128", pass: "2001:db8:78::1/128",
			config: func(c *Config) { c.Guard.Protected = pfx("2001:db8:77::/48") },
		},
		{
			name: "own next hop", rail: RailProtected, prefix: "10.0.0.66/32", pass: "10.0.0.67/32",
			config: func(c *Config) { c.Policies["x"] = Policy{NextHopSubnetIPv4: netip.MustParseAddr("10.0.0.66")} },
		},
		{name: "multicast", rail: RailInvalid, prefix: "224.0.0.9/32", pass: "10.0.0.67/32", config: everything},
		{name: "link local v6", rail: RailInvalid, prefix: "fe80::9/128", pass: "2001:db8::9/128", config: everything},
		{name: "host bits", rail: RailInvalid, prefix: "10.0.0.9/24", pass: "10.0.0.0/24"},
		{name: "v4-mapped", rail: RailInvalid, prefix: "::ffff:10.0.0.9/128", pass: "10.0.0.9/32"},
		{
			name: "blackhole cap", rail: RailMaxBlackhole, prefix: "10.0.0.9/32", pass: "10.0.0.9/32",
			config:  func(c *Config) { c.Guard.MaxBlackholes = 3 },
			prepare: func(p *Planner) { fill(3, p) }, unprepare: func(p *Planner) { fill(2, p) },
		},
		{
			name: "cap of the hostgroup", rail: RailMaxHostgroup, prefix: "2001:db8::9/128", pass: "2001:db8::9/128",
			config:  func(c *Config) { c.Guard.MaxPerHostgroup = 3 },
			prepare: func(p *Planner) { fill(3, p) }, unprepare: func(p *Planner) { fill(2, p) },
		},
		{
			name: "new per minute", rail: RailMaxNew, prefix: "10.0.0.9/32", pass: "10.0.0.9/32",
			config:  func(c *Config) { c.Guard.MaxNewPerMinute = 3 },
			prepare: func(p *Planner) { fill(3, p) }, unprepare: func(p *Planner) { fill(2, p) },
		},
		{
			name: "kill switch", rail: RailKillSwitch, prefix: "2001:db8::9/128", pass: "2001:db8::9/128",
			prepare: func(p *Planner) { p.Kill(KillSwitch{On: true}) }, unprepare: func(p *Planner) { p.Kill(KillSwitch{}) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, half := range []struct {
				prefix  string
				prepare func(*Planner)
				rail    Rail
			}{{tt.prefix, tt.prepare, tt.rail}, {tt.pass, tt.unprepare, ""}} {
				p := newTestPlanner(t, tt.config)
				var keep []incident.Incident
				if half.prepare != nil {
					half.prepare(p)
					for _, m := range p.last {
						keep = append(keep, attack(m.Incident, m.Prefix.Addr().String()))
					}
				}
				req := Manual{ID: "q1", Prefix: netip.MustParsePrefix(half.prefix), Hostgroup: Global, Reason: "test", By: "root", Created: epoch, Expires: at(time.Hour)}
				checkErr := p.CheckManual(epoch, req)
				plan := p.Plan(epoch, keep, []Manual{req})
				announced := slices.ContainsFunc(plan.Wanted, func(m Mitigation) bool { return m.ID == "q1" })
				if half.rail == "" {
					if !announced || checkErr != nil || len(plan.Refusals) != 0 {
						t.Errorf("%s should pass: %v, %+v", half.prefix, checkErr, plan.Refusals)
					}
					continue
				}
				if announced {
					t.Errorf("%s was announced", half.prefix)
				}
				if got := railsOf(plan); len(got) == 0 || got[len(got)-1] != half.rail || p.Stats().Refused[half.rail] == 0 {
					t.Errorf("refusals %+v, counted %v; want %s", plan.Refusals, p.Stats().Refused, half.rail)
				}
				if checkErr == nil || !strings.HasPrefix(checkErr.Error(), string(half.rail)) {
					t.Errorf("CheckManual: %v, want %s", checkErr, half.rail)
				}
			}
		})
	}
}

// everything makes all addresses ours, so that only the rail under test stands in the way.
func everything(c *Config) { c.Site.Networks = pfx("0.0.0.0/0", "::/0") }

func TestManualRequests(t *testing.T) {
	t.Parallel()
	good := Manual{ID: "q", Prefix: netip.MustParsePrefix("2001:db8::9/128"), Reason: "ticket 7", By: "ada", Created: epoch, Expires: at(time.Hour)}
	tests := []struct {
		name   string
		change func(*Manual)
		rail   Rail
	}{
		{"good", func(*Manual) {}, ""},
		{"no id", func(q *Manual) { q.ID = "" }, RailInvalid},
		{"no reason", func(q *Manual) { q.Reason = "" }, RailInvalid},
		{"no expiry", func(q *Manual) { q.Expires = time.Time{} }, RailInvalid},
		{"too long", func(q *Manual) { q.Expires = at(25 * time.Hour) }, RailInvalid},
		{"zero prefix", func(q *Manual) { q.Prefix = netip.Prefix{} }, RailInvalid},
		{"unknown kind", func(q *Manual) { q.Kind = "bomb" }, RailInvalid},
		{"flowspec", func(q *Manual) {
			q.Kind, q.Match, q.Action = FlowSpec, Match{Destination: q.Prefix, Protocols: []uint8{17}, SourcePorts: []uint16{53}}, Discard
		}, ""},
		{"flowspec on a foreign destination", func(q *Manual) {
			q.Kind, q.Action = FlowSpec, Discard
			q.Match = Match{Source: q.Prefix, Destination: netip.MustParsePrefix("2001:db9::/64"), Protocols: []uint8{17}}
		}, RailOutside},
		{"flowspec whose prefix is not its match", func(q *Manual) {
			q.Kind, q.Match, q.Action = FlowSpec, Match{Destination: netip.MustParsePrefix("2001:db9::7/128"), Protocols: []uint8{17}}, Discard
		}, RailInvalid},
		{"flowspec that drops everything", func(q *Manual) {
			q.Kind, q.Match, q.Action = FlowSpec, Match{Destination: q.Prefix}, Discard
		}, RailLint},
		{"flowspec with an absurd length", func(q *Manual) {
			q.Kind, q.Match, q.Action = FlowSpec, Match{Destination: q.Prefix, Protocols: []uint8{17}, MinLength: 9217, MaxLength: 65535}, Discard
		}, RailLint},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newTestPlanner(t, nil)
			q := good
			tt.change(&q)
			err := p.CheckManual(epoch, q)
			plan := p.Plan(epoch, nil, []Manual{q})
			if tt.rail == "" {
				if err != nil || len(plan.Wanted) != 1 || plan.Wanted[0].ID != "q" || !plan.Wanted[0].Manual || !plan.Wanted[0].Expires.Equal(q.Expires) {
					t.Fatalf("err %v, plan %+v", err, plan)
				}
				if over := p.Plan(at(time.Hour), nil, []Manual{q}); len(over.Wanted) != 0 || len(over.Refusals) != 0 {
					t.Fatalf("after its expiry: %+v", over)
				}
				return
			}
			if err == nil || len(plan.Wanted) != 0 || !slices.Equal(railsOf(plan), []Rail{tt.rail}) {
				t.Fatalf("err %v, plan %+v; want %s", err, plan, tt.rail)
			}
		})
	}
	if err := newTestPlanner(t, nil).CheckManual(at(2*time.Hour), good); err == nil {
		t.Error("an expiry in the past was accepted")
	}
}
