package wire

import "math/bits"

// Plain decodes the shape that nearly every frame of a mirror port has: Ethernet, at most two VLAN tags, an IPv4 header without
// options or an IPv6 header without extensions, no fragment, and a complete TCP, UDP or ICMP header that begins no tunnel; the capture
// may end behind it (the 128 bytes of sFlow, a port's snap length). For anything else it returns false, having possibly scribbled on
// ip, and Walk decides. What it accepts, Walk answers alike (TestMutations, FuzzDecode). BenchmarkDecode says what it saves.
//
// Fields are taken out of a few wide loads: the number of instructions is what a packet costs here.
func (d *Decoder) Plain(b []byte, ip *IP) bool {
	if len(b) < 14+plainIPv4 {
		return false
	}
	first := le.Uint32(b[12:16])
	b = b[14:]
	if first&etherIPv4Mask == etherIPv4 {
		return d.plainIPv4(b, ip)
	}
	if first&etherIPv6Mask == etherIPv6 {
		return d.plainIPv6(b, ip)
	}
	typ := bits.ReverseBytes16(uint16(first))
	if typ == typeVLAN || typ == typeQinQ {
		if b, typ = untagged(b); b == nil {
			return false
		}
	}
	switch typ {
	case typeIPv4:
		return d.plainIPv4(b, ip)
	case typeIPv6:
		return d.plainIPv6(b, ip)
	}
	return false
}

// untagged returns what one or two VLAN tags stand before, and its EtherType; b begins behind the first one's EtherType. It returns nil
// when nothing is there.
func untagged(b []byte) ([]byte, uint16) {
	if len(b) < 4 {
		return nil, 0
	}
	typ := be.Uint16(b[2:4])
	b = b[4:]
	if typ != typeVLAN {
		return b, typ
	}
	if len(b) < 4 {
		return nil, 0
	}
	return b[4:], be.Uint16(b[2:4])
}

const (
	plainIPv4 = 20 + 8 // the least that is accepted
	plainIPv6 = 40 + 8

	// An EtherType and the first byte of an IPv4 header without options, read as a little-endian word.
	etherIPv4     = 0x45_00_08
	etherIPv4Mask = 0xff_ff_ff
	// An EtherType and the version of an IPv6 header.
	etherIPv6     = 0x60_dd_86
	etherIPv6Mask = 0xf0_ff_ff
	// The more-fragments bit and the offset in the first eight bytes of an IPv4 header.
	fragmentMask = 0xff3f << 48
)

// plainIPv4 is Plain for what its EtherType calls IPv4.
func (d *Decoder) plainIPv4(b []byte, ip *IP) bool {
	if len(b) < plainIPv4 || b[0] != 0x45 {
		return false
	}
	head, addr := le.Uint64(b[0:8]), le.Uint64(b[8:16]) // version to fragment; TTL to source
	if head&fragmentMask != 0 {
		return false
	}
	total := uint32(bits.ReverseBytes16(uint16(head >> 16)))
	proto := uint8(addr >> 8)
	src, dst := be.Uint16(b[20:22]), be.Uint16(b[22:24])
	ip.setIPv4((*[8]byte)(b[12:20]))
	ip.Length = total
	ip.Version, ip.TTL, ip.Proto, ip.Fragment = 4, uint8(addr), proto, false
	ip.SrcPort, ip.DstPort, ip.HasPorts = src, dst, true
	switch proto {
	case ProtoTCP:
		if len(b) < 20+20 {
			return false
		}
		ip.TCPFlags = b[33]
		return total >= 20+20
	case ProtoUDP:
		ip.TCPFlags = 0
		return total >= plainIPv4 && d.plainPorts(src, dst)
	case ProtoICMP, ProtoICMPv6:
		ip.TCPFlags, ip.SrcPort, ip.DstPort, ip.HasPorts = 0, 0, 0, false
		return total >= plainIPv4
	}
	return false
}

// plainIPv6 is Plain for what its EtherType calls IPv6.
func (d *Decoder) plainIPv6(b []byte, ip *IP) bool {
	if len(b) < plainIPv6 || b[0]>>4 != 6 {
		return false
	}
	head := le.Uint64(b[0:8]) // version to hop limit
	payload := uint32(bits.ReverseBytes16(uint16(head >> 32)))
	proto := uint8(head >> 48)
	src, dst := be.Uint16(b[40:42]), be.Uint16(b[42:44])
	ip.Src = [16]byte(b[8:24])
	ip.Dst = [16]byte(b[24:40])
	ip.Length = payload + 40
	ip.Version, ip.TTL, ip.Proto, ip.Fragment = 6, uint8(head>>56), proto, false
	ip.SrcPort, ip.DstPort, ip.HasPorts = src, dst, true
	switch proto {
	case ProtoTCP:
		if len(b) < 40+20 {
			return false
		}
		ip.TCPFlags = b[53]
		return payload >= 20
	case ProtoUDP:
		ip.TCPFlags = 0
		return payload >= 8 && d.plainPorts(src, dst)
	case ProtoICMP, ProtoICMPv6:
		ip.TCPFlags, ip.SrcPort, ip.DstPort, ip.HasPorts = 0, 0, 0, false
		return payload >= 8
	}
	return false
}

// plainPorts says that a UDP packet begins no tunnel that is looked into.
func (d *Decoder) plainPorts(src, dst uint16) bool {
	return src != portL2TP && dst != portL2TP && (d.Charge == chargeNothing || !mayTunnel(src, dst))
}

// chargeNothing is the Charge of a Decoder that looks into no IP tunnel.
var chargeNothing [NumTunnels]Charge
