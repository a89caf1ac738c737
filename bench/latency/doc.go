// Package latency measures what an operator waits for: the time from the first packet of an attack until a real router
// has the blackhole, and how long a router needs for 10,000 of them.
//
// The lab is tools/lab: a generator, the built weir binary on AF_XDP over veth, and BIRD, each in a network namespace.
// The clock starts right before the kernel gets the first packet of the flood, and stops at the time that BIRD itself
// notes for the route, to the millisecond; so the polling of BIRD is not in the figure. Every attack has another
// victim, IPv4 and IPv6 in turn, and begins at a random phase of the tick. A run whose flood was not sent at its rate
// (a busy machine) measures something else and is repeated; when too few are left it is an error.
//
// Run and Blackholes need root and end all that they start. They are called by one goroutine each.
package latency
