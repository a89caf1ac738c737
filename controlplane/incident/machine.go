package incident

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Now is the present, twice: Wall is what people and journals see and may jump; Mono only ever grows and is what all
// durations are measured with. A clock that is set an hour forward ends no ban, one set back prolongs none.
type Now struct {
	Wall time.Time
	Mono time.Duration
}

// Sample is what is measured now for the target of an open incident.
type Sample struct {
	// Level is the largest value/limit over all limits that are on, as rule.Set.Level says.
	Level float64
	// In and Out are the target's rates.
	In, Out rule.Rates
}

// Measure returns the present sample of a target; the zero Sample when there is no traffic.
type Measure func(rule.Target, traffic.Direction) Sample

// Settings are everything that may be changed while the machine runs.
type Settings struct {
	Config
	// BanTimes are the ban times of hostgroups that have their own, by name.
	BanTimes map[string]time.Duration
	// Whitelisted says which targets are reported and never mitigated; nil for none.
	Whitelisted func(rule.Target) bool
}

// extension is how far the end of a ban is moved, in steps, while the attack outlasts its ban time.
const extension = time.Minute

// Stats count what the machine did since it was made.
type Stats struct {
	// Open is how many incidents there are now.
	Open int `json:"open"`
	// Opened and Ended count incidents that became active, and those that are over.
	Opened uint64 `json:"opened"`
	Ended  uint64 `json:"ended"`
	// Refused counts targets that were not taken up, or given up for a larger one, because max_incidents was reached.
	// A target that goes on is counted each tick.
	Refused uint64 `json:"refused"`
	// Suppressed counts ticks in which a target breached whose incident an operator had closed.
	Suppressed uint64 `json:"suppressed"`
}

type key struct {
	target    rule.Target
	direction traffic.Direction
	// manual is the id of a manual incident: there may be any number of them on one target.
	manual string
}

// compare orders keys: hosts by address, then groups by name, incoming first.
func (k key) compare(o key) int {
	return cmp.Or(
		k.target.Host.Compare(o.target.Host), strings.Compare(k.target.Group, o.target.Group), cmp.Compare(k.direction, o.direction),
	)
}

// entry is one open incident.
type entry struct {
	key key
	inc Incident
	// streak is how many ticks in a row breached; seen is the last tick that did.
	streak int
	seen   uint64
	// loud is when it was last above hysteresis. ban is how long its ban time is, banEnd when that is over; deadline is
	// banEnd, or what is announced as the end while the attack outlasts it.
	loud, ban, banEnd, deadline time.Duration
	// severity is the largest value/limit it ever had.
	severity float64
}

// Machine holds every open incident. It is not safe for concurrent use.
type Machine struct {
	set   Settings
	newID func() string
	tick  uint64
	mono  time.Duration
	// entries are in the order of their opening; index finds them.
	entries []*entry
	index   map[key]*entry
	// held are targets whose incident an operator closed while the attack went on: they stay closed until it is over.
	held  map[key]*hold
	stats Stats

	transitions []Transition // of the current call
	fresh       []candidate  // scratch of Tick
}

// hold keeps a closed target closed.
type hold struct{ loud, end time.Duration }

// candidate is a target without an incident that breached in this tick: the breach with the largest value/limit, and all others.
type candidate struct {
	key      key
	severity float64
	main     rule.Breach
	others   []string
}

// New returns an empty machine. The id source must never repeat itself.
func New(set Settings, newID func() string) (*Machine, error) {
	m := &Machine{newID: newID, index: make(map[key]*entry), held: make(map[key]*hold)}
	if err := m.Configure(set); err != nil {
		return nil, err
	}
	return m, nil
}

// Configure changes the settings. Open incidents stay, keep the end that they have, and are held against the new whitelist.
func (m *Machine) Configure(set Settings) error {
	if err := set.Validate(); err != nil {
		return err
	}
	for group, d := range set.BanTimes {
		if d < MinBanTime || d > MaxBanTime {
			return fmt.Errorf("hostgroup %s: ban_time: %v is outside %v..%v; every mitigation must end", group, d, MinBanTime, MaxBanTime)
		}
	}
	m.set = set
	for _, e := range m.entries {
		e.inc.Whitelisted = m.whitelisted(e.key.target)
	}
	return nil
}

// Regroup moves every open incident to the hostgroup and network that f says, after a reconfiguration. An incident for which f says false ends: the
// group whose total it is about is gone.
func (m *Machine) Regroup(now Now, f func(*Incident) (group string, network netip.Prefix, ok bool)) []Transition {
	now = m.begin(now)
	for _, e := range m.entries {
		group, network, ok := f(&e.inc)
		e.inc.Hostgroup, e.inc.Network = group, network
		if !ok {
			m.end(now, e, "its hostgroup was removed")
		}
	}
	m.compact()
	return m.transitions
}

