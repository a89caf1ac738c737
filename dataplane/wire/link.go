package wire

// EtherTypes (IEEE registry).
const (
	minType       = 0x0600 // below, the field is an 802.3 length
	maxLength     = 1500
	typeIPv4      = 0x0800
	typeARP       = 0x0806
	typeWakeOnLAN = 0x0842
	typeTRILL     = 0x22f3
	typeTEB       = 0x6558 // transparent Ethernet bridging
	typeRARP      = 0x8035
	typeVLAN      = 0x8100
	typeIPX       = 0x8137
	typeIPv6      = 0x86dd
	typeMACCtl    = 0x8808
	typeSlow      = 0x8809
	typePPP       = 0x880b
	typeMPLS      = 0x8847
	typeMPLSMcast = 0x8848
	typePPPoEDisc = 0x8863
	typePPPoE     = 0x8864
	typeJumboLLC  = 0x8870
	typeEAPOL     = 0x888e
	typeProfinet  = 0x8892
	typeAoE       = 0x88a2
	typeEtherCAT  = 0x88a4
	typeQinQ      = 0x88a8 // 802.1ad
	typeLLDP      = 0x88cc
	typeHomePlug  = 0x88e1
	typeMACsec    = 0x88e5
	typePBB       = 0x88e7 // 802.1ah I-TAG
	typePTP       = 0x88f7
	typeCFM       = 0x8902
	typeFabric    = 0x8903 // Cisco FabricPath
	typeFCoE      = 0x8906
	typeCMD       = 0x8909 // Cisco metadata (security group tags)
	typeRoCE      = 0x8915
	typeVNTag     = 0x8926
	typeETag      = 0x893f // 802.1BR
	typeNSH       = 0x894f // RFC 8300
	typeLoopback  = 0x9000
	typeQinQOld   = 0x9100
	typeQinQOld2  = 0x9200
	typeQinQOld3  = 0x9300
)

func (w *walker) ethernet() (step, Code) {
	if len(w.b) < 14 {
		return stepDone, Truncated
	}
	w.note(LayerEthernet)
	w.typ = be.Uint16(w.b[12:14])
	w.b = w.b[14:]
	return stepType, OK
}

// etherType dispatches on w.typ: what is behind an Ethernet header, a tag, a SNAP header, GRE, Geneve.
func (w *walker) etherType() (step, Code) {
	switch w.typ {
	case typeIPv4:
		return stepIPv4, OK
	case typeIPv6:
		return stepIPv6, OK
	case typeVLAN, typeQinQ, typeQinQOld, typeQinQOld2, typeQinQOld3:
		return w.vlan()
	case typeMPLS, typeMPLSMcast:
		return stepMPLS, OK
	case typePPPoE:
		return w.pppoe()
	case typePPP:
		return stepPPP, OK
	case typeTEB:
		return stepEthernet, OK
	case typeJumboLLC:
		return stepLLC, OK
	case typePBB: // 4 bytes of I-TAG, then the customer's frame
		return w.skip(LayerPBB, 4, stepEthernet)
	case typeFabric: // 2 bytes of tree and TTL, then the frame
		return w.skip(LayerFabricPath, 2, stepEthernet)
	case typeETag: // 6 bytes, then an EtherType
		return w.tag(LayerETag, 6)
	case typeVNTag:
		return w.tag(LayerVNTag, 4)
	case typeCMD:
		return w.metadata()
	case typeNSH:
		return w.nsh()
	}
	if w.typ <= maxLength {
		w.b = w.b[:min(int(w.typ), len(w.b))] // the rest is padding
		return stepLLC, OK
	}
	return stepDone, notIP(w.typ)
}

// notIP names EtherTypes behind which there is never IP.
func notIP(typ uint16) Code {
	switch typ {
	case typeARP:
		return ARP
	case typeRARP:
		return RARP
	case typeLLDP:
		return LLDP
	case typeSlow:
		return SlowProtocol
	case typePPPoEDisc:
		return PPPoEDiscovery
	case typeMACCtl:
		return MACControl
	case typeEAPOL:
		return EAPOL
	case typeMACsec:
		return MACsec
	case typePTP:
		return PTP
	case typeCFM:
		return CFM
	case typeLoopback:
		return LoopbackTest
	case typeIPX:
		return IPX
	case typeTRILL:
		return TRILL
	case typeWakeOnLAN:
		return WakeOnLAN
	case typeAoE:
		return AoE
	case typeFCoE, 0x8914:
		return FCoE
	case typeProfinet:
		return Profinet
	case typeEtherCAT:
		return EtherCAT
	case typeHomePlug, 0x887b, 0x8912:
		return HomePlug
	case typeRoCE:
		return RoCE
	case 0x2000, 0x2003, 0x2004:
		return CiscoL2
	}
	return UnknownEthertype
}

