package engine

import (
	"net/netip"
	"slices"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// View is what is known after one tick. It never changes; a new one is published each tick.
type View struct {
	// At is the tick's time, Tick its number, Span the time that rates are measured over.
	At   time.Time
	Tick uint64
	Span time.Duration
	// Totals are the rates of all traffic, by family and direction, each packet once.
	Totals [traffic.NumFamilies][traffic.NumDirections]rule.Rates
	// Networks and Hostgroups are all that are configured. They and Top are renewed at most every half second.
	Networks   []NetworkView
	Hostgroups []HostgroupView
	// Top are the busiest hosts by family, direction (Incoming, Outgoing) and order.
	Top [traffic.NumFamilies][2][rate.NumOrders][]HostView
	// Incidents are all that are open, the oldest first; suspects and manual ones are among them.
	Incidents []incident.Incident
	// Mitigations are the wanted set, dry-run ones included; Refusals are what the guard rails hold back.
	Mitigations []mitigate.Mitigation
	Refusals    []mitigate.Refusal
	Health      Health
}

// NetworkView is one configured network's rates.
type NetworkView struct {
	Network netip.Prefix
	In, Out rule.Rates
}

// HostgroupView is one hostgroup's rates.
type HostgroupView struct {
	Name        string
	Calculation rule.Calculation
	// In and Out are of the group's own members; TotalIn and TotalOut include the groups below it, and are what a total
	// group's limits are compared with.
	In, Out, TotalIn, TotalOut rule.Rates
}

// HostView is one host's rates.
type HostView struct {
	Host      netip.Addr
	Hostgroup string
	Network   netip.Prefix
	In, Out   rule.Rates
}

// Health says whether what the view shows can be relied on.
type Health struct {
	// Ticks and Overruns count ticks made, and ticks left out because an earlier one took too long; Took and MaxTook are
	// the time of the last tick and of the longest.
	Ticks    uint64
	Overruns uint64
	Took     time.Duration
	MaxTook  time.Duration
	// SourceErrors counts ticks without a snapshot.
	SourceErrors uint64
	// Shards is how many owners of counters there are, Late how many of them missed the last tick, LateTotal since the start.
	Shards    int
	Late      int
	LateTotal uint64
	// Hosts is how many rows the last tick had. Overflowed is what found no row, Saturated how many packets had a flow that
	// could not be judged; both since the start.
	Hosts      int
	Overflowed traffic.Counter
	Saturated  uint64
	// MaxGap is the longest time that any worker did not poll in the last tick.
	MaxGap time.Duration
	// Conservation is the last violation of the law that every packet is counted once, ConservationFaults how many ticks had one.
	Conservation       string
	ConservationFaults uint64
	Rates              rate.Stats
	Incidents          incident.Stats
	Planner            mitigate.Stats
	Journal            JournalStatus
	// NotifyDropped counts events that a notifier did not take, by its name.
	NotifyDropped map[string]uint64
	// DetailsSkipped counts incidents that get no attack_details because too many began at once.
	DetailsSkipped uint64
	// Alarms are the faults that need a person, in words; empty when all is well.
	Alarms []string
}

// health is the part of Health that snapshots tell.
type health struct {
	shards, late, hosts int
	lateTotal           uint64
	overflowed          traffic.Counter
	saturated           uint64
	maxGap              time.Duration
	conservation        string
	conservationFaults  uint64
	// recently: the last tick had it.
	overflowing, saturating bool
}

func (h *health) note(s *merge.Snapshot) {
	h.shards, h.late, h.hosts, h.maxGap = s.Shards, s.Late, s.Len(), s.MaxGap
	h.lateTotal += uint64(s.Late)
	h.overflowed.Add(s.Overflowed)
	h.saturated += s.Saturated
	h.overflowing, h.saturating = s.Overflowed.Packets > 0, s.Saturated > 0
	if s.Conservation != nil {
		h.conservation = s.Conservation.Error()
		h.conservationFaults++
	}
}

// slowPart is what is too large to be made anew ten times a second.
type slowPart struct {
	at         time.Duration
	made       bool
	stale      bool // something that people wait for has changed
	networks   []NetworkView
	hostgroups []HostgroupView
	top        [traffic.NumFamilies][2][rate.NumOrders][]HostView
	incidents  []incident.Incident
}

// slowEvery is how often the large parts of the view are made anew.
const slowEvery = 500 * time.Millisecond

// View returns what the latest tick published. It must not be changed.
func (e *Engine) View() *View { return e.view.Load() }

// publish makes the view.
func (e *Engine) publish(now incident.Now) {
	s := &e.slow
	if due := now.Mono-s.at >= slowEvery; due || !s.made {
		s.made, s.at = true, now.Mono
		e.renewTraffic()
		e.renewIncidents()
	} else if s.stale {
		e.renewIncidents()
	}
	v := &View{
		At: now.Wall, Tick: e.seq, Span: e.meter.Span(), Networks: s.networks, Hostgroups: s.hostgroups, Top: s.top, Incidents: s.incidents,
		Mitigations: e.plan.Wanted, Refusals: e.plan.Refusals, Health: e.health(),
	}
	for f := range v.Totals {
		for d := range v.Totals[f] {
			v.Totals[f][d] = e.meter.Total(traffic.Family(f), traffic.Direction(d))
		}
	}
	e.view.Store(v)
}

func (e *Engine) renewIncidents() {
	e.slow.stale = false
	e.slow.incidents = e.machine.Incidents(nil)
}

func (e *Engine) renewTraffic() {
	s := &e.slow
	s.networks = make([]NetworkView, 0, len(s.networks))
	e.meter.Networks(func(p netip.Prefix, t *rate.Traffic) {
		s.networks = append(s.networks, NetworkView{Network: p, In: t.In, Out: t.Out})
	})
	s.hostgroups = make([]HostgroupView, e.set.Rules.Len())
	for i := range s.hostgroups {
		g := &s.hostgroups[i]
		g.Name, g.Calculation = e.set.Rules.Name(i), e.set.Rules.Calculation(i)
		if i < len(e.sums) {
			g.In, g.Out = e.sums[i].own.In, e.sums[i].own.Out
			g.TotalIn, g.TotalOut = e.sums[i].total.In, e.sums[i].total.Out
		}
	}
	for f := range s.top {
		for d := range s.top[f] {
			for o := range s.top[f][d] {
				hosts := e.meter.Top(traffic.Family(f), rule.Directions[d], rate.Order(o))
				list := make([]HostView, len(hosts))
				for i := range hosts {
					list[i] = e.hostView(&hosts[i])
				}
				s.top[f][d][o] = list
			}
		}
	}
}

func (e *Engine) hostView(h *rate.Host) HostView {
	group, network, _ := e.place(h.Addr)
	return HostView{Host: h.Addr, Hostgroup: e.set.Rules.Name(group), Network: network, In: h.In, Out: h.Out}
}

// Host returns the rates of any host, and whether it is in the networks.
func (e *Engine) Host(a netip.Addr) (HostView, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a = a.Unmap().WithZone("")
	if _, _, ok := e.place(a); !ok {
		return HostView{Host: a}, false
	}
	h := e.meter.Host(a)
	return e.hostView(&h), true
}

// Hostgroup returns the hostgroup and the network of an address, and whether it is in the networks.
func (e *Engine) Hostgroup(a netip.Addr) (name string, network netip.Prefix, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	group, network, ok := e.place(a.Unmap().WithZone(""))
	return e.set.Rules.Name(group), network, ok
}

// Mitigators returns how each mitigator does. It asks them, so it may take as long as their Status.
func (e *Engine) Mitigators() []MitigatorStatus {
	list := make([]MitigatorStatus, len(e.out.runners))
	for i, r := range e.out.runners {
		list[i] = r.snapshot()
	}
	return list
}

// KillSwitch returns the state of the kill switch.
func (e *Engine) KillSwitch() mitigate.KillSwitch { return e.View().Health.Planner.KillSwitch }

func (e *Engine) health() Health {
	h, c := &e.lastSnap, &e.counters
	v := Health{
		Ticks: e.seq, Overruns: c.overruns, Took: c.lastTook, MaxTook: c.maxTook, SourceErrors: c.sourceErrors,
		Shards: h.shards, Late: h.late, LateTotal: h.lateTotal, Hosts: h.hosts, Overflowed: h.overflowed, Saturated: h.saturated,
		MaxGap: h.maxGap, Conservation: h.conservation, ConservationFaults: h.conservationFaults,
		Rates: e.meter.Stats(), Incidents: e.machine.Stats(), Planner: e.planner.Stats(), Journal: e.out.journalStatus(),
		DetailsSkipped: c.detailsSkipped, NotifyDropped: make(map[string]uint64, len(c.dropped)),
	}
	for i, n := range c.dropped {
		v.NotifyDropped[e.deps.Notifiers[i].Name()] += n
	}
	v.Alarms = e.alarms(&v)
	return v
}

func (e *Engine) alarms(v *Health) (list []string) {
	alarm := func(on bool, text string) {
		if on {
			list = append(list, text)
		}
	}
	alarm(v.Journal.Err != "", "the journal fails: "+v.Journal.Err)
	alarm(v.Planner.KillSwitch.On, "the kill switch is on")
	alarm(v.Late > 0, "a worker did not answer in time")
	alarm(e.lastSnap.overflowing, "the host table is full: raise traffic.hosts_per_worker")
	alarm(e.lastSnap.saturating, "the flow table is full: raise traffic.flows_per_worker")
	alarm(v.Conservation != "", "packets are not conserved: "+v.Conservation)
	held := slices.ContainsFunc(e.plan.Refusals, func(r mitigate.Refusal) bool {
		return r.Rail != mitigate.RailWhitelist && r.Rail != mitigate.RailKillSwitch // these are somebody's will
	})
	alarm(held, "guard rails hold back mitigations")
	for _, r := range e.out.runners {
		r.mu.Lock()
		err := r.status.Err
		r.mu.Unlock()
		alarm(err != "", "mitigator "+r.m.Name()+" fails: "+err)
	}
	return slices.Clip(list)
}
