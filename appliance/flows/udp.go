package flows

import (
	"encoding/binary"

	"github.com/weir-ddos/weir/dataplane/wire"
)

var be = binary.BigEndian

// datagram is one UDP datagram of a capture.
type datagram struct {
	src              [16]byte
	srcPort, dstPort uint16
	payload          []byte
}

// The ways not to be a whole UDP datagram.
type verdict uint8

const (
	isUDP verdict = iota
	notUDP
	isFragment
	isTruncated
)

// udp finds the UDP datagram in a captured frame: Ethernet with VLAN tags, Linux cooked, null, or raw IP. Exporters do not send
// through tunnels that a capture beside the collector would show.
func udp(link wire.LinkType, b []byte) (d datagram, v verdict) {
	b, ok := network(link, b)
	if !ok || len(b) < 1 {
		return d, notUDP
	}
	switch b[0] >> 4 {
	case 4:
		b, v = ipv4(&d, b)
	case 6:
		b, v = ipv6(&d, b)
	default:
		return d, notUDP
	}
	if v != isUDP {
		return d, v
	}
	if len(b) < 8 {
		return d, isTruncated
	}
	d.srcPort, d.dstPort = be.Uint16(b), be.Uint16(b[2:])
	n := int(be.Uint16(b[4:]))
	switch {
	case n == 0: // longer than 65535, or left to the device
		n = len(b)
	case n < 8:
		return d, isTruncated
	}
	if n > len(b) {
		v = isTruncated // the decoder may make something of the rest
	}
	d.payload = b[8:min(n, len(b))]
	return d, v
}

// network skips the link layer.
func network(link wire.LinkType, b []byte) ([]byte, bool) {
	cut := func(n int) ([]byte, bool) {
		if len(b) < n {
			return nil, false
		}
		return b[n:], true
	}
	switch link {
	case wire.LinkRaw, wire.LinkIPv4, wire.LinkIPv6:
		return b, true
	case wire.LinkNull, wire.LinkLoop:
		return cut(4)
	case wire.LinkLinuxSLL:
		return cut(16)
	case wire.LinkLinuxSLL2:
		return cut(20)
	case wire.LinkEthernet:
		return ethernet(b)
	}
	return nil, false
}

func ethernet(b []byte) ([]byte, bool) {
	for at := 12; at+2 <= len(b); at += 4 {
		switch be.Uint16(b[at:]) {
		case 0x0800, 0x86dd:
			return b[at+2:], true
		case 0x8100, 0x88a8, 0x9100:
		default:
			return nil, false
		}
	}
	return nil, false
}

func ipv4(d *datagram, b []byte) ([]byte, verdict) {
	if len(b) < 20 {
		return nil, isTruncated
	}
	head, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	d.src = [16]byte{10: 0xff, 11: 0xff, 12: b[12], 13: b[13], 14: b[14], 15: b[15]}
	switch {
	case b[9] != wire.ProtoUDP:
		return nil, notUDP
	case be.Uint16(b[6:])&0x3fff != 0:
		return nil, isFragment
	case head < 20 || head > len(b):
		return nil, isTruncated
	}
	if total >= head && total < len(b) {
		b = b[:total] // padding of short frames
	}
	return b[head:], isUDP
}

// maxExtensions bounds the extension headers that are looked at.
const maxExtensions = 8

func ipv6(d *datagram, b []byte) ([]byte, verdict) {
	if len(b) < 40 {
		return nil, isTruncated
	}
	d.src = [16]byte(b[8:24])
	if n := 40 + int(be.Uint16(b[4:])); n > 40 && n < len(b) {
		b = b[:n]
	}
	next, b := b[6], b[40:]
	for range maxExtensions {
		switch next {
		case wire.ProtoUDP:
			return b, isUDP
		case 44:
			return nil, isFragment
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) < 8 || len(b) < 8+8*int(b[1]) {
				return nil, isTruncated
			}
			next, b = b[0], b[8+8*int(b[1]):]
		default:
			return nil, notUDP
		}
	}
	return nil, notUDP
}
