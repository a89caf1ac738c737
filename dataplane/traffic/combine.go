package traffic

import (
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/nets"
)

// Combining says how the rows of one table are added to another.
type Combining struct {
	// Sums gets every row added at place*2+direction, places being those of the receiving table.
	Sums []Sum
	// Relocate gives an address's place in the receiving table; nil when both tables have the same places.
	Relocate func(addr *[16]byte) nets.ID
	// Scale multiplies every count; 1 leaves them exact. It is below 1 for an owner that was late and counted for longer.
	Scale float64
	// Full gets the rows that found the receiving table full, by place*2+direction.
	Full []Sum
}

// Combine adds the rows of src, which is not changed. Tables with one seed keep their rows in the same order,
// so both are walked forwards.
func (t *Table) Combine(src *Table, c *Combining) {
	plain := c.Relocate == nil && c.Scale == 1
	for w, word := range src.used {
		for ; word != 0; word &= word - 1 {
			i := w<<6 + bits.TrailingZeros64(word)
			r := &src.rows[i]
			if plain && r.tag2 != src.tag|spilled {
				t.combineRow(src, r, c)
			} else {
				t.combineSlow(src, i, c)
			}
		}
	}
}

// combineRow adds a row whose counts are all in its words.
func (t *Table) combineRow(src *Table, r *row, c *Combining) {
	d := r.direction()
	sum := &c.Sums[int(r.place())*2+int(d)]
	before := t.count
	i := t.slot(t.home(t.seed.Hash(r.k0, r.k1, d)), r.k0, r.k1, d, r.place())
	if i < 0 {
		full := &c.Full[int(r.place())*2+int(d)]
		src.sumInto(full, r)
		src.sumInto(sum, r)
		return
	}
	dst := &t.rows[i]
	if t.count != before { // a new row: copy
		dst.first, dst.flows = r.first, r.flows
		if r.tag2 == src.tag {
			dst.second, dst.tag2 = r.second, t.tag
		}
	} else {
		dst.flows += r.flows
		for k, w := range r.first {
			if w != 0 {
				t.addWord(i, Class(k), w)
			}
		}
		if r.tag2 == src.tag {
			for k, w := range r.second {
				if w != 0 {
					t.addWord(i, Class(firstLine+k), w)
				}
			}
		}
	}
	src.sumInto(sum, r)
}

// sumInto adds the words of one of t's rows to s.
func (t *Table) sumInto(s *Sum, r *row) {
	s.Flows += r.flows
	for k, w := range r.first {
		if w != 0 {
			s.Cells[k].Packets += w >> byteBits
			s.Cells[k].Bytes += w & byteMask
		}
	}
	if r.tag2&^spilled == t.tag {
		for k, w := range r.second {
			s.Cells[firstLine+k].Packets += w >> byteBits
			s.Cells[firstLine+k].Bytes += w & byteMask
		}
	}
}

// combineSlow adds a row that is scaled, has moved, or has spilled.
func (t *Table) combineSlow(src *Table, i int, c *Combining) {
	var h Host
	src.Read(uint32(i), &h)
	if c.Relocate != nil {
		h.Place = c.Relocate(&h.Addr)
	}
	one := Sum{h.Cells, h.Flows}
	if c.Scale != 1 {
		one.Scale(c.Scale)
	}
	c.Sums[int(h.Place)*2+int(h.Direction)].Add(&one)
	k0, k1 := words(&h.Addr)
	at := t.slot(t.home(t.seed.Hash(k0, k1, h.Direction)), k0, k1, h.Direction, h.Place)
	if at < 0 {
		c.Full[int(h.Place)*2+int(h.Direction)].Add(&one)
		return
	}
	t.rows[at].flows += one.Flows
	for k, n := range one.Cells {
		if n != (Counter{}) {
			t.addCounter(at, Class(k), n)
		}
	}
}

// Scale multiplies every count by f, rounding to the nearest.
func (s *Sum) Scale(f float64) {
	scale := func(n uint64) uint64 { return uint64(float64(n)*f + 0.5) }
	for i := range s.Cells {
		s.Cells[i] = Counter{scale(s.Cells[i].Packets), scale(s.Cells[i].Bytes)}
	}
	s.Flows = scale(s.Flows)
}
