package spread

import (
	"unsafe"

	"github.com/weir-ddos/weir/dataplane/arena"
	"github.com/weir-ddos/weir/dataplane/traffic"
)

// queueSize is how many records wait for their rows' entries together: each entry is half a dozen cache misses, which so overlap.
const queueSize = 32

// linesOf is how many lines of an entry are asked for: the key with what is due, and two bins, which may lie across lines.
const linesOf = 5

// queue is records whose rows are still to be charged.
type queue struct {
	plans  [queueSize]plan
	rows   [2 * queueSize]waiting
	hashes [2 * queueSize]uint32
	addrs  [2 * queueSize * linesOf]uintptr
	np, nr int
}

// waiting is one row of a plan.
type waiting struct {
	key
	plan uint8
}

// plan returns room for a record, nil when there is none.
func (q *queue) plan() *plan {
	if q.np == queueSize {
		return nil
	}
	q.np++
	return &q.plans[q.np-1]
}

// row adds a row of the last plan.
func (q *queue) row(k key) {
	q.rows[q.nr] = waiting{k, uint8(q.np - 1)}
	q.nr++
}

// Flush charges the rows of the records that were added. The owner calls it before the half changes.
func (s *Spreader) Flush(h *traffic.Half) {
	q := &s.queue
	if q.np == 0 {
		return
	}
	s.fetch()
	for i := range q.rows[:q.nr] {
		w := &q.rows[i]
		p := &q.plans[w.plan%queueSize]
		e := &s.table.entries[s.find(h, &w.key, q.hashes[i])]
		if p.first != (traffic.Counter{}) {
			s.row(h, e, p.first)
		}
		s.join(h, e, p)
	}
	q.np, q.nr = 0, 0
	s.burst.Flush(h)
}

// fetch prefetches the index, then the entries that the rows most probably have.
func (s *Spreader) fetch() {
	q := &s.queue
	index := arena.Address(s.table.index)
	for i := range q.rows[:q.nr] {
		q.hashes[i] = s.table.hash(&q.rows[i].key)
		q.addrs[i] = index + uintptr(q.hashes[i]&s.table.mask)*8
	}
	arena.Prefetch(&q.addrs[0], q.nr)
	n := 0
	entries := arena.Address(s.table.entries)
	for i := range q.rows[:q.nr] {
		at := s.table.seek(q.hashes[i])
		if at < 0 {
			continue
		}
		p := &q.plans[q.rows[i].plan%queueSize]
		e := entries + uintptr(at)*entrySize
		begin, end := e+binAt(p.from+1), e+binAt(p.to)
		*(*[linesOf]uintptr)(q.addrs[n:]) = [linesOf]uintptr{e, begin, begin + binSize - 1, end, end + binSize - 1}
		n += linesOf
	}
	if n > 0 {
		arena.Prefetch(&q.addrs[0], n)
	}
}

// ahead is how many entries Work asks for at once.
const ahead = 16

// prefetch asks for what charging the entries from i on needs, and returns before which entry it stopped.
func (s *Spreader) prefetch(i int) int {
	q, n, end := &s.queue, 0, min(i+ahead, len(s.table.entries))
	for at := arena.Address(s.table.entries) + uintptr(i)*entrySize; i < end; i++ {
		q.addrs[n], q.addrs[n+1] = at, at+64
		n += 2
		at += entrySize
	}
	arena.Prefetch(&q.addrs[0], n)
	return end
}

// Sizes for prefetching.
const (
	entrySize = unsafe.Sizeof(entry{})
	binSize   = unsafe.Sizeof(bin{})
)

// binAt is where the bin of this number lies in an entry.
func binAt(number int64) uintptr {
	return unsafe.Offsetof(entry{}.ring) + unsafe.Offsetof(ring{}.bins) + uintptr(number&(numBins-1))*binSize
}
