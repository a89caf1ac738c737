package gen

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// template is one frame with the places in it that change from packet to packet.
type template struct {
	frame []byte
	data  int        // length without Ethernet padding
	ips   []ipRef    // outermost first
	sums  []checksum // innermost first, the order in which to compute them
	l4    int        // offset of the transport header, 0 when it is not there or cut
	ports bool
	proto uint8 // of the innermost packet
	flags uint8
	frag  bool
}

// ipRef is one IP header.
type ipRef struct {
	at      int
	v6      bool
	carrier bool // L2TP: addresses are fixed and nobody is charged
	length  uint32
	proto   uint8
	ports   bool // its UDP header follows: sport, dport are fixed
	sport   uint16
	dport   uint16
}

// checksum is one field to compute over [from, to); to 0 is the end of the data.
type checksum struct {
	kind     sumKind
	at       int
	from, to int
	ip       int // pseudo header
	v6       bool
	proto    uint8
}

type sumKind uint8

const (
	sumPlain  sumKind = iota // IPv4 header, ICMP, GRE
	sumPseudo                // with the pseudo header: TCP, UDP, ICMPv6
	sumSCTP                  // CRC-32C
)

// maker builds a frame from the inside out: every header is put before what is there, so lengths are known.
// Offsets are kept as distances from the end until the frame is complete.
type maker struct {
	b    []byte
	et   uint16 // what Ethernet calls b
	ips  []ipRef
	sums []checksum
}

func (m *maker) prepend(h []byte) { m.b = slices.Concat(h, m.b) }

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// laterOffset is where later fragments are, in units of 8 bytes: 1,448, behind a first fragment that fits an MTU of 1,500 in IPv6 too.
const laterOffset = 181

// Fixed addresses: locally administered MACs (without the runs of zeros that mislead heuristic readers of pseudowires), and L2TP end points outside everything (RFC 5737, RFC 3849).
var (
	macDst, macSrc   = []byte{0x02, 0x57, 0xe1, 0x3a, 0x4b, 0x02}, []byte{0x02, 0x57, 0xe1, 0x3a, 0x4b, 0x01}
	carrier4         = [2][]byte{{198, 51, 100, 1}, {198, 51, 100, 2}}
	carrier6         = [2][]byte{append([]byte{0x3f, 0xff}, append(make([]byte, 13), 1)...), append([]byte{0x3f, 0xff}, append(make([]byte, 13), 2)...)}
	extensionNumbers = map[string]uint8{"hbh": 0, "dst": 60, "rh": 43, "mobility": 135, "hip": 139, "shim6": 140, "atomic": 44, "ah": protoAH}
)

// makeTemplate builds the frame of a kind in the encapsulations via, outermost first.
func makeTemplate(k kind, via []string, v6 bool, payload int) (*template, error) {
	m := &maker{}
	t := &template{proto: k.proto, flags: k.flags, frag: k.frag != whole}
	if k.link != "" {
		m.link(k.link)
		t.proto, t.frag = 0, false
	} else {
		if v6 && k.proto == protoICMP {
			t.proto = protoICMPv6
		}
		m.transport(k, t, v6, payload)
		m.network(k, t, v6, via)
	}
	for i := len(via) - 1; i >= 0; i-- {
		e, outer6, err := lookupEncap(via[i])
		if err != nil {
			return nil, err
		}
		if e.level == onIP {
			if (via[i] == "ah" || via[i] == "atomic") && k.frag != whole { // AH is inside the fragments, and atomic is a fragment header
				return nil, fmt.Errorf("encapsulation %q does not go with a fragment", via[i])
			}
			if k.link != "" || (e.inner == 4 && v6) || (e.inner == 6 && !v6) {
				return nil, fmt.Errorf("encapsulation %q does not fit the packet inside", via[i])
			}
			continue
		}
		if k.link != "" && e.level != onLink {
			return nil, fmt.Errorf("encapsulation %q needs an IP packet inside", via[i])
		}
		innerIsV6 := m.et == 0x86dd
		if (e.inner == 4 && innerIsV6) || (e.inner == 6 && !innerIsV6) {
			return nil, fmt.Errorf("encapsulation %q cannot hold IPv%d", via[i], map[bool]int{false: 4, true: 6}[innerIsV6])
		}
		e.wrap(m, outer6)
		if e.level >= tunnel {
			m.outerIP(e, outer6)
		}
	}
	m.finish(t)
	return t, nil
}

