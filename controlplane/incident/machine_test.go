package incident

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

var (
	base  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	host4 = rule.Target{Host: netip.MustParseAddr("192.0.2.7")}
	host6 = rule.Target{Host: netip.MustParseAddr("2001:db8::7")}
	group = rule.Target{Group: "customer"}
	all   = []rule.Target{host4, host6, group}
)

// world drives a machine in virtual time: traffic is what every target does now, in packets per second against a limit of 1000.
type world struct {
	t    testing.TB
	m    *Machine
	now  Now
	step time.Duration
	pps  map[key]float64
	log  []string
}

func newWorld(t testing.TB, change func(*Settings)) *world {
	t.Helper()
	set := Settings{Config: Default()}
	set.BanTime, set.Quiet = 30*time.Second, 3*time.Second
	if change != nil {
		change(&set)
	}
	n := 0
	m, err := New(set, func() string { n++; return fmt.Sprintf("id-%d", n) })
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, m: m, now: Now{Wall: base}, step: time.Second, pps: map[key]float64{}}
}

func (w *world) set(t rule.Target, d traffic.Direction, pps float64) {
	w.pps[key{target: t, direction: d}] = pps
}

func (w *world) sample(t rule.Target, d traffic.Direction) Sample {
	v := w.pps[key{target: t, direction: d}]
	s := Sample{Level: v / 1000}
	rates(d, &s.In, &s.Out)[rule.PPS] = v
	return s
}

// tick advances the time by n steps and notes every transition as "second target from->to".
func (w *world) tick(n int) *world {
	for range n {
		w.now.Wall, w.now.Mono = w.now.Wall.Add(w.step), w.now.Mono+w.step
		var breaches []rule.Breach
		for k := range w.pps {
			s := w.sample(k.target, k.direction)
			if s.Level > 1 {
				breaches = append(breaches, rule.Breach{
					Target: k.target, Direction: k.direction, Hostgroup: "global", Metric: rule.PPS, Limit: 1000,
					Value: s.Level * 1000, Window: w.step, In: s.In, Out: s.Out,
				})
			}
		}
		w.note(w.m.Tick(w.now, breaches, w.sample))
	}
	return w
}

func (w *world) note(list []Transition) {
	for _, tr := range list {
		w.log = append(w.log, fmt.Sprintf("%v %v %v->%v", w.now.Mono, tr.Incident.Target, tr.From, tr.To))
		if tr.Incident.State != tr.To {
			w.t.Errorf("transition to %v carries an incident in %v", tr.To, tr.Incident.State)
		}
		if (tr.To == Clear) == tr.Incident.End.IsZero() {
			w.t.Errorf("end %v of an incident in %v", tr.Incident.End, tr.To)
		}
	}
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.log, want) {
		w.t.Fatalf("got\n  %s\nwant\n  %s", strings.Join(w.log, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	for _, target := range all {
		for _, d := range rule.Directions {
			t.Run(fmt.Sprint(target, d), func(t *testing.T) {
				w := newWorld(t, nil)
				w.tick(1)
				w.set(target, d, 1000) // at the limit is not above it
				w.tick(1)
				w.set(target, d, 5000)
				w.tick(1)
				w.set(target, d, 9000)
				w.tick(1)
				inc := w.m.Incidents(nil)
				if len(inc) != 1 {
					t.Fatal(inc)
				}
				got := inc[0]
				if got.ID != "id-1" || got.State != Active || got.InitialPPS != 5000 || got.PeakPPS != 9000 || got.Direction != d ||
					got.Why.Value != 5000 || got.Why.Limit != 1000 || got.Hostgroup != "global" || got.Manual || got.Whitelisted ||
					!got.Start.Equal(base.Add(3*time.Second)) || !got.LastBreach.Equal(base.Add(4*time.Second)) ||
					!got.Until.Equal(base.Add(33*time.Second)) || !got.End.IsZero() {
					t.Fatalf("%+v", got)
				}
				w.set(target, d, 0)
				w.tick(60)
				w.expect(
					fmt.Sprint("3s ", target, " clear->active"),
					fmt.Sprint("7s ", target, " active->cooling"),
					fmt.Sprint("33s ", target, " cooling->clear"),
				)
				if s := w.m.Stats(); s.Open != 0 || s.Opened != 1 || s.Ended != 1 {
					t.Fatalf("%+v", s)
				}
			})
		}
	}
}

func TestHysteresis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.set(host6, traffic.Incoming, 2000)
	w.tick(1)
	w.set(host6, traffic.Incoming, 900) // below the limit, above 0.8 of it: the attack is not over
	w.tick(20)
	w.expect("1s 2001:db8::7 clear->active")
	w.set(host6, traffic.Incoming, 799)
	w.tick(2)
	w.set(host6, traffic.Incoming, 800) // quiet starts again
	w.tick(1)
	w.set(host6, traffic.Incoming, 799)
	w.tick(2)
	w.expect("1s 2001:db8::7 clear->active")
	w.tick(1)
	w.set(host6, traffic.Incoming, 900) // cooling does not care about hysteresis
	w.tick(1)
	w.set(host6, traffic.Incoming, 1001)
	w.tick(1)
	w.expect("1s 2001:db8::7 clear->active", "27s 2001:db8::7 active->cooling", "29s 2001:db8::7 cooling->active")
	if inc := w.m.Incidents(nil); len(inc) != 1 || inc[0].ID != "id-1" {
		t.Fatalf("the attack that came back has another id: %+v", inc)
	}
}

// TestOutlasts: an attack longer than the ban time is banned without a gap, and freed soon after it ends.
func TestOutlasts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.BanTime = 120 * time.Second })
	w.set(host4, traffic.Incoming, 2000)
	for range 500 {
		w.tick(1)
		inc := w.m.Incidents(nil)
		if len(inc) != 1 || inc[0].ID != "id-1" || inc[0].Until.Sub(w.now.Wall) < extension/2 {
			t.Fatalf("at %v: %+v", w.now.Mono, inc)
		}
	}
	w.set(host4, traffic.Incoming, 10)
	w.tick(10)
	w.expect("1s 192.0.2.7 clear->active", "8m23s 192.0.2.7 active->cooling", "8m23s 192.0.2.7 cooling->clear")
}

