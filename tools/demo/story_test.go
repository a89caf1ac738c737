package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/controlplane/mitigate/bgp/routertest"
	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// stage plays samples to a story of one known attack; every step is 250 ms.
type stage struct {
	st  *story
	a   *attack
	out bytes.Buffer
	now time.Time
}

func newStage(victim string) *stage {
	s := &stage{now: time.Unix(1_700_000_000, 0)}
	s.a = &attack{addr: netip.MustParseAddr(victim), name: "flood", pps: 1000}
	s.st = newStory(newScreen(&s.out, func(string) string { return "" }), s.now, "BIRD", s.a)
	s.st.measured = true
	return s
}

func (s *stage) step(incident bool, reach, sees float64, routes ...string) {
	s.now = s.now.Add(250 * time.Millisecond)
	o := &sample{
		at: s.now, routesAt: s.now, routes: []routertest.Route{}, others: 10,
		reach: map[netip.Addr]float64{s.a.addr: reach}, sees: map[netip.Addr]float64{s.a.addr: sees},
	}
	if incident {
		o.incidents = []api.Incident{{
			Target: s.a.addr.String(), State: "active", Direction: "incoming", Threshold: "threshold_udp_pps", Limit: 100, Value: 1000, Unit: "pps",
			Vector: "udp_flood", Hostgroup: "global", Start: s.now,
		}}
	}
	for _, r := range routes {
		o.routes = append(o.routes, routertest.Route{Prefix: netip.MustParsePrefix(r)})
	}
	s.st.observe(o)
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string // want is part of the verdict, nothing when all is well
		play       func(s *stage, route string)
	}{
		{"all happens", "", func(s *stage, route string) {
			s.st.begins(s.a, s.now)
			s.step(true, 1000, 1000)
			s.step(true, 500, 1000, route)
			s.step(true, 0, 1000, route)
			s.st.ends(s.a, s.now)
			s.step(true, 0, 0, route)
			s.step(false, 0, 0)
			s.step(false, 5, 5)
		}},
		{"never sent", "never sent", func(s *stage, _ string) { s.step(false, 0, 0) }},
		{"not found", "no threshold fired", func(s *stage, _ string) {
			s.st.begins(s.a, s.now)
			s.step(false, 1000, 1000)
		}},
		{"not announced", "never arrived", func(s *stage, _ string) {
			s.st.begins(s.a, s.now)
			s.step(true, 1000, 1000)
		}},
		{"announced and not dropped", "still reached", func(s *stage, route string) {
			s.st.begins(s.a, s.now)
			s.step(true, 1000, 1000, route)
			s.step(true, 20, 1000, route)
			s.st.ends(s.a, s.now)
			s.step(true, 0, 0, route)
			s.step(false, 0, 0)
		}},
		{"not withdrawn", "is still in BIRD", func(s *stage, route string) {
			s.st.begins(s.a, s.now)
			s.step(true, 0, 1000, route)
			s.st.ends(s.a, s.now)
			s.step(true, 0, 0, route)
		}},
		{"withdrawn too early", "before the attack ended", func(s *stage, route string) {
			s.st.begins(s.a, s.now)
			s.step(true, 0, 1000, route)
			s.step(true, 0, 1000)
			s.now = s.now.Add(time.Second)
			s.st.ends(s.a, s.now)
		}},
		{"stays cut off", "no traffic reached", func(s *stage, route string) {
			s.st.begins(s.a, s.now)
			s.step(true, 0, 1000, route)
			s.st.ends(s.a, s.now)
			s.step(true, 0, 0)
			s.step(false, 0, 0)
		}},
		{"an innocent's route", "198.51.100.9/32, which nobody attacked", func(s *stage, route string) {
			s.st.begins(s.a, s.now)
			s.step(true, 0, 1000, route, "198.51.100.9/32")
			s.st.ends(s.a, s.now)
			s.step(true, 0, 0)
			s.step(false, 5, 5)
		}},
	} {
		for victim, route := range map[string]string{"192.0.2.66": "192.0.2.66/32", "2001:db8::66": "2001:db8::66/128"} {
			s := newStage(victim)
			c.play(s, route)
			err := s.st.verdict()
			switch {
			case c.want == "" && (err != nil || !s.st.done()):
				t.Errorf("%s, %s: %v, done %v\n%s", c.name, victim, err, s.st.done(), s.out.String())
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s, %s: %v, want %q\n%s", c.name, victim, err, c.want, s.out.String())
			}
		}
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	s := newStage("2001:db8::66")
	s.st.begins(s.a, s.now)
	s.step(true, 1000, 1000)
	s.step(true, 0, 1000, "2001:db8::66/128")
	want := `  0.0s  ATTACK     flood on 2001:db8::66 begins: 1,000 packets/s
  0.2s  BREACH     2001:db8::66 incoming: threshold_udp_pps 100 exceeded, measured 1,000 pps: udp_flood, hostgroup global (0.25 s after the first attack packet)
  0.2s  in       0 pps    0.0 Mbit/s [....................]  out      0 pps   0.0 Mbit/s  reach 2001:db8::66: 1,000
  0.5s  ROUTE      BIRD has 2001:db8::66/128, next hop invalid IP, communities  (0.50 s after the first attack packet)
  0.5s  SHIELDED   2001:db8::66: 0 packets/s reach it, while Weir still sees 1,000 packets/s towards it
`
	if got := s.out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestVictimsThatOnlyTheDetectorKnows(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(1_700_000_000, 0)
	st := newStory(newScreen(&out, func(string) string { return "" }), now, "BIRD")
	st.discover = true
	incident := func(i int) api.Incident {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		return api.Incident{Target: a.String(), State: "active", Start: now, LastBreach: now}
	}
	var all []api.Incident
	for i := range 10 {
		all = append(all, incident(i))
	}
	all = append(all, api.Incident{Target: "hostgroup all", State: "active"})
	st.observe(&sample{at: now, incidents: all})
	st.observe(&sample{at: now.Add(time.Second), incidents: all})
	if len(st.attacks) != maxAttacks || strings.Count(out.String(), "further victims") != 1 || strings.Count(out.String(), "is over") != maxAttacks {
		t.Errorf("%d victims\n%s", len(st.attacks), out.String())
	}
	all[2].LastBreach = now.Add(2 * time.Second)
	st.observe(&sample{at: now.Add(2 * time.Second), incidents: all})
	if !strings.Contains(out.String(), "10.0.0.2 is attacked again") || !st.attacks[2].over.IsZero() {
		t.Errorf("an attack that goes on was not noticed\n%s", out.String())
	}
	// A machine that was held up for ten seconds plays late; the attack goes on all the same.
	overs := strings.Count(out.String(), "10.0.0.2 is over")
	all[2].LastBreach = now.Add(3 * time.Second)
	st.observe(&sample{at: now.Add(13 * time.Second), played: now.Add(3 * time.Second), incidents: all})
	if strings.Count(out.String(), "10.0.0.2 is over") != overs {
		t.Errorf("a delay was taken for the end of an attack\n%s", out.String())
	}
}

// TestScan: what the screen is scaled by, known before the capture is played.
func TestScan(t *testing.T) {
	t.Parallel()
	c, err := scan(write(t, gen.Scenario{Streams: []gen.Stream{
		{Kind: "udp", Target: "10.0.0.9", PPS: 100, Start: seconds(1), Duration: seconds(2)},
		{Kind: "syn", Target: "2001:db8::9", PPS: 20, Duration: seconds(6)},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if c.packets != 320 || c.busiest < 115 || c.busiest > 125 || len(c.to) != 2 || c.length() < 5*time.Second {
		t.Errorf("%+v", c)
	}
}
