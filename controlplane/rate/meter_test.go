package rate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// fake is a snapshot made by hand.
type fake struct {
	elapsed  time.Duration
	kept     bool
	table    *nets.Table
	rows     []traffic.Host
	totals   traffic.Totals
	places   map[[2]int]*traffic.Sum
	released int
}

func (f *fake) FlowsKept() bool        { return f.kept }
func (f *fake) Elapsed() time.Duration { return f.elapsed }
func (f *fake) Nets() *nets.Table      { return f.table }
func (f *fake) Len() int               { return len(f.rows) }

func (f *fake) Peaks(i int) *traffic.Peaks {
	loads := make([]traffic.Load, min(traffic.PeakRows, len(f.rows)-i*traffic.PeakRows))
	f.Loads(i*traffic.PeakRows, loads)
	p := traffic.NoPeaks()
	for _, l := range loads {
		p[l.Family][l.Direction].Raise(&l.Peak, &l.Addr)
	}
	return &p
}

func (f *fake) Loads(from int, loads []traffic.Load) {
	for i := range loads {
		h := &f.rows[from+i]
		loads[i] = traffic.Load{Peak: traffic.Peak{Flows: h.Flows}, Addr: h.Addr, Family: traffic.FamilyOf(&h.Addr), Direction: h.Direction}
		for _, n := range h.Cells {
			loads[i].Packets += n.Packets
			loads[i].Bytes += n.Bytes
		}
	}
}

func (f *fake) Totals() *traffic.Totals { return &f.totals }
func (f *fake) Release()                { f.released++; f.rows = nil }
func (f *fake) Find(addr *[16]byte, d traffic.Direction, h *traffic.Host) bool {
	for i := range f.rows {
		if f.rows[i].Addr == *addr && f.rows[i].Direction == d {
			*h = f.rows[i]
			return true
		}
	}
	return false
}

func (f *fake) Place(id nets.ID, d traffic.Direction) *traffic.Sum {
	if s := f.places[[2]int{int(id), int(d)}]; s != nil {
		return s
	}
	return &traffic.Sum{}
}

// add counts packets of size bytes and flows for a host.
func (f *fake) add(host string, d traffic.Direction, c traffic.Class, packets, size, flows uint64) *fake {
	h := traffic.Host{Addr: netip.MustParseAddr(host).As16(), Direction: d, Flows: flows}
	h.Place = f.table.Lookup(&h.Addr)
	h.Cells[c] = traffic.Counter{Packets: packets, Bytes: packets * size}
	f.rows = append(f.rows, h)
	s := f.places[[2]int{int(h.Place), int(d)}]
	if s == nil {
		s = &traffic.Sum{}
		f.places[[2]int{int(h.Place), int(d)}] = s
	}
	s.Add(&traffic.Sum{Cells: h.Cells, Flows: flows})
	f.totals[traffic.FamilyOf(&h.Addr)][d].Add(&traffic.Sum{Cells: h.Cells, Flows: flows})
	return f
}

var networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}

