package sampling

import "github.com/weir-ddos/weir/flowcollect/record"

// View is what is known of one exporter and domain while one datagram is read. The zero View knows nothing.
type View struct {
	rates    *rates
	rule     Rule
	protocol record.Protocol
	domain   uint32
	others   bool
	// scoped says which scopes the exporter has announced, so that records need not ask for the others.
	scoped [Interface + 1]bool
}

// View returns the view of an exporter, taken once a datagram. It must be taken anew after an announcement to see it.
func (t *Table) View(exporter *[16]byte, protocol record.Protocol, domain uint32) View {
	v := View{rule: t.rule(exporter), protocol: protocol, domain: domain, others: t.cfg.OtherDomains}
	if e := t.find(exporter); e != nil {
		v.rates = e.rates.Load()
		v.scoped = v.rates.scoped
	}
	return v
}

// Init is the exporter's system init time, ns since the Unix epoch, 0 unknown.
func (v *View) Init() int64 {
	if v.rates == nil {
		return 0
	}
	c := v.rates.init[key{protocol: v.protocol, domain: v.domain}]
	if c == nil {
		return 0
	}
	return int64(c.bits.Load())
}

// Query is what a record says of itself.
type Query struct {
	// InRecord is the rate in the record itself, 0 none.
	InRecord float64
	// Header is the rate in the datagram's header, 0 none.
	Header float64
	// ID is the selector (302) or sampler (48) id when HasID; IsSelector says which.
	ID                uint64
	HasID, IsSelector bool
	Template          uint16
	Input, Output     uint32
}

// Constant says that every record of a set gets the same answer: nothing that differs from record to record is asked for.
func (v *View) Constant(q *Query) bool {
	if v.rule.Override != 0 || v.rule.Prescaled {
		return true
	}
	return q.InRecord == 0 && !q.HasID && !v.scoped[Interface]
}

// Rate resolves the sampling rate in the order of record.RateSource; 0 is unknown.
func (v *View) Rate(q *Query) (float64, record.RateSource) {
	switch {
	case v.rule.Override != 0:
		return float64(v.rule.Override), record.RateOverride
	case v.rule.Prescaled:
		return 1, record.RatePrescaled
	case q.InRecord > 0:
		return q.InRecord, record.RateRecord
	}
	if v.rates != nil {
		if rate, from := v.announced(q); rate > 0 {
			return rate, from
		}
	}
	switch {
	case q.Header > 0:
		return q.Header, record.RateHeader
	case v.rule.Default != 0:
		return float64(v.rule.Default), record.RateConfigured
	}
	return 0, record.RateUnknown
}

// announced asks the options of the domain, then those of the exporter's other domains.
func (v *View) announced(q *Query) (float64, record.RateSource) {
	all := v.rates.all
	k := key{protocol: v.protocol, domain: v.domain}
	if rate := v.selected(all, k, q); rate > 0 {
		return rate, record.RateSelector
	}
	if v.scoped[Template] {
		k.scope, k.id = Template, uint64(q.Template)
		if rate := all[k].rate(); rate > 0 {
			return rate, record.RateTemplate
		}
	}
	if rate := v.iface(all, k, q); rate > 0 {
		return rate, record.RateInterface
	}
	k.scope, k.id = Domain, 0
	if rate := all[k].rate(); rate > 0 {
		return rate, record.RateDomain
	}
	if !v.others {
		return 0, record.RateUnknown
	}
	k.domain = 0
	if rate := v.selected(v.rates.any, k, q); rate > 0 {
		return rate, record.RateOther
	}
	if rate := v.iface(v.rates.any, k, q); rate > 0 {
		return rate, record.RateOther
	}
	k.scope, k.id = Domain, 0
	if rate := v.rates.any[k].rate(); rate > 0 {
		return rate, record.RateOther
	}
	return 0, record.RateUnknown
}

// selected looks the record's id up, among its own kind first: IOS-XR announces selectors and exports samplers.
func (v *View) selected(m map[key]*cell, k key, q *Query) float64 {
	if !q.HasID || !v.scoped[Selector] && !v.scoped[Sampler] {
		return 0
	}
	first, second := Sampler, Selector
	if q.IsSelector {
		first, second = Selector, Sampler
	}
	k.id = q.ID
	k.scope = first
	if rate := m[k].rate(); rate > 0 {
		return rate
	}
	k.scope = second
	return m[k].rate()
}

// iface looks the record's interfaces up, the input first.
func (v *View) iface(m map[key]*cell, k key, q *Query) float64 {
	if !v.scoped[Interface] {
		return 0
	}
	k.scope = Interface
	for _, i := range [2]uint32{q.Input, q.Output} {
		k.id = uint64(i)
		if rate := m[k].rate(); rate > 0 {
			return rate
		}
	}
	return 0
}
