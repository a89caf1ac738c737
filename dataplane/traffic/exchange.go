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

// Ready writes to the pages that the next epoch will use, so that those which the system or its host has taken away or marked
// meanwhile are waited for here and not in traffic: half a millisecond for a million hosts when there are none. It is the control
// goroutine's, before Request; it does nothing while an earlier request is unanswered or uncleared.
func (s *Shard) Ready() {
	if s.state != counting {
		return
	}
	e := s.want.Load()
	s.halves[(e+1)&1].table.ready()
	if s.flowSets != nil {
		s.flowSets.Ready(s.halves[e&1].flowSet ^ 1)
	}
}

// pageSize is that of the smallest pages.
const pageSize = 4096

// ready writes to every page of an empty table that has been used before. What it writes is what an empty table may hold.
func (t *Table) ready() {
	if t.count != 0 || t.resident == 0 {
		return
	}
	for i := 0; i < t.resident; i += pageSize / rowSize {
		t.rows[i].flows = 0
	}
	for i := 0; i < t.tailed; i += pageSize / rowSize {
		t.tails[i].spilled = 0
	}
	for i := 0; i < len(t.index); i += pageSize / lineSize {
		t.index[i][0] = 0
	}
}

// Free gives the table's memory back.
func (t *Table) Free() error { return t.memory.Free() }
