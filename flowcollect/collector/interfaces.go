package collector

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-ddos/weir/flowcollect/sflow"
)

// interfaceKey is one interface of an sFlow agent.
type interfaceKey struct {
	agent  [16]byte
	domain uint32
	index  uint32
}

// Bounds of the interfaces that are kept of one exporter: a router has thousands, a forged sender nothing to show.
const (
	maxInterfaces        = 4096
	maxForeignInterfaces = 16
	// lateReports is how far behind a report may be and still be late.
	lateReports = 16
)

// InterfaceStats are the counters of one interface as an sFlow agent reports them, of its last report.
type InterfaceStats struct {
	Exporter netip.Addr `json:"exporter"`
	Name     string     `json:"name,omitempty"`
	Agent    netip.Addr `json:"agent"`
	Domain   uint32     `json:"domain"`
	// Index is ifIndex, Type ifType, Speed ifSpeed in bit/s, 0 unknown.
	Index uint32 `json:"index"`
	Type  uint32 `json:"type"`
	Speed uint64 `json:"speed"`
	// AdminUp and OperUp are the interface's status.
	AdminUp bool `json:"admin_up"`
	OperUp  bool `json:"oper_up"`
	// In and Out are totals since the interface came up.
	In  InterfaceCounters `json:"in"`
	Out InterfaceCounters `json:"out"`
	// Interval is the time between the last two reports; the rates are of it, and 0 before the second.
	Interval time.Duration `json:"interval_ns"`
	Reported time.Time     `json:"reported"`

	sequence, uptime uint32
}

// InterfaceCounters are one direction of an interface.
type InterfaceCounters struct {
	Bytes    uint64 `json:"bytes"`
	Packets  uint64 `json:"packets"`
	Discards uint64 `json:"discards"`
	Errors   uint64 `json:"errors"`
	// BitsPerSecond and the others are rates between the last two reports.
	BitsPerSecond     float64 `json:"bits_per_second"`
	PacketsPerSecond  float64 `json:"packets_per_second"`
	DiscardsPerSecond float64 `json:"discards_per_second"`
}

// Counters implements sflow.Visitor: an agent reports an interface every half minute or so.
func (w *worker) Counters(c *sflow.Counters) { w.cur.interfaceCounters(c) }

// interfaceCounters takes one report.
func (e *exporter) interfaceCounters(c *sflow.Counters) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := interfaceKey{c.Agent, c.Domain, c.Index}
	s := e.interfaces[k]
	if s == nil {
		limit := maxForeignInterfaces
		if e.trusted.Load() || e.rule.named {
			limit = maxInterfaces
		}
		if len(e.interfaces) >= limit {
			return
		}
		s = &InterfaceStats{Exporter: e.addr, Name: e.rule.name, Agent: netip.AddrFrom16(c.Agent).Unmap(), Domain: c.Domain, Index: c.Index}
		e.interfaces[k] = s
		s.set(c)
		return
	}
	later, ahead := int32(c.Uptime-s.uptime), int32(c.Sequence-s.sequence)
	switch {
	case ahead <= 0 && ahead > -lateReports && later > -overtaken:
		return // late or doubled
	case ahead <= 0 || later <= 0: // the agent began anew, and its counters with it
		s.Interval = 0
		s.set(c)
		return
	}
	elapsed := time.Duration(later) * time.Millisecond
	in, out := s.In, s.Out
	s.set(c)
	s.Interval = elapsed
	s.In.rates(&in, elapsed)
	s.Out.rates(&out, elapsed)
}

// set takes the totals of a report.
func (s *InterfaceStats) set(c *sflow.Counters) {
	s.Type, s.Speed, s.AdminUp, s.OperUp = c.Type, c.Speed, c.Status&1 != 0, c.Status&2 != 0
	s.In = InterfaceCounters{Bytes: known64(c.InOctets), Packets: packets(c.InUnicast, c.InMulticast, c.InBroadcast), Discards: known(c.InDiscards), Errors: known(c.InErrors)}
	s.Out = InterfaceCounters{Bytes: known64(c.OutOctets), Packets: packets(c.OutUnicast, c.OutMulticast, c.OutBroadcast), Discards: known(c.OutDiscards), Errors: known(c.OutErrs)}
	s.sequence, s.uptime, s.Reported = c.Sequence, c.Uptime, time.Unix(0, c.Arrived).UTC()
}

// rates sets the rates since before. Packets are sums of counters of 32 bits that wrap; bytes have 64, and start again with the interface.
func (c *InterfaceCounters) rates(before *InterfaceCounters, elapsed time.Duration) {
	seconds := elapsed.Seconds()
	if c.Bytes >= before.Bytes {
		c.BitsPerSecond = float64(c.Bytes-before.Bytes) * 8 / seconds
	}
	c.PacketsPerSecond = float64(uint32(c.Packets-before.Packets)) / seconds
	c.DiscardsPerSecond = float64(uint32(c.Discards-before.Discards)) / seconds
}

// known is a counter, 0 for the value that stands for one that the agent does not have.
func known(n uint32) uint64 {
	if n == 1<<32-1 {
		return 0
	}
	return uint64(n)
}

func known64(n uint64) uint64 {
	if n == 1<<64-1 {
		return 0
	}
	return n
}

func packets(unicast, multicast, broadcast uint32) uint64 {
	return known(unicast) + known(multicast) + known(broadcast)
}

// Interfaces lists the interfaces that sFlow exporters report, by exporter, agent and index.
func (c *Collector) Interfaces() (out []InterfaceStats) {
	list, _, _ := c.registry.all()
	for _, e := range list {
		if !e.allowed {
			continue
		}
		e.mu.Lock()
		for _, s := range e.interfaces {
			out = append(out, *s)
		}
		e.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b InterfaceStats) int {
		return cmp.Or(a.Exporter.Compare(b.Exporter), a.Agent.Compare(b.Agent), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Index, b.Index))
	})
	return out
}
