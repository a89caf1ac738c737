package wire

// l2tpUDP reads L2TPv2 (RFC 2661 section 3.1) or L2TPv3 over UDP (RFC 3931 section 4.1.2). A payload of no known version is
// just a payload.
func (w *walker) l2tpUDP() (step, Code) {
	const control, length, sequence, offset = 0x8000, 0x4000, 0x0800, 0x0200
	b := w.b
	if len(b) < 6 {
		return stepDone, OK
	}
	flags := be.Uint16(b)
	switch flags & 0x000f {
	case 3:
		w.note(LayerL2TP)
		if flags&control != 0 {
			return stepDone, L2TPControl
		}
		return w.l2tpSession(b[4:])
	case 2:
		w.note(LayerL2TP)
		if flags&control != 0 {
			return stepDone, L2TPControl
		}
	default:
		return stepDone, OK
	}
	n := 6 // flags, tunnel, session
	if flags&length != 0 {
		if end := int(be.Uint16(b[2:4])); end < len(b) {
			b = b[:end]
		}
		n += 2
	}
	if flags&sequence != 0 {
		n += 4
	}
	if flags&offset != 0 {
		if len(b) < n+2 {
			return stepDone, Truncated
		}
		n += 2 + int(be.Uint16(b[n:]))
	}
	if n > len(b) {
		return stepDone, Truncated
	}
	w.b = b[n:]
	w.enterAlways()
	return stepPPP, OK
}

// l2tpIP reads L2TPv3 over IP (RFC 3931 section 4.1.1); session 0 is control.
func (w *walker) l2tpIP() (step, Code) {
	w.note(LayerL2TP)
	if len(w.b) < 4 {
		return w.cutShort(InnerTruncated)
	}
	if be.Uint32(w.b) == 0 {
		return stepDone, L2TPControl
	}
	return w.l2tpSession(w.b)
}

// l2tpSession finds the payload of an L2TPv3 data message, b starting at its session id. What the session carries, and whether
// a cookie of 4 or 8 bytes and a sublayer of 4 stand before it, was agreed when it was set up and is not on the wire: each place is
// tried for something that looks right, Ethernet first.
func (w *walker) l2tpSession(b []byte) (step, Code) {
	if len(b) < 4 {
		return stepDone, Truncated
	}
	b = b[4:]
	w.enterAlways()
	for _, n := range [...]int{0, 4, 8, 12} {
		if n <= len(b) && likelyEthernet(b[n:]) {
			w.b = b[n:]
			return stepEthernet, OK
		}
	}
	for _, n := range [...]int{0, 4, 8, 12} {
		if n > len(b) {
			break
		}
		w.b = b[n:]
		switch {
		case likelyPPP(w.b):
			return stepPPP, OK
		case likelyIPv4(w.b):
			return stepIPv4, OK
		case likelyIPv6(w.b):
			return stepIPv6, OK
		}
	}
	return stepDone, InnerUnknown
}

// likelyPPP says that b looks like PPP with IP inside.
func likelyPPP(b []byte) bool {
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) < 3 {
		return false
	}
	switch be.Uint16(b) {
	case pppIPv4:
		return b[2]>>4 == 4 && b[2]&0xf >= 5
	case pppIPv6:
		return b[2]>>4 == 6
	case 0xc021: // LCP
		return true
	}
	return false
}
