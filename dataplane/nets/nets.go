package nets

import "net/netip"

// ID names the place of an address in one Table. IDs of different tables must not be mixed.
type ID uint32

// Outside is the ID of every address outside the configured networks.
const Outside ID = 0

// Global is the index of the hostgroup that every address of the networks belongs to when no other does.
const Global = 0

// Group is a hostgroup's membership.
type Group struct {
	// Name is the hostgroup's name.
	Name string
	// Prefixes are its members; the longest prefix over all groups wins.
	Prefixes []netip.Prefix
}

// Spec is what a Table is built from.
type Spec struct {
	// Networks are our own networks, IPv4 and IPv6 in any mix, nested ones allowed (the longest wins).
	Networks []netip.Prefix
	// Groups are the hostgroups besides global. Only addresses inside Networks are looked up.
	Groups []Group
}

// Place is what a lookup says.
type Place struct {
	// Network is an index into Networks, -1 outside.
	Network int32
	// Group is an index into Groups; Global when no other matches.
	Group int32
}
