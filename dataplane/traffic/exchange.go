package traffic

import "github.com/weir-ddos/weir/dataplane/arena"

// Exchange gives the rows of a collected half to t and takes those of t for the half's next epoch. It does nothing and returns
// false unless t is empty and made as the half's table is: for as many rows, with the same seed. Memory goes along: Free of
// either side frees what it has then.
func (h *Half) Exchange(t *Table) bool {
	if t.count != 0 || t.Cap() != h.table.Cap() || t.seed != h.table.seed {
		return false
	}
	t.touch(max(h.table.count+h.table.count/8, h.table.resident))
	t.touchTails(h.table.tailed)
	h.table, *t = *t, h.table
	return true
}

// touch makes a table's memory ready for as many rows, so that page faults do not happen in traffic.
func (t *Table) touch(rows int) {
	if rows = min(rows, len(t.rows)); rows <= t.resident {
		return
	}
	if t.resident == 0 {
		arena.Populate(t.index)
	}
	arena.Populate(t.rows[t.resident:rows])
	t.resident = rows
}

// touchTails does the same for as many tails.
func (t *Table) touchTails(rows int) {
	if rows > t.tailed {
		arena.Populate(t.tails[t.tailed:rows])
		t.tailed = rows
	}
}

// Free gives the table's memory back.
func (t *Table) Free() error { return t.memory.Free() }
