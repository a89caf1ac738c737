package merge

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Sides is what a network or a hostgroup had: indexed by traffic.Incoming and traffic.Outgoing.
type Sides [2]traffic.Sum

// Overflow is what found its table full, by network and hostgroup.
type Overflow struct {
	// Place is in the snapshot's Nets.
	Place     nets.ID
	Direction traffic.Direction // Incoming or Outgoing
	Sum       traffic.Sum
}

// Snapshot is what all shards counted in one epoch.
type Snapshot struct {
	// Time is the Tick's argument, and Seq its number, from 1.
	Time time.Time
	Seq  uint64
	// Elapsed is the measured length of the epoch: divide by it to get rates. It is 0 when the clock stood still.
	Elapsed time.Duration
	// Nets is the prefix table that every place in the snapshot belongs to.
	Nets *nets.Table
	// Totals count every packet once, Codes every frame; Frames and Bytes are what the queues delivered, Records what
	// came as flow records.
	Totals        traffic.Totals
	Codes         [wire.NumCodes]uint64
	Frames, Bytes uint64
	Records       traffic.Counter
	// Networks and Groups are the sums over hosts and overflow, indexed like Nets.Networks() and Nets.Groups().
	// A host counts for the longest network that holds it and for one group.
	Networks, Groups []Sides
	// Overflow lists the overflow rows that are not empty, and Overflowed is their sum.
	Overflow   []Overflow
	Overflowed traffic.Counter
	// Lost is counts that fit into no row (a host with more than 32 GiB in an epoch among thousands of such). They are
	// in Totals only.
	Lost traffic.Counter
	// Saturated is how many packets had a flow that could not be judged: flows are a lower bound unless it is 0.
	Saturated uint64
	// FlowsKept says that flows which the snapshot before has counted are not counted again in this one. It is false when
	// a second begins, and always when the tick is a second or longer.
	FlowsKept bool
	// MaxGap is the longest time that any worker did not poll.
	MaxGap time.Duration
	// Shards is how many were asked, Late how many of them did not answer in time, Scaled how many were late before and
	// whose rows were scaled.
	Shards, Late, Scaled int
	// Conservation is nil when every frame is in exactly one code, and every addressed frame in exactly one total.
	Conservation error

	table    *traffic.Table
	sums     []traffic.Sum // place*2 + direction
	full     []traffic.Sum
	peaks    []traffic.Peaks
	merger   *Merger
	released bool
}

// Len is how many rows there are, one per host and direction.
func (s *Snapshot) Len() int { return s.table.Len() }

// At returns row i. Rows are in the order in which their shard first saw them, shard by shard.
func (s *Snapshot) At(i int) (h traffic.Host) {
	s.table.Read(i, &h)
	return h
}

// Read fills h with row i; in a loop over all rows it saves copying.
func (s *Snapshot) Read(i int, h *traffic.Host) { s.table.Read(i, h) }

// Loads fills loads with rows in brief, from row from on.
func (s *Snapshot) Loads(from int, loads []traffic.Load) { s.table.Loads(from, loads) }

// Peaks returns the peaks of rows i*traffic.PeakRows and the following ones.
func (s *Snapshot) Peaks(i int) *traffic.Peaks { return &s.peaks[i] }

// Find returns a host's row in one direction.
func (s *Snapshot) Find(addr netip.Addr, d traffic.Direction) (h traffic.Host, ok bool) {
	if !addr.IsValid() || d > traffic.Outgoing {
		return h, false
	}
	a := addr.As16()
	i, ok := s.table.Find(&a, d)
	if ok {
		s.table.Read(i, &h)
	}
	return h, ok
}

// Place returns the sum of all hosts at a place, in one direction (Incoming or Outgoing).
func (s *Snapshot) Place(id nets.ID, d traffic.Direction) *traffic.Sum {
	return &s.sums[int(id)*2+int(d&1)]
}

// Release gives the snapshot's memory back to its Merger. It must be called once, when nobody reads it any more, from
// any goroutine.
func (s *Snapshot) Release() { s.merger.release(s) }

// reset empties the snapshot for the places of n.
func (s *Snapshot) reset(n *nets.Table) {
	*s = Snapshot{
		Nets: n, table: s.table, merger: s.merger, peaks: s.peaks[:0],
		sums: zeroed(s.sums, 2*n.NumPlaces()), full: zeroed(s.full, 2*n.NumPlaces()),
		Networks: zeroed(s.Networks, len(n.Networks())), Groups: zeroed(s.Groups, len(n.Groups())), Overflow: s.Overflow[:0],
	}
	s.table.Clear()
}

func zeroed[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// fold adds the places up to networks and groups, and lists the overflow.
func (s *Snapshot) fold() {
	for i := range s.full {
		if s.full[i] == (traffic.Sum{}) {
			continue
		}
		s.sums[i].Add(&s.full[i])
		o := Overflow{Place: nets.ID(i / 2), Direction: traffic.Direction(i % 2), Sum: s.full[i]}
		s.Overflow = append(s.Overflow, o)
		for _, c := range o.Sum.Cells {
			s.Overflowed.Add(c)
		}
	}
	for i := range s.sums {
		p := s.Nets.Place(nets.ID(i / 2))
		if p.Network < 0 || s.sums[i] == (traffic.Sum{}) {
			continue
		}
		s.Networks[p.Network][i%2].Add(&s.sums[i])
		s.Groups[p.Group][i%2].Add(&s.sums[i])
	}
}

// conservation checks the law that every packet is counted exactly once.
func (s *Snapshot) conservation() error {
	var codes, addressed, counted uint64
	for c, n := range s.Codes {
		codes += n
		if wire.Code(c).Addressed() {
			addressed += n
		}
	}
	for f := range s.Totals {
		for d := range s.Totals[f] {
			for _, c := range s.Totals[f][d].Cells {
				counted += c.Packets
			}
		}
	}
	if codes != s.Frames {
		return fmt.Errorf("%d frames were received, %d have a code", s.Frames, codes)
	}
	if want := addressed + s.Records.Packets; counted != want {
		return fmt.Errorf("%d packets have an address, %d are in the totals", want, counted)
	}
	return nil
}
