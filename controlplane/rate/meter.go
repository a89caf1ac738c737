package rate

import (
	"math"
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Snapshot is what one tick counted. merge makes it; tests make their own.
type Snapshot interface {
	// FlowsKept says that flows which the snapshot before has counted are not counted again in this one: its second, or more,
	// goes on.
	FlowsKept() bool
	// Elapsed is how long was counted.
	Elapsed() time.Duration
	// Nets is the prefix table that all places of the snapshot refer to.
	Nets() *nets.Table
	// Len is the number of rows.
	Len() int
	// Peaks is the most that rows i*traffic.PeakRows and the following ones have.
	Peaks(i int) *traffic.Peaks
	// Loads fills loads with rows in brief, from row from on.
	Loads(from int, loads []traffic.Load)
	// Find fills h with the row of a host; false when it was silent.
	Find(addr *[16]byte, d traffic.Direction, h *traffic.Host) bool
	// Place is the sum of everything counted for a place in a direction (Incoming or Outgoing).
	Place(id nets.ID, d traffic.Direction) *traffic.Sum
	// Totals is everything, each packet once.
	Totals() *traffic.Totals
	// Release gives the snapshot's memory back; it is not touched afterwards.
	Release()
}

// Host is a host and its rates in both directions. Group and Network are as of the newest prefix table.
type Host struct {
	Addr    netip.Addr
	Group   int // index into the prefix table's groups
	Network netip.Prefix
	In, Out rule.Rates
}

// Stats say how full the meter is.
type Stats struct {
	// Tracked is for how many hosts near or above a limit rates are kept.
	Tracked int `json:"tracked"`
	// Skipped counts hosts that were not judged because max_hosts was reached; each counts once a tick.
	Skipped uint64 `json:"skipped"`
}

// Meter measures rates. It is not safe for concurrent use.
type Meter struct {
	cfg  Config
	tick time.Duration
	keep int // snapshots that a window needs
	// flowTicks is how many ticks make up the second that flows are counted over.
	flowTicks int

	// ring holds the newest snapshots, the latest last; those from first on make up the window.
	ring  []Snapshot
	first int
	span  time.Duration // what counts are divided by
	epoch time.Duration // the mean length of the window's snapshots
	flows flowSpan

	near  map[[16]byte]*near
	nets  *nets.Table
	sums  sums
	tops  tops
	led   flowLeaders // the tick before, where ticks are shorter than a second
	key   [16]byte    // what Find is asked for and what it fills: as locals they would be allocated for each call
	row   traffic.Host
	loads [traffic.PeakRows]traffic.Load
	stats Stats
	seq   uint64
}

// near is the state of a host that is near or above a limit.
type near struct {
	seen   uint64     // the last tick in which it was
	flowed uint64     // the last tick in which its flows were, zero for never; only where ticks are shorter than a second
	before [2]float64 // flows per second in the second before this one, likewise
	avg    *[2]rule.Rates
}

// nearFraction is what part of the smallest limit a host must reach for its average to be kept. Below it the average counts as
// zero: an error of at most that part, for less state.
const nearFraction = 1.0 / 16

// New returns a meter. The tick is how often Add will be called, nominally.
func New(cfg Config, tick time.Duration) (*Meter, error) {
	m := &Meter{near: make(map[[16]byte]*near)}
	return m, m.Configure(cfg, tick)
}

// Configure changes how rates are measured; averages and snapshots that are still of use are kept. On error nothing changes.
func (m *Meter) Configure(cfg Config, tick time.Duration) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Mode != m.cfg.Mode {
		clear(m.near)
		m.sums = sums{}
		m.nets = nil
	}
	m.cfg, m.tick, m.keep, m.flowTicks = cfg, tick, cfg.snapshots(tick), ticksPerSecond(tick)
	m.trim()
	return nil
}

// trim releases snapshots that no window needs.
func (m *Meter) trim() {
	keep := m.keep
	if m.flowTicks > 1 && keep > 0 {
		keep = max(keep, m.flowTicks+1) // one more, for ticks that come early
	}
	for len(m.ring) > keep {
		m.ring[0].Release()
		copy(m.ring, m.ring[1:])
		m.ring[len(m.ring)-1] = nil
		m.ring = m.ring[:len(m.ring)-1]
	}
	m.measure()
}

