// Package charge adds flow records to a shard many at a time.
//
// With many hosts nearly every row is a cache miss. A Burst keeps up to a hundred charges, so that their misses overlap: one pass hashes,
// one finds the rows, one adds, and each pass begins with a prefetch of what it needs. What it holds is in no counter yet: whoever owns it
// flushes it before the half changes.
//
// A Burst belongs to the goroutine that owns the shard. It allocates nothing and knows nothing of exporters or time.
package charge
