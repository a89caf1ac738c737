package gen

import (
	"fmt"
	"slices"
	"strings"
)

// Protocol numbers (IANA).
const (
	protoICMP   = 1
	protoIGMP   = 2
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	proto6in4   = 41
	protoGRE    = 47
	protoESP    = 50
	protoAH     = 51
	protoICMPv6 = 58
	protoNoNext = 59
	protoOSPF   = 89
	protoL2TP   = 115
	protoSCTP   = 132
)

// TCP flags (RFC 9293).
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
	urg
)

// fragment says which piece of a datagram a packet is.
type fragment uint8

const (
	whole  fragment = iota
	first           // offset 0, more to come: has the transport header
	middle          // offset 1448, more to come
	last            // offset 1448, the end
)

// kind is one sort of packet.
type kind struct {
	proto        uint8 // for IPv6, ICMP becomes ICMPv6
	flags        uint8 // TCP
	sport, dport uint16
	sizes        []int // transport payload in bytes, chosen at random
	frag         fragment
	cut          int    // keep so many bytes of the transport header; 0: all
	badIHL       bool   // IPv4 header length of 12 bytes
	only         int    // 4 or 6 for kinds of one family
	via          string // encapsulation that makes the kind what it is
	link         string // not IP: arp, lldp, stp
	payload      string // first bytes of the payload
	vector       string // what a detector should call a flood of it
	code         string // what a decoder should say, "" for ok
	help         string
}