func TestUnbanAnyway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.UnbanOnlyIfAttackFinished = false; s.BanTime = 10 * time.Second })
	w.set(host4, traffic.Outgoing, 2000)
	w.tick(13)
	w.expect("1s 192.0.2.7 clear->active", "11s 192.0.2.7 active->clear", "12s 192.0.2.7 clear->active")
}

func TestQuietZero(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.Quiet = 0 })
	w.set(host4, traffic.Incoming, 2000)
	w.tick(1)
	w.set(host4, traffic.Incoming, 900)
	w.tick(5)
	w.expect("1s 192.0.2.7 clear->active")
	w.set(host4, traffic.Incoming, 100)
	w.tick(1)
	w.expect("1s 192.0.2.7 clear->active", "7s 192.0.2.7 active->cooling")
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.Confirm = 3 })
	w.set(host6, traffic.Incoming, 2000)
	w.tick(2)
	w.set(host6, traffic.Incoming, 10)
	w.tick(1)
	w.set(host6, traffic.Incoming, 3000)
	w.tick(3)
	w.expect("1s 2001:db8::7 clear->suspect", "3s 2001:db8::7 suspect->clear", "4s 2001:db8::7 clear->suspect", "6s 2001:db8::7 suspect->active")
	if s := w.m.Stats(); s.Opened != 1 || s.Ended != 0 {
		t.Fatalf("%+v", s)
	}
	if inc := w.m.Incidents(nil)[0]; !inc.Until.Equal(base.Add(36 * time.Second)) {
		t.Fatalf("until %v", inc.Until)
	}
}

// TestBothDirections: the two directions of one host are two incidents.
func TestBothDirections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.set(host6, traffic.Incoming, 2000)
	w.set(host6, traffic.Outgoing, 4000)
	w.tick(1)
	inc := w.m.Incidents(nil)
	if len(inc) != 2 || inc[0].Direction != traffic.Incoming || inc[1].Direction != traffic.Outgoing || inc[0].ID != "id-1" {
		t.Fatalf("%+v", inc)
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	in := rule.Rates{rule.PPS: 3000, rule.UDPPPS: 2900, rule.Mbps: 10, rule.TCPPPS: 100}
	b := func(m rule.Metric, limit, value float64) rule.Breach {
		return rule.Breach{Target: host4, Metric: m, Limit: limit, Value: value, Hostgroup: "g", In: in, Network: netip.MustParsePrefix("192.0.2.0/24")}
	}
	got := w.m.Tick(Now{Wall: base}, []rule.Breach{b(rule.PPS, 1000, 3000), b(rule.Mbps, 9, 10), b(rule.UDPPPS, 500, 2900)}, w.sample)
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	inc := got[0].Incident
	if inc.Why.Metric != rule.UDPPPS || !slices.Equal(inc.Others, []string{"threshold_pps", "threshold_mbps"}) || inc.Vector != UDPFlood ||
		inc.Attack != "udp_flood" || inc.Protocol != "udp" || inc.Hostgroup != "g" || inc.Network.String() != "192.0.2.0/24" ||
		got[0].Cause != "breach of threshold_udp_pps" {
		t.Fatalf("%+v", inc)
	}
}

