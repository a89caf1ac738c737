package rate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/flowtrack"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// merged gives the meter its view of a snapshot, as the engine does.
type merged struct{ *merge.Snapshot }

func (c merged) FlowsKept() bool         { return c.Snapshot.FlowsKept }
func (c merged) Elapsed() time.Duration  { return c.Snapshot.Elapsed }
func (c merged) Nets() *nets.Table       { return c.Snapshot.Nets }
func (c merged) Totals() *traffic.Totals { return &c.Snapshot.Totals }
func (c merged) Find(addr *[16]byte, d traffic.Direction, h *traffic.Host) bool {
	row, ok := c.Snapshot.Find(netip.AddrFrom16(*addr), d)
	*h = row
	return ok
}

// bed is two shards with flow sets, as workers have them, a merger and a meter, on a virtual clock.
type bed struct {
	now      int64
	table    *nets.Table
	seed     traffic.Seed
	shards   [2]*traffic.Shard
	trackers [2]*flowtrack.Tracker
	merger   *merge.Merger
	meter    *Meter
	floor    rule.Floor
}

func newBed(t *testing.T, tick time.Duration, limit uint64, change func(*Config)) *bed {
	t.Helper()
	b := &bed{table: table(t), meter: meter(t, tick, change)}
	b.seed = traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64)
	clock := func() int64 { return b.now }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	b.merger, err = merge.New(merge.DefaultConfig(), b.seed, b.table, clock)
	must(err)
	for i := range b.shards {
		b.shards[i], err = traffic.NewShard(traffic.Config{Hosts: 64}, b.seed, b.table, clock)
		must(err)
		b.trackers[i], err = flowtrack.New(flowtrack.Config{Flows: 20_000})
		must(err)
		b.shards[i].AttachFlows(b.trackers[i])
		must(b.merger.Add(b.shards[i]))
		t.Cleanup(func() {
			must(b.shards[i].Free())
			must(b.trackers[i].Free())
		})
	}
	t.Cleanup(func() {
		b.meter.Close()
		must(b.merger.Free())
	})
	var g rule.GroupConfig
	for _, d := range rule.Directions {
		g.SetSwitch(rule.Flows, d, true)
		g.SetLimit(rule.Flows, d, limit)
	}
	s, err := rule.Compile(map[string]rule.GroupConfig{"global": g})
	must(err)
	b.floor = s.Floor()
	return b
}

var client = netip.MustParseAddr("2001:db8:ffff::1").As16()

// packet counts one packet of a flow, on the shard that the flow belongs to.
func (b *bed) packet(host *[16]byte, d traffic.Direction, flow uint64) {
	k := flow % 2
	h := b.shards[k].Poll()
	set := b.trackers[k].Set(h.FlowSet())
	hash := b.seed.HashFlow(&client, host, 17, uint32(flow))
	r := traffic.Record{Src: outside, Dst: *host, Class: traffic.ClassUDP, Counter: traffic.Counter{Packets: 1, Bytes: 100}}
	if d == traffic.Outgoing {
		r.Src, r.Dst = r.Dst, r.Src
	}
	r.Flow = set.Insert(hash) == flowtrack.Added
	h.AddRecord(traffic.InternalBoth, &r)
}

var outside = netip.MustParseAddr("203.0.113.9").As16()

func (b *bed) tick(t *testing.T, at int64) {
	t.Helper()
	b.now = at
	s, err := b.merger.Tick(time.Unix(0, at))
	if err != nil {
		t.Fatal(err)
	}
	if s.Late != 0 || s.Conservation != nil {
		t.Fatal(s.Late, s.Conservation)
	}
	b.meter.Add(merged{s}, b.floor)
}

// sight is a packet of the exact model.
type sight struct {
	at   int64
	flow uint64
}

// distinct is the exact number of flows in a span that ends at end.
func distinct(s []sight, end int64, span time.Duration) float64 {
	set := map[uint64]bool{}
	for i := len(s) - 1; i >= 0 && s[i].at > end-int64(span); i-- {
		set[s[i].flow] = true
	}
	return float64(len(set))
}