func table(t testing.TB, groups ...nets.Group) *nets.Table {
	t.Helper()
	n, err := nets.New(nets.Spec{Networks: networks, Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func snap(n *nets.Table, elapsed time.Duration) *fake {
	return &fake{elapsed: elapsed, table: n, places: map[[2]int]*traffic.Sum{}}
}

// floor has one limit of pps packets/s on everything, in both directions.
func floor(t testing.TB, pps uint64) rule.Floor {
	t.Helper()
	var g rule.GroupConfig
	for _, d := range rule.Directions {
		g.SetSwitch(rule.PPS, d, true)
		g.SetLimit(rule.PPS, d, pps)
	}
	s, err := rule.Compile(map[string]rule.GroupConfig{"global": g})
	if err != nil {
		t.Fatal(err)
	}
	return s.Floor()
}

func meter(t testing.TB, tick time.Duration, change func(*Config)) *Meter {
	t.Helper()
	cfg := Default()
	if change != nil {
		change(&cfg)
	}
	m, err := New(cfg, tick)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func nearHosts(m *Meter) (list []string) {
	m.Near(func(h *Host) { list = append(list, h.Addr.String()) })
	slices.Sort(list)
	return list
}

var hosts = []string{"192.0.2.7", "2001:db8::7"}

// TestStepResponse: the averages of COMPAT-FASTNETMON 2.1 after a step from nothing to R, T = 5 s: 18 % after 1 s, 33 % after 2 s,
// 63 % after 5 s, 86 % after 10 s.
func TestStepResponse(t *testing.T) {
	t.Parallel()
	n := table(t)
	for _, host := range hosts {
		for d, dir := range rule.Directions {
			m := meter(t, time.Second, func(c *Config) { c.Mode = Average })
			want := map[int]float64{1: 18, 2: 33, 5: 63, 10: 86}
			for s := 1; s <= 10; s++ {
				m.Add(snap(n, time.Second).add(host, dir, traffic.ClassUDP, 100, 125_000, 100), floor(t, 10))
				h := m.Host(netip.MustParseAddr(host))
				r := [2]rule.Rates{h.In, h.Out}[d]
				exact := 100 * (1 - math.Exp(-float64(s)/5))
				for metric, v := range map[rule.Metric]float64{rule.PPS: exact, rule.UDPPPS: exact, rule.Mbps: exact, rule.Flows: exact, rule.TCPPPS: 0} {
					if math.Abs(r[metric]-v) > 1e-6 {
						t.Fatalf("%s %v after %d s: %s is %v, want %v", host, dir, s, metric.Unit(), r[metric], v)
					}
				}
				if w, ok := want[s]; ok && math.Floor(r[rule.PPS]+0.5) != w {
					t.Errorf("after %d s: %v %%, want %v %%", s, r[rule.PPS], w)
				}
			}
			// The group, the network and the total follow the same curve.
			exact := 100 * (1 - math.Exp(-2))
			for what, r := range map[string]rule.Rates{
				"total":   m.Total(traffic.FamilyOf(ptr(netip.MustParseAddr(host).As16())), dir),
				"network": byName(m.Networks, netip.MustParseAddr(host), d),
				"group":   groupRates(m, "global", d),
			} {
				if math.Abs(r[rule.PPS]-exact) > 1e-6 {
					t.Errorf("%s: %v, want %v", what, r[rule.PPS], exact)
				}
			}
			// And back: the state goes away when the average is low enough, in bounded time.
			for range 40 {
				m.Add(snap(n, time.Second), floor(t, 10))
			}
			if s := m.Stats(); s.Tracked != 0 {
				t.Errorf("%d still tracked", s.Tracked)
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

func byName(each func(func(netip.Prefix, *Traffic)), a netip.Addr, d int) (r rule.Rates) {
	each(func(p netip.Prefix, t *Traffic) {
		if p.Contains(a) {
			r = [2]rule.Rates{t.In, t.Out}[d]
		}
	})
	return r
}

func groupRates(m *Meter, name string, d int) (r rule.Rates) {
	m.Groups(func(n string, t *Traffic) {
		if n == name {
			r = [2]rule.Rates{t.In, t.Out}[d]
		}
	})
	return r
}

// TestMeasuredTime: a late tick does not raise rates, and a short epoch does not either.
func TestMeasuredTime(t *testing.T) {
	t.Parallel()
	n := table(t)
	for _, tc := range []struct {
		elapsed time.Duration
		packets uint64
		want    float64
	}{
		{time.Second, 1000, 1000},
		{1500 * time.Millisecond, 1500, 1000}, // FastNetMon says 1500
		{950 * time.Millisecond, 950, 1000},
		{10 * time.Millisecond, 100, 100}, // 10000 pps for 10 ms are not an attack of 10000 pps
		{0, 7, 7},
	} {
		for _, host := range hosts {
			m := meter(t, time.Second, nil)
			m.Add(snap(n, tc.elapsed).add(host, traffic.Incoming, traffic.ClassTCP, tc.packets, 60, 0), floor(t, 10))
			if got := m.Host(netip.MustParseAddr(host)).In[rule.PPS]; math.Abs(got-tc.want) > 1e-6 {
				t.Errorf("%s, %d packets in %v: %v pps, want %v", host, tc.packets, tc.elapsed, got, tc.want)
			}
		}
	}
}

// TestWindow: at a tick of 100 ms the window is 500 ms, exact, and forgets in time.
func TestWindow(t *testing.T) {
	t.Parallel()
	n := table(t)
	for _, host := range hosts {
		m := meter(t, 100*time.Millisecond, nil)
		var all []*fake
		for i, want := range []float64{200, 400, 600, 800, 1000, 800, 600, 400, 200, 0} {
			s := snap(n, 100*time.Millisecond)
			s.kept = i > 0
			if i < 5 {
				s.add(host, traffic.Outgoing, traffic.ClassICMP, 100, 100, 30)
			}
			all = append(all, s)
			m.Add(s, floor(t, 900))
			h := m.Host(netip.MustParseAddr(host))
			if got := h.Out[rule.ICMPPPS]; math.Abs(got-want) > 1e-9 {
				t.Fatalf("tick %d: %v, want %v", i, got, want)
			}
			// Flows are of the second, not of the window: 30 new ones in each of the first 5 ticks.
			if f := h.Out[rule.Flows]; f != float64(30*min(i+1, 5)) {
				t.Fatalf("tick %d: %v flows", i, f)
			}
			if i < 9 && len(nearHosts(m)) != 1 {
				t.Fatalf("tick %d: the host is not judged", i)
			}
		}
		if l := nearHosts(m); len(l) != 0 {
			t.Errorf("still judged: %v", l)
		}
		for i, s := range all {
			if want := 0; s.released != want { // a second and a tick
				t.Errorf("snapshot %d was released %d times", i, s.released)
			}
		}
		m.Close()
		for i, s := range all {
			if s.released != 1 {
				t.Errorf("after Close, snapshot %d was released %d times", i, s.released)
			}
		}
	}
}

// TestNearIsComplete compares with a plain sum over all hosts: whoever exceeds the limit over the window is reported.
func TestNearIsComplete(t *testing.T) {
	t.Parallel()
	n := table(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	m := meter(t, 100*time.Millisecond, func(c *Config) { c.Window = 700 * time.Millisecond })
	const limit = 1000
	var history []map[string]uint64
	var lengths []time.Duration
	found := 0
	for tick := range 300 {
		s := snap(n, time.Duration(80+rnd.IntN(40))*time.Millisecond)
		counts := map[string]uint64{}
		for i := range 20 {
			host := fmt.Sprintf([]string{"192.0.2.%d", "2001:db8::%d"}[i%2], i+1)
			if rnd.IntN(3) > 0 {
				counts[host] = uint64(rnd.IntN(280))
				s.add(host, traffic.Incoming, traffic.ClassUDP, counts[host], 64, 0)
			}
		}
		history, lengths = append(history, counts), append(lengths, s.elapsed)
		m.Add(s, floor(t, limit))
		span, used := time.Duration(0), 0
		for i := len(history) - 1; i >= 0 && used < 7; i-- {
			span += lengths[i]
			used++
			if span >= 630*time.Millisecond {
				break
			}
		}
		if span < 630*time.Millisecond {
			span = 700 * time.Millisecond
		}
		sum := map[string]uint64{}
		for _, c := range history[len(history)-used:] {
			for h, v := range c {
				sum[h] += v
			}
		}
		near := nearHosts(m)
		for h, v := range sum {
			want := float64(v) / span.Seconds()
			if got := m.Host(netip.MustParseAddr(h)).In[rule.PPS]; math.Abs(got-want) > 1e-6 {
				t.Fatalf("tick %d: %s has %v, want %v", tick, h, got, want)
			}
			if want > limit {
				found++
				if !slices.Contains(near, h) {
					t.Fatalf("tick %d: %s exceeds the limit with %v and is not judged", tick, h, want)
				}
			}
		}
	}
	if found < 100 {
		t.Fatalf("only %d cases: the test shows nothing", found)
	}
}

func TestQuietHostsCostNoState(t *testing.T) {
	t.Parallel()
	n := table(t)
	for _, mode := range []Mode{Window, Average} {
		m := meter(t, time.Second, func(c *Config) { c.Mode = mode; c.MaxHosts = 4 })
		s := snap(n, time.Second)
		for i := range 100 {
			s.add(fmt.Sprintf("192.0.2.%d", i), traffic.Incoming, traffic.ClassUDP, 60, 100, 0)
			s.add(fmt.Sprintf("2001:db8::%d", i), traffic.Incoming, traffic.ClassUDP, 60, 100, 0)
		}
		m.Add(s, floor(t, 1000))
		if st := m.Stats(); st.Tracked != 0 || st.Skipped != 0 {
			t.Errorf("%s: %+v", mode, st)
		}
		s = snap(n, time.Second)
		for i := range 10 {
			s.add(fmt.Sprintf("2001:db8::%d", i), traffic.Outgoing, traffic.ClassUDP, 5000, 100, 0)
		}
		m.Add(s, floor(t, 1000))
		if st := m.Stats(); st.Tracked != 4 || st.Skipped != 6 {
			t.Errorf("%s: the cap does not hold: %+v", mode, st)
		}
	}
}

// TestGroups: sums per hostgroup and network survive a change of the prefix table.
func TestGroups(t *testing.T) {
	t.Parallel()
	p := netip.MustParsePrefix
	web := nets.Group{Name: "web", Prefixes: []netip.Prefix{p("192.0.2.0/28"), p("2001:db8:1::/48")}}
	mail := nets.Group{Name: "mail", Prefixes: []netip.Prefix{p("192.0.2.16/28")}}
	old, changed := table(t, web), table(t, mail, web)
	m := meter(t, 500*time.Millisecond, func(c *Config) { c.Window = time.Second })
	for i, n := range []*nets.Table{old, changed} {
		s := snap(n, 500*time.Millisecond)
		s.add("192.0.2.1", traffic.Incoming, traffic.ClassUDP, 10, 100, 0)
		s.add("2001:db8:1::1", traffic.Incoming, traffic.ClassTCPSYNFragment, 20, 100, 0)
		s.add("192.0.2.17", traffic.Outgoing, traffic.ClassICMP, 40, 100, 0)
		s.add("2001:db8:2::1", traffic.Incoming, traffic.ClassOther, 80, 100, 0)
		m.Add(s, floor(t, 1000))
		if i == 0 {
			continue
		}
		for _, tc := range []struct {
			name    string
			in, out float64
		}{{"web", 60, 0}, {"mail", 0, 40}, {"global", 160, 40}} {
			in, out := groupRates(m, tc.name, 0)[rule.PPS], groupRates(m, tc.name, 1)[rule.PPS]
			if in != tc.in || out != tc.out {
				t.Errorf("%s: %v in, %v out, want %v and %v", tc.name, in, out, tc.in, tc.out)
			}
		}
	}
	if r := groupRates(m, "web", 0); r[rule.UDPPPS] != 20 || r[rule.TCPSYNPPS] != 40 || r[rule.TCPPPS] != 40 || r[rule.FragmentsPPS] != 40 {
		t.Errorf("%v", r)
	}
	if h := m.Host(netip.MustParseAddr("192.0.2.17")); h.Group != 1 || h.Network != networks[0] || h.Out[rule.PPS] != 80 {
		t.Errorf("%+v", h)
	}
	if h := m.Host(netip.MustParseAddr("203.0.113.1")); h.Group != 0 || h.Network.IsValid() || h.In != (rule.Rates{}) {
		t.Errorf("%+v", h)
	}
}

func TestTop(t *testing.T) {
	t.Parallel()
	n := table(t)
	m := meter(t, time.Second, func(c *Config) { c.TopHosts = 5 })
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, format := range []string{"192.0.2.%d", "2001:db8::%d"} {
		s := snap(n, time.Second)
		for _, i := range rnd.Perm(200) {
			s.add(fmt.Sprintf(format, i), traffic.Incoming, traffic.ClassUDP, uint64(i+1)/2, uint64(300-i), uint64(i%50))
		}
		m.Add(s, floor(t, 1e6))
		f := traffic.FamilyOf(&s.rows[0].Addr)
		for o, want := range map[Order][]int{
			ByPackets: {199, 197, 198, 195, 196}, // packets 100, 99, 99, 98, 98: equals by address
			ByFlows:   {49, 99, 149, 199, 48},
		} {
			var got []string
			for _, h := range m.Top(f, traffic.Incoming, o) {
				got = append(got, h.Addr.String())
			}
			var exp []string
			for _, i := range want {
				exp = append(exp, fmt.Sprintf(format, i))
			}
			if !slices.Equal(got, exp) {
				t.Errorf("%v: %v, want %v", o, got, exp)
			}
		}
		if len(m.Top(f, traffic.Outgoing, ByBytes)) != 0 || len(m.Top(f, traffic.Incoming, ByBytes)) != 5 || len(m.Top(1-f, traffic.Incoming, ByBytes)) != 0 {
			t.Error("a host in the wrong list")
		}
	}
}

func TestModeChange(t *testing.T) {
	t.Parallel()
	n := table(t)
	m := meter(t, time.Second, nil)
	add := func() float64 {
		m.Add(snap(n, time.Second).add("192.0.2.1", traffic.Incoming, traffic.ClassUDP, 100, 100, 0), floor(t, 10))
		return m.Host(netip.MustParseAddr("192.0.2.1")).In[rule.PPS]
	}
	if v := add(); v != 100 {
		t.Fatal(v)
	}
	cfg := Default()
	cfg.Mode = Average
	if err := m.Configure(cfg, time.Second); err != nil {
		t.Fatal(err)
	}
	if v := add(); math.Abs(v-18.126924692201818) > 1e-9 {
		t.Fatal(v)
	}
	if err := m.Configure(Default(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if v := add(); v != 100 {
		t.Fatal(v)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	for key, change := range map[string]func(*Config){
		"mode": func(c *Config) { c.Mode = "x" }, "window": func(c *Config) { c.Window = 1 }, "average_time": func(c *Config) { c.AverageTime = 0 },
		"max_hosts": func(c *Config) { c.MaxHosts = 0 }, "top_hosts": func(c *Config) { c.TopHosts = -1 },
	} {
		c := Default()
		change(&c)
		if _, err := New(c, time.Second); err == nil || !strings.HasPrefix(err.Error(), key+":") {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, tc := range []struct {
		window, tick, length time.Duration
		keep                 int
	}{
		{0, time.Second, time.Second, 1},
		{0, 2 * time.Second, 2 * time.Second, 1},
		{0, 100 * time.Millisecond, 500 * time.Millisecond, 5},
		{0, 200 * time.Millisecond, 500 * time.Millisecond, 3},
		{0, 500 * time.Millisecond, 500 * time.Millisecond, 1},
		{5 * time.Second, time.Second, 5 * time.Second, 5},
	} {
		c := Config{Mode: Window, Window: tc.window}
		if c.Length(tc.tick) != tc.length || c.snapshots(tc.tick) != tc.keep {
			t.Errorf("%+v: %v, %d", tc, c.Length(tc.tick), c.snapshots(tc.tick))
		}
	}
}

func BenchmarkScan(b *testing.B) {
	n := table(b)
	s := snap(n, time.Second)
	for i := range 1 << 18 {
		s.rows = append(s.rows, traffic.Host{Addr: [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: byte(i >> 8), 15: byte(i)}})
		s.rows[i].Cells[traffic.ClassUDP] = traffic.Counter{Packets: uint64(i % 50), Bytes: 5000}
	}
	m := meter(b, time.Second, nil)
	f := floor(b, 1000)
	for b.Loop() {
		m.scan(s, f.Bounds(time.Second, 1))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(s.rows)), "ns/row")
}
