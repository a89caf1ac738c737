package wire

// UDP ports of tunnels (IANA).
const (
	portL2TP      = 1701
	portGTPU      = 2152
	portTeredo    = 3544
	portVXLAN     = 4789
	portVXLANGPE  = 4790
	portGeneve    = 6081
	portMPLS      = 6635
	portVXLANOldX = 8472 // what Linux used before the assignment
)

// mayTunnel says that a UDP packet may begin a tunnel other than L2TP.
func mayTunnel(src, dst uint16) bool {
	switch dst {
	case portGTPU, portTeredo, portVXLAN, portVXLANGPE, portGeneve, portMPLS, portVXLANOldX:
		return true
	}
	return src == portGTPU || src == portTeredo
}

// udp reads a UDP header and, by its ports, what may be inside. A payload that does not look like its port's tunnel is
// just a payload, and OK: ports are no promise.
func (w *walker) udp() (step, Code) {
	w.note(LayerUDP)
	w.ports()
	b := w.b
	if len(b) < 8 {
		if len(b) >= 4 && !w.whole {
			return stepDone, OK
		}
		return w.cutShort(ShortTransport)
	}
	if n := int(be.Uint16(b[4:6])); n >= 8 && n < len(b) {
		b = b[:n]
	}
	w.b = b[8:]
	src, dst := w.ip.SrcPort, w.ip.DstPort
	if src == portL2TP || dst == portL2TP {
		return w.l2tpUDP()
	}
	if !mayTunnel(src, dst) {
		return stepDone, OK
	}
	switch dst {
	case portVXLAN, portVXLANOldX:
		return w.vxlan(false)
	case portVXLANGPE:
		return w.vxlan(true)
	case portGeneve:
		return w.geneve()
	case portMPLS:
		if len(w.b) < 4 {
			return stepDone, OK
		}
		return w.tunnel(TunnelMPLSUDP, stepMPLS)
	}
	if src == portGTPU || dst == portGTPU {
		return w.gtpu()
	}
	return w.teredo()
}

// vxlan reads RFC 7348's header, or that of VXLAN-GPE, which names what is inside.
func (w *walker) vxlan(gpe bool) (step, Code) {
	b := w.b
	if len(b) < 8 || b[0]&0x08 == 0 || !w.enter(TunnelVXLAN) {
		return stepDone, OK
	}
	w.note(LayerVXLAN)
	w.b = b[8:]
	if !gpe || b[0]&0x04 == 0 && b[3] == 0 { // some set the protocol without its flag
		return stepEthernet, OK
	}
	switch b[3] {
	case 1:
		return stepIPv4, OK
	case 2:
		return stepIPv6, OK
	case 3:
		return stepEthernet, OK
	case 4:
		w.typ = typeNSH
		return stepType, OK
	case 5:
		return stepMPLS, OK
	}
	return stepDone, UnknownEthertype
}

// geneve reads RFC 8926's header and steps over its options.
func (w *walker) geneve() (step, Code) {
	b := w.b
	if len(b) < 8 || b[0]>>6 != 0 {
		return stepDone, OK
	}
	switch w.typ = be.Uint16(b[2:4]); w.typ {
	case typeIPv4, typeIPv6, typeTEB, typeVLAN, typeMPLS, typeARP, typeNSH:
	default:
		return stepDone, OK // port 6081 by chance
	}
	if !w.enter(TunnelGeneve) {
		return stepDone, OK
	}
	w.note(LayerGeneve)
	n := 8 + int(b[0]&0x3f)*4
	if n > len(b) {
		return stepDone, Truncated
	}
	w.b = b[n:]
	return stepType, OK
}

// gtpu reads a GTP-U header and its extension headers (3GPP TS 29.281 section 5). Only G-PDU messages carry packets.
func (w *walker) gtpu() (step, Code) {
	const gpdu = 0xff
	b := w.b
	// Version 1, protocol type GTP.
	if len(b) < 8 || b[0]&0xf0 != 0x30 || b[1] != gpdu || !w.enter(TunnelGTPU) {
		return stepDone, OK
	}
	w.note(LayerGTPU)
	flags, n := b[0]&0x07, int(be.Uint16(b[2:4]))
	b = b[8:]
	b = b[:min(n, len(b))]
	if flags != 0 { // sequence, N-PDU number and next extension are there together
		if len(b) < 4 {
			return stepDone, Truncated
		}
		next := b[3]
		b = b[4:]
		if flags&0x04 == 0 {
			next = 0
		}
		for i := 0; next != 0; i++ {
			if i == MaxExtensions {
				return stepDone, TooDeep
			}
			if len(b) == 0 {
				return stepDone, Truncated
			}
			n := int(b[0]) * 4
			if n == 0 || n > len(b) {
				return stepDone, Truncated
			}
			next = b[n-1]
			b = b[n:]
		}
	}
	w.b = b
	// The header does not say what is inside: IP nearly always, or the Ethernet of a 5G session.
	if len(b) > 0 && b[0]>>4 != 4 && b[0]>>4 != 6 {
		if likelyEthernet(b) {
			return stepEthernet, OK
		}
		return stepDone, UnknownEthertype
	}
	return stepIP, OK
}

