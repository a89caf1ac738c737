package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-ddos/weir/appliance/api"
	"github.com/weir-ddos/weir/controlplane/engine"
	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/mitigate"
	"github.com/weir-ddos/weir/controlplane/rate"
	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// running shows the running appliance to the API. It implements api.Runtime.
type running struct{ a *App }

var _ api.Runtime = running{}

// rates puts one direction's rates into the API's terms.
func rates(r *rule.Rates) api.Rates {
	pair := func(pps, mbps rule.Metric) api.Rate { return api.Rate{Packets: r[pps], Bytes: r[mbps] * 1e6 / 8} }
	out := api.Rates{
		Total: pair(rule.PPS, rule.Mbps), TCP: pair(rule.TCPPPS, rule.TCPMbps), TCPSYN: pair(rule.TCPSYNPPS, rule.TCPSYNMbps),
		UDP: pair(rule.UDPPPS, rule.UDPMbps), ICMP: pair(rule.ICMPPPS, rule.ICMPMbps),
		Fragments: pair(rule.FragmentsPPS, rule.FragmentsMbps), Flows: r[rule.Flows],
	}
	out.Other = api.Rate{
		Packets: max(0, out.Total.Packets-out.TCP.Packets-out.UDP.Packets-out.ICMP.Packets),
		Bytes:   max(0, out.Total.Bytes-out.TCP.Bytes-out.UDP.Bytes-out.ICMP.Bytes),
	}
	return out
}

func families(f api.Family) []traffic.Family {
	switch f {
	case api.IPv4:
		return []traffic.Family{traffic.IPv4}
	case api.IPv6:
		return []traffic.Family{traffic.IPv6}
	default:
		return []traffic.Family{traffic.IPv4, traffic.IPv6}
	}
}

// Totals implements api.Runtime.
func (r running) Totals(f api.Family) (api.Totals, error) {
	v := r.a.engine.View()
	var sums [traffic.NumDirections]rule.Rates
	for _, fam := range families(f) {
		for d := range sums {
			for m := range sums[d] {
				sums[d][m] += v.Totals[fam][d][m]
			}
		}
	}
	return api.Totals{
		Incoming: rates(&sums[traffic.Incoming]), Outgoing: rates(&sums[traffic.Outgoing]),
		Internal: rates(&sums[traffic.Internal]), Other: rates(&sums[traffic.Other]),
	}, nil
}

// rated is a target with the rate that it is ordered by: only those that are shown are put into the API's terms.
type rated[T any] struct {
	rate float64
	of   *T
}

// rateOf is the rate that q orders by.
func rateOf(q *api.Query, in, out *rule.Rates) float64 {
	r := in
	if q.Outgoing {
		r = out
	}
	switch q.Order {
	case rate.ByBytes.String():
		return r[rule.Mbps]
	case rate.ByFlows.String():
		return r[rule.Flows]
	default:
		return r[rule.PPS]
	}
}

// first orders targets, highest first and by address where they are equal, and shows as many as q wants.
func first[T any](list []rated[T], q *api.Query, compare func(a, b *T) int, show func(*T) api.TargetRates) []api.TargetRates {
	slices.SortFunc(list, func(a, b rated[T]) int { return cmp.Or(cmp.Compare(b.rate, a.rate), compare(a.of, b.of)) })
	out := make([]api.TargetRates, min(len(list), q.Limit))
	for i := range out {
		out[i] = show(list[i].of)
	}
	return out
}

// Networks implements api.Runtime.
func (r running) Networks(q api.Query) []api.TargetRates {
	v := r.a.engine.View()
	list := make([]rated[engine.NetworkView], 0, len(v.Networks))
	for i := range v.Networks {
		if n := &v.Networks[i]; q.Family.Has(n.Network.Addr()) {
			list = append(list, rated[engine.NetworkView]{rateOf(&q, &n.In, &n.Out), n})
		}
	}
	return first(list, &q, func(a, b *engine.NetworkView) int { return a.Network.Compare(b.Network) }, func(n *engine.NetworkView) api.TargetRates {
		return api.TargetRates{Name: n.Network.String(), Incoming: rates(&n.In), Outgoing: rates(&n.Out)}
	})
}

