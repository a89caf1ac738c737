package traffic

import (
	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// Sum is disjoint counters and the flows that belong to them.
type Sum struct {
	Cells Cells
	Flows uint64
}

// Add adds o to s.
func (s *Sum) Add(o *Sum) {
	s.Cells.Add(&o.Cells)
	s.Flows += o.Flows
}

// Totals is one Sum per family and direction. Every packet is in it once.
type Totals [NumFamilies][NumDirections]Sum

// Half is what one owner counted in one epoch: the rows and, beside them, everything that is counted once a packet.
// Its fields are plain: they belong to the owner until the half is retired, to the control goroutine after that.
type Half struct {
	Totals Totals
	// Codes counts frames by what decoding said of them; Frames is their sum.
	Codes [wire.NumCodes]uint64
	// Frames and Bytes are what the owner took from its queues, lengths on the wire.
	Frames, Bytes uint64
	// Records is the packets that came as flow records (RecordPackets) and not as frames.
	Records Counter
	// Overflowed is what found the table full. It is in the overflow row of its network too.
	Overflowed Counter
	// Saturated is the number of packets whose flow was new to a full flow set: Flows is then a lower bound.
	Saturated uint64
	// MaxGap is the longest time between two polls, in nanoseconds.
	MaxGap int64
	// Start and Stop are when the half was active, in nanoseconds of the shard's clock.
	Start, Stop int64

	table    Table
	nets     *nets.Table
	overflow []Sum // place*2 + direction
	index    int
	flowSet  int              // written by the control goroutine while the half is nobody's
	_        [arena.Line]byte // the other half has another owner
}

func (h *Half) init(cfg Config, seed Seed, index int, n *nets.Table) error {
	h.index = index
	h.setNets(n)
	return h.table.init(&arena.Arena{Prefault: cfg.Prefault}, seed, cfg.Hosts)
}

// setNets is called while the half is empty and nobody's.
func (h *Half) setNets(n *nets.Table) {
	h.nets = n
	h.overflow = make([]Sum, 2*n.NumPlaces())
}

// Nets is the prefix table for every lookup of this half: a half has exactly one, so that places never mix.
func (h *Half) Nets() *nets.Table { return h.nets }

// Table is the half's rows.
func (h *Half) Table() *Table { return &h.table }

// Index is 0 or 1: which of the shard's halves this is.
func (h *Half) Index() int { return h.index }

// FlowSet is 0 or 1: on which of the owner's flow sets this half is counted.
func (h *Half) FlowSet() int { return h.flowSet }

// Overflow returns the overflow row of a place and direction (Incoming or Outgoing).
func (h *Half) Overflow(place nets.ID, d Direction) *Sum {
	return &h.overflow[int(place)*2+int(d&1)]
}

// Prepare hashes charges that were Set and fills addrs, as many, for arena.Prefetch: Locate goes there.
func (h *Half) Prepare(charges []Charge, addrs []uintptr) { h.table.prepare(charges, addrs) }

// Locate finds or starts the rows of prepared charges and fills addrs, as many, for arena.Prefetch: Add goes there.
func (h *Half) Locate(charges []Charge, addrs []uintptr) {
	h.table.locate(charges)
	h.table.rowAddrs(charges, addrs)
}

// LocateFetch is Locate and the prefetch after it.
func (h *Half) LocateFetch(charges []Charge) { h.table.locate(charges) }

// Add makes the additions of located charges.
func (h *Half) Add(charges []Charge) {
	t := &h.table
	rows := t.rows
	for i := range charges {
		c := &charges[i]
		if uint(c.row) < uint(len(rows)) && int(c.Class) < firstLine {
			r := &rows[c.row]
			if w := r.first[c.Class] + c.Word; r.is(c) && w&drainMask == 0 {
				r.first[c.Class] = w
				r.flows += uint64(c.NewFlows)
				continue
			}
		}
		h.addSlow(c)
	}
}

// addSlow adds what is not an ordinary packet of a row that was found at once.
func (h *Half) addSlow(c *Charge) {
	r := h.table.at(c)
	if r == nil {
		h.overflowed(c)
		return
	}
	r.flows += uint64(c.NewFlows)
	h.table.addWord(c.row, c.Class, c.Word)
}

func (h *Half) overflowed(c *Charge) {
	n := unpack(c.Word)
	h.Overflowed.Add(n)
	s := h.Overflow(nets.ID(uint32(c.control)), Direction(c.control>>placeBits))
	s.Cells[c.Class].Add(n)
	s.Flows += uint64(c.NewFlows)
}

// Record is what a flow record, already multiplied by its sampling rate, adds in this epoch.
type Record struct {
	// Src and Dst are the flow's addresses; IPv4 is v4-mapped.
	Src, Dst [16]byte
	// Class is what its packets are.
	Class Class
	// Flow says that the record starts a flow that was not counted yet.
	Flow bool
	Counter
}

// AddRecord counts a flow record: totals once, and the rows that policy says. It returns the record's direction.
func (h *Half) AddRecord(policy InternalPolicy, r *Record) Direction {
	if r.Class >= NumClasses {
		return Other
	}
	src, dst := h.nets.Lookup(&r.Src), h.nets.Lookup(&r.Dst)
	d := DirectionOf(src, dst)
	var flows uint64
	if r.Flow {
		flows = 1
	}
	total := &h.Totals[FamilyOf(&r.Dst)][d]
	total.Cells[r.Class].Add(r.Counter)
	total.Flows += flows
	h.Records.Add(r.Counter)
	in, out := policy.Rows(d)
	if in {
		h.addHost(&r.Dst, dst, Incoming, r.Class, r.Counter, flows)
	}
	if out {
		h.addHost(&r.Src, src, Outgoing, r.Class, r.Counter, flows)
	}
	return d
}

// AddTotal counts a part of a flow record in the totals alone. Together with AddRow it is what AddRecord does at once: a
// record that reports a minute is counted in parts, and each of its rows has parts of its own.
func (h *Half) AddTotal(f Family, d Direction, class Class, n Counter) {
	h.Totals[f][d].Cells[class].Add(n)
	h.Records.Add(n)
}

// AddRow counts a part of a flow record in one host's row (Incoming or Outgoing) alone, or in the overflow row of its
// network when the table is full. An address outside the networks has no row.
func (h *Half) AddRow(addr *[16]byte, d Direction, class Class, n Counter) {
	if place := h.nets.Lookup(addr); place != nets.Outside {
		h.addHost(addr, place, d, class, n, 0)
	}
}

// AddOverflow counts a part of a flow record in the overflow row of the network that addr lies in.
func (h *Half) AddOverflow(addr *[16]byte, d Direction, class Class, n Counter) {
	h.Overflowed.Add(n)
	h.Overflow(h.nets.Lookup(addr), d).Cells[class].Add(n)
}

// addHost adds any amount to one row.
func (h *Half) addHost(addr *[16]byte, place nets.ID, d Direction, class Class, n Counter, flows uint64) {
	t := &h.table
	var c Charge
	c.Set(addr, place, d)
	i := t.search(&c)
	if i == noRow {
		h.Overflowed.Add(n)
		s := h.Overflow(place, d)
		s.Cells[class].Add(n)
		s.Flows += flows
		return
	}
	t.addCounter(i, class, n)
	t.rows[i].flows += flows
}

// clear empties the half for its next epoch. It is cheap unless rows overflowed.
func (h *Half) clear() {
	h.table.Clear()
	if h.Overflowed != (Counter{}) {
		clear(h.overflow)
	}
	h.Totals = Totals{}
	h.Codes = [wire.NumCodes]uint64{}
	h.Frames, h.Bytes, h.Saturated = 0, 0, 0
	h.Records, h.Overflowed = Counter{}, Counter{}
	h.MaxGap, h.Start, h.Stop = 0, 0, 0
}