// skip steps over a header of n bytes whose contents do not matter.
func (w *walker) skip(l Layer, n int, next step) (step, Code) {
	if len(w.b) < n {
		return stepDone, Truncated
	}
	w.note(l)
	w.b = w.b[n:]
	return next, OK
}

// tag steps over a tag of n bytes in front of an EtherType.
func (w *walker) tag(l Layer, n int) (step, Code) {
	if len(w.b) < n+2 {
		return stepDone, Truncated
	}
	w.note(l)
	w.typ = be.Uint16(w.b[n : n+2])
	w.b = w.b[n+2:]
	return stepType, OK
}

// vlan steps over a run of VLAN tags.
func (w *walker) vlan() (step, Code) {
	for range MaxTags {
		if len(w.b) < 4 {
			return stepDone, Truncated
		}
		w.note(LayerVLAN)
		w.typ = be.Uint16(w.b[2:4])
		w.b = w.b[4:]
		switch w.typ {
		case typeVLAN, typeQinQ, typeQinQOld, typeQinQOld2, typeQinQOld3:
		default:
			return stepType, OK
		}
	}
	return stepDone, TooDeep
}

// metadata steps over Cisco's tag: version, count of options, then each option in 4 bytes, at least one. The EtherType of what
// follows stands behind it on Ethernet, and before it in GRE.
func (w *walker) metadata() (step, Code) {
	b := w.b
	if len(b) < 4 {
		return stepDone, Truncated
	}
	if b[0] <= 1 { // a version; no EtherType starts so
		return w.tag(LayerCMD, 2+4*max(1, int(b[1])))
	}
	w.typ = be.Uint16(b)
	return w.skip(LayerCMD, 4+4*max(1, int(b[3])), stepType)
}

// nsh reads a network service header (RFC 8300 section 2).
func (w *walker) nsh() (step, Code) {
	if len(w.b) < 8 {
		return stepDone, Truncated
	}
	n, next := int(be.Uint16(w.b)&0x3f)*4, w.b[3]
	if w.b[0]>>6 != 0 || n < 8 {
		return stepDone, UnknownNSH
	}
	if len(w.b) < n {
		return stepDone, Truncated
	}
	w.note(LayerNSH)
	w.b = w.b[n:]
	switch next {
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
	return stepDone, UnknownNSH
}

// llc reads an 802.2 header, and the SNAP header that may follow it.
func (w *walker) llc() (step, Code) {
	if len(w.b) < 3 {
		return stepDone, Truncated
	}
	saps := be.Uint16(w.b)
	if saps == 0xffff { // Novell's raw 802.3 has no LLC; this is its checksum field
		return stepDone, IPX
	}
	w.note(LayerLLC)
	switch saps {
	case 0xaaaa:
		if w.b[2] != 0x03 {
			return stepDone, UnknownLLC
		}
		w.b = w.b[3:]
		return w.snap()
	case 0x4242:
		return stepDone, STP
	case 0x0606: // RFC 948's IP in 802.2
		w.b = w.b[3:]
		return stepIPv4, OK
	case 0xfefe:
		return stepDone, ISIS
	case 0xe0e0:
		return stepDone, IPX
	case 0xf0f0, 0xf0f1:
		return stepDone, NetBIOS
	}
	return stepDone, UnknownLLC
}

// snap reads a SNAP header: organisation and protocol.
func (w *walker) snap() (step, Code) {
	if len(w.b) < 5 {
		return stepDone, Truncated
	}
	w.note(LayerSNAP)
	org := uint32(be.Uint16(w.b))<<8 | uint32(w.b[2])
	w.typ = be.Uint16(w.b[3:5])
	w.b = w.b[5:]
	switch org {
	case 0x000000, 0x0000f8: // RFC 1042, 802.1H
		if w.typ < minType {
			return stepDone, UnknownLLC
		}
		return stepType, OK
	case 0x0080c2: // 802.1: bridged frames, RFC 2684
		switch w.typ {
		case 0x0001, 0x0007:
			return stepEthernet, OK
		case 0x000e:
			return stepDone, STP
		}
	case 0x00000c: // Cisco
		if w.typ == 0x010b {
			return stepDone, STP // PVST+
		}
		return stepDone, CiscoL2
	}
	return stepDone, UnknownLLC
}

// mpls steps over a label stack (RFC 3032) and finds out what is behind it, which the stack does not say.
func (w *walker) mpls() (step, Code) {
	for range MaxTags {
		if len(w.b) < 4 {
			return stepDone, Truncated
		}
		w.note(LayerMPLS)
		bottom := w.b[2]&1 != 0
		w.b = w.b[4:]
		if bottom {
			return w.mplsPayload()
		}
	}
	return stepDone, TooDeep
}

// mplsPayload guesses as routers do (RFC 4928): a first nibble of 4 or 6 is IP, 0 a pseudowire control word, 1 an associated channel,
// else Ethernet without a control word. Since a MAC address may begin with any of these, the guess gives way to a frame that
// looks like Ethernet where it does not look like its own kind.
func (w *walker) mplsPayload() (step, Code) {
	if len(w.b) == 0 {
		return stepDone, Truncated
	}
	ether := likelyEthernet(w.b)
	switch w.b[0] >> 4 {
	case 4:
		if ether && !likelyIPv4(w.b) {
			return stepEthernet, OK
		}
		return stepIPv4, OK
	case 6:
		if ether && !likelyIPv6(w.b) {
			return stepEthernet, OK
		}
		return stepIPv6, OK
	case 0:
		if ether {
			return stepEthernet, OK
		}
		return w.skip(LayerPWControl, 4, stepEthernet)
	case 1:
		if ether {
			return stepEthernet, OK
		}
		return stepDone, MPLSOAM
	}
	return stepEthernet, OK
}

// likelyEthernet says that b looks like an Ethernet frame: a common EtherType, and behind it what belongs there.
func likelyEthernet(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	switch typ := be.Uint16(b[12:14]); typ {
	case typeIPv4:
		return b[14]>>4 == 4 && b[14]&0xf >= 5
	case typeIPv6:
		return b[14]>>4 == 6
	case typeARP:
		return be.Uint16(b[14:]) == 1
	case typeVLAN, typeQinQ, typeMPLS, typePPPoE, typePPPoEDisc, typeLLDP, typeSlow:
		return true
	default:
		return typ <= maxLength && b[14] == b[15] && (b[14] == 0x42 || b[14] == 0xaa || b[14] == 0xfe)
	}
}

// likelyIPv4 says that b starts with a sound IPv4 header: its checksum is right.
func likelyIPv4(b []byte) bool {
	if len(b) < 20 {
		return false
	}
	n := int(b[0]&0xf) * 4
	if b[0]>>4 != 4 || n < 20 || n > len(b) {
		return false
	}
	var sum uint32
	for b = b[:n]; len(b) >= 2; b = b[2:] {
		sum += uint32(be.Uint16(b))
	}
	sum = sum&0xffff + sum>>16
	return sum&0xffff+sum>>16 == 0xffff
}

// likelyIPv6 says that b starts with an IPv6 header whose length is b's but for an FCS. In an Ethernet frame only a header with next to
// no payload is short enough to be padded.
func likelyIPv6(b []byte) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	payload := int(be.Uint16(b[4:6]))
	rest := len(b) - 40 - payload
	return rest >= 0 && rest <= 4 || payload <= 1
}

