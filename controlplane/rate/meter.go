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
	// Elapsed is how long was counted.
	Elapsed() time.Duration
	// Nets is the prefix table that all places of the snapshot refer to.
	Nets() *nets.Table
	// Len is the number of rows, and Read fills h with row i.
	Len() int
	Read(i int, h *traffic.Host)
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

	// ring holds the newest snapshots, the latest last; the newest used of them make up the window.
	ring  []Snapshot
	used  int
	span  time.Duration // what counts are divided by
	epoch time.Duration // the mean length of the used snapshots

	near  map[[16]byte]*near
	nets  *nets.Table
	sums  sums
	tops  tops
	stats Stats
	seq   uint64
}

// near is the state of a host that is near or above a limit.
type near struct {
	seen uint64 // the last tick in which it was
	avg  *[2]rule.Rates
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
	m.cfg, m.tick, m.keep = cfg, tick, cfg.snapshots(tick)
	m.trim()
	return nil
}

// trim releases snapshots that no window needs.
func (m *Meter) trim() {
	for len(m.ring) > m.keep {
		m.ring[0].Release()
		copy(m.ring, m.ring[1:])
		m.ring[len(m.ring)-1] = nil
		m.ring = m.ring[:len(m.ring)-1]
	}
	m.measure()
}

// measure decides how many of the snapshots make up the window: the newest ones that fill it.
func (m *Meter) measure() {
	m.used, m.span = 0, 0
	length := m.cfg.Length(m.tick)
	if m.cfg.Mode == Average {
		length = 0
	}
	full := length * 9 / 10
	for i := len(m.ring) - 1; i >= 0; i-- {
		m.used++
		m.span += m.ring[i].Elapsed()
		if m.span >= full {
			break
		}
	}
	if m.used == 0 {
		return
	}
	m.epoch = m.span / time.Duration(m.used)
	// What is not there yet, or fell between two early ticks, was not measured: a short epoch must not become a high rate.
	if m.span < full {
		m.span = length
	}
}

// Add takes the newest snapshot, and owns it until it calls Release. The floor is the prefilter of the limits in force.
func (m *Meter) Add(s Snapshot, floor rule.Floor) {
	m.seq++
	m.ring = append(m.ring, s)
	m.trim()
	fraction := 1.0
	if m.cfg.Mode == Average {
		fraction = nearFraction
	}
	m.scan(s, floor.Bounds(s.Elapsed(), fraction))
	if m.cfg.Mode == Average {
		m.average(s, floor)
	} else {
		m.forget()
	}
	m.sums.update(m)
	m.nets = s.Nets()
	m.stats.Tracked = len(m.near)
}

// scan passes over all rows once: it finds the hosts near a limit, and the busiest.
func (m *Meter) scan(s Snapshot, bounds rule.Bounds) {
	m.tops.reset(m.cfg.TopHosts)
	var h traffic.Host
	for i := range s.Len() {
		s.Read(i, &h)
		var packets, octets uint64
		for k := range h.Cells {
			packets += h.Cells[k].Packets
			octets += h.Cells[k].Bytes
		}
		m.tops.offer(&h, packets, octets)
		if bounds[h.Direction&1].Above(packets, octets, h.Flows) {
			m.mark(&h.Addr)
		}
	}
}

func (m *Meter) mark(addr *[16]byte) {
	if n := m.near[*addr]; n != nil {
		n.seen = m.seq
		return
	}
	if len(m.near) >= m.cfg.MaxHosts {
		m.stats.Skipped++
		return
	}
	n := &near{seen: m.seq}
	if m.cfg.Mode == Average {
		n.avg = new([2]rule.Rates)
	}
	m.near[*addr] = n
}

// forget drops hosts that were below every limit in each tick that the window may span: their sum is below, too.
func (m *Meter) forget() {
	for addr, n := range m.near {
		if n.seen+uint64(m.keep) <= m.seq {
			delete(m.near, addr)
		}
	}
}

// average moves the averages of all hosts near a limit, and drops those that have become quiet.
func (m *Meter) average(s Snapshot, floor rule.Floor) {
	a := math.Exp(-s.Elapsed().Seconds() / m.cfg.AverageTime.Seconds())
	// Averages are per second: compare them with the bounds of one second.
	quiet := floor.Bounds(time.Second, nearFraction)
	for addr, n := range m.near {
		for d := range n.avg {
			var now rule.Rates
			var h traffic.Host
			if s.Find(&addr, rule.Directions[d], &h) {
				var v volume
				v.add(&h.Cells, h.Flows)
				now = v.rates(m.span, m.epoch)
			}
			smooth(&n.avg[d], &now, a)
		}
		if n.seen != m.seq && isQuiet(&n.avg[0], &quiet[0]) && isQuiet(&n.avg[1], &quiet[1]) {
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
		m.fill(&addr, &h)
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
	if n := m.near[*addr]; n != nil && n.avg != nil {
		h.In, h.Out = n.avg[0], n.avg[1]
		return
	}
	h.In = m.hostRates(addr, traffic.Incoming)
	h.Out = m.hostRates(addr, traffic.Outgoing)
}

// window returns the snapshots that make up the window.
func (m *Meter) window() []Snapshot { return m.ring[len(m.ring)-m.used:] }

func (m *Meter) hostRates(addr *[16]byte, d traffic.Direction) rule.Rates {
	var v volume
	var h traffic.Host
	for _, s := range m.window() {
		if s.Find(addr, d, &h) {
			v.add(&h.Cells, h.Flows)
		}
	}
	return v.rates(m.span, m.epoch)
}

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