var kinds = map[string]kind{
	"udp":           {proto: protoUDP, sizes: []int{18}, vector: "udp_flood", help: "UDP, random ports"},
	"quic":          {proto: protoUDP, dport: 443, sizes: []int{64, 1200, 1232}, vector: "udp_flood", payload: "\x40", help: "UDP to port 443"},
	"tcp":           {proto: protoTCP, flags: psh | ack, dport: 443, sizes: []int{64, 536, 1400}, vector: "unknown", help: "TCP data to port 443"},
	"syn":           {proto: protoTCP, flags: syn, sizes: []int{0}, vector: "syn_flood", help: "TCP SYN"},
	"synack":        {proto: protoTCP, flags: syn | ack, sport: 443, sizes: []int{0}, vector: "syn_flood", help: "TCP SYN+ACK, a reflection"},
	"ack":           {proto: protoTCP, flags: ack, sizes: []int{0}, vector: "unknown", help: "TCP ACK"},
	"rst":           {proto: protoTCP, flags: rst, sizes: []int{0}, vector: "unknown", help: "TCP RST"},
	"fin":           {proto: protoTCP, flags: fin | ack, sizes: []int{0}, vector: "unknown", help: "TCP FIN+ACK"},
	"xmas":          {proto: protoTCP, flags: fin | syn | rst | psh | ack | urg, sizes: []int{0}, vector: "syn_flood", help: "TCP with six flags"},
	"icmp":          {proto: protoICMP, sizes: []int{56}, vector: "icmp_flood", help: "ICMP or ICMPv6 echo request"},
	"dns":           {proto: protoUDP, dport: 53, sizes: []int{40}, vector: "udp_flood", payload: "\x12\x34\x01\x00\x00\x01", help: "DNS query"},
	"dns_amp":       {proto: protoUDP, sport: 53, sizes: []int{512, 1200, 1400}, vector: "udp_flood", payload: "\x12\x34\x81\x80\x00\x01\x00\x10", help: "DNS answers"},
	"ntp_amp":       {proto: protoUDP, sport: 123, sizes: []int{440}, vector: "udp_flood", payload: "\xd7\x00\x03\x2a\x00\x06\x00\x48", help: "NTP monlist answers"},
	"ssdp_amp":      {proto: protoUDP, sport: 1900, sizes: []int{280, 320}, vector: "udp_flood", payload: "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n", help: "SSDP answers"},
	"cldap_amp":     {proto: protoUDP, sport: 389, sizes: []int{1400}, vector: "udp_flood", payload: "\x30\x84\x00\x00\x0b\x90\x02\x01\x07\x64", help: "CLDAP answers"},
	"memcached_amp": {proto: protoUDP, sport: 11211, sizes: []int{1400}, vector: "udp_flood", payload: "\x00\x00\x00\x00\x00\x01\x00\x00VALUE a 0 1000000\r\n", help: "memcached answers"},
	"chargen_amp":   {proto: protoUDP, sport: 19, sizes: []int{74, 1000}, vector: "udp_flood", payload: " !\"#$%&'()*+,-./", help: "chargen answers"},
	"snmp_amp":      {proto: protoUDP, sport: 161, sizes: []int{1200}, vector: "udp_flood", payload: "\x30\x82\x04\xa0\x02\x01\x01", help: "SNMP answers"},
	"sctp":          {proto: protoSCTP, sizes: []int{20}, vector: "unknown", help: "SCTP INIT"},
	"esp":           {proto: protoESP, sizes: []int{64}, vector: "unknown", help: "IPsec ESP"},
	"gre":           {proto: protoUDP, sizes: []int{18}, via: "gre", vector: "unknown", help: "GRE with an IP packet inside: udp via gre"},
	"igmp":          {proto: protoIGMP, sizes: []int{8}, only: 4, vector: "unknown", help: "IGMP"},
	"ospf":          {proto: protoOSPF, sizes: []int{44}, vector: "unknown", help: "OSPF hello, any other protocol"},
	"no_next":       {proto: protoNoNext, sizes: []int{8}, only: 6, vector: "unknown", help: "IPv6 with no next header, and data behind it"},
	"frag_first":    {proto: protoUDP, sizes: []int{1440}, frag: first, vector: "ip_fragmentation", help: "first fragment of a UDP datagram"},
	"frag_later":    {proto: protoUDP, sizes: []int{512}, frag: middle, vector: "ip_fragmentation", help: "later fragment, more to come"},
	"frag_last":     {proto: protoUDP, sizes: []int{512}, frag: last, vector: "ip_fragmentation", help: "last fragment"},
	"frag_tiny":     {proto: protoUDP, sizes: []int{4}, frag: last, vector: "ip_fragmentation", help: "last fragment of 4 bytes"},
	"frag_syn":      {proto: protoTCP, flags: syn, sizes: []int{12}, frag: first, vector: "ip_fragmentation", help: "first fragment with a TCP SYN"},
	"frag_tcp":      {proto: protoTCP, sizes: []int{512}, frag: middle, vector: "ip_fragmentation", help: "later fragment of TCP"},
	"frag_icmp":     {proto: protoICMP, sizes: []int{512}, frag: middle, vector: "ip_fragmentation", help: "later fragment of an echo request"},
	"frag_gre":      {proto: protoGRE, sizes: []int{512}, frag: middle, vector: "ip_fragmentation", help: "later fragment of GRE"},
	"tcp_trunc":     {proto: protoTCP, flags: syn, cut: 8, sizes: []int{0}, vector: "unknown", code: "short_transport", help: "IP packet that ends after 8 bytes of TCP: flags unreadable"},
	"udp_trunc":     {proto: protoUDP, cut: 3, sizes: []int{0}, vector: "udp_flood", code: "short_transport", help: "IP packet that ends after 3 bytes of UDP"},
	"bad_ihl":       {proto: protoUDP, badIHL: true, sizes: []int{18}, only: 4, vector: "udp_flood", code: "bad_ihl", help: "IPv4 header length of 12 bytes"},
	"arp":           {link: "arp", sizes: []int{0}, code: "arp", help: "ARP request"},
	"lldp":          {link: "lldp", sizes: []int{0}, code: "lldp", help: "LLDP"},
	"stp":           {link: "stp", sizes: []int{0}, code: "stp", help: "spanning tree, 802.3 with LLC"},
}

// encap is one encapsulation. Its wrap is given the packet so far, from the inside out.
type encap struct {
	wrap  func(m *maker, outer6 bool)
	level encapLevel
	inner int // 4 or 6 when only that can be inside
	outer int // 4 or 6 when only that can be outside (tunnels)
	proto uint8
	port  uint16
	help  string
}

type encapLevel uint8

const (
	onIP    encapLevel = iota // belongs to the innermost IP header: options, extension headers
	onLink                    // below IP: tags, labels, PPPoE
	tunnel                    // an IP header around the packet
	carrier                   // L2TP: an IP header that nobody is charged for
)