func (m *maker) link(name string) {
	switch name {
	case "arp":
		m.et = 0x0806
		m.b = slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 1}, macSrc, carrier4[0], make([]byte, 6), carrier4[1])
	case "lldp":
		m.et = 0x88cc
		m.b = slices.Concat([]byte{2, 7, 4}, macSrc, []byte{4, 3, 7, '0', '1', 6, 2, 0, 120, 0, 0})
	case "stp":
		m.b = append([]byte{0x42, 0x42, 3}, make([]byte, 35)...)
		m.et = uint16(len(m.b)) // 802.3: a length
	}
}

// transport writes the innermost transport header and payload.
func (m *maker) transport(k kind, t *template, v6 bool, payload int) {
	m.b = make([]byte, payload)
	for i := range m.b {
		m.b[i] = byte(i)
	}
	copy(m.b, k.payload)
	if k.frag == middle || k.frag == last {
		return
	}
	ports := slices.Concat(be16(k.sport), be16(k.dport))
	sum := checksum{kind: sumPseudo, v6: v6, proto: t.proto}
	switch k.proto {
	case protoTCP:
		m.prepend(slices.Concat(ports, be32(0x01020304), be32(0), []byte{5 << 4, k.flags}, be16(64240), be32(0)))
		sum.at = 16
	case protoUDP:
		length := len(m.b) + 8
		if k.frag == first {
			length += 8 * laterOffset
		}
		m.prepend(slices.Concat(ports, be16(uint16(length)), be16(0)))
		sum.at = 6
	case protoICMP:
		kind := byte(8)
		if v6 {
			kind = 128
		} else {
			sum.kind = sumPlain
		}
		m.prepend([]byte{kind, 0, 0, 0, 0, 7, 0, 1})
		sum.at = 2
	case protoSCTP:
		m.b = make([]byte, 12) // INIT (RFC 9260 section 3.3.2), its last fields zero
		m.prepend(slices.Concat(ports, be32(0), be32(0), []byte{1, 0, 0, 20, 0, 0, 0, 1}))
		sum.at, sum.kind = 8, sumSCTP
	case protoESP:
		m.prepend(slices.Concat(be32(0x1000), be32(1)))
		return
	default:
		return
	}
	if k.cut > 0 {
		m.b = m.b[:k.cut]
		t.flags = 0 // they are behind the cut
		if t.ports = k.cut >= 4; t.ports {
			t.l4 = k.cut
		}
		return
	}
	t.l4, t.ports = len(m.b), k.proto == protoTCP || k.proto == protoUDP || k.proto == protoSCTP
	sum.from, sum.at, sum.ip = len(m.b), len(m.b)-sum.at, -1
	m.sums = append(m.sums, sum)
}

// network writes the innermost IP header with what via puts on it.
func (m *maker) network(k kind, t *template, v6 bool, via []string) {
	next := t.proto
	if v6 && k.frag != whole {
		m.prepend(slices.Concat([]byte{next, 0}, be16(fragmentBits6(k.frag)), be32(0x77)))
		next = 44
	}
	var options []byte
	for i := len(via) - 1; i >= 0; i-- {
		e, ok := encaps[via[i]]
		if !ok || e.level != onIP {
			continue
		}
		if via[i] == "options" {
			options = []byte{0x94, 4, 0, 0, 1, 1, 1, 0} // router alert (RFC 2113), padding
			continue
		}
		m.prepend(extension(via[i], next))
		next = extensionNumbers[via[i]]
	}
	if v6 {
		m.ip6(next, nil, nil)
	} else {
		bits := uint16(0x4000)
		switch k.frag {
		case first:
			bits = 0x2000
		case middle:
			bits = 0x2000 | laterOffset
		case last:
			bits = laterOffset
		}
		m.ip4(next, bits, options, nil, nil)
		if k.badIHL {
			m.b[0] = 0x43
			t.ports = false // a parser cannot know where they are
		}
	}
	ref := &m.ips[len(m.ips)-1]
	ref.proto = t.proto
	for i := range m.sums {
		m.sums[i].ip = len(m.b)
	}
}

