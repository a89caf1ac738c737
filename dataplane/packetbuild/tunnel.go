package packetbuild

// GREField is an optional field of a GRE header.
type GREField uint16

// The fields of GRE (RFC 2784, 2890).
const (
	GREChecksum GREField = 0x8000
	GREKey      GREField = 0x2000
	GRESequence GREField = 0x1000
)

// GRE adds a version 0 header with the fields given; IP, MPLS, NSH or Ether (TEB) follows.
func (p *Packet) GRE(fields ...GREField) *Packet { return p.add(kindGRE, gre(0, fields...)) }

// gre makes a header with protocol type proto.
func gre(proto uint16, fields ...GREField) []byte {
	var flags GREField
	for _, f := range fields {
		flags |= f
	}
	b := be.AppendUint16(nil, uint16(flags))
	b = be.AppendUint16(b, proto)
	if flags&GREChecksum != 0 {
		b = append(b, 0, 0, 0, 0)
	}
	if flags&GREKey != 0 {
		b = append(b, 0, 0, 0, 0x28)
	}
	if flags&GRESequence != 0 {
		b = append(b, 0, 0, 0, 1)
	}
	return b
}

// PPTP adds a version 1 GRE header with key and sequence number, an acknowledgement if ack, and PPP (RFC 2637).
func (p *Packet) PPTP(call uint16, ack bool) *Packet {
	b := []byte{0x30, 0x01, 0x88, 0x0b, 0, 0, byte(call >> 8), byte(call), 0, 0, 0, 1}
	if ack {
		b[1] |= 0x80
		b = append(b, 0, 0, 0, 9)
	}
	return p.add(kindPPTP, b).PPP(ack)
}

// ERSPAN1 adds GRE and ERSPAN type I, which has no header of its own; an Ether follows.
func (p *Packet) ERSPAN1() *Packet { return p.add(kindERSPAN, gre(0x88be)) }

// ERSPAN2 adds GRE and ERSPAN type II; an Ether follows.
func (p *Packet) ERSPAN2(session uint16) *Packet {
	b := gre(0x88be, GRESequence)
	b = append(b, 0x10, 0x01, byte(session>>8)&3, byte(session), 0, 0, 0, 1)
	return p.add(kindERSPAN, b)
}

// ERSPAN3 adds GRE and ERSPAN type III, with the platform subheader if sub; an Ether or IP follows.
func (p *Packet) ERSPAN3(session uint16, sub bool) *Packet {
	b := gre(0x22eb, GRESequence)
	b = append(b, 0x20, 0x01, byte(session>>8)&3, byte(session), 0, 0, 0, 1, 0, 0, 0x80, 0)
	if sub {
		b[len(b)-1] |= 1
		b = append(b, make([]byte, 8)...)
	}
	return p.add(kindERSPAN, b)
}

// EtherIP adds RFC 3378's header; an Ether follows.
func (p *Packet) EtherIP() *Packet { return p.add(kindEtherIP, []byte{0x30, 0}) }

// VXLAN adds RFC 7348's header behind UDP port 4789; an Ether follows.
func (p *Packet) VXLAN(vni uint32) *Packet {
	return p.add(kindVXLAN, be.AppendUint32([]byte{0x08, 0, 0, 0}, vni<<8))
}

// VXLANGPE adds the generic protocol extension's header behind UDP port 4790; IP, Ether, NSH or MPLS follows.
func (p *Packet) VXLANGPE(vni uint32) *Packet {
	return p.add(kindVXLAN, be.AppendUint32([]byte{0x0c, 0, 0, 0}, vni<<8))
}

// Geneve adds RFC 8926's header behind UDP port 6081, with words 4-byte words of one option (0, or 1 to 32); Ether, IP or MPLS follows.
func (p *Packet) Geneve(vni uint32, words int) *Packet {
	b := be.AppendUint32([]byte{byte(words), 0, 0, 0}, vni<<8)
	if words > 0 {
		b = append(b, 0x01, 0x02, 0x03, byte(words-1))
		b = append(b, make([]byte, 4*(words-1))...)
	}
	return p.add(kindGeneve, b)
}

// GTPU adds a G-PDU header behind UDP port 2152; IP follows. extensions are the types of 4-byte extension headers to chain
// (0x85 is the PDU session container); with any, or with seq, the optional fields are there.
func (p *Packet) GTPU(teid uint32, seq bool, extensions ...byte) *Packet {
	flags := byte(0x30)
	if seq {
		flags |= 0x02
	}
	if len(extensions) > 0 {
		flags |= 0x04
	}
	b := be.AppendUint32([]byte{flags, 0xff, 0, 0}, teid)
	if flags != 0x30 {
		b = append(b, 0, 1, 0)
		for _, e := range extensions {
			b = append(b, e, 1, 0x10, 0x01) // the type closes what was before; then length and content
		}
		b = append(b, 0)
	}
	return p.add(kindGTPU, b)
}

// TeredoAuth adds an authentication indicator with 4 bytes of client id and 8 of value behind UDP port 3544.
func (p *Packet) TeredoAuth() *Packet {
	return p.add(kindTeredo, append([]byte{0, 1, 4, 8}, make([]byte, 4+8+9)...))
}

// TeredoOrigin adds an origin indicator behind UDP port 3544; IPv6 follows.
func (p *Packet) TeredoOrigin() *Packet {
	return p.add(kindTeredo, []byte{0, 0, 0x12, 0x34, 0xff, 0xff, 0xff, 0xfe})
}
