package wire

// Code says how decoding a frame ended. It is a small integer, an index into counter arrays, and a name for people.
type Code uint8

// Codes of frames in which an IP header was seen. They are counted against its addresses.
const (
	// OK: everything that counting needs was read. Fragments are OK, later and tiny ones too, which have no ports.
	OK Code = iota
	// BadIHL: IPv4 header length below 20 bytes (RFC 791). Class by protocol, no ports.
	BadIHL
	// BadIPLength: IPv4 total length below the header's own length. No ports.
	BadIPLength
	// TruncatedTransport: the capture ends before ports and flags were reached, the packet itself is longer.
	TruncatedTransport
	// ShortTransport: the IP datagram ends inside its TCP, UDP or SCTP header though it is no fragment.
	ShortTransport
	// BadExtension: the IP datagram ends inside an extension header.
	BadExtension
	// TooManyExtensions: more than MaxExtensions extension headers. Proto is the next of them.
	TooManyExtensions
	// L2TPControl: an L2TP control message; charged to the tunnel's ends.
	L2TPControl
	// InnerTruncated: the frame ends in an encapsulation behind the IP header.
	InnerTruncated
	// InnerNotIP: a tunnel carries something known that is not IP, such as ARP or PPP control.
	InnerNotIP
	// InnerUnknown: a tunnel carries something unknown.
	InnerUnknown
	// InnerBadIP: a tunnel carries an IP header of a wrong version.
	InnerBadIP
	// InnerTooDeep: a budget of nesting was used up behind an IP header.
	InnerTooDeep

	firstUnaddressed
)

// Codes of frames without a complete IP header.
const (
	// Truncated: the frame ends before or inside its first IP header.
	Truncated Code = firstUnaddressed + iota
	// BadIPVersion: IP was announced, but the version nibble is another.
	BadIPVersion
	// TooDeep: a budget of nesting was used up before any IP header.
	TooDeep
	// UnknownLinkType: the capture's link type is not known.
	UnknownLinkType
	// UnknownEthertype: the EtherType is not known, or is a length that 802.3 does not allow.
	UnknownEthertype
	// UnknownLLC: the LLC SAPs or the SNAP organisation are not known.
	UnknownLLC
	// UnknownPPP: the PPP protocol is not known.
	UnknownPPP
	// UnknownNSH: the NSH next protocol is not known, or its version.
	UnknownNSH
	ARP
	RARP
	LLDP
	STP
	// SlowProtocol is LACP, marker and OAM (EtherType 0x8809).
	SlowProtocol
	// CiscoL2 is CDP, VTP, DTP, UDLD and SLARP.
	CiscoL2
	ISIS
	// IPX: Novell IPX in any of its framings.
	IPX
	NetBIOS
	EAPOL
	MACsec
	// MACControl is pause and priority flow control (0x8808).
	MACControl
	PTP
	// CFM is connectivity fault management (0x8902).
	CFM
	// LoopbackTest is the configuration testing protocol (0x9000).
	LoopbackTest
	PPPoEDiscovery
	// PPPControl is LCP, IPCP, CHAP and their like.
	PPPControl
	// PPPCompressed: compressed, encrypted or multilink PPP, which cannot be looked through.
	PPPCompressed
	// MPLSOAM: an MPLS associated channel (RFC 5586).
	MPLSOAM
	TRILL
	WakeOnLAN
	AoE
	FCoE
	Profinet
	EtherCAT
	HomePlug
	RoCE

	// NumCodes is how many codes there are, the length of a counter array.
	NumCodes
)

var codeNames = [NumCodes]string{
	OK: "ok", BadIHL: "bad_ihl", BadIPLength: "bad_ip_length", TruncatedTransport: "truncated_transport",
	ShortTransport: "short_transport", BadExtension: "bad_extension", TooManyExtensions: "too_many_extensions",
	L2TPControl: "l2tp_control", InnerTruncated: "inner_truncated", InnerNotIP: "inner_not_ip", InnerUnknown: "inner_unknown",
	InnerBadIP: "inner_bad_ip_version", InnerTooDeep: "inner_too_deep",
	Truncated: "truncated", BadIPVersion: "bad_ip_version", TooDeep: "too_deep", UnknownLinkType: "unknown_link_type",
	UnknownEthertype: "unknown_ethertype", UnknownLLC: "unknown_llc", UnknownPPP: "unknown_ppp", UnknownNSH: "unknown_nsh",
	ARP: "arp", RARP: "rarp", LLDP: "lldp", STP: "stp", SlowProtocol: "slow_protocol", CiscoL2: "cisco_l2", ISIS: "isis", IPX: "ipx",
	NetBIOS: "netbios", EAPOL: "eapol", MACsec: "macsec", MACControl: "mac_control", PTP: "ptp", CFM: "cfm",
	LoopbackTest: "loopback_test", PPPoEDiscovery: "pppoe_discovery", PPPControl: "ppp_control", PPPCompressed: "ppp_compressed",
	MPLSOAM: "mpls_oam", TRILL: "trill", WakeOnLAN: "wake_on_lan", AoE: "aoe", FCoE: "fcoe", Profinet: "profinet",
	EtherCAT: "ethercat", HomePlug: "homeplug", RoCE: "roce",
}

// String returns the code's name in every interface, in snake_case.
func (c Code) String() string {
	if c < NumCodes {
		return codeNames[c]
	}
	return "invalid"
}

// Addressed says that an IP header was seen, so that the frame is counted against addresses whatever else the code says.
func (c Code) Addressed() bool { return c < firstUnaddressed }

// inside turns the code of a frame without addresses into that of the same trouble behind an IP header.
func (c Code) inside() Code {
	switch c {
	case Truncated:
		return InnerTruncated
	case BadIPVersion:
		return InnerBadIP
	case TooDeep:
		return InnerTooDeep
	case UnknownEthertype, UnknownLLC, UnknownPPP, UnknownNSH:
		return InnerUnknown
	}
	if c < firstUnaddressed {
		return c
	}
	return InnerNotIP
}