var encaps map[string]encap

func init() { // the table's functions refer back to it through maker
	encaps = map[string]encap{
		"options":  {level: onIP, inner: 4, help: "IPv4 options"},
		"hbh":      {level: onIP, inner: 6, help: "IPv6 hop-by-hop options header"},
		"dst":      {level: onIP, inner: 6, help: "IPv6 destination options header"},
		"rh":       {level: onIP, inner: 6, help: "IPv6 routing header"},
		"mobility": {level: onIP, inner: 6, help: "IPv6 mobility header"},
		"hip":      {level: onIP, inner: 6, help: "IPv6 host identity header"},
		"shim6":    {level: onIP, inner: 6, help: "IPv6 shim6 header"},
		"atomic":   {level: onIP, inner: 6, help: "IPv6 atomic fragment (RFC 6946), which is no fragment"},
		"ah":       {level: onIP, help: "IPsec authentication header"},

		"vlan":      {level: onLink, wrap: func(m *maker, _ bool) { m.tag(0x8100) }, help: "802.1Q tag"},
		"88a8":      {level: onLink, wrap: func(m *maker, _ bool) { m.tag(0x88a8) }, help: "802.1ad tag"},
		"9100":      {level: onLink, wrap: func(m *maker, _ bool) { m.tag(0x9100) }, help: "0x9100 tag"},
		"qinq":      {level: onLink, wrap: func(m *maker, _ bool) { m.tag(0x8100); m.tag(0x88a8) }, help: "802.1ad and 802.1Q tags"},
		"vlan2":     {level: onLink, wrap: func(m *maker, _ bool) { m.tag(0x8100); m.tag(0x8100) }, help: "two 802.1Q tags"},
		"vlan3":     {level: onLink, wrap: func(m *maker, _ bool) { m.tag(0x8100); m.tag(0x8100); m.tag(0x8100) }, help: "three 802.1Q tags"},
		"mpls":      {level: onLink, wrap: func(m *maker, _ bool) { m.label() }, help: "one MPLS label"},
		"mpls2":     {level: onLink, wrap: func(m *maker, _ bool) { m.label(); m.label() }, help: "two MPLS labels"},
		"eompls":    {level: onLink, wrap: func(m *maker, _ bool) { m.ether(); m.label() }, help: "Ethernet over MPLS"},
		"eompls_cw": {level: onLink, wrap: func(m *maker, _ bool) { m.ether(); m.prepend([]byte{0, 0, 0, 0}); m.label() }, help: "Ethernet over MPLS with a control word"},
		"pppoe":     {level: onLink, wrap: func(m *maker, _ bool) { m.pppoe() }, help: "PPPoE session"},
		"snap":      {level: onLink, wrap: func(m *maker, _ bool) { m.snap() }, help: "802.3 with LLC and SNAP, outermost"},

		"ipip":     {level: tunnel, inner: 4, outer: 4, proto: protoIPIP, wrap: func(m *maker, _ bool) {}, help: "IPv4 in IPv4"},
		"6in4":     {level: tunnel, inner: 6, outer: 4, proto: proto6in4, wrap: func(m *maker, _ bool) {}, help: "IPv6 in IPv4"},
		"4in6":     {level: tunnel, inner: 4, outer: 6, proto: protoIPIP, wrap: func(m *maker, _ bool) {}, help: "IPv4 in IPv6"},
		"6in6":     {level: tunnel, inner: 6, outer: 6, proto: proto6in4, wrap: func(m *maker, _ bool) {}, help: "IPv6 in IPv6"},
		"gre":      {level: tunnel, proto: protoGRE, wrap: func(m *maker, _ bool) { m.gre(0) }, help: "GRE"},
		"gre_key":  {level: tunnel, proto: protoGRE, wrap: func(m *maker, _ bool) { m.gre(greKey | greChecksum | greSequence) }, help: "GRE with key, checksum and sequence"},
		"gre_teb":  {level: tunnel, proto: protoGRE, wrap: func(m *maker, _ bool) { m.ether(); m.et = 0x6558; m.gre(greKey) }, help: "Ethernet in GRE"},
		"pptp":     {level: tunnel, proto: protoGRE, wrap: func(m *maker, _ bool) { m.pptp() }, help: "PPTP, GRE version 1"},
		"erspan1":  {level: tunnel, proto: protoGRE, wrap: func(m *maker, _ bool) { m.ether(); m.et = 0x88be; m.gre(0) }, help: "ERSPAN type I"},
		"erspan2":  {level: tunnel, proto: protoGRE, wrap: func(m *maker, _ bool) { m.erspan2() }, help: "ERSPAN type II"},
		"erspan3":  {level: tunnel, proto: protoGRE, wrap: func(m *maker, _ bool) { m.erspan3() }, help: "ERSPAN type III"},
		"vxlan":    {level: tunnel, proto: protoUDP, port: 4789, wrap: func(m *maker, o6 bool) { m.ether(); m.prepend([]byte{8, 0, 0, 0, 0, 0x12, 0x34, 0}); m.udp(4789, o6) }, help: "VXLAN"},
		"geneve":   {level: tunnel, proto: protoUDP, port: 6081, wrap: func(m *maker, o6 bool) { m.geneve(o6) }, help: "Geneve with Ethernet and one option"},
		"gtpu":     {level: tunnel, proto: protoUDP, port: 2152, wrap: func(m *maker, o6 bool) { m.gtpu(false, o6) }, help: "GTP-U"},
		"gtpu_ext": {level: tunnel, proto: protoUDP, port: 2152, wrap: func(m *maker, o6 bool) { m.gtpu(true, o6) }, help: "GTP-U with an extension header"},
		"mpls_udp": {level: tunnel, proto: protoUDP, port: 6635, wrap: func(m *maker, o6 bool) { m.label(); m.udp(6635, o6) }, help: "MPLS in UDP"},
		"teredo":   {level: tunnel, inner: 6, outer: 4, proto: protoUDP, port: 3544, wrap: func(m *maker, o6 bool) { m.udp(3544, o6) }, help: "Teredo"},

		"l2tp2":    {level: carrier, proto: protoUDP, port: 1701, wrap: func(m *maker, o6 bool) { m.l2tp2(o6) }, help: "L2TPv2 with PPP"},
		"l2tp3":    {level: carrier, proto: protoL2TP, wrap: func(m *maker, _ bool) { m.ether(); m.prepend([]byte{0, 0, 0x12, 0x34}) }, help: "L2TPv3 over IP with Ethernet"},
		"l2tp3udp": {level: carrier, proto: protoUDP, port: 1701, wrap: func(m *maker, o6 bool) { m.ether(); m.prepend([]byte{0, 3, 0, 0, 0, 0, 0x12, 0x34}); m.udp(1701, o6) }, help: "L2TPv3 over UDP with Ethernet"},
	}
}

