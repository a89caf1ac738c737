package replay

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-ddos/weir/controlplane/incident"
	"github.com/weir-ddos/weir/controlplane/merge"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// sums adds up every snapshot on its way to the engine. It implements engine.Source.
type sums struct {
	merger *merge.Merger

	frames, bytes uint64
	codes         [wire.NumCodes]uint64
	totals        [traffic.NumDirections]traffic.Sum
	hosts         map[netip.Addr]*merge.Sides
	overflowed    traffic.Counter
	saturated     uint64
	faults        []string

	incidents []incident.Incident // in order of their beginning
	index     map[string]int
}

func newSums(m *merge.Merger) *sums {
	return &sums{merger: m, hosts: make(map[netip.Addr]*merge.Sides), index: make(map[string]int)}
}

// SetNets implements engine.Source.
func (s *sums) SetNets(n *nets.Table) { s.merger.SetNets(n) }

// Tick implements engine.Source.
func (s *sums) Tick(now time.Time) (*merge.Snapshot, error) {
	snap, err := s.merger.Tick(now)
	if err != nil {
		return nil, err
	}
	s.frames += snap.Frames
	s.bytes += snap.Bytes
	s.saturated += snap.Saturated
	s.overflowed.Add(snap.Overflowed)
	for i, n := range snap.Codes {
		s.codes[i] += n
	}
	for f := range snap.Totals {
		for d := range snap.Totals[f] {
			s.totals[d].Add(&snap.Totals[f][d])
		}
	}
	var h traffic.Host
	for i := range snap.Len() {
		snap.Read(i, &h)
		a := netip.AddrFrom16(h.Addr).Unmap()
		sides := s.hosts[a]
		if sides == nil {
			sides = new(merge.Sides)
			s.hosts[a] = sides
		}
		sides[h.Direction].Add(&traffic.Sum{Cells: h.Cells, Flows: h.Flows})
	}
	if snap.Conservation != nil && len(s.faults) < 10 {
		s.faults = append(s.faults, snap.Conservation.Error())
	}
	return snap, nil
}

// transition remembers every incident as it was last. Suspects that cleared were none.
func (s *sums) transition(t incident.Transition) {
	i, known := s.index[t.Incident.ID]
	switch {
	case known:
		s.incidents[i] = t.Incident
	case t.To == incident.Active:
		s.index[t.Incident.ID] = len(s.incidents)
		s.incidents = append(s.incidents, t.Incident)
	}
}

// addresses lists the hosts in order.
func (s *sums) addresses() []netip.Addr {
	list := make([]netip.Addr, 0, len(s.hosts))
	for a := range s.hosts {
		list = append(list, a)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return list
}

// sortHosts puts the busiest host first.
func sortHosts(list []Host) {
	slices.SortStableFunc(list, func(a, b Host) int {
		return cmp.Compare(b.Incoming.Total.Packets+b.Outgoing.Total.Packets, a.Incoming.Total.Packets+a.Outgoing.Total.Packets)
	})
}
