package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// Block asks for a mitigation by hand. Kind, Prefix, Match, Action, Rate, By and Reason of q are used; ID, Created and Expires are set here, and so is
// Hostgroup when it is empty. ban is how long it lasts; zero means the ban time of the hostgroup. The guard rails are asked at once: an error says
// which one refuses. The result has the id by which Withdraw ends it.
func (e *Engine) Block(q mitigate.Manual, ban time.Duration) (mitigate.Manual, error) {
	if !q.Prefix.IsValid() {
		return q, errors.New("block: no prefix")
	}
	q.Prefix = q.Prefix.Masked()
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.present()
	group, network, _ := e.place(q.Prefix.Addr())
	q.Hostgroup = cmp.Or(q.Hostgroup, e.set.Rules.Name(group))
	if ban == 0 {
		ban = cmp.Or(e.planner.Policy(q.Hostgroup).BanTime, e.set.Bans.BanTime)
	}
	q.Reason = cmp.Or(q.Reason, "set by an operator")
	q.ID, q.Created, q.Expires = "new", now.Wall, now.Wall.Add(ban)
	if err := e.planner.CheckManual(now.Wall, q); err != nil {
		return q, fmt.Errorf("block %v: %w", q.Prefix, err)
	}
	if !q.Prefix.IsSingleIP() {
		network = q.Prefix
	}
	direction := traffic.Incoming
	if q.Match.Source.IsValid() && !q.Match.Destination.IsValid() {
		direction = traffic.Outgoing
	}
	t, err := e.machine.Open(now, incident.Incident{
		Target: rule.Target{Host: q.Prefix.Addr()}, Direction: direction, Hostgroup: q.Hostgroup, Network: network,
	}, ban, cmp.Or(q.By, "an operator")+": "+q.Reason)
	if err != nil {
		return q, fmt.Errorf("block: %w", err)
	}
	q.ID, q.Expires = t.Incident.ID, t.Incident.Until
	e.manuals[q.ID] = q
	e.handle([]incident.Transition{t})
	e.replan(now)
	return q, nil
}

// Withdraw ends a mitigation, or the incident or manual request with that id, at once. An attack that goes on is not mitigated again until it has ended,
// at most for a ban time. by says who asked, for people.
func (e *Engine) Withdraw(id, by string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.present()
	owners, planErr := e.planner.Withdraw(id)
	if planErr != nil {
		owners = []string{id} // an incident without a mitigation
	}
	var failed error
	for _, owner := range owners {
		t, err := e.machine.Close(now, owner, "withdrawn by "+cmp.Or(by, "an operator"))
		if err != nil {
			failed = err // an owner that has ended already
			continue
		}
		e.handle([]incident.Transition{t})
	}
	if planErr != nil && failed != nil {
		return fmt.Errorf("withdraw %s: %w", id, mitigate.ErrUnknown)
	}
	e.out.dirty = true
	e.replan(now)
	return nil
}

// Kill turns the kill switch: when on, everything is withdrawn and nothing new is announced, until it is turned off.
func (e *Engine) Kill(on bool, by, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.present()
	e.planner.Kill(mitigate.KillSwitch{On: on, By: by, Reason: reason, Since: now.Wall})
	e.log.Warn("kill switch", "on", on, "by", by, "reason", reason)
	e.out.dirty = true
	e.replan(now)
}

// State is all that must outlive the process. It is plain data.
type State struct {
	// Saved is when.
	Saved     time.Time           `json:"saved"`
	Incidents []incident.Incident `json:"incidents,omitempty"`
	// Manual are the requests of operators; each has an incident of the same id.
	Manual  []mitigate.Manual `json:"manual,omitempty"`
	Planner mitigate.State    `json:"planner"`
}

func (e *Engine) state(now incident.Now) State {
	s := State{Saved: now.Wall, Planner: e.planner.State()}
	e.machine.Each(func(inc *incident.Incident) {
		if inc.State == incident.Suspect {
			return
		}
		s.Incidents = append(s.Incidents, *inc)
		if q, ok := e.manuals[inc.ID]; ok {
			q.Expires = inc.Until
			s.Manual = append(s.Manual, q)
		}
	})
	return s
}

// Restore takes up the state of an earlier run. It is called once, before Start and the first Tick. What the guard rails
// forbid today, or has expired, is left out and logged.
func (e *Engine) Restore(t time.Time, s State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = e.instant(t)
	for _, q := range s.Manual {
		e.manuals[q.ID] = q
	}
	e.machine.Restore(e.now, slices.DeleteFunc(slices.Clone(s.Incidents), func(inc incident.Incident) bool {
		_, known := e.manuals[inc.ID]
		return inc.Manual && !known // it does not say what was asked for
	}))
	open := make(map[string]bool)
	e.machine.Each(func(inc *incident.Incident) {
		open[inc.ID] = true
		if !inc.Whitelisted {
			e.told[inc.ID] = true
		}
	})
	for id := range e.manuals {
		if !open[id] {
			delete(e.manuals, id)
		}
	}
	for id, why := range e.planner.Restore(e.now.Wall, s.Planner) {
		e.log.Warn("mitigation of an earlier run left out", "id", id, "reason", why)
	}
	e.watch()
	e.log.Info("state restored", "incidents", len(open), "mitigations", len(s.Planner.Active), "saved", s.Saved)
}
