package gen

import "slices"

// This file holds the headers of the encapsulations; each method puts one before what is there.

// ether puts an Ethernet header before a payload whose ethertype is m.et.
func (m *maker) ether() { m.prepend(slices.Concat(macDst, macSrc, be16(m.et))) }

// tag is 802.1Q section 9.6: TCI, then the type of what follows.
func (m *maker) tag(tpid uint16) {
	m.prepend(slices.Concat(be16(0x2064), be16(m.et)))
	m.et = tpid
}

// label is RFC 3032 section 2.1: label, class, bottom of stack, TTL.
func (m *maker) label() {
	entry := uint32(0x3e8<<12 | 64)
	if m.et != 0x8847 {
		entry |= 1 << 8
	}
	m.prepend(be32(entry))
	m.et = 0x8847
}

func (m *maker) pppProtocol() []byte {
	switch m.et {
	case 0x86dd:
		return be16(0x0057)
	case 0x8847:
		return be16(0x0281)
	}
	return be16(0x0021)
}

// pppoe is RFC 2516 section 4, a session.
func (m *maker) pppoe() {
	m.prepend(m.pppProtocol())
	m.prepend(slices.Concat([]byte{0x11, 0}, be16(0x0042), be16(uint16(len(m.b)))))
	m.et = 0x8864
}

// snap is RFC 1042: LLC AA AA 03, organization 0, ethertype; the Ethernet type field becomes a length.
func (m *maker) snap() {
	m.prepend(slices.Concat([]byte{0xaa, 0xaa, 3, 0, 0, 0}, be16(m.et)))
	m.et = uint16(len(m.b))
}

// GRE flags (RFC 2784, RFC 2890).
const (
	greChecksum = 0x8000
	greKey      = 0x2000
	greSequence = 0x1000
)

func (m *maker) gre(flags uint16) {
	h := slices.Concat(be16(flags), be16(m.et))
	if flags&greChecksum != 0 {
		h = append(h, 0, 0, 0, 0)
	}
	if flags&greKey != 0 {
		h = append(h, be32(0xfeed)...)
	}
	if flags&greSequence != 0 {
		h = append(h, be32(1)...)
	}
	m.prepend(h)
	if flags&greChecksum != 0 {
		m.sums = append(m.sums, checksum{at: len(m.b) - 4, from: len(m.b), ip: -2})
	}
}

// pptp is RFC 2637 section 4.1: GRE version 1 with key (length and call) and sequence, PPP inside with its address bytes.
func (m *maker) pptp() {
	m.prepend(append([]byte{0xff, 0x03}, m.pppProtocol()...))
	m.prepend(slices.Concat(be16(0x3001), be16(0x880b), be16(uint16(len(m.b))), be16(7), be32(1)))
}

// erspan2 is draft-foschiano-erspan section 4.2: GRE with a sequence, then 8 bytes.
func (m *maker) erspan2() {
	m.ether()
	m.prepend([]byte{0x10, 0x64, 0, 1, 0, 0, 0, 0})
	m.et = 0x88be
	m.gre(greSequence)
}

// erspan3 is section 4.3 of the same: 12 bytes, no platform-specific subheader.
func (m *maker) erspan3() {
	m.ether()
	m.prepend([]byte{0x20, 0x64, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0})
	m.et = 0x22eb
	m.gre(greSequence)
}

// udp is the header of a tunnel over UDP. Its checksum is zero over IPv4, as such tunnels do it, and real over IPv6.
func (m *maker) udp(port uint16, v6 bool) {
	m.prepend(slices.Concat(be16(tunnelSourcePort(port)), be16(port), be16(uint16(len(m.b)+8)), be16(0)))
	if v6 {
		m.sums = append(m.sums, checksum{kind: sumPseudo, at: len(m.b) - 6, from: len(m.b), ip: -1, v6: true, proto: protoUDP})
	}
}

func tunnelSourcePort(port uint16) uint16 {
	if port == 1701 || port == 2152 { // both ends use it
		return port
	}
	return 50000
}

// geneve is RFC 8926 section 3.4 with one option of 4 bytes.
func (m *maker) geneve(v6 bool) {
	m.ether()
	m.prepend([]byte{2, 0, 0x65, 0x58, 0, 0x12, 0x34, 0, 1, 2, 3, 1, 0, 0, 0, 0})
	m.udp(6081, v6)
}

// gtpu is TS 29.281 section 5.1: a T-PDU, with a PDU session container (TS 38.415) when ext is set.
func (m *maker) gtpu(ext, v6 bool) {
	flags := byte(0x30)
	if ext {
		m.prepend([]byte{0, 0, 0, 0x85, 1, 0, 5, 0})
		flags = 0x34
	}
	m.prepend(slices.Concat([]byte{flags, 0xff}, be16(uint16(len(m.b))), be32(0xabcd)))
	m.udp(2152, v6)
}

// l2tp2 is RFC 2661 section 3.1: data with a length field, then PPP with its address bytes.
func (m *maker) l2tp2(v6 bool) {
	m.prepend(append([]byte{0xff, 0x03}, m.pppProtocol()...))
	m.prepend(slices.Concat(be16(0x4002), be16(uint16(len(m.b)+8)), be16(5), be16(9)))
	m.udp(1701, v6)
}
