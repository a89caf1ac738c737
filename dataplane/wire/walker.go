package wire

// step is the parser that reads next.
type step uint8

const (
	stepDone step = iota
	stepEthernet
	stepType // what walker.typ, an EtherType, says
	stepLLC
	stepIPv4
	stepIPv6
	stepIP // the version nibble decides
	stepMPLS
	stepPPP
	stepTransport // what walker.ip.Proto says
	stepUDP
	stepGRE
)

// walker is the state of one frame on its way through the parsers. Each parser takes its header from the front of b and names the
// next; b only ever shrinks. It lives on Decode's stack.
type walker struct {
	b   []byte
	d   *Decoder
	h   *Headers
	ip  *IP    // the last IP header; nil before the first
	typ uint16 // EtherType for stepType
	// whole says that the last IP datagram was captured to its end, so that b ends where the datagram does.
	whole bool
	// next is how the next IP header is charged: set when a tunnel is entered.
	next Charge
	// settled says that a tunnel charged outside was entered, for Trace only.
	settled bool
}

// Walk is the complete decoder.
func (d *Decoder) Walk(lt LinkType, b []byte, h *Headers) Code {
	h.state = headerState{}
	h.Outer.Version = 0
	w := walker{b: b, d: d, h: h}
	s, c := w.link(lt)
	for range MaxLayers {
		switch s {
		case stepDone:
			return w.end(c)
		case stepEthernet:
			s, c = w.ethernet()
		case stepType:
			s, c = w.etherType()
		case stepLLC:
			s, c = w.llc()
		case stepIPv4:
			s, c = w.ipv4()
		case stepIPv6:
			s, c = w.ipv6()
		case stepIP:
			s, c = w.anyIP()
		case stepMPLS:
			s, c = w.mpls()
		case stepPPP:
			s, c = w.ppp()
		case stepTransport:
			s, c = w.transport()
		case stepUDP:
			s, c = w.udp()
		case stepGRE:
			s, c = w.gre()
		}
	}
	if s == stepDone {
		return w.end(c)
	}
	return w.end(TooDeep)
}

// end makes a code that says whether there are addresses.
func (w *walker) end(c Code) Code {
	if w.h.state.n != 0 {
		return c.inside()
	}
	return c
}

// note records a layer for Trace.
func (w *walker) note(l Layer) {
	if !w.d.Trace {
		return
	}
	s := &w.h.state
	if s.layers < MaxNoted {
		w.h.notes[s.layers] = l
		s.layers++
	}
}

// push takes the next IP header into use and decides whether it is charged. It returns nil when the budget is used up.
func (w *walker) push() *IP {
	s := &w.h.state
	if s.n == MaxIP {
		return nil
	}
	if s.n > 0 {
		switch {
		case w.settled:
		case w.next == ChargeBoth || w.next == ChargeInner && s.b != 0:
			s.b = s.n
		case w.next == ChargeInner:
			s.a = s.n
		}
	}
	w.ip = w.h.ip(s.n)
	s.n++
	return w.ip
}

// enter says whether to look into a tunnel of kind t behind the last IP header.
func (w *walker) enter(t Tunnel) bool {
	if w.settled {
		return true // only Trace gets here
	}
	if c := w.d.Charge[t]; c != ChargeOuter {
		w.next = c
		return true
	}
	w.settled = true
	return w.d.Trace
}

// enterAlways looks into an L2TP tunnel, whose inside is what counts, as for link-layer encapsulations.
func (w *walker) enterAlways() { w.next = ChargeInner }

// link starts the walk by link type.
func (w *walker) link(lt LinkType) (step, Code) {
	switch lt {
	case LinkEthernet:
		return stepEthernet, OK
	case LinkRaw, linkRawBSD, linkRawOpenBSD:
		return stepIP, OK
	case LinkIPv4:
		return stepIPv4, OK
	case LinkIPv6:
		return stepIPv6, OK
	case LinkLinuxSLL:
		return w.cooked(LayerSLL, 16, 14)
	case LinkLinuxSLL2:
		return w.cooked(LayerSLL2, 20, 0)
	case LinkNull, LinkLoop:
		return w.loopback(lt)
	case LinkCHDLC:
		return w.chdlc()
	case LinkPPP, LinkPPPHDLC:
		return stepPPP, OK
	case LinkPPPEther:
		return w.pppoe()
	case LinkNFLOG:
		return w.nflog()
	}
	return stepDone, UnknownLinkType
}

// cooked reads a Linux cooked header of n bytes with the protocol at byte at.
func (w *walker) cooked(l Layer, n, at int) (step, Code) {
	if len(w.b) < n {
		return stepDone, Truncated
	}
	w.note(l)
	w.typ = be.Uint16(w.b[at : at+2])
	w.b = w.b[n:]
	switch w.typ {
	case 0x0001: // ETH_P_802_3: raw Novell
		return stepDone, IPX
	case 0x0004: // ETH_P_802_2
		return stepLLC, OK
	}
	if w.typ < minType {
		return stepDone, UnknownEthertype
	}
	return stepType, OK
}

// loopback reads a BSD address family; of the several numbers that IPv6 has among systems all are taken.
func (w *walker) loopback(lt LinkType) (step, Code) {
	if len(w.b) < 4 {
		return stepDone, Truncated
	}
	w.note(LayerNull)
	family := be.Uint32(w.b)
	if lt == LinkNull && family > 0xffff { // the host's order: the small number is the family
		family = le.Uint32(w.b)
	}
	w.b = w.b[4:]
	switch family {
	case 2:
		return stepIPv4, OK
	case 10, 24, 28, 30:
		return stepIPv6, OK
	case 7:
		return stepDone, ISIS
	}
	return stepDone, UnknownEthertype
}

// chdlc reads a Cisco HDLC header: address, control, EtherType.
func (w *walker) chdlc() (step, Code) {
	if len(w.b) < 4 {
		return stepDone, Truncated
	}
	w.note(LayerCHDLC)
	w.typ = be.Uint16(w.b[2:4])
	w.b = w.b[4:]
	switch w.typ {
	case 0x8035, 0x2000: // SLARP, and CDP in a fashion of its own
		return stepDone, CiscoL2
	case 0xfefe: // OSI
		return stepDone, ISIS
	}
	return stepType, OK
}

// nflog finds the packet among the type-length-values of a netfilter log record. Their order is the capturing host's.
func (w *walker) nflog() (step, Code) {
	const payload = 9
	if len(w.b) < 4 {
		return stepDone, Truncated
	}
	w.note(LayerNFLOG)
	family := w.b[0]
	w.b = w.b[4:]
	for range 64 { // the kernel writes about twenty
		if len(w.b) < 4 {
			return stepDone, Truncated
		}
		n, kind := int(le.Uint16(w.b)), le.Uint16(w.b[2:])
		if n > 0xff && n&0xff == 0 || n < 4 || kind > 0xff {
			n, kind = int(be.Uint16(w.b)), be.Uint16(w.b[2:])
		}
		if n < 4 {
			return stepDone, Truncated
		}
		if kind == payload {
			w.b = w.b[4:min(n, len(w.b))]
			switch family {
			case 2:
				return stepIPv4, OK
			case 10:
				return stepIPv6, OK
			case 3:
				return stepDone, ARP
			case 7: // bridge
				return stepEthernet, OK
			}
			return stepDone, UnknownEthertype
		}
		if n = (n + 3) &^ 3; n > len(w.b) {
			return stepDone, Truncated
		}
		w.b = w.b[n:]
	}
	return stepDone, TooDeep
}
