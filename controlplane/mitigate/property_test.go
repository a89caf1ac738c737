package mitigate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// world makes random but small address plans, so that networks, victims, whitelist and protected addresses collide often.
type world struct{ *rand.Rand }

func (w world) addr() netip.Addr {
	if w.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, byte(w.IntN(2)), byte(w.IntN(4)), byte(w.IntN(256))})
	}
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(w.IntN(2)), 0, byte(w.IntN(4)), 15: byte(w.IntN(256))})
}

func (w world) prefix() netip.Prefix {
	a := w.addr()
	bits := 8 + w.IntN(25)
	if a.Is6() {
		bits = 16 + w.IntN(113)
	}
	if w.IntN(40) == 0 {
		bits = 0
	}
	p, _ := a.Prefix(bits)
	return p
}

func (w world) prefixes(n int) []netip.Prefix {
	out := make([]netip.Prefix, w.IntN(n+1))
	for i := range out {
		out[i] = w.prefix()
	}
	return out
}

func pick[T any](w world, list ...T) T { return list[w.IntN(len(list))] }

func (w world) policy() Policy {
	return Policy{
		Mitigation:       pick(w, "", ModeNone, ModeBlackhole, ModeFlowSpec, ModeFlowSpec),
		AnnounceHost:     pick(w, nil, new(true), new(false)),
		AnnounceSubnet:   pick(w, nil, new(true), new(true)),
		SubnetLengthIPv4: pick(w, 0, 8, 16, 24, 30),
		SubnetLengthIPv6: pick(w, 0, 16, 32, 48, 64),
		NextHopIPv4:      pick(w, netip.Addr{}, netip.AddrFrom4([4]byte{10, 0, 0, byte(w.IntN(256))})),
		FlowSpecAction:   pick(w, "", Discard, RateLimit),
		FlowSpecFallback: pick(w, "", FallbackNone, FallbackBlackhole, FallbackRateLimit),
		DryRun:           pick(w, nil, nil, new(true)),
		BanTime:          pick(w, 0, 10*time.Second, time.Hour),
	}
}

func (w world) config() Config {
	g := DefaultGuard()
	g.MinLengthIPv4, g.MinLengthIPv6 = pick(w, 8, 16, 24, 32), pick(w, 16, 48, 64, 128)
	g.MaxBlackholes, g.MaxFlowSpec = 1+w.IntN(8), 1+w.IntN(8)
	g.MaxPerHostgroup, g.MaxNewPerMinute = w.IntN(6), 1+w.IntN(12)
	g.MinHold = pick(w, 0, 10*time.Second, time.Minute)
	g.Protected = w.prefixes(2)
	return Config{
		Guard: g,
		Site: Site{
			Networks: w.prefixes(6), Whitelist: w.prefixes(2), Infrastructure: w.prefixes(1),
			Groups: map[string][]netip.Prefix{"a": w.prefixes(3), "b": w.prefixes(3)},
		},
		Policies: map[string]Policy{Global: w.policy(), "a": w.policy(), "b": w.policy()},
	}
}

func (w world) incident(n int, now time.Time) incident.Incident {
	inc := incident.Incident{
		ID: fmt.Sprint("i", n), Direction: pick(w, traffic.Incoming, traffic.Outgoing), Hostgroup: pick(w, Global, "a", "b", "gone"),
		State: pick(w, incident.Suspect, incident.Active, incident.Active, incident.Cooling), Start: now,
		Until:   pick(w, time.Time{}, now, now.Add(time.Minute), now.Add(time.Hour), now.Add(1000*time.Hour)),
		Network: w.prefix(), Manual: w.IntN(8) == 0, Whitelisted: w.IntN(8) == 0, PeakPPS: float64(w.IntN(1000)),
	}
	inc.Target.Host = w.addr()
	if w.IntN(4) == 0 {
		inc.Target = rule.Target{Group: pick(w, Global, "a", "b", "gone")}
	}
	inc.Why.Metric = rule.Metric(w.IntN(int(rule.NumMetrics)))
	for m := range inc.Why.In {
		inc.Why.In[m], inc.Why.Out[m] = float64(w.IntN(100)), float64(w.IntN(100))
	}
	return inc
}

func (w world) manual(n int, now time.Time) Manual {
	q := Manual{
		ID: fmt.Sprint("q", n), Prefix: w.prefix(), Reason: pick(w, "r", "r", ""), Hostgroup: pick(w, "", Global, "a"),
		Kind: pick(w, "", Blackhole, FlowSpec, "bad"), Action: pick(w, Discard, RateLimit), Rate: uint64(w.IntN(2)) * 1000,
		Created: now, Expires: pick(w, time.Time{}, now.Add(time.Minute), now.Add(time.Hour), now.Add(999*time.Hour)),
	}
	q.Match = Match{Destination: pick(w, q.Prefix, w.prefix()), Protocols: []uint8{pick[uint8](w, 1, 6, 17)}}
	return q
}