// patterns are packets by time, at 1 packet a microsecond at most. All have 1000 distinct flows in each second from start on.
var patterns = map[string]func(r *rand.Rand, start, end time.Duration) []sight{
	"lasting": func(_ *rand.Rand, start, end time.Duration) (s []sight) { // 1000 flows of 25 packets/s
		for i, at := 0, start; at < end; i, at = i+1, at+40*time.Microsecond {
			s = append(s, sight{int64(at), uint64(i % 1000)})
		}
		return s
	},
	"new": func(_ *rand.Rand, start, end time.Duration) (s []sight) { // each packet is a flow
		for i, at := 0, start; at < end; i, at = i+1, at+time.Millisecond {
			s = append(s, sight{int64(at), uint64(i)})
		}
		return s
	},
	"mixed": func(_ *rand.Rand, start, end time.Duration) (s []sight) { // half of each
		for i, at := 0, start; at < end; i, at = i+1, at+100*time.Microsecond {
			if i%20 == 0 {
				s = append(s, sight{int64(at), 1<<20 + uint64(i)})
			}
			s = append(s, sight{int64(at), uint64(i % 500)})
		}
		return s
	},
	"sparse": func(r *rand.Rand, start, end time.Duration) (s []sight) { // 1000 flows of 1.4 packets/s at random phases
		for f := range uint64(1000) {
			for at := start + time.Duration(r.Int64N(int64(700*time.Millisecond))); at < end; at += 700 * time.Millisecond {
				s = append(s, sight{int64(at), f})
			}
		}
		slices.SortFunc(s, func(a, b sight) int { return cmp.Compare(a.at, b.at) })
		return s
	},
}

// TestFlowsAgainstExact runs shards, merger and meter over packets that begin at any time, and compares the flows of the host, its
// network, its group and the total with a count of the packets' 5-tuples. When a second and a tick have passed the rate is
// within 2 % of the truth at every tick; before, it never exceeds it, and a limit is seen when a second holds more.
func TestFlowsAgainstExact(t *testing.T) {
	t.Parallel()
	for _, tick := range []time.Duration{100 * time.Millisecond, 250 * time.Millisecond, time.Second, 2 * time.Second} {
		for name := range patterns {
			for i, host := range hosts {
				for _, jitter := range []time.Duration{0, 3 * time.Millisecond} {
					t.Run(fmt.Sprintf("%s/%v/%s/%v", name, tick, host, jitter), func(t *testing.T) {
						t.Parallel()
						exactly(t, name, tick, jitter, host, traffic.Direction(i))
					})
				}
			}
		}
	}
}

func exactly(t *testing.T, name string, tick, jitter time.Duration, host string, d traffic.Direction) {
	r := rand.New(rand.NewPCG(uint64(tick), uint64(jitter)))
	start := 2*time.Second + time.Duration(r.Int64N(int64(time.Second)))
	end := start + 9*time.Second
	packets := patterns[name](r, start, end)
	addr := netip.MustParseAddr(host)
	a := addr.As16()
	const limit = 450
	b := newBed(t, tick, limit, nil)
	span := max(tick, time.Second)
	next, steady, alarms := 0, 0, 0
	highest := 0.0 // what any span that ended at a tick truly held
	for n := 1; ; n++ {
		at := int64(n)*int64(tick) + r.Int64N(2*int64(jitter)+1) - int64(jitter)
		if time.Duration(at) > end {
			break
		}
		for ; next < len(packets) && packets[next].at <= at; next++ {
			b.packet(&a, d, packets[next].flow)
		}
		b.tick(t, at)
		exact := distinct(packets[:next], at, span) / span.Seconds()
		highest = max(highest, exact)
		settled := time.Duration(at) >= start+2*span+tick
		if settled {
			steady++
		}
		h := b.meter.Host(addr)
		got := map[string]rule.Rates{
			"host": [2]rule.Rates{h.In, h.Out}[d], "network": byName(b.meter.Networks, addr, int(d)),
			"group": groupRates(b.meter, "global", int(d)), "total": total(b.meter, d),
		}
		near := slices.Contains(nearHosts(b.meter), host)
		for what, rates := range got {
			v := rates[rule.Flows]
			if v > 1.02*highest || settled && v < 0.98*exact {
				t.Fatalf("at %v (start %v): %s has %.1f flows/s, the truth is %.1f, at most %.1f", time.Duration(at), start, what, v, exact, highest)
			}
			if v > limit && !near {
				t.Fatalf("at %v: %s has %.1f flows/s, and the host is not judged", time.Duration(at), what, v)
			}
		}
		if near {
			alarms++
		}
	}
	if steady == 0 || alarms < steady {
		t.Fatalf("%d steady ticks, %d with an alarm", steady, alarms)
	}
}

