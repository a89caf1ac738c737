// Package flowtrack owns the memory that tells a new flow from one already seen: per shard two fixed sets of
// fingerprints of 5-tuples.
//
// A set lives for a second, or for one epoch when that is longer, and the other is empty meanwhile. The control goroutine
// chooses at an epoch's end (traffic.Shard.SetKeepFlows) which of them the next epoch is counted on, and clears the one that
// was left once the last half counted on it has been collected; a late control plane only makes a set live longer. So
// a row's flows in an epoch are the 5-tuples that were first seen in this second, and their sum over the second is its
// distinct flows.
//
// A Tracker belongs to the owner of a shard (a worker), which calls Set with traffic.Half.FlowSet and Insert per
// packet on it, from one goroutine; the control goroutine calls Clear through traffic.Shard for the set that is not in use.
// Nothing here allocates after New, and nothing is ever evicted: a set that has reached its capacity says so and counts
// the packets that it could not judge, so that the number of flows is a lower bound then, never an invention.
//
// Layout: cache lines of 16 entries of 32 bits, each a tag of the set's life over a fingerprint of 24 bits. An entry whose tag
// is old is empty, so clearing a set costs nothing but once in 255 times. The top of a flow's 64-bit hash chooses its
// line, the lowest bits the entry where the search starts; it goes round the line, and on to the next when that is full.
// At capacity 5 of 8 entries are in use: a search then reads 2 to 4 entries of 1.01 lines, and a new flow is taken for
// another one with a probability of 1 in 4 million.
package flowtrack