// Hosts implements api.Runtime. The engine ranks the busiest hosts; others are not kept.
func (r running) Hosts(q api.Query) []api.TargetRates {
	v := r.a.engine.View()
	by := rate.ByPackets
	switch q.Order {
	case rate.ByBytes.String():
		by = rate.ByBytes
	case rate.ByFlows.String():
		by = rate.ByFlows
	}
	side := 0
	if q.Outgoing {
		side = 1
	}
	var list []rated[engine.HostView]
	for _, f := range families(q.Family) {
		top := v.Top[f][side][by]
		list = slices.Grow(list, len(top))
		for i := range top {
			list = append(list, rated[engine.HostView]{rateOf(&q, &top[i].In, &top[i].Out), &top[i]})
		}
	}
	return first(list, &q, func(a, b *engine.HostView) int { return a.Host.Compare(b.Host) }, hostRates)
}

func hostRates(h *engine.HostView) api.TargetRates {
	t := api.TargetRates{Name: h.Host.String(), Hostgroup: h.Hostgroup, Incoming: rates(&h.In), Outgoing: rates(&h.Out)}
	if h.Network.IsValid() {
		t.Network = h.Network.String()
	}
	return t
}

// Hostgroups implements api.Runtime. A group's figures include the groups below it, as its total limits do.
func (r running) Hostgroups(q api.Query) []api.TargetRates {
	var list []api.TargetRates
	for _, g := range r.a.engine.View().Hostgroups {
		list = append(list, api.TargetRates{Name: g.Name, Incoming: rates(&g.TotalIn), Outgoing: rates(&g.TotalOut)})
	}
	return order(list, q)
}

func order(list []api.TargetRates, q api.Query) []api.TargetRates {
	slices.SortStableFunc(list, func(a, b api.TargetRates) int {
		switch {
		case q.Less(&a, &b):
			return -1
		case q.Less(&b, &a):
			return 1
		}
		return 0
	})
	return list[:min(len(list), q.Limit)]
}

// Host implements api.Runtime.
func (r running) Host(a netip.Addr) (api.TargetRates, error) {
	h, ok := r.a.engine.Host(a)
	if !ok {
		return api.TargetRates{}, fmt.Errorf("%s is outside the configured networks: %w", a, api.ErrNotFound)
	}
	return hostRates(&h), nil
}

