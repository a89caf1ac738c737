package traffic

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/weir-ddos/weir/dataplane/arena"
)

// PeakRows is how many rows share Peaks: row i belongs to number i/PeakRows.
const PeakRows = 64

// Peak is the most that any of some rows has, each of the three by itself.
type Peak struct{ Packets, Bytes, Flows uint64 }

// Block is what some rows have at most, and the lowest address among them, for whoever orders equals by address.
type Block struct {
	Peak
	lowest order
}

// order is an address as two numbers: as bytes are compared, from the front.
type order struct{ high, low uint64 }

// orderOf is an address's order.
func orderOf(addr *[16]byte) order {
	return order{binary.BigEndian.Uint64(addr[:8]), binary.BigEndian.Uint64(addr[8:])}
}

func (o order) below(p order) bool { return o.high < p.high || o.high == p.high && o.low < p.low }

// Below reports whether any of the rows may have an address lower than addr. It is false for no rows.
func (b *Block) Below(addr *[16]byte) bool { return b.lowest.below(orderOf(addr)) }

// Raise takes a row in; the address is the row's.
func (b *Block) Raise(p *Peak, addr *[16]byte) { b.raise(p, orderOf(addr)) }

func (b *Block) raise(p *Peak, o order) {
	b.Packets, b.Bytes, b.Flows = max(b.Packets, p.Packets), max(b.Bytes, p.Bytes), max(b.Flows, p.Flows)
	if o.below(b.lowest) {
		b.lowest = o
	}
}

// Peaks are the Blocks of PeakRows rows by family and direction (Incoming or Outgoing). Whoever looks for large rows skips
// those whose peaks are small.
type Peaks [NumFamilies][2]Block

// NoPeaks are those of no rows.
func NoPeaks() (p Peaks) {
	for f := range p {
		for d := range p[f] {
			p[f][d].lowest = order{^uint64(0), ^uint64(0)}
		}
	}
	return p
}

// Tally adds every row to sums, by place*2+direction, and appends the Peaks of all rows to peaks.
func (t *Table) Tally(sums []Sum, peaks []Peaks) []Peaks {
	peaks = slices.Grow(peaks, (t.count+PeakRows-1)/PeakRows)
	none := NoPeaks()
	for from := 0; from < t.count; from += PeakRows {
		t.prefetch(from+PeakRows, min(PeakRows, t.count-from-PeakRows))
		peaks = append(peaks, none)
		t.tallyRows(from, min(from+PeakRows, t.count), sums, &peaks[len(peaks)-1])
	}
	return peaks
}

// prefetch asks for n rows, PeakRows at most. The processor's own prefetching stops at every page.
func (t *Table) prefetch(from, n int) {
	if n <= 0 {
		return
	}
	var addrs [PeakRows]uintptr
	at := t.rowsAt + uintptr(from)*rowSize
	for i := range addrs {
		addrs[i] = at + uintptr(i)*rowSize
	}
	arena.Prefetch(&addrs[0], min(n, len(addrs)))
}

// tallyRows is Tally for rows from to to-1.
func (t *Table) tallyRows(from, to int, sums []Sum, peaks *Peaks) {
	rows := t.rows[from:to]
	for i := range rows {
		r := &rows[i]
		into := &sums[int(r.place())*2+int(r.direction())]
		one := Peak{Flows: r.flows}
		for k := range r.first {
			n := unpack(r.first[k])
			into.Cells[k].Add(n)
			one.Packets += n.Packets
			one.Bytes += n.Bytes
		}
		into.Flows += r.flows
		if r.control&wide != 0 {
			t.tallySecond(from+i, into, &one)
		}
		peaks[r.family()][r.direction()&1].raise(&one, r.order())
	}
}

// tallySecond is Tally for what is in a row's tail.
func (t *Table) tallySecond(i int, into *Sum, one *Peak) {
	l := &t.tails[i]
	add := func(c int, n Counter) {
		into.Cells[c].Add(n)
		one.Packets += n.Packets
		one.Bytes += n.Bytes
	}
	for k, w := range l.second {
		add(firstLine+k, unpack(w))
	}
	if l.spilled == 0 {
		return
	}
	for k := range t.spills {
		if s := &t.spills[k]; s.row == uint32(i) {
			add(int(s.class), s.Counter)
		}
	}
}

// Load is a row in brief.
type Load struct {
	// Peak is what the row has.
	Peak
	// Addr is the host's address, of that family; IPv4 is v4-mapped.
	Addr      [16]byte
	Family    Family
	Direction Direction
}

// Loads fills loads from row from on; there must be as many rows.
func (t *Table) Loads(from int, loads []Load) {
	rows := t.rows[:t.count][from : from+len(loads)]
	for i := range rows {
		r, l := &rows[i], &loads[i]
		l.Peak = Peak{Flows: r.flows}
		for k := range r.first {
			n := unpack(r.first[k])
			l.Packets += n.Packets
			l.Bytes += n.Bytes
		}
		if r.control&wide != 0 {
			t.tallySecond(from+i, new(Sum), &l.Peak)
		}
		l.Addr, l.Family, l.Direction = r.addr(), r.family(), r.direction()
	}
}

// order is that of the row's address.
func (r *row) order() order { return order{bits.ReverseBytes64(r.k0), bits.ReverseBytes64(r.k1)} }
