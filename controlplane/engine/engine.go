package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/notify"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
)

// Deps are what the engine works with.
type Deps struct {
	// Source makes the snapshots. Required.
	Source Source
	// NewID makes the ids of incidents and mitigations, unique for ever (UUIDs in the appliance). Required.
	NewID func() string
	// Clock gives the present time to methods that are called outside a tick, and to Run. Required for Run; a replay leaves it nil, and
	// the time of the latest tick counts.
	Clock func() time.Time
	// Mitigators get the wanted set, Notifiers the events.
	Mitigators []mitigate.Mitigator
	Notifiers  []notify.Notifier
	// Journal keeps the state; nil keeps none.
	Journal Journal
	// Evidence has packets of the targets; nil has none.
	Evidence Evidence
	// Observer sees every transition, in order, from the tick's goroutine. It must not block nor call the engine. May be nil.
	Observer func(incident.Transition)
	// Log is for rare things; nil is silent.
	Log *slog.Logger
}

// Engine is the control plane's tick.
type Engine struct {
	deps Deps
	log  *slog.Logger
	out  *outputs

	view atomic.Pointer[View]

	mu sync.Mutex // guards all below
	// set is in force.
	set     Settings
	white   *whitelist
	meter   *rate.Meter
	machine *incident.Machine
	planner *mitigate.Planner
	manuals map[string]mitigate.Manual // by the id of their incident
	told    map[string]bool            // incidents whose ban the notifiers were told
	details []pending                  // incidents whose packets are awaited
	plan    mitigate.Plan
	sums    []groupRates // by index in set.Rules, this tick

	start time.Time // of the monotonic clock
	now   incident.Now
	seq   uint64

	breaches  []rule.Breach       // scratch
	incidents []incident.Incident // scratch
	counters  counters
	slow      slowPart
	lastSnap  health
}

// counters are what the engine counts by itself.
type counters struct {
	sourceErrors uint64
	overruns     uint64
	dropped      []uint64 // by notifier
	// detailsSkipped counts incidents whose packets were not awaited, since too many others were.
	detailsSkipped uint64
	lastTook       time.Duration
	maxTook        time.Duration
}

// New makes an engine. It starts nothing; Restore, Start, and then Run or Tick follow.
func New(set Settings, deps Deps) (*Engine, error) {
	if deps.Source == nil || deps.NewID == nil {
		return nil, errors.New("engine: needs a source and ids")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		deps: deps, log: deps.Log, manuals: make(map[string]mitigate.Manual), told: make(map[string]bool),
		counters: counters{dropped: make([]uint64, len(deps.Notifiers))},
	}
	if err := e.prepare(&set); err != nil {
		return nil, err
	}
	var err error
	if e.planner, err = mitigate.New(set.Mitigate, mitigate.Deps{NewID: deps.NewID}); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if e.meter, err = rate.New(set.Rates, set.Tick); err != nil {
		return nil, fmt.Errorf("engine: rates: %w", err)
	}
	e.set, e.white = set, newWhitelist(set.Whitelist)
	if e.machine, err = incident.New(e.banSettings(&set), deps.NewID); err != nil {
		return nil, fmt.Errorf("engine: bans: %w", err)
	}
	e.out = newOutputs(&deps, set.Engine, e.log)
	e.deps.Source.SetNets(set.Nets)
	e.view.Store(&View{})
	return e, nil
}

// prepare checks settings and fills in what follows from others.
func (e *Engine) prepare(set *Settings) error {
	if err := set.Validate(); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	if set.Mitigate.Site.Groups == nil {
		set.Mitigate.Site.Groups = groupPrefixes(set.Rules)
	}
	return nil
}

// banSettings are the incident machine's settings; the planner must have its policies already.
func (e *Engine) banSettings(set *Settings) incident.Settings {
	times := make(map[string]time.Duration)
	for _, name := range set.Rules.Names() {
		if d := e.planner.Policy(name).BanTime; d != 0 {
			times[name] = d
		}
	}
	return incident.Settings{Config: set.Bans, BanTimes: times, Whitelisted: e.white.has}
}

// Apply changes the settings between two ticks. No counter is lost, incidents and mitigations go on, and those of a hostgroup that is gone belong to
// global from then on. On error everything stays as it was.
func (e *Engine) Apply(set Settings) error {
	if err := e.prepare(&set); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.planner.Apply(set.Mitigate); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.set, e.white = set, newWhitelist(set.Whitelist)
	// Validate has accepted what these two check.
	if err := errors.Join(e.meter.Configure(set.Rates, set.Tick), e.machine.Configure(e.banSettings(&set))); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.deps.Source.SetNets(set.Nets)
	e.out.configure(set.Engine)
	now := e.present()
	e.sums = nil
	e.handle(e.machine.Regroup(now, e.regroup))
	e.replan(now)
	e.log.Info("settings applied", "hostgroups", set.Rules.Len(), "networks", len(set.Nets.Networks()))
	return nil
}

// regroup says where an incident belongs under the settings in force.
func (e *Engine) regroup(inc *incident.Incident) (name string, network netip.Prefix, ok bool) {
	if !inc.Target.Host.IsValid() {
		_, ok = e.set.Rules.Index(inc.Target.Group)
		return inc.Target.Group, netip.Prefix{}, ok
	}
	group, network, ours := e.place(inc.Target.Host)
	if from := e.set.Rules.HostLimits(group); from >= 0 && !inc.Manual {
		group = from
	}
	if !ours || inc.Manual {
		network = inc.Network // what is not ours any more is quiet from now on, and the guard rails withdraw it
	}
	return e.set.Rules.Name(group), network, true
}

