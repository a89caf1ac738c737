package wire

// Protocol numbers (IANA) that only decoding needs.
const (
	protoHopByHop = 0
	protoIPv4     = 4
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoNoNext   = 59
	protoDestOpts = 60
	protoEtherIP  = 97
	protoL2TP     = 115
	protoMobility = 135
	protoMPLS     = 137
	protoHIP      = 139
	protoShim6    = 140
	protoEthernet = 143 // RFC 8986
)

// anyIP lets the version nibble decide.
func (w *walker) anyIP() (step, Code) {
	if len(w.b) == 0 {
		return stepDone, Truncated
	}
	switch w.b[0] >> 4 {
	case 4:
		return stepIPv4, OK
	case 6:
		return stepIPv6, OK
	}
	return stepDone, BadIPVersion
}

// clear sets what transport may leave unset.
func (ip *IP) clear() {
	ip.SrcPort, ip.DstPort = 0, 0
	ip.TCPFlags = 0
	ip.Fragment, ip.HasPorts = false, false
}

// ipv4 reads an IPv4 header (RFC 791 section 3.1).
func (w *walker) ipv4() (step, Code) {
	b := w.b
	if len(b) > 0 && b[0]>>4 != 4 {
		return stepDone, BadIPVersion
	}
	if len(b) < 20 {
		return stepDone, Truncated
	}
	ip := w.push()
	if ip == nil {
		return stepDone, TooDeep
	}
	w.note(LayerIPv4)
	ip.clear()
	head, total, frag := int(b[0]&0xf)*4, int(be.Uint16(b[2:4])), be.Uint16(b[6:8])
	if total == 0 {
		total = len(b) // segmentation offload leaves it 0 in what a host captures of itself
	}
	ip.Version = 4
	ip.Proto = b[9]
	ip.TTL = b[8]
	ip.Length = uint32(total)
	ip.Fragment = frag&0x3fff != 0 // more fragments, or an offset
	ip.setIPv4((*[8]byte)(b[12:20]))
	switch {
	case head < 20:
		return stepDone, BadIHL
	case total < head:
		return stepDone, BadIPLength
	case frag&0x1fff != 0:
		return stepDone, OK // a later fragment has no ports, and still counts
	case head > len(b):
		return stepDone, TruncatedTransport
	}
	w.whole = total <= len(b)
	w.b = b[head:min(total, len(b))] // behind the datagram there is padding
	if ip.Proto == protoAH {
		return w.extensions(ip.Proto)
	}
	return stepTransport, OK
}

// ipv6 reads an IPv6 header (RFC 8200 section 3).
func (w *walker) ipv6() (step, Code) {
	b := w.b
	if len(b) > 0 && b[0]>>4 != 6 {
		return stepDone, BadIPVersion
	}
	if len(b) < 40 {
		return stepDone, Truncated
	}
	ip := w.push()
	if ip == nil {
		return stepDone, TooDeep
	}
	w.note(LayerIPv6)
	ip.clear()
	total := int(be.Uint16(b[4:6])) + 40
	if total == 40 {
		total = len(b) // a jumbogram (RFC 2675) or segmentation offload
	}
	ip.Version = 6
	ip.Proto = b[6]
	ip.TTL = b[7]
	ip.Length = uint32(total)
	ip.Src = [16]byte(b[8:24])
	ip.Dst = [16]byte(b[24:40])
	w.whole = total <= len(b)
	w.b = b[40:min(total, len(b))]
	return w.extensions(ip.Proto)
}

// extensions walks IPv6 extension headers, the first of which is next, and the authentication header of both versions.
func (w *walker) extensions(next uint8) (step, Code) {
	ip := w.ip
	for range MaxExtensions {
		ip.Proto = next
		layer, unit, ok := extension(next)
		if !ok || ip.Version == 4 && next != protoAH {
			return stepTransport, OK
		}
		b := w.b
		if len(b) < 8 {
			return w.cutShort(BadExtension)
		}
		n := 8
		switch unit {
		case 4: // RFC 4302: in 32-bit words, less 2
			n = (int(b[1]) + 2) * 4
		case 8: // RFC 8200: in 8 bytes, less 1
			n = (int(b[1]) + 1) * 8
		}
		if n > len(b) {
			return w.cutShort(BadExtension)
		}
		w.note(layer)
		next = b[0]
		if layer == LayerFragment {
			// Offset and more-fragments; an atomic fragment has neither and is none (RFC 6946).
			frag := be.Uint16(b[2:4])
			if frag&0xfff9 != 0 {
				ip.Fragment = true
			}
			if frag&0xfff8 != 0 {
				ip.Proto = next
				return stepDone, OK
			}
		}
		w.b = b[n:]
	}
	ip.Proto = next
	if _, _, more := extension(next); more && (ip.Version == 6 || next == protoAH) {
		return stepDone, TooManyExtensions
	}
	return stepTransport, OK
}

