package traffic

import (
	"errors"
	"math/bits"

	"golang.org/x/sys/cpu"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
)

const (
	// Entries fill at most half of the index: one of a thousand then lies behind the line where its search starts, and
	// costs a wait for memory that nobody prefetched.
	loadNum, loadDen = 1, 2
	lanes            = 16 // entries in an index line
	// maxLines ends a search. With a seeded hash at that load no run of 1 M rows is longer than 3 full lines.
	maxLines = 64
	// maxSpills bounds the spill list. A word needs 2^27 packets or 32 GiB within one epoch to get there.
	maxSpills = 1024
	// MinRows is the least capacity of a table.
	MinRows = 1
	// MaxRows is the greatest capacity of a table.
	MaxRows = 1 << rowBits
)

// An index entry is tag, fingerprint and row, from the top. A row takes as many bits as the table needs, the fingerprint what
// is left: 9 bits at a million rows, where one search of 500 is told a lie.
const (
	rowBits  = 28 // at most
	tagShift = 29
	maxTag   = 1<<(32-tagShift) - 1
	tagMask  = maxTag << tagShift
)

// noRow is what Locate notes when the table is full.
const noRow = ^uint32(0)

type indexLine [lanes]uint32

// Table is a fixed set of rows, found by (address, direction).
type Table struct {
	rows  []row
	tails []tail // of the rows
	index []indexLine
	homes uint64
	tag   uint32 // of the entries of this epoch, 1..maxTag
	rowOf uint32 // mask of an entry's row
	count int
	seed  Seed

	rowsAt, indexAt uintptr // for prefetching only
	memory          *arena.Arena
	resident        int  // rows that have been used or touched
	tailed          int  // so are the tails of this many rows, but for gaps
	avx512          bool // whether assembly may use it

	spills []spill
	lost   Counter // spilled counts that found the list full
}

// spill is what one row's class word was drained of.
type spill struct {
	Counter
	row   uint32
	class Class
}

// NewTable makes a table for limit rows in memory of a.
func NewTable(a *arena.Arena, seed Seed, limit int) (*Table, error) {
	t := new(Table)
	return t, t.init(a, seed, limit)
}

// indexLines is how many index lines limit rows have as home.
func indexLines(limit int) int { return (limit*loadDen + loadNum*lanes - 1) / (loadNum * lanes) }

func (t *Table) init(a *arena.Arena, seed Seed, limit int) error {
	if limit < MinRows || limit > MaxRows {
		return errors.New("traffic: hosts are outside 1..268435456")
	}
	t.memory = a
	homes := indexLines(limit)
	var err error
	if t.rows, err = arena.Make[row](a, limit); err != nil {
		return err
	}
	if t.tails, err = arena.Make[tail](a, limit); err != nil {
		return err
	}
	// The tail takes the runs that begin at the last lines, so a search never wraps.
	if t.index, err = arena.Make[indexLine](a, homes+maxLines); err != nil {
		return err
	}
	t.homes, t.seed, t.tag = uint64(homes), seed, 1
	t.rowOf = 1<<bits.Len(uint(limit-1)) - 1
	t.rowsAt, t.indexAt = arena.Address(t.rows), arena.Address(t.index)
	t.avx512 = cpu.X86.HasAVX512VL
	t.spills = make([]spill, 0, maxSpills)
	if a.Prefault {
		t.resident, t.tailed = limit, limit
	}
	return nil
}

// Len is how many rows are in use: they are 0 to Len()-1.
func (t *Table) Len() int { return t.count }

// Cap is how many rows can be in use.
func (t *Table) Cap() int { return len(t.rows) }

// Lost is what was spilled from rows while the spill list was full; it is in the totals, but in no row.
func (t *Table) Lost() Counter { return t.lost }

// entry is the tag and the fingerprint that an entry of this hash has. The line is chosen by the top bits of the
// hash, the lane by the lowest four; the fingerprint lies in the same bits of hash and entry, above those.
func (t *Table) entry(hash uint64) uint32 {
	return t.tag<<tagShift | uint32(hash)&^(t.rowOf|tagMask)
}

// Charge is one addition to one row on its way through Set, Prepare, Locate and Add.
type Charge struct {
	k0, k1  uint64
	hash    uint64
	control uint64
	// Word is OnePacket plus the packet's bytes.
	Word uint64
	row  uint32
	// Class is what the packet is.
	Class Class
	// NewFlows is 1 when the packet starts a flow, else 0.
	NewFlows uint8
}