// pppoe reads a PPPoE session header (RFC 2516 section 4).
func (w *walker) pppoe() (step, Code) {
	if len(w.b) < 6 {
		return stepDone, Truncated
	}
	w.note(LayerPPPoE)
	code, n := w.b[1], int(be.Uint16(w.b[4:6]))
	w.b = w.b[6:]
	if code != 0 {
		return stepDone, PPPoEDiscovery
	}
	w.b = w.b[:min(n, len(w.b))]
	return stepPPP, OK
}

// PPP protocols (IANA).
const (
	pppIPv4      = 0x0021
	pppVJComp    = 0x002d
	pppVJUncomp  = 0x002f
	pppMultilink = 0x003d
	pppIPv6      = 0x0057
	pppComp      = 0x00fd
	pppMPLS      = 0x0281
	pppMPLSMcast = 0x0283
)

// ppp reads a PPP frame: address and control unless compressed away, and a protocol of one or two bytes (RFC 1661 section 2 and 6.5).
func (w *walker) ppp() (step, Code) {
	b := w.b
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) == 0 {
		return stepDone, Truncated
	}
	proto := uint16(b[0])
	if proto&1 != 0 {
		b = b[1:]
	} else {
		if len(b) < 2 {
			return stepDone, Truncated
		}
		proto = be.Uint16(b)
		b = b[2:]
	}
	w.note(LayerPPP)
	w.b = b
	switch proto {
	case pppIPv4:
		return stepIPv4, OK
	case pppIPv6:
		return stepIPv6, OK
	case pppMPLS, pppMPLSMcast:
		return stepMPLS, OK
	case pppVJComp, pppVJUncomp, pppMultilink, pppComp, 0x0053, 0x0055, 0x00fb:
		return stepDone, PPPCompressed
	}
	if proto >= 0x8000 {
		return stepDone, PPPControl
	}
	return stepDone, UnknownPPP
}
