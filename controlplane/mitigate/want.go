package mitigate

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
)

// incident offers what one incident's policy wants.
func (r *round) incident(inc *incident.Incident) {
	if inc.State != incident.Active && inc.State != incident.Cooling {
		return
	}
	r.owners[inc.ID] = struct{}{}
	policy := r.p.Policy(inc.Hostgroup)
	mode := policy.Mitigation
	if inc.Manual {
		mode = ModeBlackhole // a person asked for it, whatever the group does by itself
	}
	if mode == ModeNone {
		return
	}
	base := Mitigation{
		Hostgroup: inc.Hostgroup, Incident: inc.ID, Reason: reason(inc), Manual: inc.Manual, DryRun: *policy.DryRun,
	}
	if inc.Whitelisted {
		if inc.Target.Host.IsValid() {
			base.Prefix = hostPrefix(inc.Target.Host)
		}
		r.refuse(refuse(RailWhitelist, "%s is whitelisted", inc.Target), "", base, inc.ID)
		return
	}
	w := want{m: base, until: inc.Until, lease: lease(inc, policy), start: inc.Start, power: max(inc.InitialPPS, inc.PeakPPS)}

	prefixes, isSubnet, v := r.targets(inc, policy, mode)
	if v != nil {
		r.refuse(v, "", base, inc.ID)
		return
	}
	for i, prefix := range prefixes {
		one := w
		one.owners = []string{inc.ID}
		one.m.Prefix = prefix
		if mode == ModeFlowSpec {
			r.flowSpec(one, inc, policy)
			continue
		}
		blackhole(&one.m, policy, isSubnet[i])
		r.offer(one)
	}
}

// targets lists the prefixes to mitigate: a group's own networks, or the host and the subnet around it.
// Flow Spec rules are for the host alone: announce_host and announce_subnet are about blackholes.
func (r *round) targets(inc *incident.Incident, policy Policy, mode Mode) (list []netip.Prefix, isSubnet []bool, v *refused) {
	add := func(p netip.Prefix, subnet bool) {
		list, isSubnet = append(list, p), append(isSubnet, subnet)
	}
	if !inc.Target.Host.IsValid() {
		for _, p := range r.p.groups[inc.Target.Group] {
			add(p.Masked(), !p.IsSingleIP())
		}
		if len(list) == 0 {
			// Global has no prefixes of its own: it would mean all of the network.
			return nil, nil, refuse(RailPolicy, "%s has no networks of its own to announce", inc.Target)
		}
		return list, isSubnet, nil
	}
	host := hostPrefix(inc.Target.Host)
	if mode == ModeFlowSpec || inc.Manual || *policy.AnnounceHost {
		add(host, false)
	}
	if *policy.AnnounceSubnet && mode != ModeFlowSpec && !inc.Manual {
		if p := r.subnet(inc, policy); p.IsValid() && p != host {
			add(p, true)
		}
	}
	if len(list) == 0 {
		return nil, nil, refuse(RailPolicy, "announce_host and announce_subnet leave nothing to announce for %s", host.Addr())
	}
	return list, isSubnet, nil
}

// subnet is the prefix around the host of the policy's length, never wider than the configured network that holds it.
func (r *round) subnet(inc *incident.Incident, policy Policy) netip.Prefix {
	host := hostPrefix(inc.Target.Host)
	bits := policy.SubnetLengthIPv6
	if host.Addr().Is4() {
		bits = policy.SubnetLengthIPv4
	}
	if inc.Network.IsValid() && inc.Network.Contains(host.Addr()) {
		bits = max(bits, inc.Network.Bits())
	}
	p, err := host.Addr().Prefix(bits)
	if err != nil {
		return host
	}
	return p
}

// flowSpec offers the rule that the incident's breach tells, or what the policy falls back to.
func (r *round) flowSpec(w want, inc *incident.Incident, policy Policy) {
	b := inc.Why
	b.Direction = inc.Direction
	match, ok := describe(&b, w.m.Prefix)
	if ok {
		flowRule(&w.m, match, policy.FlowSpecAction, policy)
		r.offer(w)
		return
	}
	switch policy.FlowSpecFallback {
	case FallbackRateLimit:
		w.m.Reason += "; no class has 90 % of it: all traffic is limited"
		flowRule(&w.m, match, RateLimit, policy)
		r.offer(w)
	case FallbackBlackhole:
		w.m.Reason += "; no class has 90 % of it: blackhole instead of Flow Spec"
		blackhole(&w.m, policy, !w.m.Prefix.IsSingleIP())
		r.offer(w)
	default:
		r.refuse(refuse(RailNoSignature, "no class of traffic has more than 90 %% of the attack on %s", inc.Target), "", w.m, inc.ID)
	}
}

