package traffic

import (
	"errors"
	"math/bits"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/nets"
)

const (
	// Rows fill at most 3 of 4 slots: at that load a hit looks at 2.5 rows and a miss at 8.5, next to each other.
	loadNum, loadDen = 3, 4
	// maxProbe ends a search. With a seeded hash at that load the longest run of 1 M rows is below 400.
	maxProbe = 512
	// maxSpills bounds the spill list. A word needs 2^27 packets or 32 GiB within one epoch to get there.
	maxSpills = 1024
	// MinRows and MaxRows bound a table's capacity.
	MinRows, MaxRows = 1, 1 << 28
)

// Table is a fixed set of rows, open-addressed in place by (address, direction). The position of a row is the top of
// its hash scaled to the table, so tables of any size with one seed hold their rows in the same order.
type Table struct {
	rows  []row
	slots uint64
	tag   uint64 // of this epoch: 1..maxTag
	count int
	limit int
	seed  Seed
	base  uintptr

	used   []uint64 // a bit per slot: walks rows in order and costs 1/1000 of the rows
	spills []spill
	lost   Counter // spilled counts that found the list full
}

// spill is what one row's class word was drained of.
type spill struct {
	Counter
	slot  uint32
	class Class
}

// NewTable makes a table for limit rows in memory of a.
func NewTable(a *arena.Arena, seed Seed, limit int) (*Table, error) {
	t := new(Table)
	return t, t.init(a, seed, limit)
}

func (t *Table) init(a *arena.Arena, seed Seed, limit int) error {
	if limit < MinRows || limit > MaxRows {
		return errors.New("traffic: hosts are outside 1..268435456")
	}
	slots := (limit*loadDen + loadNum - 1) / loadNum
	var err error
	// The tail takes the runs that begin at the last slots, so a search never wraps.
	if t.rows, err = arena.Make[row](a, slots+maxProbe); err != nil {
		return err
	}
	if t.used, err = arena.Make[uint64](a, (slots+maxProbe+63)/64); err != nil {
		return err
	}
	t.slots, t.limit, t.seed, t.tag = uint64(slots), limit, seed, 1
	t.base = arena.Address(t.rows)
	t.spills = make([]spill, 0, maxSpills)
	return nil
}

// home is the slot where the search for a hash starts.
func (t *Table) home(hash uint64) uint64 {
	hi, _ := bits.Mul64(hash, t.slots)
	return hi
}

// Len is how many rows are in use.
func (t *Table) Len() int { return t.count }

// Cap is how many rows can be in use.
func (t *Table) Cap() int { return t.limit }

// Lost is what was spilled from rows while the spill list was full; it is in the totals, but in no row.
func (t *Table) Lost() Counter { return t.lost }

// slot finds the row of a key or takes a free one; -1 when the table is full.
func (t *Table) slot(home, k0, k1 uint64, d Direction, place nets.ID) int {
	want := t.tag<<1 | uint64(d)
	if home >= uint64(len(t.rows)) {
		return -1
	}
	run := t.rows[home:]
	if len(run) > maxProbe {
		run = run[:maxProbe]
	}
	for i := range run {
		r := &run[i]
		if r.control>>placeBits == want && r.k0 == k0 && r.k1 == k1 {
			return int(home) + i
		}
		if r.control>>tagShift != t.tag {
			return t.take(int(home)+i, k0, k1, d, place)
		}
	}
	return -1
}

// take starts a row in a free slot.
func (t *Table) take(i int, k0, k1 uint64, d Direction, place nets.ID) int {
	if t.count >= t.limit {
		return -1
	}
	t.count++
	t.used[i>>6] |= 1 << (i & 63)
	r := &t.rows[i]
	r.k0, r.k1 = k0, k1
	r.control = t.tag<<tagShift | uint64(d)<<placeBits | uint64(place)
	r.first = [firstLine]uint64{}
	r.flows = 0
	return i
}

// addWord adds a packed word to a row's class.
func (t *Table) addWord(i int, c Class, word uint64) {
	r := &t.rows[i]
	var p *uint64
	if int(c) < firstLine {
		p = &r.first[c]
	} else {
		t.line2(r)
		p = &r.second[int(c)-firstLine]
	}
	w := *p + word
	*p = w
	if w&drainMask != 0 { // practically never
		*p = 0
		t.spill(i, c, unpack(w))
	}
}

// line2 makes the second line valid.
func (t *Table) line2(r *row) {
	if r.tag2&^spilled != t.tag {
		r.tag2 = t.tag
		r.second = [len(r.second)]uint64{}
	}
}

// addCounter adds any number of packets and bytes to a row's class.
func (t *Table) addCounter(i int, c Class, n Counter) {
	if n.Packets >= maxWordPackets || n.Bytes >= maxWordBytes {
		t.spill(i, c, n)
		return
	}
	t.addWord(i, c, n.Packets<<byteBits|n.Bytes)
}

// spill keeps counts that a word cannot hold. The list is short and rarely used, so it is searched from the front.
func (t *Table) spill(i int, c Class, n Counter) {
	for k := range t.spills {
		if s := &t.spills[k]; s.slot == uint32(i) && s.class == c {
			s.Add(n)
			return
		}
	}
	if len(t.spills) == cap(t.spills) {
		t.lost.Add(n)
		return
	}
	t.line2(&t.rows[i])
	t.rows[i].tag2 |= spilled
	t.spills = append(t.spills, spill{Counter: n, slot: uint32(i), class: c})
}

// cells unpacks row i.
func (t *Table) cells(i int, c *Cells) {
	r := &t.rows[i]
	*c = Cells{}
	for k, w := range r.first {
		c[k] = unpack(w)
	}
	if r.tag2&^spilled != t.tag {
		return
	}
	for k, w := range r.second {
		c[firstLine+k] = unpack(w)
	}
	if r.tag2&spilled != 0 {
		for k := range t.spills {
			if s := &t.spills[k]; s.slot == uint32(i) {
				c[s.class].Add(s.Counter)
			}
		}
	}
}

// Read fills h from the row in slot i, one of AppendUsed's.
func (t *Table) Read(i uint32, h *Host) {
	r := &t.rows[i]
	h.Addr, h.Direction, h.Place, h.Flows = r.addr(), r.direction(), r.place(), r.flows
	t.cells(int(i), &h.Cells)
}

// Find returns the slot of a host's row.
func (t *Table) Find(addr *[16]byte, d Direction) (slot uint32, ok bool) {
	k0, k1 := words(addr)
	home := int(t.home(t.seed.Hash(k0, k1, d)))
	want := t.tag<<1 | uint64(d)
	for i := home; i < home+maxProbe && i < len(t.rows); i++ {
		r := &t.rows[i]
		if r.control>>placeBits == want && r.k0 == k0 && r.k1 == k1 {
			return uint32(i), true
		}
		if r.tag() != t.tag {
			break
		}
	}
	return 0, false
}

// AppendUsed appends the slots in use, in order of their hash.
func (t *Table) AppendUsed(slots []uint32) []uint32 {
	for w, word := range t.used {
		for ; word != 0; word &= word - 1 {
			slots = append(slots, uint32(w<<6+bits.TrailingZeros64(word)))
		}
	}
	return slots
}

// Clear empties the table. It costs a bit per slot, whatever the rows hold.
func (t *Table) Clear() {
	clear(t.used)
	t.spills, t.lost, t.count = t.spills[:0], Counter{}, 0
	if t.tag++; t.tag > maxTag {
		// After 68 years of seconds, or 7 of 100 ms ticks, an old tag would come round again.
		clear(t.rows)
		t.tag = 1
	}
}