// Stats returns the counters.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.Open = len(m.entries)
	return s
}

// Incidents appends a copy of every open incident, in the order of their opening; suspects too.
func (m *Machine) Incidents(dst []Incident) []Incident {
	for _, e := range m.entries {
		dst = append(dst, e.inc)
	}
	return dst
}

// Each calls f for every open incident. f must not keep or change it.
func (m *Machine) Each(f func(*Incident)) {
	for _, e := range m.entries {
		f(&e.inc)
	}
}

// Tick takes one tick's breaches and returns what changed. The result is valid until the next call. Breaches of one target and direction must
// follow each other. The measure is asked for targets of open incidents that did not breach.
func (m *Machine) Tick(now Now, breaches []rule.Breach, measure Measure) []Transition {
	now = m.begin(now)
	m.tick++
	m.fresh = m.fresh[:0]
	for len(breaches) > 0 {
		n := 1
		for n < len(breaches) && breaches[n].Target == breaches[0].Target && breaches[n].Direction == breaches[0].Direction {
			n++
		}
		m.breached(now, breaches[:n])
		breaches = breaches[n:]
	}
	for _, e := range m.entries {
		m.advance(now, e, measure)
	}
	m.compact()
	m.openFresh(now)
	m.releaseHolds(now, measure)
	return m.transitions
}

// begin starts a call: time never goes back, and the list of transitions is new.
func (m *Machine) begin(now Now) Now {
	m.mono = max(m.mono, now.Mono)
	now.Mono, now.Wall = m.mono, now.Wall.Round(0)
	m.transitions = m.transitions[:0]
	return now
}

// breached notes the breaches of one target and direction.
func (m *Machine) breached(now Now, b []rule.Breach) {
	k := key{target: b[0].Target, direction: b[0].Direction}
	// The largest excess is the reason; of equal ones the later metric, which is the more specific.
	best, severity := 0, 0.0
	for i := range b {
		if q := b[i].Value / b[i].Limit; q >= severity {
			best, severity = i, q
		}
	}
	if e := m.index[k]; e != nil {
		e.streak++
		e.seen, e.loud = m.tick, now.Mono
		e.severity = max(e.severity, severity)
		e.inc.LastBreach = now.Wall
		e.measured(&b[best].In, &b[best].Out)
		return
	}
	if h := m.held[k]; h != nil {
		h.loud = now.Mono
		m.stats.Suppressed++
		return
	}
	c := candidate{key: k, severity: severity, main: b[best]}
	for i := range b {
		if i != best {
			c.others = append(c.others, b[i].Metric.Threshold(k.direction))
		}
	}
	m.fresh = append(m.fresh, c)
}

// measured takes over the target's present rates.
func (e *entry) measured(in, out *rule.Rates) {
	e.inc.In, e.inc.Out = *in, *out
	e.inc.PeakPPS = max(e.inc.PeakPPS, rates(e.key.direction, in, out)[rule.PPS])
}

// advance moves one open incident through its states.
func (m *Machine) advance(now Now, e *entry, measure Measure) {
	switch {
	case e.key.manual != "":
		if now.Mono >= e.banEnd {
			m.end(now, e, "ban time is over")
		}
	case e.inc.State == Suspect:
		m.advanceSuspect(now, e)
	default:
		m.advanceActive(now, e, measure)
	}
	m.showDeadline(now, e)
}

// startBan lets the ban time begin.
func (e *entry) startBan(mono time.Duration) {
	e.banEnd = mono + e.ban
	e.deadline = e.banEnd
}

func (m *Machine) advanceSuspect(now Now, e *entry) {
	switch {
	case e.seen != m.tick:
		m.end(now, e, "it did not last")
	case e.streak >= m.set.Confirm:
		e.startBan(now.Mono)
		m.change(now, e, Active, "confirmed")
	}
}

func (m *Machine) advanceActive(now Now, e *entry, measure Measure) {
	if e.seen != m.tick {
		s := measure(e.key.target, e.key.direction)
		e.measured(&s.In, &s.Out)
		if e.inc.State == Active && s.Level >= m.set.Hysteresis {
			e.loud = now.Mono
		}
	} else if e.inc.State == Cooling {
		m.change(now, e, Active, "the attack came back")
	}
	over := now.Mono >= e.banEnd
	if over && !m.set.UnbanOnlyIfAttackFinished {
		m.end(now, e, "ban time is over")
		return
	}
	if e.inc.State == Active {
		if e.loud < now.Mono && now.Mono-e.loud >= m.set.Quiet {
			e.deadline = max(e.banEnd, now.Mono)
			m.change(now, e, Cooling, "the attack is over")
		} else if step := min(extension, e.ban); m.set.UnbanOnlyIfAttackFinished && e.deadline-now.Mono < step/2 {
			// The end moves on in steps, so that what is announced changes rarely and always has a good part of a minute left.
			e.deadline = now.Mono + step
		}
	}
	if e.inc.State == Cooling && over {
		m.end(now, e, "ban time is over and the attack has finished")
	}
}

