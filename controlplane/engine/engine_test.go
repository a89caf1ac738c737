package engine

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// classes that raise each metric, for an attack of n packets of 100 bytes (0.0008 Mbit each).
var raises = map[rule.Metric]traffic.Class{
	rule.PPS: traffic.ClassOther, rule.Mbps: traffic.ClassOther, rule.TCPPPS: traffic.ClassTCP, rule.TCPMbps: traffic.ClassTCPFragment,
	rule.UDPPPS: traffic.ClassUDP, rule.UDPMbps: traffic.ClassUDP, rule.ICMPPPS: traffic.ClassICMP, rule.ICMPMbps: traffic.ClassICMP,
	rule.TCPSYNPPS: traffic.ClassTCPSYN, rule.TCPSYNMbps: traffic.ClassTCPSYN, rule.FragmentsPPS: traffic.ClassOtherFragment,
	rule.FragmentsMbps: traffic.ClassICMPFragment,
}

// TestEveryThreshold sends each metric's traffic through the whole chain, both families, both directions: a breach on the
// first full tick, with its reason, a blackhole, and the end of it.
func TestEveryThreshold(t *testing.T) {
	t.Parallel()
	for _, host := range victims {
		for _, d := range rule.Directions {
			for m := range rule.NumMetrics {
				if m == rule.Flows {
					continue // TestFlows
				}
				t.Run(fmt.Sprint(m.Threshold(d), " ", host), func(t *testing.T) {
					t.Parallel()
					var g rule.GroupConfig
					g.SetSwitch(m, d, true)
					limit := 500.0
					if m.Bandwidth() {
						limit = 1
					}
					g.SetLimit(m, d, uint64(limit))
					w := newWorld(t, settings(t, map[string]rule.GroupConfig{"global": g}), Deps{})
					w.count(host, 1-d, raises[m], 1e6) // the other direction is not limited
					packets := uint64(500)             // exactly the limit
					if m.Bandwidth() {
						packets = 1250 // 1 Mbit
					}
					w.count(host, d, raises[m], packets)
					if v := w.tick(1); len(v.Incidents) != 0 {
						t.Fatalf("at the limit: %+v", v.Incidents)
					}
					w.count(host, d, raises[m], packets+1)
					v := w.tick(1)
					if len(v.Incidents) != 1 || len(v.Mitigations) != 1 {
						t.Fatalf("%d incidents, %d mitigations: %+v", len(v.Incidents), len(v.Mitigations), v.Refusals)
					}
					inc, mit := v.Incidents[0], v.Mitigations[0]
					if inc.Why.Metric != m || inc.Direction != d || inc.Why.Limit != limit || inc.Why.Value <= limit || inc.Why.Window != time.Second ||
						inc.Hostgroup != "global" || inc.Network.Addr().Is4() != inc.Target.Host.Is4() || !inc.Network.Contains(inc.Target.Host) {
						t.Fatalf("%+v", inc)
					}
					if mit.Prefix.Addr().String() != host || !mit.Prefix.IsSingleIP() || mit.Incident != inc.ID || !strings.Contains(mit.Reason, m.Threshold(d)) {
						t.Fatalf("%+v", mit)
					}
					if v = w.tick(40); len(v.Incidents) != 0 || len(v.Mitigations) != 0 {
						t.Fatalf("afterwards: %+v %+v", v.Incidents, v.Mitigations)
					}
					want := []string{
						fmt.Sprintf("2s %s %v clear->active", host, d), fmt.Sprintf("5s %s %v active->cooling", host, d), fmt.Sprintf("32s %s %v cooling->clear", host, d),
					}
					if !slices.Equal(w.log, want) {
						t.Fatalf("%v, want %v", w.log, want)
					}
				})
			}
		}
	}
}

