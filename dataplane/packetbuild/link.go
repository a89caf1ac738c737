package packetbuild

import "encoding/binary"

// macs are the addresses of every Ethernet header: locally administered, destination first.
var macs = [12]byte{0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01}

// Ether starts a chain with an Ethernet header.
func Ether() *Packet { return Raw().Ether() }

// Ether adds an Ethernet header: inside GRE (TEB), VXLAN, MPLS and so on.
func (p *Packet) Ether() *Packet { return p.add(kindEther, append(macs[:12:12], 0, 0)) }

// SLL starts a chain with a Linux cooked header, version 1.
func SLL() *Packet { return Raw().add(kindSLL, []byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0}) }

// SLL2 starts a chain with a Linux cooked header, version 2.
func SLL2() *Packet {
	return Raw().add(kindSLL2, []byte{0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0})
}

// Null starts a chain with a BSD loopback header, little endian.
func Null() *Packet { return Raw().add(kindNull, make([]byte, 4)) }

// Loop starts a chain with an OpenBSD loopback header, big endian.
func Loop() *Packet { return Raw().add(kindLoop, make([]byte, 4)) }

// CHDLC starts a chain with a Cisco HDLC header.
func CHDLC() *Packet { return Raw().add(kindCHDLC, []byte{0x0f, 0, 0, 0}) }

// VLAN adds an 802.1Q tag (0x8100).
func (p *Packet) VLAN(id uint16) *Packet { return p.Tag(0x8100, id) }

// Tag adds a VLAN tag with a TPID of choice. The low 12 bits of tci are the VLAN, the upper ones priority and drop eligibility.
func (p *Packet) Tag(tpid, tci uint16) *Packet {
	p.add(kindVLAN, be.AppendUint32(nil, uint32(tci)<<16))
	p.last().id = tpid
	return p
}

// QinQ adds an 802.1ad tag (0x88a8) and an 802.1Q tag.
func (p *Packet) QinQ(outer, inner uint16) *Packet { return p.Tag(0x88a8, outer).VLAN(inner) }

// ETag adds an 802.1BR tag.
func (p *Packet) ETag() *Packet { return p.add(kindETag, make([]byte, 8)) }

// VNTag adds a Cisco VN-Tag.
func (p *Packet) VNTag() *Packet { return p.add(kindVNTag, make([]byte, 6)) }

// CMD adds a Cisco metadata tag, as on Ethernet.
func (p *Packet) CMD(sgt uint16) *Packet {
	return p.add(kindCMD, []byte{1, 1, 0, 1, byte(sgt >> 8), byte(sgt), 0, 0})
}

// PBB adds an 802.1ah I-TAG; an Ether follows.
func (p *Packet) PBB(isid uint32) *Packet { return p.add(kindPBB, be.AppendUint32(nil, isid&0xffffff)) }

// FabricPath adds Cisco's tag; an Ether follows.
func (p *Packet) FabricPath() *Packet { return p.add(kindFabricPath, []byte{0, 0x40}) }

// NSH adds a network service header with metadata type 2 and none of it.
func (p *Packet) NSH() *Packet { return p.add(kindNSH, []byte{0x0f, 0xc2, 2, 0, 0, 0, 1, 0xff}) }

// LLC adds an 802.2 header.
func (p *Packet) LLC(dsap, ssap, control byte) *Packet {
	return p.add(kindLLC, []byte{dsap, ssap, control})
}

// SNAP adds an 802.2 header and a SNAP header of RFC 1042.
func (p *Packet) SNAP() *Packet { return p.LLC(0xaa, 0xaa, 3).add(kindSNAP, make([]byte, 5)) }

// MPLS adds a label stack; the last label has the bottom bit.
func (p *Packet) MPLS(labels ...uint32) *Packet {
	var b []byte
	for i, l := range labels {
		w := l<<12 | 64
		if i == len(labels)-1 {
			w |= 1 << 8
		}
		b = be.AppendUint32(b, w)
	}
	return p.add(kindMPLS, b)
}

// PWControl adds a pseudowire control word; an Ether follows.
func (p *Packet) PWControl(seq uint16) *Packet {
	return p.add(kindPWControl, []byte{0, 0, byte(seq >> 8), byte(seq)})
}

// PPPoE adds a session header and PPP.
func (p *Packet) PPPoE(session uint16) *Packet {
	return p.add(kindPPPoE, []byte{0x11, 0, byte(session >> 8), byte(session), 0, 0}).PPP(false)
}

// PPP adds a PPP protocol field, behind address and control if framed.
func (p *Packet) PPP(framed bool) *Packet {
	if framed {
		return p.add(kindPPP, []byte{0xff, 0x03, 0, 0})
	}
	return p.add(kindPPP, []byte{0, 0})
}

// L2TPv2 adds a data header behind UDP, with length, sequence and offset fields if full, and PPP.
func (p *Packet) L2TPv2(tunnel, session uint16, full bool) *Packet {
	var b []byte
	if full {
		b = append(b, 0x4a, 0x02, 0, 0)
	} else {
		b = append(b, 0x00, 0x02)
	}
	b = be.AppendUint16(b, tunnel)
	b = be.AppendUint16(b, session)
	if full {
		b = append(b, 0, 1, 0, 2, 0, 3, 0, 0, 0) // Ns, Nr, offset 3 and its padding
	}
	return p.add(kindL2TPv2, b).PPP(full)
}

// L2TPControl adds an L2TPv2 control header behind UDP.
func (p *Packet) L2TPControl() *Packet {
	return p.add(kindL2TPv2, []byte{0xc8, 0x02, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
}

// L2TPv3UDP adds a data header behind UDP, with a cookie of 0, 4 or 8 bytes; an Ether, PPP or IP follows.
func (p *Packet) L2TPv3UDP(session uint32, cookie int) *Packet {
	return p.add(kindL2TPv3UDP, l2tpv3([]byte{0, 3, 0, 0}, session, cookie))
}

// L2TPv3 adds a data header behind IP. Session 0 makes it a control message.
func (p *Packet) L2TPv3(session uint32, cookie int) *Packet {
	return p.add(kindL2TPv3IP, l2tpv3(nil, session, cookie))
}

func l2tpv3(b []byte, session uint32, cookie int) []byte {
	b = be.AppendUint32(b, session)
	for i := range cookie {
		b = append(b, byte(0xc0+i))
	}
	return b
}

// ARP adds an ARP request.
func (p *Packet) ARP() *Packet {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	b = append(b, macs[6:]...)
	b = append(b, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2)
	return p.add(kindARP, b)
}

// NFLOG starts a chain with a netfilter log record that holds the frame as its last value, little endian; family is 2 for
// IPv4 and 10 for IPv6. Its length field covers a payload of n bytes.
func NFLOG(family byte, n int) *Packet {
	le := binary.LittleEndian
	b := []byte{family, 0, 0, 0}
	b = append(b, 8, 0, 1, 0, 0x08, 0, 0, 0) // packet header
	b = append(b, 5, 0, 10, 0, 0, 0, 0, 0)   // an empty prefix, padded
	b = le.AppendUint16(b, uint16(n+4))      // payload
	return Raw().Data(append(b, 9, 0))
}
