package mitigate

import (
	"slices"
	"time"
)

// counts are the figures that the counting rails judge by.
type counts struct {
	guard                 Guard
	blackholes, flowSpecs int
	groups                map[string]int
	recent                int // admitted in the last minute
}

// count counts what is in force, and forgets admissions older than a minute.
func (r *round) count() *counts {
	c := &counts{guard: r.p.rails.guard, groups: make(map[string]int)}
	for _, e := range r.p.active {
		c.countOne(e.m.Kind, e.group)
	}
	from := r.now.Add(-time.Minute)
	r.p.admitted = slices.DeleteFunc(r.p.admitted, func(t time.Time) bool { return !t.After(from) })
	for i, t := range r.p.admitted {
		if t.After(r.now) {
			r.p.admitted[i] = r.now // the clock went back: it still counts, for a minute from now
		}
	}
	c.recent = len(r.p.admitted)
	return c
}

func (c *counts) countOne(kind Kind, group string) {
	if kind == FlowSpec {
		c.flowSpecs++
	} else {
		c.blackholes++
	}
	c.groups[group]++
}

// add counts a mitigation that was admitted just now.
func (c *counts) add(m Mitigation) {
	c.countOne(m.Kind, m.Hostgroup)
	c.recent++
}

// full says which counting rail has no room for m. Dry-run mitigations count too: a dry run shows what would happen.
func (c *counts) full(m Mitigation) *refused {
	g := c.guard
	switch {
	case m.Kind == Blackhole && c.blackholes >= g.MaxBlackholes:
		return refuse(RailMaxBlackhole, "%d blackholes are in force, the most allowed", c.blackholes)
	case m.Kind == FlowSpec && c.flowSpecs >= g.MaxFlowSpec:
		return refuse(RailMaxFlowSpec, "%d Flow Spec rules are in force, the most allowed", c.flowSpecs)
	case g.MaxPerHostgroup > 0 && c.groups[m.Hostgroup] >= g.MaxPerHostgroup:
		return refuse(RailMaxHostgroup, "%d mitigations of hostgroup %q are in force, the most allowed", c.groups[m.Hostgroup], m.Hostgroup)
	case c.recent >= g.MaxNewPerMinute:
		return refuse(RailMaxNew, "%d mitigations began in the last minute, the most allowed", c.recent)
	}
	return nil
}
