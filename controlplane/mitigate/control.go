package mitigate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// KillSwitch is the state of the switch that withdraws everything and lets nothing new in. It outlives restarts.
type KillSwitch struct {
	On     bool      `json:"on"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// ErrUnknown says that no mitigation or manual request in force has the id.
var ErrUnknown = errors.New("no such mitigation")

// Kill turns the kill switch. On: the next Plan wants nothing, at once and regardless of min_hold, until it is turned off
// again; then what is still under attack is planned anew.
func (p *Planner) Kill(k KillSwitch) { p.kill = k }

// killAll empties the wanted set and reports what it holds back.
func (r *round) killAll() {
	for _, w := range r.wants {
		for _, owner := range w.owners {
			r.refuse(refuse(RailKillSwitch, "the kill switch is on: %s", r.p.kill.Reason), w.key, w.m, owner)
		}
	}
	for key := range r.p.active {
		r.drop(key)
	}
}

// Withdraw takes the mitigation with this id (or that of a manual request) out of the wanted set from the next Plan on,
// regardless of min_hold, and keeps its present owners from bringing it back. It returns the owners' ids, so that the
// caller can end its manual requests. An incident that begins later may want the same route again.
func (p *Planner) Withdraw(id string) (owners []string, err error) {
	found := false
	for key, e := range p.active {
		if e.m.ID != id && !slices.Contains(e.owners, id) {
			continue
		}
		for _, owner := range e.owners {
			p.suppressed[owner+"\x00"+key] = struct{}{}
		}
		found = true
		owners = append(owners, e.owners...)
		delete(p.active, key)
		p.stats.Withdrawn++
	}
	if !found {
		if !p.anyRefused(id) {
			return nil, fmt.Errorf("mitigation %q: %w", id, ErrUnknown)
		}
		owners = []string{id} // a request that the rails hold back: nothing to withdraw, but the caller can end it
	}
	slices.Sort(owners)
	return slices.Compact(owners), nil
}

func (p *Planner) anyRefused(owner string) bool {
	for _, f := range p.refusals {
		if f.Owner == owner {
			return true
		}
	}
	return false
}

func ownerOf(suppressed string) string {
	owner, _, _ := strings.Cut(suppressed, "\x00")
	return owner
}

// CheckManual says why the guard rails would refuse the request now, so that the person who asks learns it at once.
// A nil error is no promise: the next Plan judges again.
func (p *Planner) CheckManual(now time.Time, q Manual) error {
	m := p.manualMitigation(&q)
	v := p.checkManual(now, &q)
	if v == nil && !q.Expires.After(now) {
		v = refuse(RailInvalid, "expiry is in the past")
	}
	if v == nil {
		v = p.rails.check(m)
	}
	if v == nil && p.kill.On {
		v = refuse(RailKillSwitch, "the kill switch is on: %s", p.kill.Reason)
	}
	if v == nil && p.active[m.Key()] == nil {
		v = (&round{p: p, now: now}).count().full(m)
	}
	if v != nil {
		return fmt.Errorf("%s: %s", v.rail, v.reason)
	}
	m.ID, m.Created, m.Expires = q.ID, now, q.Expires
	return p.lint(m)
}

// State is what a planner must remember over a restart. It is plain data for the journal.
type State struct {
	Active     []ActiveState `json:"active,omitempty"`
	KillSwitch KillSwitch    `json:"kill_switch"`
	// Suppressed are the routes that an operator withdrew while their incidents go on.
	Suppressed []Suppression `json:"suppressed,omitempty"`
	// Admitted are the times of the last minute's admissions.
	Admitted []time.Time `json:"admitted,omitempty"`
}

// ActiveState is one mitigation in force and who wants it.
type ActiveState struct {
	Mitigation Mitigation `json:"mitigation"`
	Owners     []string   `json:"owners,omitempty"`
}

// Suppression is a route that one owner may not bring back.
type Suppression struct {
	Owner string `json:"owner"`
	Key   string `json:"key"`
}

// State returns what Restore needs, in a stable order.
func (p *Planner) State() State {
	s := State{KillSwitch: p.kill, Admitted: slices.Clone(p.admitted)}
	for _, m := range p.wanted() {
		s.Active = append(s.Active, ActiveState{Mitigation: m, Owners: slices.Clone(p.active[m.Key()].owners)})
	}
	for _, k := range slices.Sorted(maps.Keys(p.suppressed)) {
		owner, key, _ := strings.Cut(k, "\x00")
		s.Suppressed = append(s.Suppressed, Suppression{Owner: owner, Key: key})
	}
	return s
}

// Restore takes over what was in force before a restart. What has expired, and what the rails forbid today, is left out;
// the rest is held for min_hold from now, so that the engine has time to find the attack again. It returns what was left
// out, by id, and why.
func (p *Planner) Restore(now time.Time, s State) map[string]string {
	left := make(map[string]string)
	p.kill = s.KillSwitch
	for _, k := range s.Suppressed {
		p.suppressed[k.Owner+"\x00"+k.Key] = struct{}{}
	}
	p.admitted = slices.Clone(s.Admitted)
	if n := len(p.admitted) - maxActive; n > 0 {
		p.admitted = p.admitted[n:]
	}
	for _, a := range s.Active {
		m := a.Mitigation
		switch v := p.rails.check(m); {
		case !m.Expires.After(now):
			left[m.ID] = "has expired"
		case v != nil:
			left[m.ID] = string(v.rail) + ": " + v.reason
		case p.lint(m) != nil:
			left[m.ID] = p.lint(m).Error()
		case len(p.active) >= maxActive:
			left[m.ID] = "too many"
		default:
			p.active[m.Key()] = &entry{m: m, group: m.Hostgroup, owners: slices.Clone(a.Owners), hold: now.Add(p.rails.guard.MinHold)}
		}
	}
	return left
}
