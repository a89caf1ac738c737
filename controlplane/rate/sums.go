package rate

import (
	"math"
	"net/netip"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// pair is rates by direction, incoming first.
type pair [2]rule.Rates

// sums are the rates of networks, hostgroups (their own members only) and directions, by index in the newest table.
type sums struct {
	table    *nets.Table
	networks []pair
	groups   []pair
	totals   [traffic.NumFamilies][traffic.NumDirections]rule.Rates
}

// update computes the sums of the window, or moves their averages.
func (s *sums) update(m *Meter) {
	window := m.window()
	newest := window[len(window)-1].Nets()
	networks := make([][2]volume, len(newest.Networks()))
	groups := make([][2]volume, len(newest.Groups()))
	var totals [traffic.NumFamilies][traffic.NumDirections]volume
	for _, snap := range window {
		relocate := relocation(snap.Nets(), newest)
		for id := range snap.Nets().NumPlaces() {
			place := relocate(nets.ID(id))
			for d, dir := range rule.Directions {
				sum := snap.Place(nets.ID(id), dir)
				if place.Network >= 0 {
					networks[place.Network][d].add(&sum.Cells, sum.Flows)
				}
				if place.Group >= 0 && nets.ID(id) != nets.Outside {
					groups[place.Group][d].add(&sum.Cells, sum.Flows)
				}
			}
		}
		for f := range totals {
			for d := range totals[f] {
				sum := &snap.Totals()[f][d]
				totals[f][d].add(&sum.Cells, sum.Flows)
			}
		}
	}
	s.relocate(newest)
	a := 0.0
	if m.cfg.Mode == Average {
		a = math.Exp(-m.epoch.Seconds() / m.cfg.AverageTime.Seconds())
	}
	move := func(to *rule.Rates, v *volume) {
		now := v.rates(m.span, m.epoch)
		smooth(to, &now, a)
	}
	for d := range rule.Directions {
		for i := range networks {
			move(&s.networks[i][d], &networks[i][d])
		}
		for i := range groups {
			move(&s.groups[i][d], &groups[i][d])
		}
	}
	for f := range totals {
		for d := range totals[f] {
			move(&s.totals[f][d], &totals[f][d])
		}
	}
}

// relocation maps places of one table to the networks and groups of another; -1 where the other has none.
func relocation(from, to *nets.Table) func(nets.ID) nets.Place {
	if from == to {
		return from.Place
	}
	networks, groups := positions(from.Networks(), to.Networks()), positions(from.Groups(), to.Groups())
	return func(id nets.ID) nets.Place {
		p, q := from.Place(id), nets.Place{Network: -1, Group: -1}
		if p.Network >= 0 {
			q.Network = networks[p.Network]
		}
		if p.Group >= 0 {
			q.Group = groups[p.Group]
		}
		return q
	}
}

// positions says where each element of from is in to; -1 when it is not there.
func positions[T comparable](from, to []T) []int32 {
	index := make(map[T]int32, len(to))
	for i, v := range to {
		index[v] = int32(i)
	}
	at := make([]int32, len(from))
	for i, v := range from {
		at[i] = -1
		if p, ok := index[v]; ok {
			at[i] = p
		}
	}
	return at
}

// relocate moves the averages to a new table.
func (s *sums) relocate(to *nets.Table) {
	if s.table == to {
		return
	}
	networks, groups := make([]pair, len(to.Networks())), make([]pair, len(to.Groups()))
	if s.table != nil {
		for i, p := range positions(s.table.Networks(), to.Networks()) {
			if p >= 0 {
				networks[p] = s.networks[i]
			}
		}
		for i, p := range positions(s.table.Groups(), to.Groups()) {
			if p >= 0 {
				groups[p] = s.groups[i]
			}
		}
	}
	s.table, s.networks, s.groups = to, networks, groups
}

// Traffic is the rates of a network or a hostgroup.
type Traffic struct {
	In, Out rule.Rates
}

// Networks calls f for every configured network.
func (m *Meter) Networks(f func(p netip.Prefix, t *Traffic)) {
	if m.sums.table == nil {
		return
	}
	for i, p := range m.sums.table.Networks() {
		f(p, &Traffic{In: m.sums.networks[i][0], Out: m.sums.networks[i][1]})
	}
}

// Groups calls f for every hostgroup with the rates of its own members.
func (m *Meter) Groups(f func(name string, t *Traffic)) {
	if m.sums.table == nil {
		return
	}
	for i, name := range m.sums.table.Groups() {
		f(name, &Traffic{In: m.sums.groups[i][0], Out: m.sums.groups[i][1]})
	}
}

// Total returns the rates of all traffic of a family in a direction.
func (m *Meter) Total(f traffic.Family, d traffic.Direction) rule.Rates { return m.sums.totals[f][d] }