// present is the time outside a tick.
func (e *Engine) present() incident.Now {
	if e.deps.Clock == nil {
		return e.now
	}
	return e.instant(e.deps.Clock())
}

// instant splits a time into wall and monotonic time. time.Time's own monotonic reading makes Sub immune to a wall clock
// that jumps; a virtual time has none, and is its own monotonic clock.
func (e *Engine) instant(t time.Time) incident.Now {
	if e.start.IsZero() {
		e.start = t
	}
	return incident.Now{Wall: t.Round(0), Mono: max(t.Sub(e.start), e.now.Mono)}
}

// Tick does everything that is done once a tick. It is called from one goroutine.
func (e *Engine) Tick(t time.Time) {
	snap, err := e.deps.Source.Tick(t)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.instant(t)
	e.seq++
	e.breaches = e.breaches[:0]
	if err != nil {
		// Nothing was measured. Bans still run out, and what was loud counts as loud.
		if e.counters.sourceErrors++; e.counters.sourceErrors == 1 {
			e.log.Error("no snapshot", "err", err)
		}
	} else {
		e.noteSnapshot(snap)
		e.meter.Add(counted{snap}, e.set.Rules.Floor())
		e.sumGroups()
		e.judge()
	}
	e.handle(e.machine.Tick(e.now, e.breaches, e.measure))
	e.collectDetails()
	e.replan(e.now)
}

// noteSnapshot keeps what health is judged by: the snapshot itself goes back to the merger before the view is read.
func (e *Engine) noteSnapshot(s *merge.Snapshot) {
	h := &e.lastSnap
	h.note(s)
	if s.Conservation != nil && h.conservationFaults == 1 {
		e.log.Error("packets are not conserved", "err", s.Conservation)
	}
}

// maxLines is how many lines of one kind are logged in a tick: a log that is slow must not hold up a tick in which
// thousands of hosts are attacked. The rest is counted in one more line.
const maxLines = 32

// handle passes on what changed about incidents.
func (e *Engine) handle(list []incident.Transition) {
	for i := range list {
		t := &list[i]
		inc := &t.Incident
		if i < maxLines {
			e.log.Info("incident", "id", inc.ID, "target", inc.Target.String(), "direction", inc.Direction.String(), "from", t.From.String(),
				"to", t.To.String(), "hostgroup", inc.Hostgroup, "vector", string(inc.Vector), "pps", int64(inc.PeakPPS), "cause", t.Cause)
		}
		if e.deps.Observer != nil {
			e.deps.Observer(*t)
		}
		if inc.Manual && t.To == incident.Clear {
			delete(e.manuals, inc.ID)
		}
		e.tell(t)
		e.followDetails(t)
	}
	if len(list) > maxLines {
		e.log.Info("more incidents changed", "count", len(list)-maxLines)
	}
	if len(list) > 0 {
		e.slow.stale = true
		e.out.dirty = true
		e.watch()
	}
}

// tell hands the event of a transition to the notifiers. A script may act by itself, so it hears only of incidents that may be mitigated, and
// of an end only when it heard of the beginning.
func (e *Engine) tell(t *incident.Transition) {
	ev, ok := notify.FromTransition(*t)
	if !ok {
		return
	}
	id := t.Incident.ID
	switch ev.Action {
	case notify.Ban:
		if t.Incident.Whitelisted || !e.set.Bans.Enable && !t.Incident.Manual {
			return
		}
		e.told[id] = true
	case notify.Unban:
		if !e.told[id] {
			return
		}
		delete(e.told, id)
	case notify.AttackDetails:
	}
	e.send(ev)
}

func (e *Engine) send(ev notify.Event) {
	for i, n := range e.deps.Notifiers {
		if !n.Notify(ev) {
			if e.counters.dropped[i]++; e.counters.dropped[i] == 1 {
				e.log.Warn("notifier drops events", "notifier", n.Name())
			}
		}
	}
}

// replan computes the wanted set from what is known now and publishes it.
func (e *Engine) replan(now incident.Now) {
	e.incidents = e.incidents[:0]
	var manual []mitigate.Manual
	e.machine.Each(func(inc *incident.Incident) {
		switch {
		case inc.Manual:
			q := e.manuals[inc.ID]
			q.Expires = inc.Until
			manual = append(manual, q)
		case e.set.Bans.Enable:
			e.incidents = append(e.incidents, *inc)
		}
	})
	e.plan = e.planner.Plan(now.Wall, e.incidents, manual)
	e.logRefusals()
	if e.plan.Changed {
		e.slow.stale = true
		e.out.dirty = true
	}
	if e.out.dirty {
		e.out.dirty = false
		e.out.put(job{state: e.state(now), want: e.plan.Announce()})
	}
	e.publish(now)
}

// logRefusals logs what the guard rails hold back for the first time.
func (e *Engine) logRefusals() {
	lines := 0
	for i := range e.plan.Refusals {
		r := &e.plan.Refusals[i]
		if !r.New {
			continue
		}
		if lines++; lines <= maxLines {
			e.log.Warn("mitigation refused", "rail", string(r.Rail), "reason", r.Reason, "prefix", r.Prefix.String(), "owner", r.Owner)
		}
	}
	if lines > maxLines {
		e.log.Warn("more mitigations refused", "count", lines-maxLines)
	}
}