func TestWhitelist(t *testing.T) {
	t.Parallel()
	white := true
	set := func(s *Settings) {
		s.Whitelisted = func(x rule.Target) bool { return white && (x == host4 || x == host6) }
	}
	w := newWorld(t, set)
	for _, x := range all {
		w.set(x, traffic.Incoming, 2000)
	}
	w.tick(1)
	for _, inc := range w.m.Incidents(nil) {
		if inc.State != Active || inc.Whitelisted != inc.Target.Host.IsValid() {
			t.Fatalf("%+v", inc)
		}
	}
	white = false
	if err := w.m.Configure(w.m.set); err != nil {
		t.Fatal(err)
	}
	for _, inc := range w.m.Incidents(nil) {
		if inc.Whitelisted {
			t.Fatalf("still whitelisted: %+v", inc)
		}
	}
}

func TestGroupBanTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { s.BanTimes = map[string]time.Duration{"global": 5 * time.Second} })
	w.set(host4, traffic.Incoming, 2000)
	w.tick(1)
	w.set(host4, traffic.Incoming, 0)
	w.tick(10)
	w.expect("1s 192.0.2.7 clear->active", "4s 192.0.2.7 active->cooling", "6s 192.0.2.7 cooling->clear")
}

// TestCap: at most MaxIncidents are open, they are the largest, and the rest is counted.
func TestCap(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"192.0.2.%d", "2001:db8::%d"} {
		target := func(i int) rule.Target { return rule.Target{Host: netip.MustParseAddr(fmt.Sprintf(format, i))} }
		w := newWorld(t, func(s *Settings) { s.MaxIncidents = 10 })
		for i := 1; i <= 30; i++ {
			w.set(target(i), traffic.Incoming, float64(1000+i))
		}
		w.tick(1)
		if n := w.m.Stats(); n.Open != 10 || n.Refused != 20 {
			t.Fatalf("%+v", n)
		}
		for i := 1; i <= 3; i++ {
			w.set(target(i), traffic.Incoming, 1e6)
		}
		w.tick(2)
		var kept []string
		for _, inc := range w.m.Incidents(nil) {
			kept = append(kept, inc.Target.String())
		}
		var want []string
		for _, i := range []int{24, 25, 26, 27, 28, 29, 30, 1, 2, 3} {
			want = append(want, target(i).String())
		}
		if !slices.Equal(kept, want) {
			t.Fatalf("kept %v", kept)
		}
		if n := w.m.Stats(); n.Open != 10 || n.Refused != 60 {
			t.Fatalf("%+v", n)
		}
		if _, err := w.m.Open(w.now, Incident{Target: target(99)}, 0, "x"); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
}

// TestClockJumps: a wall clock that is set forward or back by a day changes no duration, and Until follows the new clock.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		w := newWorld(t, nil)
		w.set(host6, traffic.Incoming, 2000)
		w.tick(5)
		w.now.Wall = w.now.Wall.Add(jump)
		w.set(host6, traffic.Incoming, 0)
		w.tick(1)
		if inc := w.m.Incidents(nil); len(inc) != 1 || inc[0].Until.Sub(w.now.Wall) != 25*time.Second {
			t.Fatalf("%+v, now %v", inc, w.now)
		}
		w.tick(40)
		w.expect("1s 2001:db8::7 clear->active", "8s 2001:db8::7 active->cooling", "31s 2001:db8::7 cooling->clear")
	}
	// A monotonic clock that goes back (a virtual one can) stands still instead.
	w := newWorld(t, nil)
	w.set(host4, traffic.Incoming, 2000)
	w.tick(20)
	w.now.Mono = 0
	w.set(host4, traffic.Incoming, 0)
	w.tick(51)
	if n := w.m.Stats().Open; n != 0 {
		t.Fatalf("%d open, %v", n, w.log)
	}
}

