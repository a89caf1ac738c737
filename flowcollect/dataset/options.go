package dataset

import (
	"math"

	"github.com/weir-ddos/weir/flowcollect/record"
	"github.com/weir-ddos/weir/flowcollect/sampling"
	"github.com/weir-ddos/weir/flowcollect/template"
)

// options reads options data records and gives what they say about sampling and clocks to the sampling table. What is read in the same
// datagram from here on sees it; what was read before stays as it was.
func (d *Reader) options(p *template.Program, buf []byte, pos, end int) record.Code {
	first := record.OK
	for end-pos >= p.Min && !padding(p, buf[pos:end]) {
		next := p.Read(buf, pos, end, &d.rec, &d.values)
		if next < 0 {
			d.unknown = true
			first = d.stats.Count(first, record.TruncatedRecord)
			break
		}
		pos = next
		d.units++
		d.opts++
		d.stats.OptionRecords++
		if !d.announce(p) {
			first = d.stats.Count(first, record.SamplingLimit)
		}
	}
	d.view = d.deps.Sampling.View(&d.key.Exporter, d.key.Protocol, d.key.Domain)
	return first
}

// announce gives one options record to the sampling table.
func (d *Reader) announce(p *template.Program) bool {
	v := &d.values.V
	ok := true
	if p.Slots.Has(template.SystemInit) {
		ok = d.deps.Sampling.SetInit(&d.key.Exporter, d.key.Protocol, d.key.Domain, millis(v[template.SystemInit]))
	}
	if p.Slots&timeoutSlots != 0 {
		d.timeouts(p)
	}
	if p.Slots&rateSlots == 0 {
		return ok
	}
	a := d.announcement(p)
	domain := d.key.Domain
	if p.Slots.Has(template.ScopeDomain) && v[template.ScopeDomain] <= math.MaxUint32 {
		domain = uint32(v[template.ScopeDomain])
	}
	scope, id := d.scope(p)
	return d.deps.Sampling.Announce(&d.key.Exporter, d.key.Protocol, domain, scope, id, a.Rate()) && ok
}

// scope returns what the options record is about: the narrowest thing that it names.
func (d *Reader) scope(p *template.Program) (sampling.Scope, uint64) {
	v := &d.values.V
	switch {
	case p.Slots.Has(template.Selector302):
		return sampling.Selector, v[template.Selector302]
	case p.Slots.Has(template.Sampler48):
		return sampling.Sampler, v[template.Sampler48]
	case p.Slots.Has(template.ScopeTemplate):
		return sampling.Template, v[template.ScopeTemplate]
	case p.Slots.Has(template.ScopeInterface) && v[template.ScopeInterface] != 0:
		return sampling.Interface, v[template.ScopeInterface]
	}
	return sampling.Domain, 0 // the exporter, a process, a line card; interface 0 is all of them
}

// announcement gathers the sampling fields of the record that was read.
func (d *Reader) announcement(p *template.Program) (a sampling.Announcement) {
	v := &d.values.V
	has := p.Slots.Has
	if has(template.Rate34) {
		a.Interval34 = v[template.Rate34]
		a.Has |= sampling.HasInterval34
	}
	if has(template.Rate50) {
		a.Random50 = v[template.Rate50]
		a.Has |= sampling.HasRandom50
	}
	if has(template.Rate305) {
		a.Packets305 = v[template.Rate305]
		a.Has |= sampling.HasPackets305
	}
	if has(template.Rate306) {
		a.Space306 = v[template.Rate306]
		a.Has |= sampling.HasSpace306
	}
	if has(template.Rate309) && has(template.Rate310) {
		a.Size309, a.Population310 = v[template.Rate309], v[template.Rate310]
		a.Has |= sampling.HasPopulation
	}
	if has(template.Probability) {
		a.Probability = probability(v[template.Probability])
		a.Has |= sampling.HasProbability
	}
	return a
}

// probability reads a float64, or a float32 when the upper half is empty (reduced size, RFC 7011 6.2).
func probability(v uint64) float64 {
	if v>>32 == 0 {
		return float64(math.Float32frombits(uint32(v)))
	}
	return math.Float64frombits(v)
}
