package traffic

import (
	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// classOf maps an IP protocol to its class; SYN and fragments are added by ClassOf.
var classOf = func() (t [256]Class) {
	for i := range t {
		t[i] = ClassOther
	}
	t[wire.ProtoTCP] = ClassTCP
	t[wire.ProtoUDP] = ClassUDP
	t[wire.ProtoICMP] = ClassICMP
	t[wire.ProtoICMPv6] = ClassICMP
	return t
}()

// ClassOf is the class of a packet: its protocol, its TCP flags (0 when unknown or not TCP), whether it is a fragment.
func ClassOf(proto, tcpFlags uint8, fragment bool) Class {
	c := classOf[proto]
	if c == ClassTCP && tcpFlags&wire.FlagSYN != 0 {
		c = ClassTCPSYN
	}
	if fragment {
		c += FragmentOffset
	}
	return c
}

// directions is indexed by 2*(source is ours) + (destination is ours).
var directions = [4]Direction{Other, Incoming, Outgoing, Internal}

// DirectionOf is the direction of a packet whose addresses lie at these places.
func DirectionOf(src, dst nets.ID) Direction {
	i := uint(0)
	if src != nets.Outside {
		i = 2
	}
	if dst != nets.Outside {
		i++
	}
	return directions[i%4]
}

// Family is 0 for IPv4 and 1 for IPv6: the first index of totals.
type Family uint8

// The address families.
const (
	IPv4 Family = iota
	IPv6
	NumFamilies
)

// FamilyOf is the family of a 16-byte address; IPv4 is v4-mapped.
func FamilyOf(a *[16]byte) Family {
	k0, k1 := words(a)
	if k0 == 0 && uint32(k1) == mapped {
		return IPv4
	}
	return IPv6
}

// mapped is 00 00 ff ff read as a little-endian word: the middle of a v4-mapped address.
const mapped = 0xffff0000
