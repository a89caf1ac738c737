package packetbuild

import "net/netip"

// IPv4 adds a header of 20 bytes: TTL 64, no fragment. The addresses are text.
func (p *Packet) IPv4(src, dst string) *Packet {
	return p.IP(netip.MustParseAddr(src), netip.MustParseAddr(dst))
}

// IPv6 adds a header with hop limit 64. The addresses are text.
func (p *Packet) IPv6(src, dst string) *Packet {
	return p.IP(netip.MustParseAddr(src), netip.MustParseAddr(dst))
}

// IP adds an IPv4 or IPv6 header by the addresses' family, which must be one.
func (p *Packet) IP(src, dst netip.Addr) *Packet {
	if src.Is4() != dst.Is4() {
		mistake("%v and %v are of different families", src, dst)
	}
	if src.Is4() {
		b := make([]byte, 20, 60)
		b[0], b[8] = 0x45, 64
		s, d := src.As4(), dst.As4()
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		return p.add(kindIPv4, b)
	}
	b := make([]byte, 40)
	b[0], b[7] = 0x60, 64
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return p.add(kindIPv6, b)
}

// ip returns the last layer, which must be an IP header.
func (p *Packet) ip() *layer {
	if l := p.last(); l.kind == kindIPv4 || l.kind == kindIPv6 {
		return l
	}
	mistake("the last layer is not IP")
	return nil
}

// TTL sets the time to live or hop limit of the IP header just added.
func (p *Packet) TTL(n uint8) *Packet {
	l := p.ip()
	if l.kind == kindIPv4 {
		l.head[8] = n
	} else {
		l.head[7] = n
	}
	return p
}

// Options adds n bytes of IPv4 options (no-operations); n is a multiple of 4 up to 40.
func (p *Packet) Options(n int) *Packet {
	l := p.ip()
	if l.kind != kindIPv4 || n%4 != 0 || len(l.head)+n > 60 {
		mistake("%d bytes of IPv4 options", n)
	}
	for range n {
		l.head = append(l.head, 1)
	}
	l.head[0] = 0x40 | byte(len(l.head)/4)
	return p
}

// IHL sets the IPv4 header length field, in 32-bit words, to anything.
func (p *Packet) IHL(words uint8) *Packet {
	p.ip().head[0] = 0x40 | words&0x0f
	return p
}

// Frag makes the datagram a fragment: offset in bytes (a multiple of 8), more says whether others follow. Behind IPv6 it adds
// a fragment header, with offset 0 and no more an atomic one.
func (p *Packet) Frag(id uint32, offset int, more bool) *Packet {
	word := uint16(offset / 8)
	if l := p.last(); l.kind == kindIPv4 {
		if more {
			word |= 0x2000
		}
		be.PutUint16(l.head[4:], uint16(id))
		be.PutUint16(l.head[6:], word)
		return p
	}
	word <<= 3
	if more {
		word |= 1
	}
	b := make([]byte, 8)
	be.PutUint16(b[2:], word)
	be.PutUint32(b[4:], id)
	return p.extension(44, b)
}

func (p *Packet) extension(proto uint16, b []byte) *Packet {
	p.add(kindExtension, b)
	p.last().id = proto
	return p
}

// options makes an options header of n bytes, a multiple of 8, filled with one PadN.
func options(n int) []byte {
	b := make([]byte, n)
	b[1], b[2], b[3] = byte(n/8-1), 1, byte(n-4)
	return b
}

// HopByHop adds a hop-by-hop options header of n bytes (a multiple of 8).
func (p *Packet) HopByHop(n int) *Packet { return p.extension(0, options(n)) }

// DestOpts adds a destination options header of n bytes (a multiple of 8).
func (p *Packet) DestOpts(n int) *Packet { return p.extension(60, options(n)) }

// Routing adds a routing header of the given type with one address and no segments left.
func (p *Packet) Routing(kind uint8) *Packet {
	b := make([]byte, 24)
	b[1], b[2] = 2, kind
	return p.extension(43, b)
}

// AH adds an authentication header with a 12-byte check value. It may follow IPv4 too.
func (p *Packet) AH() *Packet {
	b := make([]byte, 24)
	b[1], b[7], b[11] = 4, 1, 1
	return p.extension(51, b)
}

// Mobility adds a mobility header (RFC 6275).
func (p *Packet) Mobility() *Packet { return p.extension(135, []byte{0, 0, 1, 0, 0, 0, 0, 0}) }

// HIP adds a host identity protocol header (RFC 7401).
func (p *Packet) HIP() *Packet {
	b := make([]byte, 40)
	b[1], b[2], b[3] = 4, 1, 0x21
	return p.extension(139, b)
}

// Shim6 adds a shim6 payload header (RFC 5533).
func (p *Packet) Shim6() *Packet { return p.extension(140, []byte{0, 0, 0x80, 0, 0, 0, 0, 1}) }

// TCP adds a header of 20 bytes with the given flags.
func (p *Packet) TCP(src, dst uint16, flags uint8) *Packet {
	b := make([]byte, 20)
	be.PutUint16(b[0:], src)
	be.PutUint16(b[2:], dst)
	be.PutUint32(b[4:], 1)
	b[12], b[13] = 0x50, flags
	be.PutUint16(b[14:], 0xffff)
	return p.add(kindTCP, b)
}

// UDP adds a header.
func (p *Packet) UDP(src, dst uint16) *Packet {
	b := make([]byte, 8)
	be.PutUint16(b[0:], src)
	be.PutUint16(b[2:], dst)
	return p.add(kindUDP, b)
}

// ICMP adds a header of 8 bytes.
func (p *Packet) ICMP(typ, code uint8) *Packet {
	return p.add(kindICMP, []byte{typ, code, 0, 0, 0, 1, 0, 1})
}

// ICMPv6 adds a header of 8 bytes.
func (p *Packet) ICMPv6(typ, code uint8) *Packet {
	return p.add(kindICMPv6, []byte{typ, code, 0, 0, 0, 1, 0, 1})
}

// SCTP adds a common header.
func (p *Packet) SCTP(src, dst uint16) *Packet {
	b := make([]byte, 12)
	be.PutUint16(b[0:], src)
	be.PutUint16(b[2:], dst)
	be.PutUint32(b[4:], 1)
	return p.add(kindSCTP, b)
}

// ESP adds an encapsulating security header; its payload is opaque.
func (p *Packet) ESP(spi uint32) *Packet {
	b := be.AppendUint32(nil, spi)
	return p.add(kindESP, be.AppendUint32(b, 1))
}