func TestFlows(t *testing.T) {
	t.Parallel()
	for _, host := range victims {
		w := newWorld(t, settings(t, map[string]rule.GroupConfig{"global": {BanForFlows: ptr(true), ThresholdFlows: ptr[uint64](20)}}), Deps{})
		for want, n := range []int{20, 21} { // the limit itself, and one more
			for range n {
				r := traffic.Record{Dst: netip.MustParseAddr(host).As16(), Src: remote[0].As16(), Flow: true, Counter: traffic.Counter{Packets: 1, Bytes: 60}}
				w.shard.Poll().AddRecord(traffic.InternalBoth, &r)
			}
			if v := w.tick(1); len(v.Incidents) != want {
				t.Fatalf("%s, %d flows: %+v", host, n, v.Incidents)
			}
		}
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	p := netip.MustParsePrefix
	set := settings(t, map[string]rule.GroupConfig{
		"customer": {
			Calculation: rule.Total, ThresholdPPS: ptr[uint64](3000),
			Networks: []netip.Prefix{p("198.51.100.64/26"), p("2001:db8:1::/48")},
		},
		"premium": {Parent: "customer", ThresholdPPS: ptr[uint64](100), Networks: []netip.Prefix{p("198.51.100.64/28"), p("2001:db8:1:1::/64")}},
	})
	set.Mitigate.Guard.MinLengthIPv4 = 24
	w := newWorld(t, set, Deps{})
	// Four hosts of 900 pps: none above global's limit, but together above the customer's.
	for _, h := range []string{"198.51.100.100", "198.51.100.101", "2001:db8:1::5", "2001:db8:1::6"} {
		w.count(h, traffic.Incoming, traffic.ClassUDP, 900)
	}
	v := w.tick(1)
	if len(v.Incidents) != 1 || v.Incidents[0].Target != (rule.Target{Group: "customer"}) || v.Incidents[0].Why.Value != 3600 || v.Incidents[0].Hostgroup != "customer" {
		t.Fatalf("%+v", v.Incidents)
	}
	if got := prefixes(v.Mitigations); !slices.Contains(got, "2001:db8:1::/48") || !slices.Contains(got, "198.51.100.64/26") {
		t.Errorf("%v, refused %+v", got, v.Refusals)
	}
	// A host of the child group has the child's limit; one of the total group has global's.
	w = newWorld(t, set, Deps{})
	w.count("2001:db8:1:1::1", traffic.Incoming, traffic.ClassUDP, 101)
	w.count("198.51.100.65", traffic.Incoming, traffic.ClassUDP, 100)
	w.count("198.51.100.100", traffic.Incoming, traffic.ClassUDP, 1001)
	v = w.tick(1)
	var got []string
	for _, inc := range v.Incidents {
		got = append(got, fmt.Sprint(inc.Target, " ", inc.Hostgroup))
	}
	if !slices.Equal(got, []string{"198.51.100.100 global", "2001:db8:1:1::1 premium"}) {
		t.Fatal(got)
	}
	for _, g := range v.Hostgroups {
		want := map[string][2]float64{"global": {0, 1202}, "customer": {1001, 1202}, "premium": {201, 201}}[g.Name]
		if g.In[rule.PPS] != want[0] || g.TotalIn[rule.PPS] != want[1] {
			t.Errorf("%s: %v and %v, want %v", g.Name, g.In[rule.PPS], g.TotalIn[rule.PPS], want)
		}
	}
	if name, network, ok := w.e.Hostgroup(netip.MustParseAddr("2001:db8:1:1::1")); name != "premium" || network != networks[1] || !ok {
		t.Error(name, network, ok)
	}
	if name, _, ok := w.e.Hostgroup(remote[0]); name != "global" || ok {
		t.Error(name, ok)
	}
}

func TestView(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings(t, nil), Deps{})
	if v := w.e.View(); v == nil || len(v.Incidents) != 0 {
		t.Fatal("no view before the first tick")
	}
	for i, h := range []string{"198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"} {
		w.count(h, traffic.Incoming, traffic.ClassTCPSYN, uint64(10*(i+1)))
		w.count(h, traffic.Outgoing, traffic.ClassICMP, uint64(100-i))
	}
	v := w.tick(1)
	for f, want := range [][2]float64{{30, 199}, {70, 195}} {
		in, out := v.Totals[f][traffic.Incoming], v.Totals[f][traffic.Outgoing]
		if in[rule.TCPSYNPPS] != want[0] || in[rule.TCPPPS] != want[0] || out[rule.ICMPPPS] != want[1] || in[rule.UDPPPS] != 0 {
			t.Errorf("family %d: %v %v", f, in, out)
		}
		if v.Networks[f].Network != networks[f] || v.Networks[f].In[rule.PPS] != want[0] || v.Networks[f].Out[rule.PPS] != want[1] {
			t.Errorf("%+v", v.Networks[f])
		}
		top := v.Top[f][1][rate.ByPackets]
		if len(top) != 2 || top[0].Out[rule.PPS] != 100-2*float64(f) || !top[0].Network.IsValid() || top[0].Hostgroup != "global" {
			t.Errorf("%+v", top)
		}
	}
	if h, ok := w.e.Host(netip.MustParseAddr("::ffff:198.51.100.2")); !ok || h.In[rule.PPS] != 20 || h.Out[rule.PPS] != 99 {
		t.Errorf("%+v %v", h, ok)
	}
	if _, ok := w.e.Host(remote[1]); ok {
		t.Error("a foreign host is ours")
	}
	if h := v.Health; h.Ticks != 1 || h.Shards != 1 || h.Late != 0 || h.Hosts != 8 || len(h.Alarms) != 0 || h.Conservation != "" {
		t.Errorf("%+v", h)
	}
	if !v.At.Equal(base.Add(time.Second)) || v.Span != time.Second || v.Tick != 1 {
		t.Errorf("%v %v %v", v.At, v.Span, v.Tick)
	}
}