// Membership implements api.Runtime.
func (r running) Membership(a netip.Addr) api.Membership {
	m := api.Membership{IP: a.String()}
	name, network, ok := r.a.engine.Hostgroup(a)
	if !ok {
		return m
	}
	m.Inside, m.Hostgroup, m.Network = true, name, network.String()
	m.Whitelisted = slices.ContainsFunc(r.a.config().Whitelist, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	return m
}

// Incidents implements api.Runtime.
func (r running) Incidents(all bool) []api.Incident {
	var list []api.Incident
	for _, inc := range r.a.engine.View().Incidents {
		list = append(list, apiIncident(&inc))
	}
	if all {
		for _, inc := range r.a.past.list() {
			list = append(list, apiIncident(&inc))
		}
	}
	slices.SortStableFunc(list, func(a, b api.Incident) int { return b.Start.Compare(a.Start) })
	return list
}

func apiIncident(inc *incident.Incident) api.Incident {
	out := api.Incident{
		ID: inc.ID, Target: inc.Target.String(), Direction: inc.Direction.String(), Hostgroup: inc.Hostgroup, State: inc.State.String(),
		Vector: string(inc.Vector), Protocol: inc.Protocol, Others: inc.Others, InitialPPS: inc.InitialPPS, PeakPPS: inc.PeakPPS,
		Start: inc.Start, LastBreach: inc.LastBreach, End: inc.End, Until: inc.Until, Manual: inc.Manual, Whitelisted: inc.Whitelisted,
	}
	if inc.Network.IsValid() {
		out.Network = inc.Network.String()
	}
	if !inc.Manual {
		out.Threshold, out.Limit, out.Value = inc.Why.Metric.Threshold(inc.Direction), inc.Why.Limit, inc.Why.Value
		out.Unit = inc.Why.Metric.Unit()
	}
	return out
}

// Mitigations implements api.Runtime.
func (r running) Mitigations() []api.Mitigation {
	v := r.a.engine.View()
	byID := make(map[string]*incident.Incident, len(v.Incidents))
	for i := range v.Incidents {
		byID[v.Incidents[i].ID] = &v.Incidents[i]
	}
	status := r.a.speakerStatus()
	list := make([]api.Mitigation, 0, len(v.Mitigations))
	for _, m := range v.Mitigations {
		out := api.Mitigation{Mitigation: m, State: "announced"}
		switch why, refused := status.Refused[m.ID]; {
		case m.DryRun:
			out.State = "dry-run"
		case refused:
			out.State, out.Refused = "refused", why
		case r.a.speaker.get() == nil:
			out.State = "no router"
		case !status.Ready:
			out.State = "pending"
		}
		if inc := byID[m.Incident]; inc != nil {
			i := apiIncident(inc)
			out.Threshold, out.Direction, out.Network = i.Threshold, i.Direction, i.Network
		}
		list = append(list, out)
	}
	return list
}

// Refusals implements api.Runtime.
func (r running) Refusals() []api.Refusal {
	var list []api.Refusal
	for _, f := range r.a.engine.View().Refusals {
		target := f.Owner
		if f.Prefix.IsValid() {
			target = f.Prefix.String()
		}
		list = append(list, api.Refusal{Target: target, Reason: string(f.Rail) + ": " + f.Reason})
	}
	return list
}

// SetBlackhole implements api.Runtime.
func (r running) SetBlackhole(_ context.Context, p netip.Prefix, d time.Duration, by api.Actor) (api.Mitigation, error) {
	q, err := r.a.engine.Block(mitigate.Manual{Kind: mitigate.Blackhole, Prefix: p, By: actor(by)}, d)
	if err != nil {
		return api.Mitigation{}, fmt.Errorf("%w: %w", api.ErrRefused, err)
	}
	for _, m := range r.Mitigations() {
		if m.Incident == q.ID || m.ID == q.ID {
			return m, nil
		}
	}
	// The route exists already, for an attack: the request keeps it for its own time.
	return api.Mitigation{
		Mitigation: mitigate.Mitigation{
			ID: q.ID, Kind: mitigate.Blackhole, Prefix: q.Prefix, Hostgroup: q.Hostgroup, Incident: q.ID, Reason: q.Reason, Manual: true,
			Created: q.Created, Expires: q.Expires,
		},
		State: "pending",
	}, nil
}

// Withdraw implements api.Runtime.
func (r running) Withdraw(_ context.Context, id string, by api.Actor) error {
	err := r.a.engine.Withdraw(id, actor(by))
	if errors.Is(err, mitigate.ErrUnknown) {
		return fmt.Errorf("mitigation %q: %w", id, api.ErrNotFound)
	}
	return err
}

// KillSwitch implements api.Runtime.
func (r running) KillSwitch() bool { return r.a.engine.KillSwitch().On }

// SetKillSwitch implements api.Runtime.
func (r running) SetKillSwitch(_ context.Context, on bool, by api.Actor) error {
	r.a.engine.Kill(on, actor(by), "set over the API")
	return nil
}

func actor(by api.Actor) string {
	return cmp.Or(by.User, fmt.Sprintf("uid %d", by.UID))
}

// Peers implements api.Runtime.
func (r running) Peers() []mitigate.PeerStatus { return r.a.speakerStatus().Peers }

// Ports implements api.Runtime.
func (r running) Ports() []api.Port { return r.a.meters.ports() }
