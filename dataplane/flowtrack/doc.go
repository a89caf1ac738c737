// Package flowtrack owns the memory that tells a new flow from one already seen: per shard half a fixed set of
// fingerprints of 5-tuples.
//
// A Tracker belongs to the owner of a shard (a worker), which calls Set once an epoch and Insert per packet on it, from
// one goroutine; the control goroutine calls Retired and Clear through traffic.Shard for the half that it holds.
// Nothing here allocates after New, and nothing is ever evicted: a set that has reached its capacity says so and counts
// the packets that it could not judge, so that the number of flows is a lower bound then, never an invention.
//
// Layout: buckets of one cache line, 15 fingerprints of 32 bits behind a tag of the epoch. A bucket whose tag is old is
// empty, so clearing a set costs nothing. A flow's home is the top of its 64-bit hash scaled to the number of buckets,
// its fingerprint the low 32 bits; a full bucket passes it on to the next. At capacity buckets are three quarters full:
// a search reads 1.05 lines on average, and two flows of 4 M are taken for one with a probability below 1 in 200
// million each.
package flowtrack