// TestAverage: FastNetMon's average sees an attack of twice the limit after four seconds, one of 5.5 times after one.
func TestAverage(t *testing.T) {
	t.Parallel()
	for _, host := range victims {
		for factor, seconds := range map[float64]int{5.6: 1, 2: 4, 1.2: 9} {
			set := settings(t, nil)
			set.Rates.Mode = rate.Average
			w := newWorld(t, set, Deps{})
			w.steady[host] = uint64(1000 * factor)
			w.tick(20)
			want := fmt.Sprintf("%ds %s incoming clear->active", seconds, host)
			if len(w.log) != 1 || w.log[0] != want {
				t.Errorf("%v, want %v", w.log, want)
			}
		}
	}
}

// TestShortTicks: with ticks of 100 ms and the window of 500 ms, 10 times the limit is seen in 100 ms, twice in 300, 1.2 times in 500.
func TestShortTicks(t *testing.T) {
	t.Parallel()
	for _, host := range victims {
		for factor, after := range map[float64]time.Duration{10: 100 * time.Millisecond, 2: 300 * time.Millisecond, 1.2: 500 * time.Millisecond, 0.95: 0} {
			set := settings(t, nil)
			set.Tick = 100 * time.Millisecond
			w := newWorld(t, set, Deps{})
			w.steady[host] = uint64(100 * factor)
			w.tick(30)
			if after == 0 {
				if len(w.log) != 0 {
					t.Errorf("below the limit: %v", w.log)
				}
			} else if want := fmt.Sprintf("%v %s incoming clear->active", after, host); len(w.log) != 1 || w.log[0] != want {
				t.Errorf("%v, want %v", w.log, want)
			}
		}
	}
}

func TestWhitelistAndSwitch(t *testing.T) {
	t.Parallel()
	for _, host := range victims {
		a := netip.MustParseAddr(host)
		l := &listener{room: 10}
		set := settings(t, nil)
		set.Whitelist = []netip.Prefix{netip.PrefixFrom(a, a.BitLen()-3)}
		set.Mitigate.Site.Whitelist = set.Whitelist
		w := newWorld(t, set, Deps{Notifiers: []notify.Notifier{l}})
		w.steady[host] = 5000
		v := w.tick(2)
		if len(v.Incidents) != 1 || !v.Incidents[0].Whitelisted || len(v.Mitigations) != 0 || len(l.events) != 0 || len(v.Refusals) != 1 {
			t.Fatalf("%+v %+v %v %+v", v.Incidents, v.Mitigations, l.seen(), v.Refusals)
		}

		set = settings(t, nil)
		set.Bans.Enable = false
		l = &listener{room: 10}
		w = newWorld(t, set, Deps{Notifiers: []notify.Notifier{l}})
		w.steady[host] = 5000
		if v = w.tick(2); len(v.Incidents) != 1 || len(v.Mitigations) != 0 || len(l.events) != 0 {
			t.Fatalf("%+v %+v %v", v.Incidents, v.Mitigations, l.seen())
		}
		if _, err := w.e.Block(mitigate.Manual{Prefix: netip.PrefixFrom(a, a.BitLen())}, time.Minute); err != nil {
			t.Fatal(err)
		}
		if v = w.e.View(); len(v.Mitigations) != 1 || !slices.Equal(l.seen(), []string{"ban " + host}) {
			t.Fatalf("%+v %v", v.Mitigations, l.seen())
		}
	}
}