// measure decides how many of the snapshots make up the window: the newest ones that fill it.
func (m *Meter) measure() {
	m.first, m.span = len(m.ring), 0
	length := m.cfg.Length(m.tick)
	if m.cfg.Mode == Average {
		length = 0
	}
	full := length * 9 / 10
	for m.first > max(0, len(m.ring)-m.keep) {
		m.first--
		m.span += m.ring[m.first].Elapsed()
		if m.span >= full {
			break
		}
	}
	if len(m.ring) == 0 {
		return
	}
	m.epoch = m.span / time.Duration(len(m.ring)-m.first)
	// What is not there yet, or fell between two early ticks, was not measured: a short epoch must not become a high rate.
	if m.span < full {
		m.span = length
	}
	m.flows = flowSpan{perTick: m.flowTicks == 1, first: m.first, span: m.span, add: m.epoch >= fullEpoch}
	m.flows.measure(m.ring)
}

// Add takes the newest snapshot, and owns it until it calls Release. The floor is the prefilter of the limits in force.
func (m *Meter) Add(s Snapshot, floor rule.Floor) {
	m.seq++
	if m.flowTicks > 1 && !s.FlowsKept() {
		m.closeFlows()
	}
	m.ring = append(m.ring, s)
	m.trim()
	fraction := 1.0
	if m.cfg.Mode == Average {
		fraction = nearFraction
	}
	m.scan(s, floor.Bounds(s.Elapsed(), fraction))
	if m.cfg.Mode == Average {
		m.average(floor, s.Elapsed())
	} else {
		m.forget()
	}
	m.sums.update(m)
	m.nets = s.Nets()
	m.stats.Tracked = len(m.near)
}

// scan finds the hosts near a limit, and the busiest. It passes over the peaks of all rows, and over the rows of those that matter.
func (m *Meter) scan(s Snapshot, bounds rule.Bounds) {
	if m.flowTicks > 1 {
		m.led.set(&m.tops)
	}
	m.tops.reset(m.cfg.TopHosts)
	for from := 0; from < s.Len(); from += traffic.PeakRows {
		if m.stands(s.Peaks(from/traffic.PeakRows), &bounds) {
			m.scanRows(s, from, min(from+traffic.PeakRows, s.Len()), &bounds)
		}
	}
	if m.flowTicks > 1 {
		m.tops.ofSecond(&m.led, func(addr *[16]byte, d traffic.Direction) float64 {
			var v volume
			m.count(addr, d, &v)
			return m.flowRate(&v, m.near[*addr], int(d))
		})
	}
}

// stands reports whether rows with such peaks may have a host near a limit or one of the busiest.
func (m *Meter) stands(peaks *traffic.Peaks, bounds *rule.Bounds) bool {
	for f := range peaks {
		for d := range peaks[f] {
			p := &peaks[f][d]
			if bounds[d].Above(p.Packets, p.Bytes, p.Flows) || m.tops[f][d].takes(p) {
				return true
			}
		}
	}
	return false
}

// scanRows is scan for rows from to to-1.
func (m *Meter) scanRows(s Snapshot, from, to int, bounds *rule.Bounds) {
	loads := m.loads[:to-from]
	s.Loads(from, loads)
	for i := range loads {
		l := &loads[i]
		m.tops[l.Family][l.Direction&1].offer(l)
		if b := &bounds[l.Direction&1]; b.Above(l.Packets, l.Bytes, l.Flows) {
			m.mark(&l.Addr, m.flowTicks > 1 && l.Flows > b.Flows)
		}
	}
}

// mark notes a host that is near a limit; flows says that it is one on flows.
func (m *Meter) mark(addr *[16]byte, flows bool) {
	if n := m.near[*addr]; n != nil {
		n.seen = m.seq
		if flows {
			n.flowed = m.seq
		}
		return
	}
	if len(m.near) >= m.cfg.MaxHosts {
		m.stats.Skipped++
		return
	}
	n := &near{seen: m.seq}
	if flows {
		n.flowed = m.seq
	}
	if m.cfg.Mode == Average {
		n.avg = new([2]rule.Rates)
	}
	m.near[*addr] = n
}

// closeFlows keeps what the second that has ended counted, as long as its snapshots are there. A host whose flows exceed a
// limit over a second was marked in one of its ticks.
func (m *Meter) closeFlows() {
	if len(m.ring) == 0 {
		return
	}
	for addr, n := range m.near {
		m.key = addr
		for d, dir := range rule.Directions {
			var v volume
			m.count(&m.key, dir, &v)
			n.before[d] = v.flows.begunRate(&m.flows)
		}
	}
	m.sums.closeFlows()
}

// forget drops hosts that were below every limit in each tick that the window may span, and on flows in this second and the
// one before: their sum is below, too.
func (m *Meter) forget() {
	for addr, n := range m.near {
		if n.seen+uint64(m.keep) <= m.seq && !m.flowing(n) {
			delete(m.near, addr)
		}
	}
}

