package packetbuild

import "hash/crc32"

// fixNext fills in the field of layer i, which starts b, that names the layer behind it.
func (p *Packet) fixNext(i int, b []byte) {
	l := &p.layers[i]
	var after *layer
	if i+1 < len(p.layers) {
		after = &p.layers[i+1]
	}
	switch l.kind {
	case kindEther:
		be.PutUint16(b[12:], p.etherType(l, after, len(b)-14))
	case kindVLAN, kindETag, kindVNTag, kindCMD:
		n := len(l.head)
		be.PutUint16(b[n-2:], p.etherType(l, after, len(b)-n))
	case kindSLL:
		be.PutUint16(b[14:], p.etherType(l, after, 4)) // 4 is ETH_P_802_2
	case kindSLL2:
		be.PutUint16(b[0:], p.etherType(l, after, 4))
	case kindSNAP:
		be.PutUint16(b[3:], p.etherType(l, after, 0))
	case kindCHDLC, kindGeneve:
		be.PutUint16(b[2:], p.etherType(l, after, 0))
	case kindGRE:
		be.PutUint16(b[2:], p.etherType(l, after, 0))
	case kindNull:
		b[0] = family(after) // little endian, as on nearly all that captures
	case kindLoop:
		b[3] = family(after)
	case kindPPP:
		be.PutUint16(b[len(l.head)-2:], pppProto(l, after))
	case kindIPv4:
		b[9] = ipProto(l, after)
	case kindIPv6:
		b[6] = ipProto(l, after)
	case kindExtension:
		b[0] = ipProto(l, after)
	case kindNSH:
		b[3] = nshProto(l, after)
	case kindVXLAN:
		if b[0]&0x04 != 0 {
			b[3] = nshProto(l, after)
		}
	case kindERSPAN:
		if after != nil && (after.kind == kindIPv4 || after.kind == kindIPv6) {
			if len(l.head) < 20 {
				mistake("only ERSPAN type III can carry bare IP")
			}
			b[18] |= 2 << 2 // frame type IP
		}
	}
}

// etherType is what names after in an EtherType field; length is for what LLC follows.
func (p *Packet) etherType(l, after *layer, length int) uint16 {
	if l.hasNext {
		return l.next
	}
	if after == nil {
		return 0x88b5 // local experiments
	}
	switch after.kind {
	case kindIPv4:
		return 0x0800
	case kindIPv6:
		return 0x86dd
	case kindARP:
		return 0x0806
	case kindVLAN:
		return after.id
	case kindETag:
		return 0x893f
	case kindVNTag:
		return 0x8926
	case kindPBB:
		return 0x88e7
	case kindFabricPath:
		return 0x8903
	case kindCMD:
		return 0x8909
	case kindNSH:
		return 0x894f
	case kindMPLS:
		return 0x8847
	case kindPPPoE:
		return 0x8864
	case kindPPP:
		return 0x880b
	case kindEther:
		return 0x6558
	case kindLLC:
		return uint16(length)
	case kindData:
		return 0x88b5
	}
	mistake("layer kind %d has no EtherType", after.kind)
	return 0
}

// ipProto is what names after in an IP protocol field.
func ipProto(l, after *layer) uint8 {
	if l.hasNext {
		return uint8(l.next)
	}
	if after == nil {
		return 59 // no next header
	}
	switch after.kind {
	case kindIPv4:
		return 4
	case kindIPv6:
		return 41
	case kindExtension:
		return uint8(after.id)
	case kindTCP:
		return 6
	case kindUDP:
		return 17
	case kindICMP:
		return 1
	case kindICMPv6:
		return 58
	case kindSCTP:
		return 132
	case kindESP:
		return 50
	case kindGRE, kindPPTP, kindERSPAN:
		return 47
	case kindEtherIP:
		return 97
	case kindL2TPv3IP:
		return 115
	case kindMPLS:
		return 137
	case kindEther:
		return 143
	case kindData:
		return 253 // experiments
	}
	mistake("layer kind %d has no IP protocol", after.kind)
	return 0
}

func pppProto(l, after *layer) uint16 {
	if l.hasNext {
		return l.next
	}
	if after != nil {
		switch after.kind {
		case kindIPv4:
			return 0x0021
		case kindIPv6:
			return 0x0057
		case kindMPLS:
			return 0x0281
		}
	}
	return 0xc021 // LCP
}

func nshProto(l, after *layer) byte {
	if l.hasNext {
		return byte(l.next)
	}
	if after != nil {
		switch after.kind {
		case kindIPv4:
			return 1
		case kindIPv6:
			return 2
		case kindEther:
			return 3
		case kindNSH:
			return 4
		case kindMPLS:
			return 5
		}
	}
	return 0xfe // experiments
}

func family(after *layer) byte {
	if after != nil && after.kind == kindIPv6 {
		return 30
	}
	return 2
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sctpSum is the CRC of RFC 9260 appendix A, over a header whose checksum is still zero, in the byte order that b wants.
func sctpSum(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return c<<24 | c>>24 | c<<8&0xff0000 | c>>8&0xff00
}
