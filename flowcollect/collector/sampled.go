package collector

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sflow"
)

// sampled is what one worker knows of an sFlow exporter's sampling, from every seventh sample: differences of sequence numbers and packet
// counts say the same as all of them would.
type sampled struct {
	sources *sflow.Sources // nil before the first
	skip    uint8
}

const (
	observeEvery = 7
	// maxSources is how many data sources (mostly interfaces) of one exporter are followed by a worker.
	maxSources = 1024
)

// sample resolves the rate of a sample and watches what it says of sampling. It is called for each record of sFlow.
func (w *worker) sample(e *local, r *record.Record) {
	if e.sampled.skip == 0 && r.Kind != record.Discard && r.Kind != record.SectionTunnel {
		if e.sampled.sources == nil {
			e.sampled.sources = sflow.NewSources(maxSources)
		}
		e.sampled.sources.Observe(r.Agent, r.Domain, w.sflow.Sample())
		e.sampled.skip = observeEvery
	}
	if e.sampled.skip > 0 {
		e.sampled.skip--
	}
	e.rule.sample(r)
}

// Source is how an sFlow agent samples at one of its data sources.
type Source struct {
	Agent  netip.Addr `json:"agent"`
	Domain uint32     `json:"domain"`
	// Class says what Index is: 0 an ifIndex, 1 a VLAN, 2 a physical entity.
	Class uint8  `json:"class"`
	Index uint32 `json:"index"`
	// Announced is the rate that the samples say, 0 unknown. Effective is the rate that follows from the agent's count of packets: what
	// its samples stand for when it drops some for lack of resources; 0 while it is not known, and for agents that do not count.
	Announced uint32  `json:"announced"`
	Effective float64 `json:"effective"`
	// Taken is how many samples the agent has taken since it was first heard, Dropped those that it had no resources for.
	Taken   uint64 `json:"taken"`
	Dropped uint64 `json:"dropped"`
}

// addTo adds what one worker saw to what others saw of the same exporter.
func (s *sampled) addTo(list []sflow.SourceStats) []sflow.SourceStats {
	if s.sources == nil {
		return list
	}
	return append(list, s.sources.All()...)
}

// compactSources orders sources and leaves one of each: that of the worker that looked for longest.
func compactSources(list []sflow.SourceStats) []sflow.SourceStats {
	order := func(a, b sflow.SourceStats) int {
		return cmp.Or(bytes.Compare(a.Agent[:], b.Agent[:]), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Source.Class, b.Source.Class),
			cmp.Compare(a.Source.Index, b.Source.Index))
	}
	slices.SortFunc(list, func(a, b sflow.SourceStats) int { return cmp.Or(order(a, b), cmp.Compare(b.Taken, a.Taken)) })
	return slices.CompactFunc(list, func(a, b sflow.SourceStats) bool { return order(a, b) == 0 })
}

// Bounds of what is said of effective rates.
const (
	// enoughTaken is how many samples must have been taken before the effective rate is compared.
	enoughTaken = 1000
	// farOff is by which factor the two rates must differ to be worth a word.
	farOff = 1.25
)

// describeSources turns them into what people see, and reports whether the announced rates are far from what was sampled.
func describeSources(list []sflow.SourceStats) (out []Source, mean float64, off bool) {
	list = compactSources(list)
	var packets, taken uint64
	for i := range list {
		x := &list[i]
		out = append(out, Source{
			Agent: netip.AddrFrom16(x.Agent).Unmap(), Domain: x.Domain, Class: x.Source.Class, Index: x.Source.Index, Announced: x.Announced,
			Effective: x.Effective(), Taken: x.Taken, Dropped: x.Dropped,
		})
		if x.Packets == 0 {
			continue
		}
		packets += x.Packets
		taken += x.Taken
		if a := float64(x.Announced); x.Taken >= enoughTaken && a > 0 {
			off = off || x.Effective() > a*farOff || x.Effective() < a/farOff
		}
	}
	if taken > 0 {
		mean = float64(packets) / float64(taken)
	}
	return out, mean, off
}