// TestApply: new rules, groups and networks take effect without losing a packet; incidents go on, and a vanished group's belong to global.
func TestApply(t *testing.T) {
	t.Parallel()
	p := netip.MustParsePrefix
	old := settings(t, map[string]rule.GroupConfig{
		"web": {ThresholdPPS: ptr[uint64](200), Networks: []netip.Prefix{p("198.51.100.0/28"), p("2001:db8::/64")}},
		"sum": {Calculation: rule.Total, ThresholdPPS: ptr[uint64](50), Networks: []netip.Prefix{p("2001:db8:7::/48")}},
	})
	l := &listener{room: 100}
	var packets uint64
	w := newWorld(t, old, Deps{Notifiers: []notify.Notifier{l}})
	w.e.deps.Source = &tapped{w.merger, func(s *merge.Snapshot) {
		for f := range s.Totals {
			for d := range s.Totals[f] {
				c := s.Totals[f][d].Cells.Overlapping(0)
				packets += c.Total.Packets
			}
		}
		if s.Conservation != nil {
			t.Error(s.Conservation)
		}
	}}
	for _, h := range victims {
		w.steady[h] = 300 // above web's limit, below global's
	}
	w.steady["2001:db8:7::1"] = 100
	before := w.tick(3)
	if len(before.Incidents) != 3 {
		t.Fatalf("%+v", before.Incidents)
	}
	if err := w.e.Apply(settings(t, nil)); err != nil {
		t.Fatal(err)
	}
	if n := w.e.View(); len(n.Incidents) != 2 { // the total of a group that is gone has ended
		t.Fatalf("%+v", n.Incidents)
	}
	after := w.tick(1)
	for i, inc := range after.Incidents {
		if inc.ID != before.Incidents[i+1].ID || inc.Hostgroup != "global" || inc.State != incident.Active {
			t.Fatalf("%+v", inc)
		}
	}
	if len(after.Hostgroups) != 1 || after.Hostgroups[0].In[rule.PPS] != 700 {
		t.Fatalf("%+v", after.Hostgroups)
	}
	w.tick(10) // by global's limits it is quiet: the bans run out
	if v := w.tick(30); len(v.Incidents) != 0 {
		t.Fatalf("%+v", v.Incidents)
	}
	if packets != 44*700 {
		t.Fatalf("%d packets were counted of %d", packets, 44*700)
	}
	if s := l.seen(); len(s) != 6 {
		t.Fatalf("%v", s)
	}

	// Settings that are wrong change nothing.
	broken := settings(t, nil)
	broken.Rates.AverageTime = 0
	noRules := settings(t, nil)
	noRules.Rules = nil
	policy := settings(t, nil)
	policy.Mitigate.Policies = map[string]mitigate.Policy{"global": {BanTime: 1}}
	tick := settings(t, nil)
	tick.Tick = time.Millisecond
	for _, s := range []Settings{broken, noRules, policy, tick} {
		if err := w.e.Apply(s); err == nil {
			t.Fatal("accepted")
		}
	}
	w.steady = map[string]uint64{victims[1]: 1001}
	if v := w.tick(1); len(v.Incidents) != 1 {
		t.Fatalf("%+v", v.Incidents)
	}
}

// tapped shows snapshots to a function on their way.
type tapped struct {
	*merge.Merger
	see func(*merge.Snapshot)
}

func (s *tapped) Tick(now time.Time) (*merge.Snapshot, error) {
	snap, err := s.Merger.Tick(now)
	if err == nil {
		s.see(snap)
	}
	return snap, err
}

func TestNotifiers(t *testing.T) {
	t.Parallel()
	full, l := &listener{room: 1}, &listener{room: 100}
	w := newWorld(t, settings(t, nil), Deps{Notifiers: []notify.Notifier{full, l}})
	for _, h := range victims {
		w.steady[h] = 2000
	}
	w.tick(1)
	w.steady = nil
	v := w.tick(40)
	if got := l.seen(); !slices.Equal(got, []string{"ban 198.51.100.7", "ban 2001:db8::7", "unban 198.51.100.7", "unban 2001:db8::7"}) {
		t.Fatal(got)
	}
	if n := v.Health.NotifyDropped["listener"]; len(full.events) != 1 || n != 3 {
		t.Fatalf("%d dropped", n)
	}
}