// total adds the families up, of which one is silent or all of it is the clients'.
func total(m *Meter, d traffic.Direction) (r rule.Rates) {
	for f := range traffic.NumFamilies {
		t := m.Total(f, d)
		r[rule.Flows] += t[rule.Flows]
	}
	return r
}

// TestFlowsAverage: FastNetMon's average of flows rises as that of packets does, at short ticks too.
func TestFlowsAverage(t *testing.T) {
	t.Parallel()
	for _, host := range hosts {
		addr := netip.MustParseAddr(host)
		a := addr.As16()
		b := newBed(t, 100*time.Millisecond, 100, func(c *Config) { c.Mode = Average; c.AverageTime = time.Second })
		packets := patterns["lasting"](nil, 0, 10*time.Second)
		next := 0
		for n := range 100 {
			at := int64(n+1) * int64(100*time.Millisecond)
			for ; next < len(packets) && packets[next].at < at; next++ {
				b.packet(&a, traffic.Incoming, packets[next].flow)
			}
			b.tick(t, at)
			if v := b.meter.Host(addr).In[rule.Flows]; v > 1001 || n >= 45 && v < 980 {
				t.Fatalf("%s: %v flows/s after %d ticks", host, v, n+1)
			}
		}
	}
}

// TestTopByFlows: at a short tick, hosts whose flows last stay in the list in the ticks that show none of them.
func TestTopByFlows(t *testing.T) {
	t.Parallel()
	n := table(t)
	for _, format := range []string{"192.0.2.%d", "2001:db8::%d"} {
		m := meter(t, 100*time.Millisecond, func(c *Config) { c.TopHosts = 3 })
		for tick := range 25 {
			s := snap(n, 100*time.Millisecond)
			s.kept = tick%10 != 0
			for i := range 20 {
				host := fmt.Sprintf(format, i+1)
				switch {
				case !s.kept && i < 4: // 1, 2, 3 and 4 have 400, 300, 200 and 100 flows that last
					s.add(host, traffic.Incoming, traffic.ClassUDP, 500, 100, uint64(400-100*i))
				case i >= 4: // the others a few new ones
					s.add(host, traffic.Incoming, traffic.ClassUDP, 10, 100, uint64(1+i%3))
				}
			}
			m.Add(s, floor(t, 1e6))
			var got []string
			for _, h := range m.Top(traffic.FamilyOf(&s.rows[0].Addr), traffic.Incoming, ByFlows) {
				got = append(got, fmt.Sprint(h.Addr, " ", h.In[rule.Flows]))
			}
			want := []string{fmt.Sprintf(format, 1) + " 400", fmt.Sprintf(format, 2) + " 300", fmt.Sprintf(format, 3) + " 200"}
			if !slices.Equal(got, want) {
				t.Fatalf("tick %d: %v, want %v", tick, got, want)
			}
		}
		m.Close()
	}
}

// TestRatesAllocs: judging a host allocates nothing, whatever the tick.
func TestRatesAllocs(t *testing.T) {
	n := table(t)
	for _, tick := range []time.Duration{100 * time.Millisecond, time.Second} {
		m := meter(t, tick, nil)
		for i := range 20 {
			s := snap(n, tick)
			s.kept = tick < time.Second && i%10 != 0
			s.add(hosts[0], traffic.Incoming, traffic.ClassUDP, 1000, 100, 100).add(hosts[1], traffic.Outgoing, traffic.ClassUDP, 1000, 100, 100)
			m.Add(s, floor(t, 10))
		}
		judged := 0
		f := func(*Host) { judged++ }
		if got := testing.AllocsPerRun(100, func() { m.Near(f) }); got > 1 || judged < 200 {
			t.Errorf("%v: %v allocations, %d hosts", tick, got, judged)
		}
	}
}

func TestTicksPerSecond(t *testing.T) {
	t.Parallel()
	for tick, want := range map[time.Duration]int{
		100 * time.Millisecond: 10, 125 * time.Millisecond: 8, 200 * time.Millisecond: 5, 250 * time.Millisecond: 4, 300 * time.Millisecond: 4,
		500 * time.Millisecond: 2, 900 * time.Millisecond: 1, time.Second: 1, time.Minute: 1,
	} {
		if got := ticksPerSecond(tick); got != want {
			t.Errorf("%v: %d ticks, want %d", tick, got, want)
		}
	}
}
