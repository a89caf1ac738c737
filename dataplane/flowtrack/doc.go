// Package flowtrack owns the memory that tells a new flow from one already seen: per shard half a fixed set of
// fingerprints of 5-tuples.
//
// A Tracker belongs to the owner of a shard (a worker), which calls Set once an epoch and Insert per packet on it, from
// one goroutine; the control goroutine calls Retired and Clear through traffic.Shard for the half that it holds.
// Nothing here allocates after New, and nothing is ever evicted: a set that has reached its capacity says so and counts
// the packets that it could not judge, so that the number of flows is a lower bound then, never an invention.
//
// Layout: cache lines of 16 entries of 32 bits, each a tag of the epoch over a fingerprint of 24 bits. An entry whose tag
// is old is empty, so clearing a set costs nothing but once in 255 epochs. The top of a flow's 64-bit hash chooses its
// line, the lowest bits the entry where the search starts; it goes round the line, and on to the next when that is full.
// At capacity 5 of 8 entries are in use: a search then reads 2 to 4 entries of 1.01 lines, and a new flow is taken for
// another one with a probability of 1 in 4 million.
package flowtrack