// showDeadline expresses the deadline in the present wall clock. Small differences are slewing and would only make noise.
func (m *Machine) showDeadline(now Now, e *entry) {
	until := now.Wall.Add(e.deadline - now.Mono).Round(0)
	if d := until.Sub(e.inc.Until); d > time.Second || d < -time.Second {
		e.inc.Until = until
	}
}

// openFresh opens incidents for this tick's new targets: all of them, or the largest when there is not room for all.
func (m *Machine) openFresh(now Now) {
	room := m.set.MaxIncidents - len(m.entries)
	if over := len(m.fresh) - room; over > 0 {
		slices.SortFunc(m.fresh, func(a, b candidate) int {
			return cmp.Or(cmp.Compare(b.severity, a.severity), a.key.compare(b.key))
		})
		kept := max(room, 0)
		kept += m.displace(now, m.fresh[kept:])
		m.stats.Refused += uint64(over)
		m.fresh = m.fresh[:kept]
	}
	slices.SortFunc(m.fresh, func(a, b candidate) int { return a.key.compare(b.key) })
	for i := range m.fresh {
		m.open(now, &m.fresh[i])
	}
}

// displace ends smaller incidents in favour of larger new ones, and returns for how many (largest first) it made room.
func (m *Machine) displace(now Now, fresh []candidate) (n int) {
	var victims []*entry
	for _, e := range m.entries {
		if e.key.manual == "" {
			victims = append(victims, e)
		}
	}
	slices.SortStableFunc(victims, func(a, b *entry) int { return cmp.Compare(a.severity, b.severity) })
	for n < len(fresh) && n < len(victims) && fresh[n].severity > victims[n].severity {
		m.end(now, victims[n], "given up for a larger one: max_incidents is reached")
		n++
	}
	m.compact()
	return n
}

func (m *Machine) open(now Now, c *candidate) {
	b := &c.main
	r := rates(b.Direction, &b.In, &b.Out)
	e := &entry{
		key: c.key, streak: 1, seen: m.tick, loud: now.Mono, severity: c.severity, ban: m.banTime(b.Hostgroup),
		inc: Incident{
			ID: m.newID(), Target: b.Target, Direction: b.Direction, Hostgroup: b.Hostgroup, Network: b.Network,
			State: Suspect, Vector: VectorOf(r), Protocol: ProtocolOf(r), Why: *b, Others: c.others,
			InitialPPS: r[rule.PPS], PeakPPS: r[rule.PPS], In: b.In, Out: b.Out,
			Start: now.Wall, LastBreach: now.Wall, Whitelisted: m.whitelisted(b.Target),
		},
	}
	e.inc.Attack, e.inc.Share = Classify(b.Metric, r)
	e.startBan(now.Mono)
	m.showDeadline(now, e)
	m.add(e)
	if m.set.Confirm <= 1 {
		e.inc.State = Clear // so that the one transition says clear -> active
		m.change(now, e, Active, "breach of "+b.Metric.Threshold(b.Direction))
		return
	}
	e.inc.State = Clear
	m.change(now, e, Suspect, "first breach of "+b.Metric.Threshold(b.Direction))
}

func (m *Machine) add(e *entry) {
	m.entries = append(m.entries, e)
	m.index[e.key] = e
}

func (m *Machine) banTime(group string) time.Duration {
	if d, ok := m.set.BanTimes[group]; ok {
		return d
	}
	return m.set.BanTime
}

func (m *Machine) whitelisted(t rule.Target) bool {
	return m.set.Whitelisted != nil && m.set.Whitelisted(t)
}

// change moves e to another state and notes the transition.
func (m *Machine) change(now Now, e *entry, to State, cause string) {
	from := e.inc.State
	e.inc.State = to
	if to == Active && from != Cooling {
		m.stats.Opened++
	}
	inc := e.inc
	inc.Others = slices.Clone(inc.Others)
	m.transitions = append(m.transitions, Transition{Incident: inc, From: from, To: to, At: now.Wall, Cause: cause})
}

// end closes e; compact removes it.
func (m *Machine) end(now Now, e *entry, cause string) {
	if e.inc.State == Clear {
		return
	}
	e.inc.End = now.Wall
	if e.inc.State != Suspect {
		m.stats.Ended++
	}
	m.change(now, e, Clear, cause)
}

// compact drops the incidents that ended.
func (m *Machine) compact() {
	m.entries = slices.DeleteFunc(m.entries, func(e *entry) bool {
		if e.inc.State != Clear {
			return false
		}
		delete(m.index, e.key)
		return true
	})
}