// fakeEvidence has one more packet of everything each time it is asked.
type fakeEvidence struct {
	watched []Watch
	n       int
	grow    int
}

func (f *fakeEvidence) Watch(list []Watch) { f.watched = list }

func (f *fakeEvidence) Samples(_ rule.Target, _ traffic.Direction, limit int) []notify.Packet {
	f.n += f.grow
	return make([]notify.Packet, min(f.n, limit))
}

func TestDetails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		grow  int
		after int // the tick in which details come, counted from the ban; -1 never
		n     int
	}{{"at once", 100, 0, 10}, {"when there are enough", 4, 2, 10}, {"what there is after 5 s", 1, 5, 6}, {"none", 0, -1, 0}} {
		t.Run(tc.name, func(t *testing.T) {
			l, f := &listener{room: 100}, &fakeEvidence{grow: tc.grow}
			set := settings(t, nil)
			set.Engine.DetailsPackets = 10
			w := newWorld(t, set, Deps{Notifiers: []notify.Notifier{l}, Evidence: f})
			w.steady[victims[1]] = 2000
			at := -1
			for i := range 10 {
				w.tick(1)
				if len(l.events) == 2 && at < 0 {
					at = i
				}
			}
			if at != tc.after {
				t.Fatalf("details after %d ticks, want %d: %v", at, tc.after, l.seen())
			}
			if at >= 0 {
				if d := l.events[1]; d.Action != notify.AttackDetails || len(d.Packets) != tc.n || d.Incident.ID != l.events[0].Incident.ID {
					t.Fatalf("%+v", d)
				}
			}
			if len(f.watched) != 1 || f.watched[0].Target.Host.String() != victims[1] || f.watched[0].Direction != traffic.Incoming {
				t.Fatalf("%+v", f.watched)
			}
			w.steady = nil
			w.tick(40)
			if len(f.watched) != 0 || len(w.e.details) != 0 || len(w.e.told) != 0 {
				t.Fatalf("left over: %+v %+v %+v", f.watched, w.e.details, w.e.told)
			}
		})
	}
}

// TestDeterminism: the same traffic gives the same transitions, ids and mitigations.
func TestDeterminism(t *testing.T) {
	t.Parallel()
	run := func() (out []string) {
		w := newWorld(t, settings(t, nil), Deps{})
		for i := range 60 {
			for h := range 40 {
				if (i/7+h)%5 == 0 {
					w.count(fmt.Sprintf("2001:db8::%x", h+1), traffic.Direction(h&1), traffic.ClassUDP, uint64(900+10*h))
					w.count(fmt.Sprintf("198.51.100.%d", h+1), traffic.Direction(h&1), traffic.ClassTCPSYN, uint64(900+10*h))
				}
			}
			for _, m := range w.tick(1).Mitigations {
				out = append(out, fmt.Sprint(i, m.ID, m.Prefix, m.Incident, m.Expires, m.Reason))
			}
		}
		return append(out, w.log...)
	}
	a, b := run(), run()
	if !slices.Equal(a, b) || len(a) < 100 {
		t.Fatalf("%d lines and %d lines differ", len(a), len(b))
	}
}

// failing is a source that has no snapshots.
type failing struct{ err error }

func (f *failing) Tick(time.Time) (*merge.Snapshot, error) { return nil, f.err }
func (f *failing) SetNets(*nets.Table)                     {}

// TestSourceErrors: without snapshots bans still run out, and nothing panics.
func TestSourceErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings(t, nil), Deps{})
	w.steady[victims[0]] = 2000
	w.tick(1)
	w.e.deps.Source = &failing{errDisk}
	if _, err := w.e.Block(mitigate.Manual{Prefix: netip.MustParsePrefix("2001:db8::1/128")}, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	v := w.tick(40)
	if v.Health.SourceErrors != 40 || len(v.Incidents) != 1 || v.Incidents[0].Manual {
		t.Fatalf("%+v", v)
	}
}

func TestHugeRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings(t, nil), Deps{})
	for _, h := range victims {
		w.count(h, traffic.Incoming, traffic.ClassUDP, math.MaxUint64/4)
		w.count(h, traffic.Outgoing, traffic.ClassUDP, 1)
	}
	if v := w.tick(1); len(v.Incidents) != 2 {
		t.Fatalf("%+v", v.Incidents)
	}
}
