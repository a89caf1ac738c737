package collector

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/flowcollect/filter"
	"github.com/weir-ddos/weir/flowcollect/listen"
	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/sflow"
	"github.com/weir-ddos/weir/flowcollect/spread"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// Stats is what a collector has done since it was made.
type Stats struct {
	Sockets []listen.SocketStats `json:"sockets"`
	// Datagrams and Records are by protocol; Sums the decoders' counters of all exporters.
	Datagrams [record.NumProtocols]uint64 `json:"datagrams"`
	Records   [record.NumProtocols]uint64 `json:"records"`
	Sums      record.Stats                `json:"-"`
	// Counted is what was charged to the counters, scaled. Dropped of it, or besides where it does not count, was not forwarded by
	// the exporter. DropsReported is what exporters say that they dropped of flows that they forwarded.
	Counted       traffic.Counter `json:"counted"`
	Dropped       traffic.Counter `json:"dropped"`
	DropsReported traffic.Counter `json:"drops_reported"`
	// Filtered, Skipped and Useless are records that the filter refused, that do not count for their direction or interface, and
	// that lack addresses or counts.
	Filtered uint64 `json:"filtered"`
	Skipped  uint64 `json:"skipped"`
	Useless  uint64 `json:"useless"`
	// Durations counts records by protocol and by how much time they report, in the classes of DurationNames.
	Durations [record.NumProtocols][numDurations]uint64 `json:"durations"`
	// Exporters is how many are known, Forgotten how many had to make room, Unlisted how often there was none to be made: those
	// exporters' records count, but they are in no list.
	Exporters int              `json:"exporters"`
	Forgotten uint64           `json:"forgotten"`
	Unlisted  uint64           `json:"unlisted"`
	Refused   []listen.Refused `json:"refused"`
	// Panics of decoders: never above 0.
	Panics    uint64         `json:"panics"`
	Spread    spread.Stats   `json:"spread"`
	Templates template.Stats `json:"templates"`
	// RatesRefused are announcements of sampling rates for which there was no room.
	RatesRefused uint64 `json:"rates_refused"`
	// Filter is what the filter did.
	Filter filter.Stats `json:"filter"`
	// Alarms say in words what is wrong now.
	Alarms []string `json:"alarms"`
}

// DurationNames name the classes of Stats.Durations, as FastNetMon does.
func DurationNames() []string { return durationNames[:] }

