package mitigate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
)

// Global is the name of the hostgroup whose policy all others inherit.
const Global = "global"

// defaultLease is how far ahead a mitigation expires when neither its incident nor its policy says.
const defaultLease = 30 * time.Minute

// Config is all that a Planner is built from. Everything in it may change while the appliance runs (Planner.Apply).
type Config struct {
	Guard Guard
	Site  Site
	// Policies are the hostgroups' policies by name, as configured or already inherited: what is unset comes from
	// the policy of Global, then from DefaultPolicy. A group without one has Global's.
	Policies map[string]Policy
}

// Deps are what a Planner needs from outside.
type Deps struct {
	// NewID makes the id of a new mitigation, unique for ever (a UUID in the appliance).
	NewID func() string
}

// Manual is a mitigation that a person asks for. It passes the same guard rails as any other.
type Manual struct {
	// ID is a UUID, made by whoever accepts the request; the mitigation has it too.
	ID string `json:"id"`
	// Kind is Blackhole when empty.
	Kind Kind `json:"kind,omitempty"`
	// Prefix is the host or subnet, in the configured networks.
	Prefix netip.Prefix `json:"prefix"`
	// Match, Action and Rate (bytes/s) are set for Flow Spec.
	Match  Match  `json:"match,omitzero"`
	Action Action `json:"action,omitempty"`
	Rate   uint64 `json:"rate,omitempty"`
	// Hostgroup names the policy that gives next hop and communities; empty is Global.
	Hostgroup string `json:"hostgroup,omitempty"`
	// By is who asked, Reason why.
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Created and Expires bound its life; an expiry is required.
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// Plan is what should be in force now, and what was refused.
type Plan struct {
	// Wanted are the mitigations, the oldest first, dry-run ones included. The slice is the caller's.
	Wanted []Mitigation
	// Refusals are what the guard rails hold back at this moment, in a stable order.
	Refusals []Refusal
	// Changed is set when Wanted differs from the last plan.
	Changed bool
}

// Announce returns the mitigations of the plan that mitigators get: all but the dry-run ones.
func (p Plan) Announce() []Mitigation {
	return slices.DeleteFunc(slices.Clone(p.Wanted), func(m Mitigation) bool { return m.DryRun })
}

// Refusal is one thing that a guard rail holds back.
type Refusal struct {
	Rail   Rail   `json:"rail"`
	Reason string `json:"reason"`
	// Key is the route that is not announced; empty when it did not come to one.
	Key       string       `json:"key,omitempty"`
	Prefix    netip.Prefix `json:"prefix,omitzero"`
	Hostgroup string       `json:"hostgroup,omitempty"`
	// Owner is the id of the incident or manual request.
	Owner  string    `json:"owner"`
	Manual bool      `json:"manual,omitempty"`
	Since  time.Time `json:"since"`
	// New is set in the plan that refuses it first: the time to log it.
	New bool `json:"new,omitempty"`
}

// Stats are the planner's figures since it was made.
type Stats struct {
	Blackholes int             `json:"blackholes"` // in force, dry-run included
	FlowSpec   int             `json:"flowspec"`
	DryRun     int             `json:"dry_run"`
	Admitted   uint64          `json:"admitted"`
	Withdrawn  uint64          `json:"withdrawn"`
	Renewed    uint64          `json:"renewed"`
	Refused    map[Rail]uint64 `json:"refused"` // distinct refusals, not ticks
	KillSwitch KillSwitch      `json:"kill_switch"`
}

// entry is one mitigation in force.
type entry struct {
	m      Mitigation
	group  string    // the hostgroup whose cap it counts for: the one it was admitted for
	owners []string  // ids of the incidents and manual requests that want it, sorted: the references
	hold   time.Time // until when it stays although nobody wants it
}

// Planner turns incidents and manual requests into the wanted set. It is level-triggered: each Plan gets all incidents, and
// a lost or doubled tick changes nothing. One goroutine owns it; it does no I/O and reads no clock.
type Planner struct {
	newID    func() string
	rails    *rails
	policies map[string]Policy
	groups   map[string][]netip.Prefix

	active     map[string]*entry   // by Mitigation.Key
	suppressed map[string]struct{} // owner and key that an operator withdrew
	refusals   map[string]Refusal  // by owner, rail and key: what the last plan refused
	admitted   []time.Time         // of the last minute, ascending: bounded by MaxNewPerMinute
	kill       KillSwitch
	last       []Mitigation
	stats      Stats
}

// New checks cfg and makes a planner with nothing in force.
func New(cfg Config, deps Deps) (*Planner, error) {
	if deps.NewID == nil {
		return nil, errors.New("mitigate: planner needs a source of ids")
	}
	p := &Planner{
		newID:      deps.NewID,
		active:     make(map[string]*entry),
		suppressed: make(map[string]struct{}),
		refusals:   make(map[string]Refusal),
		stats:      Stats{Refused: make(map[Rail]uint64)},
	}
	return p, p.Apply(cfg)
}

// Apply takes a new configuration; the next Plan follows it. What is in force stays in force unless the new rails forbid
// it; caps that were lowered admit nothing new, but withdraw nothing. On error the planner keeps the old one.
func (p *Planner) Apply(cfg Config) error {
	errs := []error{prefixError("guard", cfg.Guard.Validate())}
	policies := make(map[string]Policy, len(cfg.Policies)+1)
	global := cfg.Policies[Global].Inherit(DefaultPolicy())
	policies[Global] = global
	for name, policy := range cfg.Policies {
		errs = append(errs, prefixError("hostgroup "+name, policy.Validate()))
		policies[name] = policy.Inherit(global)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("mitigate: %w", err)
	}
	var hops []netip.Addr
	for _, y := range policies {
		hops = append(hops, y.NextHopIPv4, y.NextHopIPv6)
		for _, h := range []netip.Addr{y.NextHopSubnetIPv4, y.NextHopSubnetIPv6} {
			if h.IsValid() {
				hops = append(hops, h)
			}
		}
	}
	p.rails, p.policies, p.groups = newRails(cfg.Guard, cfg.Site, hops), policies, maps.Clone(cfg.Site.Groups)
	return nil
}

func prefixError(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Policy returns the policy of a hostgroup with everything inherited.
func (p *Planner) Policy(group string) Policy {
	if y, ok := p.policies[group]; ok {
		return y
	}
	return p.policies[Global]
}

// Plan computes the wanted set from every open incident (any state; clear and suspect ones want nothing) and every manual
// request. now need not be monotonic: a clock that jumps back shortens holds, never lengthens them.
func (p *Planner) Plan(now time.Time, incidents []incident.Incident, manual []Manual) Plan {
	r := &round{p: p, now: now, wants: make(map[string]*want), seen: make(map[string]Refusal), owners: make(map[string]struct{})}
	for i := range incidents {
		r.incident(&incidents[i])
	}
	for i := range manual {
		r.manual(&manual[i])
	}
	for _, w := range r.wants {
		slices.Sort(w.owners)
	}
	if p.kill.On {
		r.killAll()
	} else {
		r.keep()
		r.admit()
	}
	return r.finish()
}

// round is the work of one Plan.
type round struct {
	p      *Planner
	now    time.Time
	wants  map[string]*want    // by key, after the rails that need no count
	seen   map[string]Refusal  // this plan's refusals
	owners map[string]struct{} // every owner that still exists
}

// want is one route that owners want.
type want struct {
	key    string
	m      Mitigation // of the strongest owner; without ID, Created, Expires
	owners []string
	manual string // the id of a manual owner, which the mitigation takes over
	// until is the latest end that an owner asks for; zero when none says. fixed: manual, never renewed past until.
	until time.Time
	fixed bool
	lease time.Duration
	start time.Time
	power float64
}

// offer judges m by the rails that need no count and merges it with what others want of the same route.
func (r *round) offer(w want) {
	w.key = w.m.Key()
	owner := w.owners[0]
	if _, ok := r.p.suppressed[owner+"\x00"+w.key]; ok {
		return
	}
	if v := r.p.rails.check(w.m); v != nil {
		r.refuse(v, w.key, w.m, owner)
		return
	}
	have, ok := r.wants[w.key]
	if !ok {
		r.wants[w.key] = &w
		return
	}
	have.owners = append(have.owners, owner)
	if have.manual == "" || w.manual != "" && w.manual < have.manual {
		have.manual = cmp.Or(w.manual, have.manual)
	}
	have.fixed = have.fixed && w.fixed
	have.lease = max(have.lease, w.lease)
	have.power = max(have.power, w.power)
	if w.until.After(have.until) {
		have.until = w.until
	}
	if stronger(&w, have) {
		have.m, have.start = w.m, w.start
	}
}

// stronger decides whose attributes a shared route has: a real one before a dry run, a person before the machine, the
// stricter action, then the older and, to be deterministic, the smaller id.
func stronger(a, b *want) bool {
	rank := func(v bool) int {
		if v {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(rank(!a.m.DryRun), rank(!b.m.DryRun)),
		cmp.Compare(rank(a.m.Manual), rank(b.m.Manual)),
		cmp.Compare(rank(a.m.Action == Discard), rank(b.m.Action == Discard)),
		cmp.Compare(a.m.Rate, b.m.Rate),
		a.start.Compare(b.start),
		cmp.Compare(a.m.Incident, b.m.Incident),
	) < 0
}

// keep goes through what is in force: renews what is wanted, holds what is young, drops the rest.
func (r *round) keep() {
	for key, e := range r.p.active {
		// Only a clock that went back makes these longer than they can be.
		e.hold = earlier(e.hold, r.now.Add(r.p.rails.guard.MinHold))
		e.m.Expires = earlier(e.m.Expires, r.now.Add(maxBanTime))
		w, wanted := r.wants[key]
		if wanted {
			delete(r.wants, key)
			r.renew(e, w)
			continue
		}
		e.owners = nil
		if !e.hold.After(r.now) || !e.m.Expires.After(r.now) {
			r.drop(key)
		} else if v := r.p.rails.check(e.m); v != nil { // the rails changed under it
			r.refuse(v, key, e.m, e.m.Incident)
			r.drop(key)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (r *round) drop(key string) {
	delete(r.p.active, key)
	r.p.stats.Withdrawn++
}

// renew brings e up to date with what its owners want now. Its expiry moves only when little of it is left, so that the
// wanted set, and with it the routers, stay quiet while an attack lasts.
func (r *round) renew(e *entry, w *want) {
	m := w.m
	m.ID, m.Created, m.Expires = e.m.ID, e.m.Created, e.m.Expires
	e.owners = w.owners
	if m.Created.After(r.now) {
		m.Created = r.now // the clock went back
	}
	if w.fixed || m.Expires.Sub(r.now) < renewBelow(w.lease) {
		m.Expires = r.expiry(w, e.hold)
	}
	if equal(&m, &e.m) {
		return
	}
	if !w.fixed && !m.Expires.Equal(e.m.Expires) {
		r.p.stats.Renewed++
	}
	if err := r.p.lint(m); err != nil {
		r.refuse(refuse(RailLint, "%v", err), w.key, m, w.owners[0])
		r.drop(w.key)
		return
	}
	e.m = m
}

// renewBelow is how little of a mitigation's life is left when it is renewed.
func renewBelow(lease time.Duration) time.Duration { return min(time.Minute, lease/2) }

// expiry is when a new or renewed mitigation ends if nothing renews it: at the end that its incident names when that is
// far enough away, else a lease from now. A person's expiry is kept to the letter.
func (r *round) expiry(w *want, hold time.Time) time.Time {
	if w.fixed {
		return w.until
	}
	end := r.now.Add(w.lease)
	if w.until.Sub(r.now) >= renewBelow(w.lease) {
		end = w.until
	}
	end = earlier(end, r.now.Add(maxBanTime))
	if end.Before(hold) {
		end = hold
	}
	return end
}

// admit lets new routes in as far as the counting rails allow: people's first, then the strongest attacks.
func (r *round) admit() {
	queue := slices.SortedFunc(maps.Values(r.wants), func(a, b *want) int {
		switch {
		case (a.manual != "") != (b.manual != ""):
			if a.manual != "" {
				return -1
			}
			return 1
		default:
			return cmp.Or(cmp.Compare(b.power, a.power), a.start.Compare(b.start), cmp.Compare(a.key, b.key))
		}
	})
	c := r.count()
	for _, w := range queue {
		if v := c.full(w.m); v != nil {
			r.refuse(v, w.key, w.m, w.owners[0])
			continue
		}
		m := w.m
		hold := r.now.Add(r.p.rails.guard.MinHold)
		m.ID, m.Created, m.Expires = w.manual, r.now, r.expiry(w, hold)
		if m.ID == "" {
			m.ID = r.p.newID()
		}
		if err := r.p.lint(m); err != nil {
			r.refuse(refuse(RailLint, "%v", err), w.key, m, w.owners[0])
			continue
		}
		r.p.active[w.key] = &entry{m: m, group: m.Hostgroup, owners: w.owners, hold: hold}
		r.p.admitted = append(r.p.admitted, r.now)
		r.p.stats.Admitted++
		c.add(m)
	}
}

// lint is the last judge before a mitigation enters the wanted set. The rails have judged networks and protected
// addresses already, in better time.
func (p *Planner) lint(m Mitigation) error {
	g := p.rails.guard
	return Lint(m, LintLimits{
		BlackholeBits4: g.MinLengthIPv4, BlackholeBits6: g.MinLengthIPv6,
		FlowBits4: g.MinLengthIPv4, FlowBits6: max(g.MinLengthIPv6, 64),
	})
}

func (r *round) refuse(v *refused, key string, m Mitigation, owner string) {
	id := owner + "\x00" + string(v.rail) + "\x00" + key
	old, known := r.p.refusals[id]
	f := Refusal{
		Rail: v.rail, Reason: v.reason, Key: key, Prefix: m.Prefix, Hostgroup: m.Hostgroup,
		Owner: owner, Manual: m.Manual, Since: r.now, New: !known,
	}
	if known {
		f.Since = old.Since
	} else if _, again := r.seen[id]; !again {
		r.p.stats.Refused[v.rail]++
	}
	r.seen[id] = f
}

// finish publishes the round.
func (r *round) finish() Plan {
	p := r.p
	p.refusals = r.seen
	for k := range p.suppressed {
		if _, ok := r.owners[ownerOf(k)]; !ok {
			delete(p.suppressed, k)
		}
	}
	plan := Plan{Wanted: p.wanted()}
	plan.Refusals = slices.SortedFunc(maps.Values(r.seen), func(a, b Refusal) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Rail, b.Rail))
	})
	plan.Changed = !slices.EqualFunc(plan.Wanted, p.last, func(a, b Mitigation) bool { return equal(&a, &b) })
	p.last = slices.Clone(plan.Wanted)
	return plan
}

// wanted lists what is in force, the oldest first.
func (p *Planner) wanted() []Mitigation {
	list := make([]Mitigation, 0, len(p.active))
	for _, e := range p.active {
		list = append(list, e.m)
	}
	slices.SortFunc(list, func(a, b Mitigation) int {
		return cmp.Or(a.Created.Compare(b.Created), a.Prefix.Addr().Compare(b.Prefix.Addr()),
			cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Stats returns the planner's figures. Call it from the goroutine that owns the planner.
func (p *Planner) Stats() Stats {
	s := p.stats
	s.Refused = maps.Clone(p.stats.Refused)
	s.KillSwitch = p.kill
	for _, e := range p.active {
		if e.m.Kind == FlowSpec {
			s.FlowSpec++
		} else {
			s.Blackholes++
		}
		if e.m.DryRun {
			s.DryRun++
		}
	}
	return s
}