// Set notes whom c charges: an address at a place of the half's Nets, and the direction, Incoming or Outgoing.
func (c *Charge) Set(addr *[16]byte, place nets.ID, d Direction) {
	c.k0, c.k1 = words(addr)
	c.control = uint64(d)<<placeBits | uint64(place)
}

// prepare hashes the charges and writes the addresses of their index lines, for prefetching.
func (t *Table) prepare(charges []Charge, addrs []uintptr) {
	seed, homes, at := &t.seed, t.homes, t.indexAt
	addrs = addrs[:len(charges)]
	for i := range charges {
		c := &charges[i]
		c.hash = seed.Hash(c.k0, c.k1, Direction(c.control>>placeBits))
		home, _ := bits.Mul64(c.hash, homes)
		addrs[i] = at + uintptr(home)*lineSize
	}
}

// prepareEach is prepareFetch in Go.
func (t *Table) prepareEach(charges []Charge) {
	var addrs [fetchBatch]uintptr
	for len(charges) > 0 {
		part := charges[:min(fetchBatch, len(charges))]
		t.prepare(part, addrs[:])
		arena.Prefetch(&addrs[0], len(part))
		charges = charges[len(part):]
	}
}

// fetchRows prefetches the rows of located charges.
func (t *Table) fetchRows(charges []Charge) {
	var addrs [fetchBatch]uintptr
	for len(charges) > 0 {
		part := charges[:min(fetchBatch, len(charges))]
		t.rowAddrs(part, addrs[:])
		arena.Prefetch(&addrs[0], len(part))
		charges = charges[len(part):]
	}
}

// rowAddrs writes where the rows of located charges are.
func (t *Table) rowAddrs(charges []Charge, addrs []uintptr) {
	addrs = addrs[:len(charges)]
	for i := range charges {
		addrs[i] = t.rowsAt + uintptr(charges[i].row)*rowSize
	}
}

// fetchBatch is how many lines are prefetched at once.
const fetchBatch = 64

// lineSize is the size of an index line.
const lineSize = lanes * 4

// search is find for one charge that was only Set.
func (t *Table) search(c *Charge) uint32 {
	c.hash = t.seed.Hash(c.k0, c.k1, Direction(c.control>>placeBits))
	c.row = t.find(c)
	return c.row
}

// locate finds each charge's row by its fingerprint, or starts it, and prefetches the row.
// A fingerprint can lie: add compares the key.
func (t *Table) locate(all []Charge) {
	for charges := all; len(charges) > 0; {
		n := locateLines(t, &charges[0], len(charges))
		charges = charges[n:]
		if len(charges) > 0 {
			t.locateOne(&charges[0])
			charges = charges[1:]
		}
	}
	if !locateFetches {
		t.fetchRows(all)
	}
}

// locateOne is locate for one charge.
func (t *Table) locateOne(c *Charge) {
	home, _ := bits.Mul64(c.hash, t.homes)
	want := t.entry(c.hash)
	line := &t.index[home]
	lane := c.hash
	for range lanes {
		e := &line[lane%lanes]
		if (*e^want)&^t.rowOf == 0 {
			c.row = *e & t.rowOf
			return
		}
		if (*e^want)>>tagShift != 0 {
			c.row = t.start(e, want, c)
			return
		}
		lane++
	}
	c.row = t.find(c) // the line is full
}

// start takes the next free row.
func (t *Table) start(e *uint32, entry uint32, c *Charge) uint32 {
	if t.count >= len(t.rows) {
		return noRow
	}
	n := t.count
	t.count++
	*e = entry | uint32(n)
	r := &t.rows[n]
	r.k0, r.k1, r.control = c.k0, c.k1, c.control
	r.first = [firstLine]uint64{}
	r.flows = 0
	return uint32(n)
}

// find is the whole search: it compares keys, and starts a row when there is none; noRow when the table is full.
func (t *Table) find(c *Charge) uint32 {
	home, _ := bits.Mul64(c.hash, t.homes)
	want := t.entry(c.hash)
	for l := range t.index[home : home+maxLines] {
		line := &t.index[int(home)+l]
		for k := range uint64(lanes) {
			e := &line[(c.hash+k)%lanes]
			if (*e^want)>>tagShift != 0 {
				return t.start(e, want, c)
			}
			if (*e^want)&^t.rowOf == 0 && t.rows[*e&t.rowOf].is(c) {
				return *e & t.rowOf
			}
		}
	}
	return noRow
}

