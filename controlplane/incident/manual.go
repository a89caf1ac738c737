package incident

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of the manual operations.
var (
	ErrUnknown = errors.New("there is no such incident")
	ErrFull    = errors.New("max_incidents is reached")
)

// Open opens a manual incident, which ends after ban (zero: the hostgroup's ban time) or by Close, whatever the traffic does.
// Target, Direction, Hostgroup and Network are taken from inc; it gets a new id.
func (m *Machine) Open(now Now, inc Incident, ban time.Duration, cause string) (Transition, error) {
	now = m.begin(now)
	if ban == 0 {
		ban = m.banTime(inc.Hostgroup)
	}
	switch {
	case ban < MinBanTime || ban > MaxBanTime:
		return Transition{}, fmt.Errorf("%v: ban time %v is outside %v..%v", inc.Target, ban, MinBanTime, MaxBanTime)
	case len(m.entries) >= m.set.MaxIncidents:
		return Transition{}, fmt.Errorf("%v: %w", inc.Target, ErrFull)
	}
	id := m.newID()
	e := &entry{
		key: key{inc.Target, inc.Direction, id}, ban: ban, loud: now.Mono,
		inc: Incident{
			ID: id, Target: inc.Target, Direction: inc.Direction, Hostgroup: inc.Hostgroup, Network: inc.Network, Manual: true,
			Vector: Unknown, Attack: string(Unknown), Protocol: "unknown", Start: now.Wall, LastBreach: now.Wall,
			Whitelisted: m.whitelisted(inc.Target),
		},
	}
	e.startBan(now.Mono)
	m.showDeadline(now, e)
	m.add(e)
	m.change(now, e, Active, cause)
	return m.transitions[0], nil
}

// Close ends the incident with that id. If the attack goes on, the target stays closed until it is over, at most for a ban time:
// what an operator withdrew does not come back a second later.
func (m *Machine) Close(now Now, id, cause string) (Transition, error) {
	now = m.begin(now)
	i := slices.IndexFunc(m.entries, func(e *entry) bool { return e.inc.ID == id })
	if i < 0 {
		return Transition{}, fmt.Errorf("incident %s: %w", id, ErrUnknown)
	}
	e := m.entries[i]
	if e.key.manual == "" {
		m.held[e.key] = &hold{loud: e.loud, end: now.Mono + e.ban}
	}
	m.end(now, e, cause)
	m.compact()
	return m.transitions[0], nil
}

// releaseHolds lets targets be judged again whose attack is over.
func (m *Machine) releaseHolds(now Now, measure Measure) {
	for k, h := range m.held {
		if h.loud != now.Mono && measure(k.target, k.direction).Level >= m.set.Hysteresis {
			h.loud = now.Mono
		}
		if now.Mono >= h.end || now.Mono-h.loud > m.set.Quiet {
			delete(m.held, k)
		}
	}
}

// Restore takes up incidents of an earlier run, as the journal kept them, without transitions. Those that are over are left out.
// What was active is taken to be active still: it ends when measurements say so. A remaining ban time is never longer
// than the ban time itself, whatever the clock did meanwhile.
func (m *Machine) Restore(now Now, incidents []Incident) {
	now = m.begin(now)
	for _, inc := range incidents {
		k := key{target: inc.Target, direction: inc.Direction}
		if inc.Manual {
			k.manual = inc.ID
		}
		if inc.State != Active && inc.State != Cooling || inc.ID == "" || m.index[k] != nil || len(m.entries) >= m.set.MaxIncidents {
			continue
		}
		ban := m.banTime(inc.Hostgroup)
		left := inc.Until.Sub(now.Wall)
		if !inc.Manual {
			left = min(left, ban)
		}
		left = min(left, MaxBanTime)
		e := &entry{key: k, inc: inc, ban: ban, loud: now.Mono, severity: 1}
		if inc.Why.Limit > 0 {
			e.severity = inc.Why.Value / inc.Why.Limit
		}
		e.banEnd = now.Mono + max(left, 0)
		e.deadline = e.banEnd
		if inc.State == Active && !inc.Manual && m.set.UnbanOnlyIfAttackFinished {
			e.deadline = max(e.deadline, now.Mono+min(extension, ban))
		}
		e.inc.Whitelisted = m.whitelisted(k.target)
		m.showDeadline(now, e)
		m.add(e)
	}
}