// flowing reports whether a host's flows were near a limit in this second or the one before: of flows that last, the other
// ticks show nothing.
func (m *Meter) flowing(n *near) bool {
	return n.flowed != 0 && n.flowed+2*uint64(m.flowTicks+1) > m.seq
}

// average moves the averages of all hosts near a limit, and drops those that have become quiet.
func (m *Meter) average(floor rule.Floor, elapsed time.Duration) {
	a := math.Exp(-elapsed.Seconds() / m.cfg.AverageTime.Seconds())
	// Averages are per second: compare them with the bounds of one second.
	quiet := floor.Bounds(time.Second, nearFraction)
	for addr, n := range m.near {
		m.key = addr
		for d := range n.avg {
			var v volume
			m.count(&m.key, rule.Directions[d], &v)
			now := m.rates(&v, v.flows.rate(&m.flows, n.before[d]))
			smooth(&n.avg[d], &now, a)
		}
		if n.seen != m.seq && !m.flowing(n) && isQuiet(&n.avg[0], &quiet[0]) && isQuiet(&n.avg[1], &quiet[1]) {
			delete(m.near, addr)
		}
	}
}

// smooth is FastNetMon's average, without its truncation to whole numbers.
func smooth(avg, now *rule.Rates, a float64) {
	for i := range avg {
		avg[i] = now[i] + a*(avg[i]-now[i])
	}
}

func isQuiet(r *rule.Rates, b *rule.Bound) bool {
	return !b.Above(uint64(r[rule.PPS]), uint64(r[rule.Mbps]*1e6/8), uint64(r[rule.Flows]))
}

// Near calls f for every host that may exceed a limit: all that do are among them. The order is random. f must not keep h.
func (m *Meter) Near(f func(h *Host)) {
	var h Host
	for addr := range m.near {
		m.key = addr
		m.fill(&m.key, &h)
		f(&h)
	}
}

// Host returns the rates of any host; they are zero when it is silent.
func (m *Meter) Host(a netip.Addr) (h Host) {
	addr := a.As16()
	m.fill(&addr, &h)
	return h
}

func (m *Meter) fill(addr *[16]byte, h *Host) {
	h.Addr = netip.AddrFrom16(*addr).Unmap()
	h.Group, h.Network = nets.Global, netip.Prefix{}
	if m.nets != nil {
		p := m.nets.Place(m.nets.Lookup(addr))
		h.Group = int(p.Group)
		if list := m.nets.Networks(); p.Network >= 0 && int(p.Network) < len(list) {
			h.Network = list[p.Network]
		}
	}
	n := m.near[*addr]
	if n != nil && n.avg != nil {
		h.In, h.Out = n.avg[0], n.avg[1]
		return
	}
	for d, to := range [2]*rule.Rates{&h.In, &h.Out} {
		var v volume
		m.count(addr, rule.Directions[d], &v)
		*to = m.rates(&v, m.flowRate(&v, n, d))
	}
}

// flowRate is the flows per second of a host, whose state is nil when it is far below every limit.
func (m *Meter) flowRate(v *volume, n *near, d int) float64 {
	if n == nil {
		return v.flows.shown(&m.flows)
	}
	return v.flows.rate(&m.flows, n.before[d])
}

// oldest is from which snapshot of the ring on something counts.
func (m *Meter) oldest() int {
	if m.flows.perTick {
		return m.first
	}
	return min(m.first, m.flows.begin, m.flows.last)
}

// count adds up what a host had in one direction.
func (m *Meter) count(addr *[16]byte, d traffic.Direction, v *volume) {
	for i := m.oldest(); i < len(m.ring); i++ {
		if m.ring[i].Find(addr, d, &m.row) {
			v.add(m, i, &m.row.Cells, m.row.Flows)
		}
	}
}

// rates divides by the time that the window spans; flows are per second already.
func (m *Meter) rates(v *volume, flows float64) rule.Rates { return Of(&v.cells, flows, m.span) }

// Span is the time that the present rates are measured over: of the window, or of the average.
func (m *Meter) Span() time.Duration {
	if m.cfg.Mode == Average {
		return m.cfg.AverageTime
	}
	return m.span
}

// Top returns the busiest hosts of the newest tick, the busiest first. d is Incoming or Outgoing.
func (m *Meter) Top(f traffic.Family, d traffic.Direction, o Order) []Host {
	list := m.tops[f][d&1][o].sorted()
	hosts := make([]Host, len(list))
	for i := range list {
		m.fill(&list[i].addr, &hosts[i])
	}
	return hosts
}

// Stats returns the counters.
func (m *Meter) Stats() Stats { return m.stats }

// Close releases all snapshots.
func (m *Meter) Close() {
	m.keep = 0
	m.trim()
}
