package wire

// LinkType is a pcap link-layer type (https://www.tcpdump.org/linktypes.html).
type LinkType uint16

// Link types that Decode understands; any other gives the code UnknownLinkType.
const (
	LinkNull      LinkType = 0   // BSD loopback: 4-byte address family in host order
	LinkEthernet  LinkType = 1   // Ethernet II and 802.3
	LinkPPP       LinkType = 9   // PPP, with or without HDLC's address and control bytes
	LinkPPPHDLC   LinkType = 50  // PPP in HDLC-like framing (RFC 1662)
	LinkPPPEther  LinkType = 51  // starts at the PPPoE header
	LinkRaw       LinkType = 101 // starts at the IP header
	LinkCHDLC     LinkType = 104 // Cisco HDLC
	LinkLoop      LinkType = 108 // OpenBSD loopback: family in network order
	LinkLinuxSLL  LinkType = 113 // Linux cooked v1
	LinkIPv4      LinkType = 228 // raw IPv4
	LinkIPv6      LinkType = 229 // raw IPv6
	LinkNFLOG     LinkType = 239 // netfilter log records
	LinkLinuxSLL2 LinkType = 276 // Linux cooked v2

	linkRawBSD     LinkType = 12 // DLT_RAW of most systems, found in files of careless writers
	linkRawOpenBSD LinkType = 14
)

// TCP flag bits as on the wire (RFC 9293 section 3.1).
const (
	FlagFIN uint8 = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// Protocol numbers (IANA) that counting distinguishes.
const (
	ProtoICMP   uint8 = 1
	ProtoTCP    uint8 = 6
	ProtoUDP    uint8 = 17
	ProtoGRE    uint8 = 47
	ProtoESP    uint8 = 50
	ProtoICMPv6 uint8 = 58
	ProtoSCTP   uint8 = 132
)

// Charge says which addresses of an IP tunnel are charged with its packets.
type Charge uint8

// Charge values. Link-layer encapsulations, MPLS, PPPoE and L2TP are always looked through
// and are not tunnels in this sense.
const (
	ChargeOuter Charge = iota // the first IP header (default)
	ChargeInner               // the header inside the tunnel
	ChargeBoth                // both, each as its own packet of the full frame length
)

// Tunnel is a kind of IP tunnel whose Charge is configurable.
type Tunnel uint8

// The IP tunnels.
const (
	TunnelGRE     Tunnel = iota // GRE with an IP payload, TEB and PPTP (RFC 2784, 2637)
	TunnelERSPAN                // ERSPAN I, II, III
	TunnelIPIP                  // IPv4 in IPv4 (RFC 2003), and all IP-in-IP that is not below
	TunnelSIT                   // IPv6 in IPv4 (6in4, RFC 4213)
	Tunnel4in6                  // IPv4 or IPv6 in IPv6 (RFC 2473)
	TunnelGTPU                  // GTP-U (3GPP TS 29.281)
	TunnelVXLAN                 // RFC 7348
	TunnelGeneve                // RFC 8926
	TunnelMPLSUDP               // MPLS in UDP (RFC 7510)
	TunnelTeredo                // RFC 4380
	NumTunnels
)

// IP is what one IP header and the transport header behind it say.
// The zero value, Version 0, means that no such header was seen.
type IP struct {
	// Src and Dst are 16-byte addresses; IPv4 is v4-mapped (::ffff:a.b.c.d).
	Src, Dst [16]byte
	// SrcPort and DstPort are valid when HasPorts.
	SrcPort, DstPort uint16
	// Length is the IP datagram's length in bytes as its header says (RFC 791 total length; IPv6 40+payload length).
	Length uint32
	// Version is 4, 6, or 0 when no header was seen.
	Version uint8
	// Proto is the transport protocol, behind all IPv6 extension headers.
	Proto uint8
	// TCPFlags is valid when Proto is TCP and the header was there; else 0.
	TCPFlags uint8
	// TTL is the time to live or hop limit.
	TTL uint8
	// Fragment is set for every fragment, the first included (RFC 791 MF or offset; RFC 8200 fragment header,
	// but not for an atomic fragment, RFC 6946, whose offset and M are zero).
	Fragment bool
	// HasPorts is set when SrcPort and DstPort were read: TCP, UDP, SCTP and not a later fragment.
	HasPorts bool
}

// Decoder holds the configuration of decoding. A Decoder is read-only after it is made and may be shared.
type Decoder struct {
	// Charge says for each tunnel which header is charged.
	Charge [NumTunnels]Charge
	// Trace makes Decode walk to the innermost header and note every layer, whatever Charge says.
	// `weir decode` and the probe use it; workers do not.
	Trace bool
}
