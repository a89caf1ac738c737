package collector

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-ddos/weir/flowcollect/record"
)

// counting says which records of an exporter count.
type counting uint8

const (
	countAll counting = iota
	countIngress
	countEgress
	countInterfaces
	countNone
)

var countings = map[string]counting{
	"": countAll, "all": countAll, "ingress": countIngress, "egress": countEgress, "interfaces": countInterfaces, "none": countNone,
}

// rule is what the configuration says of one exporter, ready for use. It is read-only.
type rule struct {
	name       string
	named      bool // it is of one address: the configuration knows the exporter
	count      counting
	interfaces []uint32 // sorted
	dropped    bool     // flows that were not forwarded count
	window     time.Duration
	least      time.Duration
	// What sFlow's samples say of themselves is judged here; NetFlow and IPFIX know their rules in package sampling.
	override, standard float64
	prescaled          bool
}

// rules finds the rule of an exporter.
type rules struct {
	standard *rule
	list     []prefixRule // longest prefix first
}

type prefixRule struct {
	prefix netip.Prefix
	rule   *rule
}

func newRules(c *Config) *rules {
	standard := rule{dropped: c.Dropped == "count", window: c.Window, least: c.SpreadMin, standard: float64(c.DefaultSamplingRate)}
	if c.Spread == "off" {
		standard.window = 0
	}
	r := &rules{standard: &standard}
	for _, e := range c.Exporters {
		one := standard
		one.name, one.named, one.count = e.Name, e.Prefix.IsSingleIP(), countings[e.Count]
		one.interfaces = slices.Sorted(slices.Values(e.Interfaces))
		one.window = cmp.Or(e.Window, one.window)
		one.least = cmp.Or(e.SpreadMin, one.least)
		switch e.Spread {
		case "off":
			one.window = 0
		case "on":
			one.window = cmp.Or(e.Window, c.Window)
		}
		switch {
		case e.Sampling == "override":
			one.override = float64(e.SamplingRate)
		case e.Sampling == "ignore":
			one.prescaled = true
		case e.SamplingRate > 0:
			one.standard = float64(e.SamplingRate)
		}
		r.list = append(r.list, prefixRule{e.Prefix, &one})
	}
	slices.SortStableFunc(r.list, func(a, b prefixRule) int { return b.prefix.Bits() - a.prefix.Bits() })
	return r
}

func (r *rules) of(a netip.Addr) *rule {
	for _, p := range r.list {
		if p.prefix.Contains(a) {
			return p.rule
		}
	}
	return r.standard
}

// settle makes a record's counts what it counts: of totals what is new since the flow's last record, and what left the exporter where
// it metered nothing that came in.
func settle(r *record.Record) {
	r.Packets, r.Bytes = r.Counts()
	r.PriorPackets, r.PriorBytes = 0, 0
}

// counts says whether a record is one of those that count.
func (u *rule) counts(r *record.Record) bool {
	if r.Dropped && !u.dropped {
		return false
	}
	switch u.count {
	case countAll:
		return true
	case countIngress:
		return r.Direction != record.Egress
	case countEgress:
		return r.Direction != record.Ingress
	case countInterfaces:
		return u.metered(r)
	default:
		return false
	}
}

// metered says whether the record was metered at one of the rule's interfaces.
func (u *rule) metered(r *record.Record) bool {
	_, in := slices.BinarySearch(u.interfaces, r.Input)
	_, out := slices.BinarySearch(u.interfaces, r.Output)
	in, out = in && r.Has&record.HasInput != 0, out && r.Has&record.HasOutput != 0
	switch r.Direction {
	case record.Ingress:
		return in
	case record.Egress:
		return out
	default:
		return in || out
	}
}

// sample resolves the rate of an sFlow sample, which announces its own, in the same order as package sampling.
func (u *rule) sample(r *record.Record) {
	switch {
	case u.override > 0:
		r.SamplingRate, r.RateFrom = u.override, record.RateOverride
	case u.prescaled:
		r.SamplingRate, r.RateFrom = 1, record.RatePrescaled
	case r.SamplingRate == 0 && u.standard > 0:
		r.SamplingRate, r.RateFrom = u.standard, record.RateConfigured
	}
}