func TestManual(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for i, x := range all {
		tr, err := w.m.Open(w.now, Incident{Target: x, Hostgroup: "global"}, 10*time.Second, "by root")
		if err != nil || tr.From != Clear || tr.To != Active || !tr.Incident.Manual || tr.Cause != "by root" || tr.Incident.ID != fmt.Sprint("id-", i+1) {
			t.Fatalf("%+v, %v", tr, err)
		}
	}
	if _, err := w.m.Open(w.now, Incident{Target: rule.Target{Host: netip.MustParseAddr("192.0.2.99")}}, 1, "x"); err == nil {
		t.Fatal("a ban of a nanosecond was taken")
	}
	w.set(host4, traffic.Incoming, 2000) // an attack on the same host is an incident of its own
	w.tick(9)
	if n := w.m.Stats().Open; n != 4 {
		t.Fatal(n)
	}
	if tr, err := w.m.Close(w.now, "id-2", "by root"); err != nil || tr.To != Clear || tr.Incident.Target != host6 {
		t.Fatalf("%+v %v", tr, err)
	}
	if _, err := w.m.Close(w.now, "id-2", "again"); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	w.tick(1)
	w.expect("1s 192.0.2.7 clear->active", "10s 192.0.2.7 active->clear", "10s hostgroup customer active->clear")
}

// TestCloseHolds: what an operator withdrew stays withdrawn until that attack is over.
func TestCloseHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.set(host4, traffic.Incoming, 2000)
	w.tick(2)
	if _, err := w.m.Close(w.now, "id-1", "by root"); err != nil {
		t.Fatal(err)
	}
	w.tick(10)
	if s := w.m.Stats(); s.Open != 0 || s.Suppressed != 10 {
		t.Fatalf("%+v", s)
	}
	w.set(host4, traffic.Incoming, 0)
	w.tick(5)
	w.set(host4, traffic.Incoming, 2000)
	w.tick(1)
	if inc := w.m.Incidents(nil); len(inc) != 1 || inc[0].ID != "id-2" {
		t.Fatalf("the next attack is not found: %+v", inc)
	}
	if _, err := w.m.Close(w.now, "id-2", "by root"); err != nil {
		t.Fatal(err)
	}
	w.tick(31) // the attack never stops: after a ban time it is taken up again
	if inc := w.m.Incidents(nil); len(inc) != 1 || inc[0].ID != "id-3" {
		t.Fatalf("%+v", inc)
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.set(host4, traffic.Incoming, 2000)
	w.set(host6, traffic.Outgoing, 2000)
	w.tick(1)
	w.set(host6, traffic.Outgoing, 0)
	w.tick(5)
	if _, err := w.m.Open(w.now, Incident{Target: group, Hostgroup: "customer"}, time.Hour, "x"); err != nil {
		t.Fatal(err)
	}
	saved := w.m.Incidents(nil)
	for _, tc := range []struct {
		name string
		down time.Duration
		want []string
		left []time.Duration
	}{
		{"soon", 5 * time.Second, []string{"id-1 active", "id-2 cooling", "id-3 active"}, []time.Duration{30 * time.Second, 20 * time.Second, time.Hour - 5*time.Second}},
		{"after the ban time", 2 * time.Minute, []string{"id-1 active", "id-2 cooling", "id-3 active"}, []time.Duration{30 * time.Second, 0, time.Hour - 2*time.Minute}},
		{"clock set back", -time.Hour, []string{"id-1 active", "id-2 cooling", "id-3 active"}, []time.Duration{30 * time.Second, 30 * time.Second, 2 * time.Hour}},
	} {
		n := newWorld(t, nil)
		n.now.Wall = w.now.Wall.Add(tc.down)
		n.m.Restore(n.now, saved)
		n.m.Restore(n.now, saved) // twice is once
		got := n.m.Incidents(nil)
		if len(got) != len(tc.want) {
			t.Fatalf("%s: %+v", tc.name, got)
		}
		for i := range got {
			left := got[i].Until.Sub(n.now.Wall)
			if s := fmt.Sprint(got[i].ID, " ", got[i].State); s != tc.want[i] || (left-tc.left[i]).Abs() > time.Second {
				t.Errorf("%s: %s with %v left, want %s with %v", tc.name, s, left, tc.want[i], tc.left[i])
			}
		}
		n.set(host4, traffic.Incoming, 2000)
		n.tick(40)
		if inc := n.m.Incidents(nil); len(inc) != 2 || inc[0].ID != "id-1" {
			t.Errorf("%s: the attack that goes on: %+v", tc.name, inc)
		}
	}
}

func TestRegroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, x := range all {
		w.set(x, traffic.Incoming, 2000)
	}
	w.tick(1)
	network := netip.MustParsePrefix("192.0.2.0/25")
	w.note(w.m.Regroup(w.now, func(inc *Incident) (string, netip.Prefix, bool) { return "new", network, inc.Target.Host.IsValid() }))
	if inc := w.m.Incidents(nil); len(inc) != 2 || inc[0].Hostgroup != "new" || inc[1].Hostgroup != "new" || inc[0].Network != network {
		t.Fatalf("%+v", inc)
	}
	if w.log[len(w.log)-1] != "1s hostgroup customer active->clear" {
		t.Fatal(w.log)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Settings){
		"ban_time":                     func(s *Settings) { s.BanTime = 0 },
		"ban_time: 721h":               func(s *Settings) { s.BanTime = 721 * time.Hour },
		"hysteresis":                   func(s *Settings) { s.Hysteresis = 0 },
		"hysteresis: 1.1":              func(s *Settings) { s.Hysteresis = 1.1 },
		"quiet":                        func(s *Settings) { s.Quiet = -1 },
		"confirm":                      func(s *Settings) { s.Confirm = 0 },
		"max_incidents":                func(s *Settings) { s.MaxIncidents = 0 },
		"hostgroup web: ban_time: 0s ": func(s *Settings) { s.BanTimes = map[string]time.Duration{"web": 0} },
	} {
		set := Settings{Config: Default()}
		change(&set)
		if _, err := New(set, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestVectors(t *testing.T) {
	t.Parallel()
	r := func(total, tcp, syn, udp, icmp, frag float64) *rule.Rates {
		return &rule.Rates{
			rule.PPS: total, rule.TCPPPS: tcp, rule.TCPSYNPPS: syn, rule.UDPPPS: udp, rule.ICMPPPS: icmp, rule.FragmentsPPS: frag,
			rule.Mbps: total, rule.TCPMbps: tcp, rule.TCPSYNMbps: syn, rule.UDPMbps: udp, rule.ICMPMbps: icmp, rule.FragmentsMbps: frag,
		}
	}
	for _, tc := range []struct {
		name   string
		metric rule.Metric
		rates  *rule.Rates
		vector Vector
		attack string
		proto  string
	}{
		{"syn", rule.PPS, r(1000, 1000, 950, 0, 0, 0), SYNFlood, "syn_flood", "tcp"},
		{"exactly 90 %", rule.PPS, r(1000, 1000, 900, 0, 0, 0), Unknown, "syn_flood", "tcp"},
		{"ack", rule.PPS, r(1000, 1000, 0, 0, 0, 0), Unknown, "tcp_flood", "tcp"},
		{"udp", rule.Mbps, r(1000, 0, 0, 1000, 0, 0), UDPFlood, "udp_flood", "udp"},
		{"udp with web", rule.UDPPPS, r(1000, 600, 10, 400, 0, 0), Unknown, "udp_flood", "tcp"},
		{"icmp", rule.ICMPMbps, r(1000, 0, 0, 0, 1000, 0), ICMPFlood, "icmp_flood", "icmp"},
		{"udp fragments", rule.UDPMbps, r(1000, 0, 0, 1000, 0, 990), Fragmentation, "ip_fragmentation", "udp"},
		{"fragments", rule.FragmentsPPS, r(1000, 500, 0, 500, 0, 100), Unknown, "ip_fragmentation", "tcp"},
		{"gre", rule.PPS, r(1000, 0, 0, 0, 0, 0), Unknown, "protocol_flood", "unknown"},
		{"mixed", rule.PPS, r(1000, 340, 0, 330, 330, 0), Unknown, "multi_vector", "tcp"},
		{"flows", rule.Flows, r(1000, 0, 0, 1000, 0, 0), UDPFlood, "udp_flood", "udp"},
		{"syn by tcp limit", rule.TCPPPS, r(1000, 900, 800, 0, 0, 0), Unknown, "syn_flood", "tcp"},
		{"nothing", rule.PPS, r(0, 0, 0, 0, 0, 0), Unknown, "multi_vector", "unknown"},
	} {
		attack, share := Classify(tc.metric, tc.rates)
		if v, p := VectorOf(tc.rates), ProtocolOf(tc.rates); v != tc.vector || attack != tc.attack || p != tc.proto || share < 0 || share > 1 {
			t.Errorf("%s: %s, %s, %s (%v)", tc.name, v, attack, p, share)
		}
	}
}