// flowRule makes m a Flow Spec rule.
func flowRule(m *Mitigation, match Match, action Action, policy Policy) {
	m.Kind, m.Match, m.Action = FlowSpec, match, action
	if action == RateLimit {
		m.Rate = policy.FlowSpecRateMbps * 1_000_000 / 8
	}
}

// blackhole makes m a blackhole of m.Prefix.
func blackhole(m *Mitigation, policy Policy, subnet bool) {
	m.Kind, m.Communities = Blackhole, policy.CommunitiesHost
	hop4, hop6 := policy.NextHopIPv4, policy.NextHopIPv6
	if subnet {
		if policy.CommunitiesSubnet != nil {
			m.Communities = policy.CommunitiesSubnet
		}
		if policy.NextHopSubnetIPv4.IsValid() {
			hop4 = policy.NextHopSubnetIPv4
		}
		if policy.NextHopSubnetIPv6.IsValid() {
			hop6 = policy.NextHopSubnetIPv6
		}
	}
	m.NextHop = hop6
	if m.Prefix.Addr().Is4() {
		m.NextHop = hop4
	}
}

// lease is how far ahead a mitigation of inc is renewed.
func lease(inc *incident.Incident, policy Policy) time.Duration {
	if policy.BanTime > 0 {
		return policy.BanTime
	}
	if d := inc.Until.Sub(inc.Start); !inc.Until.IsZero() && d >= minBanTime && d <= maxBanTime {
		return d
	}
	return defaultLease
}

func reason(inc *incident.Incident) string {
	if inc.Manual {
		return "set by an operator"
	}
	b := &inc.Why
	return fmt.Sprintf("%s: %.0f %s over %.0f, %s", b.Metric.Threshold(inc.Direction), b.Value, b.Metric.Unit(), b.Limit, inc.Vector)
}

// manual offers what a person asked for.
func (r *round) manual(q *Manual) {
	r.owners[q.ID] = struct{}{}
	m := r.p.manualMitigation(q)
	if v := r.p.checkManual(r.now, q); v != nil {
		r.refuse(v, m.Key(), m, q.ID)
		return
	}
	if !q.Expires.After(r.now) {
		return // it is over; whoever keeps the list drops it
	}
	r.offer(want{m: m, owners: []string{q.ID}, manual: q.ID, until: q.Expires, fixed: true, start: q.Created})
}

func (p *Planner) manualMitigation(q *Manual) Mitigation {
	policy := p.Policy(q.Hostgroup)
	m := Mitigation{Prefix: q.Prefix, Hostgroup: q.Hostgroup, Reason: q.Reason, Manual: true, DryRun: *policy.DryRun}
	if q.By != "" {
		m.Reason = fmt.Sprintf("%s (by %s)", q.Reason, q.By)
	}
	if q.Kind == FlowSpec {
		m.Kind, m.Match, m.Action, m.Rate = FlowSpec, q.Match, q.Action, q.Rate
		return m
	}
	blackhole(&m, policy, !q.Prefix.IsSingleIP())
	if q.Kind != "" {
		m.Kind = q.Kind // an unknown kind is for the rails to refuse
	}
	return m
}

func (p *Planner) checkManual(now time.Time, q *Manual) *refused {
	switch {
	case q.ID == "":
		return refuse(RailInvalid, "the request has no id")
	case q.Reason == "":
		return refuse(RailInvalid, "the request has no reason")
	case q.Expires.IsZero():
		return refuse(RailInvalid, "the request has no expiry; every mitigation must end")
	case q.Expires.Sub(now) > p.rails.guard.MaxManualTime:
		return refuse(RailInvalid, "expiry is more than %v ahead", p.rails.guard.MaxManualTime)
	}
	return nil
}
