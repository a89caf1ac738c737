package traffic

import "github.com/weir-ddos/weir/dataplane/nets"

// Combining says how the rows of one table are added to another.
type Combining struct {
	// Relocate gives an address's place in the receiving table; nil when both tables have the same places.
	Relocate func(addr *[16]byte) nets.ID
	// Scale multiplies every count; 1 leaves them exact. It is below 1 for an owner that was late and counted for longer.
	Scale float64
	// Full gets the rows that found the receiving table full, by place*2+direction.
	Full []Sum
}

// combineBatch is how many rows are looked up together, so that none of them is waited for.
const combineBatch = 64

// Combine adds the rows of src, which is not changed. Both tables must have the same seed.
func (t *Table) Combine(src *Table, c *Combining) {
	var charges [combineBatch]Charge
	for from := 0; from < src.count; from += combineBatch {
		rows := src.rows[from:min(from+combineBatch, src.count)]
		for i := range rows {
			r := &rows[i]
			ch := &charges[i]
			ch.k0, ch.k1, ch.control = r.k0, r.k1, r.control&^wide
			if c.Relocate != nil {
				a := r.addr()
				ch.Set(&a, c.Relocate(&a), r.direction())
			}
		}
		t.prepareFetch(charges[:len(rows)])
		t.locate(charges[:len(rows)])
		for i := range rows {
			t.combineRow(src, from+i, &charges[i], c)
		}
	}
}

// combineRow adds row i of src to where charge says.
func (t *Table) combineRow(src *Table, i int, charge *Charge, c *Combining) {
	r := &src.rows[i]
	dst := t.at(charge)
	if c.Scale != 1 || dst == nil || r.control&wide != 0 && src.tails[i].spilled != 0 {
		t.combineSlow(src, i, charge, c)
		return
	}
	dst.flows += r.flows
	for k, w := range r.first {
		if w != 0 {
			t.addWord(charge.row, Class(k), w)
		}
	}
	if r.control&wide == 0 {
		return
	}
	for k, w := range src.tails[i].second {
		if w != 0 {
			t.addWord(charge.row, Class(firstLine+k), w)
		}
	}
}

// combineSlow adds a row that is scaled, has spilled, or has no room.
func (t *Table) combineSlow(src *Table, i int, charge *Charge, c *Combining) {
	var h Host
	src.Read(i, &h)
	one := Sum{h.Cells, h.Flows}
	if c.Scale != 1 {
		one.Scale(c.Scale)
	}
	if charge.row == noRow {
		c.Full[int(uint32(charge.control))*2+int(charge.control>>placeBits)].Add(&one)
		return
	}
	t.rows[charge.row].flows += one.Flows
	for k, n := range one.Cells {
		if n != (Counter{}) {
			t.addCounter(charge.row, Class(k), n)
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
