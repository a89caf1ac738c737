// Package traffic owns the counters in which packets, flow records and decisions meet: rows per host and direction in
// a fixed table, the header of totals beside it, and the shard of two halves that lets one writer count without
// locks while one reader takes exact cuts.
//
// Who calls what. A Shard has one owner at a time (a packet worker or a flow collector), which calls Enter once, then
// Poll at every burst boundary and the counting methods of the Half that Poll returned, all from one goroutine, and
// Leave at the end. One control goroutine (merge) calls SetNets, Request, Collect and Clear. A Half belongs to the
// owner while it is active and to the control goroutine from Collect to Clear; nothing else may touch it.
//
// The counting methods never allocate, lock, log or read a clock. A full table counts into the overflow row of the
// packet's network and says so. The package never does I/O and knows neither ports nor rules.
//
// A table is an index and rows. Rows are dense, in the order in which hosts were first seen: a new host costs a
// sequential write, and merging walks memory forwards. The index is open-addressed by hash, four bytes an entry, and
// is searched a burst at a time, so that neither it nor the row is waited for:
//
//	set -> prepare (hash, prefetch the index line) -> locate (entry to row, prefetch the row) -> add
//
// A row is a cache line, which is all that ordinary packets touch, and a tail in another array, where other classes are:
//
//	 0               8               16              24
//	+---------------+---------------+---------------+---------------+
//	| address (16 bytes, v4-mapped) | dir | place   | tcp           |
//	+---------------+---------------+---------------+---------------+
//	| tcp_syn       | udp           | icmp          | flows         |
//	+---------------+---------------+---------------+---------------+
//
//	+---------------+---------------+---------------+---------------+
//	| other         | 5 fragment classes ...                        |
//	+---------------+---------------+---------------+---------------+
//	|                               | spilled       | (spare)       |
//	+---------------+---------------+---------------+---------------+
//
// A class is one word: packets in the high 28 bits, bytes in the low 36, so a packet is one add. When either part
// reaches half of its range the word is moved to the table's spill list, so nothing wraps. A tail is valid when a bit above
// the row's place says so: a new row leaves it alone. An index entry carries a tag of the epoch and is empty when that is old:
// a table is cleared by counting the epoch up. A retired half's table can be exchanged for an empty one, memory and all,
// instead of being read and copied.
package traffic