// TestNoPlanBreaksARail plans thousands of random days and judges every mitigation with a second, naive implementation of
// the rails.
func TestNoPlanBreaksARail(t *testing.T) {
	t.Parallel()
	announced, kinds := 0, map[string]int{}
	for seed := range uint64(1500) {
		w := world{rand.New(rand.NewPCG(seed, 7))}
		cfg := w.config()
		ids := 0
		p, err := New(cfg, Deps{NewID: func() string { ids++; return fmt.Sprint("m", ids) }})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		now := epoch
		born, group := map[string]time.Time{}, map[string]string{}
		var incidents []incident.Incident
		var manual []Manual
		for step := range 12 {
			now = now.Add(pick(w, time.Second, 10*time.Second, time.Minute, -time.Second))
			for id, b := range born {
				if b.After(now) {
					born[id] = now // as the planner: a clock that goes back frees no room
				} else if !b.After(now.Add(-time.Minute)) {
					born[id] = time.Time{} // and brings no admission of long ago back
				}
			}
			if len(incidents) > 0 && w.IntN(3) == 0 {
				incidents = slices.Delete(incidents, 0, 1+w.IntN(len(incidents)))
			}
			for range w.IntN(6) {
				incidents = append(incidents, w.incident(1000*step+len(incidents), now))
			}
			if w.IntN(2) == 0 {
				manual = append(manual, w.manual(step, now))
			}
			p.Kill(KillSwitch{On: w.IntN(15) == 0})
			plan := p.Plan(now, incidents, manual)
			announced += len(plan.Wanted)
			for _, m := range plan.Wanted {
				kinds[fmt.Sprint(m.Kind, m.Prefix.Addr().Is4(), m.Manual)]++
				if _, ok := born[m.ID]; !ok {
					born[m.ID], group[m.ID] = now, m.Hostgroup
				}
			}
			judge(t, fmt.Sprintf("seed %d step %d", seed, step), cfg, now, plan, p.kill.On, born, group)
		}
		if t.Failed() {
			return
		}
	}
	if announced < 5000 || len(kinds) != 8 {
		t.Errorf("the test announces too little to mean much: %d, %v", announced, kinds)
	}
}

func judge(t *testing.T, where string, cfg Config, now time.Time, plan Plan, kill bool, born map[string]time.Time, group map[string]string) {
	t.Helper()
	bad := func(m Mitigation, what string) { t.Errorf("%s: %s: %+v", where, what, m) }
	count, groups, keys := map[Kind]int{}, map[string]int{}, map[string]bool{}
	for _, m := range plan.Wanted {
		count[m.Kind]++
		groups[group[m.ID]]++ // a shared route counts where it was admitted
		if keys[m.Key()] {
			bad(m, "two mitigations of one route")
		}
		keys[m.Key()] = true
		minLen := cfg.Guard.MinLengthIPv6
		if m.Prefix.Addr().Is4() {
			minLen = cfg.Guard.MinLengthIPv4
		}
		inside := func(p netip.Prefix) bool {
			return slices.ContainsFunc(cfg.Site.Networks, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
		}
		switch {
		case kill:
			bad(m, "the kill switch is on")
		case !m.Prefix.IsValid() || m.Prefix.Bits() == 0 || m.Prefix.Bits() < minLen:
			bad(m, "too short")
		case !inside(m.Prefix) || m.Match.Destination.IsValid() && !inside(m.Match.Destination):
			bad(m, "outside")
		case m.ID == "" || m.Reason == "" || !m.Expires.After(now) || m.Expires.Sub(now) > maxBanTime:
			bad(m, "no id, reason or expiry")
		case m.Kind == Blackhole && (m.NextHop.Is4() != m.Prefix.Addr().Is4() || m.Prefix.Contains(m.NextHop)):
			bad(m, "next hop")
		case m.Kind == FlowSpec && m.Match.Destination != m.Prefix && m.Match.Source != m.Prefix:
			bad(m, "matches something else than it says")
		}
		for _, no := range slices.Concat(cfg.Site.Whitelist, cfg.Guard.Protected, cfg.Site.Infrastructure) {
			if no.Overlaps(m.Prefix) {
				bad(m, "touches "+no.String())
			}
		}
	}
	if count[Blackhole] > cfg.Guard.MaxBlackholes || count[FlowSpec] > cfg.Guard.MaxFlowSpec {
		t.Errorf("%s: over the cap: %v", where, count)
	}
	for g, n := range groups {
		if cfg.Guard.MaxPerHostgroup > 0 && n > cfg.Guard.MaxPerHostgroup {
			t.Errorf("%s: hostgroup %q has %d", where, g, n)
		}
	}
	recent := 0
	for _, b := range born {
		if b.After(now.Add(-time.Minute)) && !b.After(now) {
			recent++
		}
	}
	if recent > cfg.Guard.MaxNewPerMinute {
		t.Errorf("%s: %d new in a minute, %d allowed", where, recent, cfg.Guard.MaxNewPerMinute)
	}
}

// TestPlanIsDeterministic plans the same day twice, the second time with the inputs in another order.
func TestPlanIsDeterministic(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		w := world{rand.New(rand.NewPCG(seed, 8))}
		cfg := w.config()
		var incidents []incident.Incident
		var manual []Manual
		for i := range 12 {
			incidents = append(incidents, w.incident(i, epoch))
			manual = append(manual, w.manual(i, epoch))
		}
		run := func() Plan {
			n := 0
			p, err := New(cfg, Deps{NewID: func() string { n++; return fmt.Sprint("m", n) }})
			if err != nil {
				t.Fatal(err)
			}
			return p.Plan(epoch, incidents, manual)
		}
		a := run()
		slices.Reverse(incidents)
		slices.Reverse(manual)
		b := run()
		if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
			t.Fatalf("seed %d:\n%+v\n%+v", seed, a, b)
		}
	}
}

func TestPrefixSet(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		w := world{rand.New(rand.NewPCG(seed, 9))}
		list := w.prefixes(8)
		set := newPrefixSet(list)
		for range 50 {
			p := w.prefix()
			covers := slices.ContainsFunc(list, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
			overlaps := slices.ContainsFunc(list, p.Overlaps)
			if set.covers(p) != covers || set.overlaps(p) != overlaps {
				t.Fatalf("%v in %v: covers %v, overlaps %v; want %v, %v", p, list, set.covers(p), set.overlaps(p), covers, overlaps)
			}
		}
	}
}
