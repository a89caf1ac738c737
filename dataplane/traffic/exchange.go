package traffic

import "github.com/weir-ddos/weir/dataplane/arena"

// Exchange gives the rows of a collected half to t and takes those of t for the half's next epoch. It does nothing and returns
// false unless t is empty and made as the half's table is: for as many rows, with the same seed. Memory goes along: Free of
// either side frees what it has then.
func (h *Half) Exchange(t *Table) bool {
	if t.count != 0 || t.Cap() != h.table.Cap() || t.seed != h.table.seed {
		return false
	}
	t.touch(h.table.count)
	h.table, *t = *t, h.table
	return true
}

// touch makes a table's memory ready for as many rows and some more, so that page faults do not happen in traffic.
func (t *Table) touch(rows int) {
	if rows <= t.resident {
		return
	}
	if t.resident == 0 {
		arena.Populate(t.index)
	}
	n := min(rows+rows/8, len(t.rows))
	arena.Populate(t.rows[t.resident:n])
	t.resident = n
}

// Free gives the table's memory back.
func (t *Table) Free() error { return t.memory.Free() }
