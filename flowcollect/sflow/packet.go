package sflow

import (
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

// packet is what a sample says about its packet, gathered until the sample's end: exporters send several forms of one packet together
// (Huawei: raw header, Ethernet and IPv4), in any order. The first of each form is taken.
type packet struct {
	header      []byte // raw header
	fields      []byte // sampled_ipv4 or sampled_ipv6, of its full size
	tunnel      []byte // the same, of the tunnel that the packet came in
	head        []byte // of header, from link on
	link        wire.LinkType
	protocol    uint32 // of header
	frameLength uint32 // with header
	stripped    uint32
	macLength   uint32 // sampled_ethernet
	hasHeader   bool
	hasMAC      bool
	vlans       bool // extended_switch was there
}

// Sizes of fixed items in bytes.
const (
	ipv4Size     = 32
	ipv6Size     = 56
	ethernetSize = 4
)

// rawHeader takes a raw packet header; stripped is 0 in versions that do not say.
func (p *packet) rawHeader(protocol, length, stripped uint32, header []byte) {
	if !p.hasHeader {
		p.protocol, p.frameLength, p.stripped, p.header, p.hasHeader = protocol, length, stripped, header, true
	}
}

// emit gives the sample's record to the sink, and a second one where both levels of a tunnel are charged.
func (d *Decoder) emit() {
	r, p := &d.rec, &d.packet
	d.countRecord()
	a, b := d.header()
	d.linkTags()
	switch {
	case a != nil:
		r.SetIP(a)
		if d.cfg.Heads {
			r.SetHead(p.link, p.head, a)
		}
	case p.fields != nil:
		if r.Kind == record.Section {
			r.Kind = record.Data
		}
		setFields(r, p.fields)
	}
	d.length(a)
	if charge := d.tunnelCharge(); charge != wire.ChargeInner {
		inner := *r
		setFields(r, p.tunnel)
		d.out.Record(r)
		if charge == wire.ChargeOuter {
			return
		}
		*r = inner
		r.Kind = record.SectionTunnel
	}
	d.out.Record(r)
	if b != nil {
		r.SetIP(b)
		if d.cfg.Heads {
			r.SetHead(p.link, p.head, b)
		}
		r.Kind = record.SectionTunnel
		d.length(b)
		d.out.Record(r)
	}
}

// countRecord counts d.rec before it is given out.
func (d *Decoder) countRecord() {
	if d.rec.Kind == record.Discard {
		d.st.DiscardSamples++
		return
	}
	d.st.Records++
	if d.rec.RateFrom == record.RateUnknown {
		d.st.UnknownRate++
	}
}

// header decodes the raw header and returns the headers to charge, nil when there are none.
func (d *Decoder) header() (a, b *wire.IP) {
	p := &d.packet
	if !p.hasHeader {
		return nil, nil
	}
	lt, head, ok := link(p.protocol, p.header)
	if !ok {
		d.count(record.UnknownHeaderProtocol)
		return nil, nil
	}
	p.link, p.head = lt, head
	code := d.cfg.Wire.Decode(lt, head, &d.headers)
	d.codes[code]++
	if !code.Addressed() {
		if code < wire.ARP { // from there on it is a protocol that has no IP header
			d.count(record.SectionUnreadable)
		}
		return nil, nil
	}
	return d.headers.Charged()
}

// Values of header_protocol that are read.
const (
	headerUnset    = 0 // is none; sent by exporters that forgot
	headerEthernet = 1
	headerPPP      = 7
	headerIPv4     = 11
	headerIPv6     = 12
	headerMPLS     = 13
	headerPOS      = 14
)

// link is where wire begins in a raw header.
func link(protocol uint32, b []byte) (wire.LinkType, []byte, bool) {
	switch protocol {
	case headerEthernet:
		return wire.LinkEthernet, b, true
	case headerIPv4, headerIPv6:
		return wire.LinkRaw, b, true
	case headerPPP:
		return wire.LinkPPP, b, true
	case headerPOS:
		return wire.LinkPPPHDLC, b, true
	case headerMPLS:
		return wire.LinkRaw, popLabels(b), true
	case headerUnset:
		return guess(b), b, true
	}
	return 0, nil, false
}

// guess tells an IP header from an Ethernet header: by a known EtherType at its place, else by version and length.
func guess(b []byte) wire.LinkType {
	if len(b) >= 14 {
		switch be.Uint16(b[12:]) {
		case etherIPv4, etherIPv6, etherVLAN, etherQinQ, etherMPLS:
			return wire.LinkEthernet
		}
		if v := b[0] >> 4; v == 6 || v == 4 && b[0]&15 >= 5 {
			return wire.LinkRaw
		}
	}
	return wire.LinkEthernet
}

// EtherTypes (IEEE).
const (
	etherIPv4 = 0x0800
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd
	etherMPLS = 0x8847
	etherQinQ = 0x88a8
)

// popLabels leaves out an MPLS label stack (RFC 3032) of at most wire.MaxTags labels.
func popLabels(b []byte) []byte {
	for range wire.MaxTags {
		if len(b) < 4 {
			break
		}
		bottom := b[2]&1 != 0
		b = b[4:]
		if bottom {
			break
		}
	}
	return b
}

// linkTags takes the outermost VLAN of an Ethernet raw header, when nothing else said it, and the top MPLS label behind it.
func (d *Decoder) linkTags() {
	p, r := &d.packet, &d.rec
	b := p.header
	if p.protocol != headerEthernet || len(b) < 18 {
		return
	}
	b = b[12:]
	if t := be.Uint16(b); t == etherVLAN || t == etherQinQ {
		if !p.vlans {
			r.SrcVLAN = be.Uint16(b[2:]) & 0xfff
		}
		b = b[4:]
	}
	if len(b) >= 6 && be.Uint16(b) == etherMPLS {
		r.MPLSLabel = be.Uint32(b[2:]) >> 12
		r.Has |= record.HasMPLS
	}
}

// length sets Bytes and L2Bytes; ip is the charged header, or nil.
func (d *Decoder) length(ip *wire.IP) {
	p, r := &d.packet, &d.rec
	known := true
	switch {
	case p.hasHeader:
		r.Bytes = uint64(p.frameLength)
		if p.protocol != headerIPv4 && p.protocol != headerIPv6 {
			r.L2Bytes = r.Bytes
		}
		if d.cfg.Bytes == FrameWithoutFCS && p.protocol == headerEthernet && p.stripped >= fcsSize && r.Bytes >= fcsSize {
			r.Bytes -= fcsSize
		}
	case p.hasMAC:
		r.Bytes, r.L2Bytes = uint64(p.macLength), uint64(p.macLength)
	case p.fields != nil:
		r.Bytes = uint64(be.Uint32(p.fields))
	default:
		known = false
	}
	if d.cfg.Bytes == IPLength {
		switch {
		case ip != nil && ip.Length >= 20:
			r.Bytes = uint64(ip.Length)
		case ip == nil && p.fields != nil && be.Uint32(p.fields) > 0:
			r.Bytes = uint64(be.Uint32(p.fields))
		}
	}
	if known {
		r.Has |= record.HasBytes
	}
}

// fcsSize is the frame check sequence of Ethernet, in bytes.
const fcsSize = 4

// setFields takes the fields of a sampled_ipv4 or sampled_ipv6 item, told apart by size.
func setFields(r *record.Record, b []byte) {
	r.Proto = uint8(be.Uint32(b[4:]))
	if len(b) == ipv4Size {
		putIPv4(&r.Src, b[8:])
		putIPv4(&r.Dst, b[12:])
		b = b[16:ipv4Size]
	} else {
		r.Src, r.Dst = [16]byte(b[8:]), [16]byte(b[24:])
		b = b[40:ipv6Size]
	}
	r.SrcPort, r.DstPort, r.TCPFlags = 0, 0, 0
	r.TOS = uint8(be.Uint32(b[12:]))
	r.Fragment, r.TTL, r.ICMPType, r.ICMPCode = false, 0, 0, 0
	r.Has |= record.HasSrc | record.HasDst | record.HasProto
	r.Has &^= record.HasPorts | record.HasFlags | record.HasICMP | record.HasTTL
	switch r.Proto {
	case wire.ProtoTCP:
		r.TCPFlags = uint8(be.Uint32(b[8:]))
		r.Has |= record.HasFlags
	case wire.ProtoUDP, wire.ProtoSCTP:
	default:
		return
	}
	r.SrcPort, r.DstPort = uint16(be.Uint32(b)), uint16(be.Uint32(b[4:]))
	r.Has |= record.HasPorts
}

// tunnelCharge says which addresses count for a packet that came in a tunnel which the exporter ended before it sampled: those of the
// tunnel, from its own item, or those of the packet. It is ChargeInner without such an item.
func (d *Decoder) tunnelCharge() wire.Charge {
	b := d.packet.tunnel
	if b == nil {
		return wire.ChargeInner
	}
	if d.rec.Has&record.HasSrc == 0 {
		return wire.ChargeOuter
	}
	if t, ok := tunnelKind(b); ok {
		return d.cfg.Wire.Charge[t]
	}
	return wire.ChargeOuter
}

// tunnelKind is the tunnel whose outer header b, a sampled_ipv4 or sampled_ipv6, describes.
func tunnelKind(b []byte) (wire.Tunnel, bool) {
	proto, port := be.Uint32(b[4:]), be.Uint32(b[len(b)-12:])
	const ipip, ipv6 = 4, 41
	switch {
	case proto == uint32(wire.ProtoGRE):
		return wire.TunnelGRE, true
	case (proto == ipip || proto == ipv6) && len(b) == ipv6Size:
		return wire.Tunnel4in6, true
	case proto == ipip:
		return wire.TunnelIPIP, true
	case proto == ipv6:
		return wire.TunnelSIT, true
	case proto != uint32(wire.ProtoUDP):
		return 0, false
	}
	switch port {
	case 4789, 8472:
		return wire.TunnelVXLAN, true
	case 6081:
		return wire.TunnelGeneve, true
	case 2152:
		return wire.TunnelGTPU, true
	case 6635:
		return wire.TunnelMPLSUDP, true
	case 3544:
		return wire.TunnelTeredo, true
	}
	return 0, false
}
