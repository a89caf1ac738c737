package rate

import (
	"math"
	"net/netip"

	"github.com/weir-ddos/weir/controlplane/rule"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// moving is a rate that is kept from tick to tick: its average, and its flows.
type moving struct {
	rates rule.Rates
	// begun is the flows per second of the present second so far, before that of the one before.
	begun, before float64
}

// move takes what the meter's ring has of it.
func (to *moving) move(m *Meter, v *volume, a float64) {
	to.begun = v.flows.begunRate(&m.flows)
	now := m.rates(v, v.flows.rate(&m.flows, to.before))
	smooth(&to.rates, &now, a)
}

// pair is rates by direction, incoming first.
type pair [2]moving

// sums are the rates of networks, hostgroups (their own members only) and directions, by index in the newest table.
type sums struct {
	table    *nets.Table
	networks []pair
	groups   []pair
	totals   [traffic.NumFamilies][traffic.NumDirections]moving
}

// closeFlows notes that a second has ended.
func (s *sums) closeFlows() {
	for _, list := range [2][]pair{s.networks, s.groups} {
		for i := range list {
			for d := range list[i] {
				list[i][d].before = list[i][d].begun
			}
		}
	}
	for f := range s.totals {
		for d := range s.totals[f] {
			s.totals[f][d].before = s.totals[f][d].begun
		}
	}
}

// volumes are the counts behind sums.
type volumes struct {
	networks, groups [][2]volume
	totals           [traffic.NumFamilies][traffic.NumDirections]volume
}

// add adds snapshot i of the meter's ring, by the places of the newest table.
func (v *volumes) add(m *Meter, i int, newest *nets.Table) {
	snap := m.ring[i]
	relocate := relocation(snap.Nets(), newest)
	for id := range snap.Nets().NumPlaces() {
		place := relocate(nets.ID(id))
		for d, dir := range rule.Directions {
			sum := snap.Place(nets.ID(id), dir)
			if place.Network >= 0 {
				v.networks[place.Network][d].add(m, i, &sum.Cells, sum.Flows)
			}
			if place.Group >= 0 && nets.ID(id) != nets.Outside {
				v.groups[place.Group][d].add(m, i, &sum.Cells, sum.Flows)
			}
		}
	}
	for f := range v.totals {
		for d := range v.totals[f] {
			sum := &snap.Totals()[f][d]
			v.totals[f][d].add(m, i, &sum.Cells, sum.Flows)
		}
	}
}

// update computes the sums of the window, or moves their averages.
func (s *sums) update(m *Meter) {
	newest := m.ring[len(m.ring)-1].Nets()
	v := volumes{networks: make([][2]volume, len(newest.Networks())), groups: make([][2]volume, len(newest.Groups()))}
	for i := m.oldest(); i < len(m.ring); i++ {
		v.add(m, i, newest)
	}
	s.relocate(newest)
	a := 0.0
	if m.cfg.Mode == Average {
		a = math.Exp(-m.epoch.Seconds() / m.cfg.AverageTime.Seconds())
	}
	for d := range rule.Directions {
		for i := range v.networks {
			s.networks[i][d].move(m, &v.networks[i][d], a)
		}
		for i := range v.groups {
			s.groups[i][d].move(m, &v.groups[i][d], a)
		}
	}
	for f := range v.totals {
		for d := range v.totals[f] {
			s.totals[f][d].move(m, &v.totals[f][d], a)
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
		f(p, &Traffic{In: m.sums.networks[i][0].rates, Out: m.sums.networks[i][1].rates})
	}
}

// Groups calls f for every hostgroup with the rates of its own members.
func (m *Meter) Groups(f func(name string, t *Traffic)) {
	if m.sums.table == nil {
		return
	}
	for i, name := range m.sums.table.Groups() {
		f(name, &Traffic{In: m.sums.groups[i][0].rates, Out: m.sums.groups[i][1].rates})
	}
}

// Total returns the rates of all traffic of a family in a direction.
func (m *Meter) Total(f traffic.Family, d traffic.Direction) rule.Rates {
	return m.sums.totals[f][d].rates
}
