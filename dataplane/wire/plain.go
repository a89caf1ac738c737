package wire

// plain decodes the shape that nearly every frame of a mirror port has: Ethernet, at most two VLAN tags, an IPv4 header without
// options or an IPv6 header without extensions, no fragment, and a complete TCP, UDP or ICMP header that begins no tunnel; the capture
// may end behind it (the 128 bytes of sFlow, a port's snap length). For anything else it returns false, having possibly scribbled on h,
// and the walker starts over. What it accepts, the walker answers alike (TestMutations, FuzzDecode). BenchmarkDecode says what it saves.
func (d *Decoder) plain(b []byte, h *Headers) bool {
	if len(b) < 14+20+8 {
		return false
	}
	typ := be.Uint16(b[12:14])
	b = b[14:]
	if typ == typeVLAN || typ == typeQinQ {
		typ = be.Uint16(b[2:4])
		b = b[4:]
		if typ == typeVLAN {
			if len(b) < 4 {
				return false
			}
			typ = be.Uint16(b[2:4])
			b = b[4:]
		}
	}
	h.state = headerState{n: 1}
	ip := &h.Outer
	switch typ {
	case typeIPv4:
		if len(b) < 28 || b[0] != 0x45 || (b[6]&0x3f|b[7]) != 0 {
			return false
		}
		total := int(be.Uint16(b[2:4]))
		if total < 28 {
			return false
		}
		ip.Version = 4
		ip.Length = uint32(total)
		ip.TTL = b[8]
		ip.Proto = b[9]
		ip.setIPv4((*[8]byte)(b[12:20]))
		b = b[20:min(total, len(b))]
	case typeIPv6:
		if len(b) < 48 || b[0]>>4 != 6 {
			return false
		}
		payload := int(be.Uint16(b[4:6]))
		if payload < 8 {
			return false
		}
		ip.Version = 6
		ip.Length = uint32(payload) + 40
		ip.Proto = b[6]
		ip.TTL = b[7]
		ip.Src = [16]byte(b[8:24])
		ip.Dst = [16]byte(b[24:40])
		b = b[40:min(40+payload, len(b))]
	default:
		return false
	}
	ip.Fragment = false
	return d.plainTransport(ip, b)
}

// plainTransport reads the transport header of ip; it is part of plain.
func (d *Decoder) plainTransport(ip *IP, b []byte) bool {
	switch ip.Proto {
	case ProtoTCP:
		if len(b) < 20 {
			return false
		}
		ip.TCPFlags = b[13]
	case ProtoUDP:
		if len(b) < 8 {
			return false
		}
		ip.TCPFlags = 0
		src, dst := be.Uint16(b[0:2]), be.Uint16(b[2:4])
		if src == portL2TP || dst == portL2TP || d.Charge != chargeNothing && mayTunnel(src, dst) {
			return false
		}
	case ProtoICMP, ProtoICMPv6:
		ip.TCPFlags, ip.HasPorts = 0, false
		ip.SrcPort, ip.DstPort = 0, 0
		return true
	default:
		return false
	}
	if len(b) < 4 {
		return false // cannot be; tells the compiler
	}
	ip.SrcPort, ip.DstPort = be.Uint16(b[0:2]), be.Uint16(b[2:4])
	ip.HasPorts = true
	return true
}

// chargeNothing is the Charge of a Decoder that looks into no IP tunnel.
var chargeNothing [NumTunnels]Charge
