package nets

import "net/netip"

// ID names the place of an address in one Table. IDs of different tables must not be mixed.
type ID uint32

// Outside is the ID of every address outside the configured networks.
const Outside ID = 0

// Global is the index of the hostgroup that every address of the networks belongs to when no other does.
const Global = 0

// GlobalName is the name of that hostgroup; a Group must not be called so.
const GlobalName = "global"

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
	// An IPv6 network never covers IPv4 addresses, although those travel as ::ffff:a.b.c.d.
	Networks []netip.Prefix
	// Groups are the hostgroups besides global. Only addresses inside Networks are looked up.
	// Group prefixes may be longer or shorter than the networks that they meet, /0 included.
	Groups []Group
	// AllowAll permits 0.0.0.0/0 and ::/0 among Networks. It is off by default because it is nearly always a mistake:
	// with such a network both ends of every packet of that family are ours and all of its traffic is internal.
	AllowAll bool
}

// Place is what a lookup says.
type Place struct {
	// Network is an index into Networks, -1 outside.
	Network int32
	// Group is an index into Groups; Global when no other matches.
	Group int32
}
