package engine

import (
	"net/netip"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// groupRates are the rates of a hostgroup: of its own members, and of all that its total covers.
type groupRates struct {
	own, total rate.Traffic
}

// groupPrefixes are the networks of each group that a mitigation of its total covers: its own and those of the groups below it.
// Global has none: announcing the total of everything is not a mitigation.
func groupPrefixes(rules *rule.Set) map[string][]netip.Prefix {
	all := make(map[string][]netip.Prefix)
	for i := range rules.Len() {
		for at := i; at >= 0; at = rules.Parent(at) {
			if at == i || at != nets.Global && rules.Calculation(at) == rule.Total {
				all[rules.Name(at)] = append(all[rules.Name(at)], rules.Networks(i)...)
			}
		}
	}
	return all
}

// sumGroups adds every group's rates to itself and to the groups above it.
func (e *Engine) sumGroups() {
	rules := e.set.Rules
	if len(e.sums) != rules.Len() {
		e.sums = make([]groupRates, rules.Len())
	}
	clear(e.sums)
	e.meter.Groups(func(name string, t *rate.Traffic) {
		i, _ := rules.Index(name) // a group that is gone counts for global
		add(&e.sums[i].own, t)
		for ; i >= 0; i = rules.Parent(i) {
			add(&e.sums[i].total, t)
		}
	})
}

func add(to, t *rate.Traffic) {
	for m := range t.In {
		to.In[m] += t.In[m]
		to.Out[m] += t.Out[m]
	}
}

// judge finds this tick's breaches.
func (e *Engine) judge() {
	rules := e.set.Rules
	sub := rule.Subject{Window: e.meter.Span()}
	e.meter.Near(func(h *rate.Host) {
		if e.hostSubject(&sub, h) {
			e.breaches = rules.Judge(e.breaches, &sub)
		}
	})
	for _, g := range rules.Totals() {
		e.groupSubject(&sub, g)
		e.breaches = rules.Judge(e.breaches, &sub)
	}
}

// hostSubject fills sub with a host; false when it is not in the networks (any more). Network and group are those of the
// settings in force, which may be newer than the snapshot's.
func (e *Engine) hostSubject(sub *rule.Subject, h *rate.Host) bool {
	group, network, ok := e.place(h.Addr)
	sub.Target = rule.Target{Host: h.Addr}
	sub.Group, sub.Network, sub.In, sub.Out = group, network, h.In, h.Out
	return ok
}

// place is where an address belongs: the index of its hostgroup in the rules, and its network.
func (e *Engine) place(a netip.Addr) (group int, network netip.Prefix, ok bool) {
	table := e.set.Nets
	p := table.Place(table.LookupAddr(a))
	if p.Network < 0 {
		return nets.Global, netip.Prefix{}, false
	}
	group, _ = e.set.Rules.Index(table.Groups()[p.Group])
	return group, table.Networks()[p.Network], true
}

func (e *Engine) groupSubject(sub *rule.Subject, group int) {
	sub.Target = rule.Target{Group: e.set.Rules.Name(group)}
	sub.Group, sub.Network = group, netip.Prefix{}
	sub.In, sub.Out = rule.Rates{}, rule.Rates{}
	if group < len(e.sums) {
		sub.In, sub.Out = e.sums[group].total.In, e.sums[group].total.Out
	}
}

// measure is the present sample of an incident's target.
func (e *Engine) measure(t rule.Target, d traffic.Direction) incident.Sample {
	var sub rule.Subject
	if t.Host.IsValid() {
		h := e.meter.Host(t.Host)
		if !e.hostSubject(&sub, &h) {
			return incident.Sample{}
		}
	} else {
		group, ok := e.set.Rules.Index(t.Group)
		if !ok {
			return incident.Sample{}
		}
		e.groupSubject(&sub, group)
	}
	return incident.Sample{Level: e.set.Rules.Level(&sub, d), In: sub.In, Out: sub.Out}
}
