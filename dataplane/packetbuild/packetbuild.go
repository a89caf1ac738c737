package packetbuild

import (
	"encoding/binary"
	"fmt"
	"slices"
)

var be = binary.BigEndian

// kind is a protocol.
type kind uint8

const (
	kindEther kind = iota
	kindSLL
	kindSLL2
	kindNull
	kindLoop
	kindCHDLC
	kindVLAN
	kindETag
	kindVNTag
	kindPBB
	kindFabricPath
	kindCMD
	kindNSH
	kindLLC
	kindSNAP
	kindMPLS
	kindPWControl
	kindPPPoE
	kindPPP
	kindL2TPv2
	kindL2TPv3UDP
	kindL2TPv3IP
	kindARP
	kindIPv4
	kindIPv6
	kindExtension // one of IPv6's, or AH
	kindGRE
	kindPPTP
	kindERSPAN
	kindEtherIP
	kindTCP
	kindUDP
	kindICMP
	kindICMPv6
	kindSCTP
	kindESP
	kindVXLAN
	kindGeneve
	kindGTPU
	kindTeredo
	kindData
)

// layer is one header (or the payload) of the chain.
type layer struct {
	kind kind
	// head is the header with every field set that does not follow from the chain.
	head []byte
	// id is how the layer is called in the field before it where the kind does not say: an EtherType or IP protocol.
	id uint16
	// next overrides the field that names the following layer.
	next    uint16
	hasNext bool
	// length overrides the length field; patch runs after lengths and before checksums.
	length    int
	hasLength bool
	patch     func(head []byte)
	// noSum leaves the checksum field as it is.
	noSum bool
}

// Packet is a chain of layers.
type Packet struct {
	layers []layer
	pad    int
}

// Raw starts a chain that begins at the IP header.
func Raw() *Packet { return &Packet{layers: make([]layer, 0, 8)} }

func (p *Packet) add(k kind, head []byte) *Packet {
	p.layers = append(p.layers, layer{kind: k, head: head})
	return p
}

func (p *Packet) last() *layer {
	if len(p.layers) == 0 {
		panic("packetbuild: a modifier without a layer")
	}
	return &p.layers[len(p.layers)-1]
}

// Clone returns an independent copy of the chain as far as it goes, to be continued in several ways.
func (p *Packet) Clone() *Packet {
	c := &Packet{layers: slices.Clone(p.layers), pad: p.pad}
	for i := range c.layers {
		c.layers[i].head = slices.Clone(c.layers[i].head)
	}
	return c
}

// Payload adds n bytes of a fixed pattern.
func (p *Packet) Payload(n int) *Packet {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(0x61 + i%23)
	}
	return p.Data(b)
}

// Data adds b as it is.
func (p *Packet) Data(b []byte) *Packet { return p.add(kindData, b) }

// Pad makes the frame at least n bytes long with zeros that no length field counts; 60 is Ethernet's minimum without FCS.
func (p *Packet) Pad(n int) *Packet {
	p.pad = n
	return p
}

// Next sets the field of the last layer that names what follows: an EtherType, IP protocol or PPP protocol.
func (p *Packet) Next(v uint16) *Packet {
	l := p.last()
	l.next, l.hasNext = v, true
	return p
}

// Length sets the length field of the last layer (IPv4 total length, IPv6 payload length, UDP, PPPoE, GTP-U).
func (p *Packet) Length(n int) *Packet {
	l := p.last()
	l.length, l.hasLength = n, true
	return p
}

// Patch has f change the header of the last layer when it is built, after lengths and before checksums.
func (p *Packet) Patch(f func(head []byte)) *Packet {
	p.last().patch = f
	return p
}

// NoChecksum leaves the last layer's checksum zero.
func (p *Packet) NoChecksum() *Packet {
	p.last().noSum = true
	return p
}

// Bytes builds the frame.
func (p *Packet) Bytes() []byte { return p.AppendTo(nil) }

// AppendTo appends the frame to b.
func (p *Packet) AppendTo(b []byte) []byte {
	size := 0
	for i := range p.layers {
		size += len(p.layers[i].head)
	}
	start := len(b)
	b = slices.Grow(b, max(size, p.pad))
	for i := range p.layers {
		b = append(b, p.layers[i].head...)
	}
	// From the last layer to the first, because checksums and lengths cover what is behind.
	frame := b[start:]
	at := len(frame)
	for i := len(p.layers) - 1; i >= 0; i-- {
		at -= len(p.layers[i].head)
		p.fix(i, frame[at:])
	}
	for len(b)-start < p.pad {
		b = append(b, 0)
	}
	return b
}

// fix fills in what layer i, which starts b, says about the layers behind it.
func (p *Packet) fix(i int, b []byte) {
	l := &p.layers[i]
	p.fixNext(i, b)
	n := len(b)
	put := func(at, n int) {
		if l.hasLength {
			n = l.length
		}
		be.PutUint16(b[at:], uint16(n))
	}
	switch l.kind {
	case kindIPv4:
		put(2, n)
	case kindIPv6:
		put(4, n-40)
	case kindUDP:
		put(4, n)
	case kindPPPoE:
		put(4, n-6)
	case kindGTPU:
		put(2, n-8)
	case kindPPTP:
		put(4, n-len(l.head))
	case kindL2TPv2:
		if b[0]&0x40 != 0 {
			put(2, n)
		}
	}
	if l.patch != nil {
		l.patch(b[:len(l.head)])
	}
	if !l.noSum {
		p.fixChecksum(i, b)
	}
}

// fixChecksum fills in the checksum of layer i, which starts b.
func (p *Packet) fixChecksum(i int, b []byte) {
	l := &p.layers[i]
	switch l.kind {
	case kindIPv4:
		be.PutUint16(b[10:], ^fold(sum(b[:len(l.head)])))
	case kindICMP:
		be.PutUint16(b[2:], ^fold(sum(b)))
	case kindICMPv6:
		be.PutUint16(b[2:], ^fold(p.pseudo(i, 58, len(b))+sum(b)))
	case kindTCP:
		be.PutUint16(b[16:], ^fold(p.pseudo(i, 6, len(b))+sum(b)))
	case kindUDP:
		c := ^fold(p.pseudo(i, 17, len(b)) + sum(b))
		if c == 0 {
			c = 0xffff // 0 means none
		}
		be.PutUint16(b[6:], c)
	case kindSCTP:
		be.PutUint32(b[8:], sctpSum(b))
	case kindGRE, kindERSPAN:
		if b[0]&0x80 != 0 {
			be.PutUint16(b[4:], ^fold(sum(b)))
		}
	}
}

// pseudo sums the pseudo header of the transport layer i; 0 without an IP layer before it.
func (p *Packet) pseudo(i int, proto uint8, n int) uint64 {
	for i--; i >= 0; i-- {
		switch l := &p.layers[i]; l.kind {
		case kindIPv4:
			return sum(l.head[12:20]) + uint64(proto) + uint64(n)
		case kindIPv6:
			return sum(l.head[8:40]) + uint64(proto) + uint64(n)
		case kindExtension:
		default:
			return 0
		}
	}
	return 0
}

func sum(b []byte) (s uint64) {
	for ; len(b) >= 2; b = b[2:] {
		s += uint64(be.Uint16(b))
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// mistake reports a chain that makes no sense.
func mistake(format string, args ...any) {
	panic("packetbuild: " + fmt.Sprintf(format, args...))
}