// is compares keys; places do not matter, an address has one.
func (r *row) is(c *Charge) bool {
	return r.k0 == c.k0 && r.k1 == c.k1 && (r.control^c.control)>>placeBits == 0
}

// at returns the row of a located charge, nil when the table is full.
func (t *Table) at(c *Charge) *row {
	if uint(c.row) < uint(len(t.rows)) {
		if r := &t.rows[c.row]; r.is(c) {
			return r
		}
	}
	return t.again(c)
}

// again searches for the row of a charge that has none or whose fingerprint lied.
func (t *Table) again(c *Charge) *row {
	if c.row == noRow {
		return nil
	}
	if c.row = t.find(c); c.row == noRow {
		return nil
	}
	return &t.rows[c.row]
}

// addWord adds a packed word to a row's class.
func (t *Table) addWord(i uint32, c Class, word uint64) {
	var p *uint64
	if int(c) < firstLine {
		p = &t.rows[i].first[c]
	} else {
		p = &t.tailOf(i).second[int(c)-firstLine]
	}
	w := *p + word
	*p = w
	if w&drainMask != 0 { // practically never
		*p = 0
		t.spill(i, c, unpack(w))
	}
}

// tailOf is the tail of row i, which it makes valid.
func (t *Table) tailOf(i uint32) *tail {
	r, l := &t.rows[i], &t.tails[i]
	if r.control&wide == 0 {
		r.control |= wide
		*l = tail{}
		t.tailed = max(t.tailed, int(i)+1)
	}
	return l
}

// addCounter adds any number of packets and bytes to a row's class.
func (t *Table) addCounter(i uint32, c Class, n Counter) {
	if n.Packets >= maxWordPackets || n.Bytes >= maxWordBytes {
		t.spill(i, c, n)
		return
	}
	t.addWord(i, c, n.Packets<<byteBits|n.Bytes)
}

// spill keeps counts that a word cannot hold. The list is short and rarely used, so it is searched from the front.
func (t *Table) spill(i uint32, c Class, n Counter) {
	for k := range t.spills {
		if s := &t.spills[k]; s.row == i && s.class == c {
			s.Add(n)
			return
		}
	}
	if len(t.spills) == cap(t.spills) {
		t.lost.Add(n)
		return
	}
	t.tailOf(i).spilled = 1
	t.spills = append(t.spills, spill{Counter: n, row: i, class: c})
}

// Read fills h from row i.
func (t *Table) Read(i int, h *Host) {
	r := &t.rows[:t.count][i]
	h.Addr, h.Direction, h.Place, h.Flows = r.addr(), r.direction(), r.place(), r.flows
	h.Cells = Cells{}
	for k, w := range r.first {
		h.Cells[k] = unpack(w)
	}
	if r.control&wide == 0 {
		return
	}
	l := &t.tails[i]
	for k, w := range l.second {
		h.Cells[firstLine+k] = unpack(w)
	}
	if l.spilled != 0 {
		for k := range t.spills {
			if s := &t.spills[k]; s.row == uint32(i) {
				h.Cells[s.class].Add(s.Counter)
			}
		}
	}
}

// Find returns the number of a host's row. It changes nothing and may be called by several readers at once.
func (t *Table) Find(addr *[16]byte, d Direction) (i int, ok bool) {
	var c Charge
	c.Set(addr, 0, d)
	c.hash = t.seed.Hash(c.k0, c.k1, d)
	home, _ := bits.Mul64(c.hash, t.homes)
	want := t.entry(c.hash)
	for l := range t.index[home : home+maxLines] {
		for k := range uint64(lanes) {
			e := t.index[int(home)+l][(c.hash+k)%lanes]
			if (e^want)>>tagShift != 0 {
				return 0, false
			}
			if (e^want)&^t.rowOf == 0 && t.rows[e&t.rowOf].is(&c) {
				return int(e & t.rowOf), true
			}
		}
	}
	return 0, false
}

// Clear empties the table, at no cost but for one time in seven: that clears the index.
func (t *Table) Clear() {
	if t.count == 0 {
		return
	}
	t.resident = max(t.resident, t.count)
	t.spills, t.lost, t.count = t.spills[:0], Counter{}, 0
	if t.tag++; t.tag > maxTag {
		clear(t.index) // an old tag would come round again
		t.tag = 1
	}
}
