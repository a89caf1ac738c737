// Package nets tells to which of our networks and hostgroups an address belongs.
//
// A Table is built once from a Spec by the control plane (New, cold) and never changes afterwards: any number of workers look
// addresses up in it at the same time, and a new configuration is a new Table that workers pick up at an epoch switch. Lookup is
// hot code: it takes a handful of loads, allocates nothing and takes no lock. IPv4 and IPv6 addresses go through the same code.
//
// What comes out of a lookup is an ID: a dense small integer that stands for one distinct (network, hostgroup) pair, so that
// callers can keep per-place counters in a plain slice of NumPlaces elements. ID 0 is Outside.
//
// Of packets the package knows the addresses alone (LookupAll); which direction two IDs make is the business of its callers.
package nets