// Stats is safe at any time.
func (c *Collector) Stats() Stats {
	var s Stats
	var all charged
	for _, w := range c.workers {
		s.Sockets = append(s.Sockets, w.socket.Stats())
		w.mu.Lock()
		for _, e := range w.exporters {
			s.take(e, &all)
		}
		s.take(&w.former, &all)
		sp := w.spread.Stats()
		sp.AtOnce += w.atOnce
		s.Panics += w.panics.Load()
		w.mu.Unlock()
		s.Spread.Entries += sp.Entries
		s.Spread.Capacity += sp.Capacity
		s.Spread.Spread += sp.Spread
		s.Spread.AtOnce += sp.AtOnce
		s.Spread.Coarse += sp.Coarse
		s.Spread.Pending.Add(sp.Pending)
	}
	s.Counted, s.Dropped, s.DropsReported = all.counted, all.dropped, all.dropsReported
	s.Filtered, s.Skipped, s.Useless, s.Durations = all.filtered, all.skipped, all.useless, all.durations
	list, forgotten, unlisted := c.registry.all()
	s.Exporters, s.Forgotten, s.Unlisted = len(list), forgotten, unlisted
	s.Refused, s.Templates, s.RatesRefused = c.allow.Refusals(), c.templates.Stats(), c.sampling.Limited()
	if f := c.filters.Load(); f != nil {
		s.Filter = f.stats()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Alarms = slices.Clone(c.alarms)
	return s
}

func (s *Stats) take(e *local, all *charged) {
	s.Sums.Add(&e.stats)
	all.add(&e.charged)
	for p := range e.datagrams {
		s.Datagrams[p] += e.datagrams[p]
		s.Records[p] += e.records[p]
	}
}

// ExporterStats is what is known about one exporter.
type ExporterStats struct {
	Address netip.Addr `json:"address"`
	Name    string     `json:"name,omitempty"`
	// Datagrams is by protocol; protocols that it never used are left out.
	Datagrams map[string]uint64 `json:"datagrams"`
	// Bytes is the length of all datagrams.
	Bytes          uint64 `json:"bytes"`
	Records        uint64 `json:"records"`
	OptionRecords  uint64 `json:"option_records"`
	Templates      uint64 `json:"templates"`
	CounterSamples uint64 `json:"counter_samples"`
	DiscardSamples uint64 `json:"discard_samples"`
	// UnknownTemplateSets are data sets that came before their template; UnknownRate records whose sampling rate was not known.
	UnknownTemplateSets uint64 `json:"unknown_template_sets"`
	UnknownRate         uint64 `json:"unknown_rate"`
	// Lost is by protocol, in what its sequence numbers count: records for NetFlow v5 and IPFIX, datagrams for v9 and sFlow. What
	// another worker is reading at this moment is in it until that has been read, and counts as Late then.
	Lost map[string]uint64 `json:"lost,omitempty"`
	// Late datagrams came after a later one, Restarts is how often a sequence began anew.
	Late     uint64 `json:"late"`
	Restarts uint64 `json:"restarts"`
	// SamplingRate is the last record's, 0 unknown, and SamplingFrom where it is from.
	SamplingRate float64 `json:"sampling_rate"`
	SamplingFrom string  `json:"sampling_from"`
	// Sources is how sFlow agents sample, by data source. EffectiveRate is the mean rate that follows from their counts of packets, 0
	// unknown; RateOff says that for some of them it is far from the announced one.
	Sources       []Source `json:"sources,omitempty"`
	EffectiveRate float64  `json:"effective_rate,omitempty"`
	RateOff       bool     `json:"rate_off,omitempty"`
	// ActiveTimeout and IdleTimeout are the timeouts that the exporter announced, Batch the interval in which it was seen to send what
	// it has, all in seconds; 0 unknown or none.
	ActiveTimeout float64 `json:"active_timeout_seconds,omitempty"`
	IdleTimeout   float64 `json:"idle_timeout_seconds,omitempty"`
	Batch         float64 `json:"batch_seconds,omitempty"`
	// Interfaces is how many interfaces it reports (Collector.Interfaces).
	Interfaces int `json:"interfaces,omitempty"`
	// FirstSeen and LastSeen are when the first and the last datagram arrived.
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// ClockSkew is how far the exporter's clock is ahead, in seconds; rates do not depend on it.
	ClockSkew float64 `json:"clock_skew_seconds"`
	// Counted is what was charged for it, scaled.
	Counted  traffic.Counter `json:"counted"`
	Dropped  traffic.Counter `json:"dropped"`
	Filtered uint64          `json:"filtered"`
	Skipped  uint64          `json:"skipped"`
	Useless  uint64          `json:"useless"`
	// Codes are the decoders' codes but ok.
	Codes map[string]uint64 `json:"codes,omitempty"`
	// Silent and Lossy are alarms.
	Silent bool `json:"silent,omitempty"`
	Lossy  bool `json:"lossy,omitempty"`
}

// Exporters lists the exporters by address. Those that are not allowed are not exporters.
func (c *Collector) Exporters() []ExporterStats {
	list, _, _ := c.registry.all()
	list = slices.DeleteFunc(list, func(e *exporter) bool { return !e.allowed })
	slices.SortFunc(list, func(a, b *exporter) int { return a.addr.Compare(b.addr) })
	out := make([]ExporterStats, len(list))
	at := make(map[*exporter]int, len(list))
	stats := make([]record.Stats, len(list))
	sources := make([][]sflow.SourceStats, len(list))
	for i, e := range list {
		out[i] = e.describe()
		at[e] = i
	}
	for _, w := range c.workers {
		w.mu.Lock()
		for _, l := range w.exporters {
			if i, ok := at[l.exporter]; ok {
				out[i].take(l)
				stats[i].Add(&l.stats)
				sources[i] = l.sampled.addTo(sources[i])
			}
		}
		w.mu.Unlock()
	}
	for i := range out {
		out[i].sum(&stats[i])
		out[i].Sources, out[i].EffectiveRate, out[i].RateOff = describeSources(sources[i])
	}
	return out
}

// describe is the part that workers share.
func (e *exporter) describe() ExporterStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := ExporterStats{
		Address: e.addr, Name: e.rule.name, Datagrams: make(map[string]uint64), FirstSeen: time.Unix(0, e.first).UTC(),
		LastSeen: time.Unix(0, e.seen.Load()).UTC(), ClockSkew: e.skew.Seconds(), Silent: e.silent, Lossy: e.loss.lossy,
		ActiveTimeout: seconds(&e.learnt.active), IdleTimeout: seconds(&e.learnt.idle), Batch: seconds(&e.learnt.batch), Interfaces: len(e.interfaces),
	}
	for k, q := range e.sequences {
		s.Late += q.late
		s.Restarts += q.restart
		if q.lost > 0 {
			if s.Lost == nil {
				s.Lost = make(map[string]uint64)
			}
			s.Lost[k.protocol.String()] += q.lost
		}
	}
	return s
}