// lookupEncap finds an encapsulation by name. A tunnel or carrier that may stand on either family takes a 6 at the end
// of its name for an IPv6 header outside; it has an IPv4 one without.
func lookupEncap(name string) (e encap, outer6 bool, err error) {
	if e, ok := encaps[name]; ok {
		return e, e.outer == 6, nil
	}
	if base, ok := strings.CutSuffix(name, "6"); ok {
		if e, ok := encaps[base]; ok && e.level >= tunnel && e.outer == 0 {
			return e, true, nil
		}
	}
	return encap{}, false, fmt.Errorf("encapsulation %q is unknown", name)
}

// Kinds are the names of the kinds of packet that Stream.Kind takes, sorted.
func Kinds() []string { return sortedKeys(kinds) }

// Encapsulations are the names that Stream.Via takes, sorted.
func Encapsulations() []string {
	names := sortedKeys(encaps)
	for name, e := range encaps {
		if e.level >= tunnel && e.outer == 0 {
			names = append(names, name+"6")
		}
	}
	slices.Sort(names)
	return names
}

// Describe says in a few words what a kind or an encapsulation is; empty when there is no such name.
func Describe(name string) string {
	if k, ok := kinds[name]; ok {
		return k.help
	}
	e, outer6, err := lookupEncap(name)
	switch {
	case err != nil:
		return ""
	case outer6 && e.outer == 0:
		return e.help + ", IPv6 outside"
	}
	return e.help
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