func fragmentBits6(f fragment) uint16 {
	switch f {
	case first:
		return 1
	case middle:
		return laterOffset<<3 | 1
	}
	return laterOffset << 3
}

func extension(name string, next uint8) []byte {
	switch name {
	case "ah": // RFC 4302: length in 4 bytes, less 2
		return slices.Concat([]byte{next, 4, 0, 0}, be32(0x2000), be32(1), make([]byte, 12))
	case "atomic":
		return slices.Concat([]byte{next, 0, 0, 0}, be32(0x78))
	case "rh": // type 4, one segment, none left
		return slices.Concat([]byte{next, 2, 4, 0, 0, 0, 0, 0}, carrier6[0])
	case "mobility": // RFC 6275: binding refresh request; next header is what we make of it
		return []byte{next, 0, 0, 0, 0, 0, 0, 0}
	case "hip", "shim6":
		return []byte{next, 0, 0x80, 0, 0, 0, 0, 0}
	}
	return []byte{next, 0, 1, 4, 0, 0, 0, 0} // PadN
}

func (m *maker) ip4(proto uint8, fragBits uint16, options, src, dst []byte) {
	if src == nil {
		src, dst = make([]byte, 4), make([]byte, 4)
	}
	header := 20 + len(options)
	m.prepend(slices.Concat([]byte{4<<4 | byte(header/4), 0}, be16(uint16(header+len(m.b))), be16(0x1234), be16(fragBits),
		[]byte{64, proto, 0, 0}, src, dst, options))
	end := len(m.b)
	m.et = 0x0800
	m.ips = append(m.ips, ipRef{at: end, length: uint32(end), proto: proto})
	m.sums = append(m.sums, checksum{at: end - 10, from: end, to: end - header})
}

func (m *maker) ip6(next uint8, src, dst []byte) {
	if src == nil {
		src, dst = make([]byte, 16), make([]byte, 16)
	}
	m.prepend(slices.Concat(be32(6<<28), be16(uint16(len(m.b))), []byte{next, 64}, src, dst))
	m.et = 0x86dd
	m.ips = append(m.ips, ipRef{at: len(m.b), v6: true, length: uint32(len(m.b)), proto: next})
}

// outerIP puts the IP header of a tunnel around what its wrap made.
func (m *maker) outerIP(e encap, v6 bool) {
	payload := len(m.b)
	src, dst := []byte(nil), []byte(nil)
	if e.level == carrier {
		src, dst = carrier4[0], carrier4[1]
		if v6 {
			src, dst = carrier6[0], carrier6[1]
		}
	}
	if v6 {
		m.ip6(e.proto, src, dst)
	} else {
		m.ip4(e.proto, 0x4000, nil, src, dst)
	}
	ref := &m.ips[len(m.ips)-1]
	ref.carrier = e.level == carrier
	if e.proto == protoUDP {
		udp := m.b[len(m.b)-payload:]
		ref.ports, ref.sport, ref.dport = true, binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:])
	}
	for i := range m.sums { // the UDP checksum was made before its pseudo header
		if m.sums[i].kind == sumPseudo && m.sums[i].ip == -1 {
			m.sums[i].ip, m.sums[i].v6 = len(m.b), v6
		}
	}
}

// finish adds the outer Ethernet header and turns distances from the end into offsets.
func (m *maker) finish(t *template) {
	m.ether()
	n := len(m.b)
	t.data = n
	t.ips = m.ips
	for i := range t.ips {
		t.ips[i].at = n - t.ips[i].at
	}
	slices.Reverse(t.ips)
	t.sums = m.sums
	for i := range t.sums {
		s := &t.sums[i]
		s.at, s.from, s.to, s.ip = n-s.at, n-s.from, n-s.to, n-s.ip
	}
	if t.l4 > 0 {
		t.l4 = n - t.l4
	}
	t.frame = append(m.b, make([]byte, max(0, 60-n))...)
}