// teredo reads the optional indicators in front of an IPv6 packet in UDP (RFC 4380 section 5.1.1).
func (w *walker) teredo() (step, Code) {
	b := w.b
	if len(b) >= 4 && b[0] == 0 && b[1] == 1 { // authentication: client id, value, nonce and confirmation
		n := 4 + int(b[2]) + int(b[3]) + 9
		if n > len(b) {
			return stepDone, OK
		}
		b = b[n:]
	}
	if len(b) >= 8 && b[0] == 0 && b[1] == 0 { // origin
		b = b[8:]
	}
	if len(b) < 40 || b[0]>>4 != 6 || !w.enter(TunnelTeredo) {
		return stepDone, OK
	}
	w.note(LayerTeredo)
	w.b = b
	return stepIPv6, OK
}

// gre reads a GRE header: RFC 2784 and 2890, and version 1 of RFC 2637 (PPTP).
func (w *walker) gre() (step, Code) {
	b := w.b
	if len(b) < 4 {
		w.note(LayerGRE)
		return w.cutShort(InnerTruncated)
	}
	flags, typ := be.Uint16(b[0:2]), be.Uint16(b[2:4])
	t := TunnelGRE
	if typ == typeERSPAN || typ == typeERSPAN3 {
		t = TunnelERSPAN
	}
	if !w.enter(t) {
		return stepDone, OK
	}
	w.note(LayerGRE)
	const checksum, routing, key, sequence, ack = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
	version := flags & 7
	if flags&routing != 0 || version > 1 || version == 1 && (typ != typePPP || flags&key == 0) {
		return stepDone, InnerUnknown
	}
	n := 4
	for _, f := range [...]uint16{checksum, key, sequence} {
		if flags&f != 0 {
			n += 4
		}
	}
	if version == 1 && flags&ack != 0 {
		n += 4
	}
	if n > len(b) {
		return stepDone, Truncated
	}
	w.b = b[n:]
	if version == 1 {
		if flags&sequence == 0 {
			return stepDone, OK // a bare acknowledgement
		}
		// The key's upper half is the payload's length.
		w.b = w.b[:min(int(be.Uint16(b[4:6])), len(w.b))]
		return stepPPP, OK
	}
	if len(w.b) == 0 {
		return stepDone, OK // a keepalive has no payload
	}
	switch w.typ = typ; typ {
	case typeERSPAN:
		return w.erspan2(flags&sequence != 0)
	case typeERSPAN3:
		return w.erspan3()
	}
	if typ < minType {
		return stepDone, UnknownEthertype
	}
	return stepType, OK
}

// GRE protocol types of ERSPAN (draft-foschiano-erspan).
const (
	typeERSPAN  = 0x88be
	typeERSPAN3 = 0x22eb
)

// erspan2 reads type I, which has no header, and II, which has 8 bytes and comes with a sequence number.
func (w *walker) erspan2(sequence bool) (step, Code) {
	if !sequence {
		return w.skip(LayerERSPAN, 0, stepEthernet)
	}
	return w.skip(LayerERSPAN, 8, stepEthernet)
}

// erspan3 reads type III: 12 bytes, 8 more when the O bit is set, and a frame type.
func (w *walker) erspan3() (step, Code) {
	b := w.b
	if len(b) < 12 {
		return stepDone, Truncated
	}
	n := 12
	if b[11]&1 != 0 {
		n = 20
	}
	next := stepEthernet
	if frame := b[10] >> 2 & 0x1f; frame == 2 {
		next = stepIP
	} else if frame != 0 {
		return stepDone, InnerUnknown
	}
	return w.skip(LayerERSPAN, n, next)
}