// extension says whether proto is an extension header, and in which unit it gives its length (0: it is 8 bytes long).
func extension(proto uint8) (l Layer, unit int, ok bool) {
	switch proto {
	case protoHopByHop:
		return LayerHopByHop, 8, true
	case protoRouting:
		return LayerRouting, 8, true
	case protoFragment:
		return LayerFragment, 0, true
	case protoAH:
		return LayerAH, 4, true
	case protoDestOpts:
		return LayerDestOpts, 8, true
	case protoMobility:
		return LayerMobility, 8, true
	case protoHIP:
		return LayerHIP, 8, true
	case protoShim6:
		return LayerShim6, 8, true
	}
	return 0, 0, false
}

// cutShort ends a walk for which b is too short: by the capture, or, with code c, by the datagram itself. A fragment may be as
// short as it likes.
func (w *walker) cutShort(c Code) (step, Code) {
	switch {
	case !w.whole:
		return stepDone, TruncatedTransport
	case w.ip.Fragment:
		return stepDone, OK
	}
	return stepDone, c
}

// transport dispatches on the protocol of the last IP header.
func (w *walker) transport() (step, Code) {
	switch w.ip.Proto {
	case ProtoTCP:
		return w.tcp()
	case ProtoUDP:
		return stepUDP, OK
	case ProtoICMP:
		w.note(LayerICMP)
	case ProtoICMPv6:
		w.note(LayerICMPv6)
	case ProtoSCTP:
		w.note(LayerSCTP)
		if w.ports(); len(w.b) < 12 && w.whole || len(w.b) < 4 {
			return w.cutShort(ShortTransport)
		}
	case ProtoESP:
		w.note(LayerESP)
	case ProtoGRE:
		return stepGRE, OK
	case protoIPv4:
		return w.tunnel(w.ipTunnel(TunnelIPIP), stepIPv4)
	case protoIPv6:
		return w.tunnel(w.ipTunnel(TunnelSIT), stepIPv6)
	case protoMPLS:
		return w.tunnel(TunnelMPLSUDP, stepMPLS)
	case protoEthernet:
		return w.tunnel(w.ipTunnel(TunnelIPIP), stepEthernet)
	case protoEtherIP:
		if s, c := w.tunnel(w.ipTunnel(TunnelIPIP), stepEthernet); s == stepDone {
			return s, c
		}
		return w.skip(LayerEtherIP, 2, stepEthernet) // RFC 3378
	case protoL2TP:
		return w.l2tpIP()
	}
	return stepDone, OK
}

// ipTunnel is the kind of a tunnel that has no header of its own: what is in IPv6 is always of kind Tunnel4in6.
func (w *walker) ipTunnel(in4 Tunnel) Tunnel {
	if w.ip.Version == 6 {
		return Tunnel4in6
	}
	return in4
}

// tunnel goes to next if a tunnel of kind t is to be looked into.
func (w *walker) tunnel(t Tunnel, next step) (step, Code) {
	if !w.enter(t) {
		return stepDone, OK
	}
	return next, OK
}

// ports reads the ports of TCP, UDP and SCTP, if they are there.
func (w *walker) ports() {
	if b := w.b; len(b) >= 4 {
		w.ip.SrcPort, w.ip.DstPort = be.Uint16(b[0:2]), be.Uint16(b[2:4])
		w.ip.HasPorts = true
	}
}

func (w *walker) tcp() (step, Code) {
	w.note(LayerTCP)
	w.ports()
	if len(w.b) < 14 {
		return w.cutShort(ShortTransport)
	}
	w.ip.TCPFlags = w.b[13]
	if len(w.b) < 20 && w.whole {
		return w.cutShort(ShortTransport)
	}
	return stepDone, OK
}