func seconds(ns *atomic.Int64) float64 { return time.Duration(ns.Load()).Seconds() }

// take adds one worker's part.
func (s *ExporterStats) take(l *local) {
	for p, n := range l.datagrams {
		if n > 0 {
			s.Datagrams[record.Protocol(p).String()] += n
		}
	}
	s.Bytes += l.bytes
	if l.rateFrom != record.RateUnknown || s.SamplingFrom == "" {
		s.SamplingRate, s.SamplingFrom = l.rate, l.rateFrom.String()
	}
	s.Counted.Add(l.charged.counted)
	s.Dropped.Add(l.charged.dropped)
	s.Filtered += l.charged.filtered
	s.Skipped += l.charged.skipped
	s.Useless += l.charged.useless
}

// sum puts the decoders' counters in.
func (s *ExporterStats) sum(st *record.Stats) {
	s.Records, s.OptionRecords, s.Templates = st.Records, st.OptionRecords, st.Templates+st.OptionTemplates
	s.CounterSamples, s.DiscardSamples = st.CounterSamples, st.DiscardSamples
	s.UnknownTemplateSets, s.UnknownRate = st.UnknownTemplateSets, st.UnknownRate
	s.Codes = Codes(st)
}

// Codes are a decoder's codes by name, ok left out.
func Codes(st *record.Stats) map[string]uint64 {
	out := make(map[string]uint64)
	for c, n := range st.Codes {
		if n > 0 && record.Code(c) != record.OK {
			out[record.Code(c).String()] = n
		}
	}
	return out
}

// Rate is a sampling rate that an exporter announced or sent.
type Rate struct {
	Exporter netip.Addr `json:"exporter"`
	Protocol string     `json:"protocol"`
	Domain   uint32     `json:"domain"`
	// Scope is what it is for: domain, selector, sampler, template, interface, or record where it comes with the records.
	Scope string  `json:"scope"`
	ID    uint64  `json:"id"`
	Rate  float64 `json:"rate"`
}

// Rates lists the sampling rates that are known: what was announced in options, and besides that the last one of each exporter that
// sends its rate with the records (NetFlow v5, sFlow).
func (c *Collector) Rates() []Rate {
	var out []Rate
	for _, k := range c.sampling.All() {
		out = append(out, knownRate(k))
	}
	seen := make(map[Rate]bool)
	for _, w := range c.workers {
		w.mu.Lock()
		for _, l := range w.exporters {
			r := Rate{Exporter: l.addr, Protocol: l.rateOf.String(), Scope: "record", Rate: l.rate}
			if (l.rateFrom == record.RateRecord || l.rateFrom == record.RateHeader) && !seen[r] {
				seen[r] = true
				out = append(out, r)
			}
		}
		w.mu.Unlock()
	}
	return out
}

func knownRate(k sampling.Known) Rate {
	return Rate{Exporter: k.Exporter, Protocol: k.Protocol.String(), Domain: k.Domain, Scope: k.Scope.String(), ID: k.ID, Rate: k.Rate}
}
