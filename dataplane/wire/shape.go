package wire

// plainLines looks at the view of a frame: so many bytes from its EtherType on, which is all that the shapes need.
const (
	view   = 64
	viewAt = 12
)

// shape is how plainLines makes an IP of a view: four cache lines.
type shape struct {
	from [view]uint8 // which byte of the view goes where in the IP
	keep [view]uint8 // which bytes those are, as a mask; the others are 0
	add  [16]uint32  // what is then added, in words: what the shape itself says
	min  uint64      // the shortest frame
	low  uint32      // the least Length
	_    [13]uint32
}

// What a packet carries, as shapes.carries says it.
const (
	carriesOther = iota // not plain
	carriesTCP
	carriesUDP
	carriesICMP
	numCarried
)

// numHeads is how an IP header may begin: at once, and behind one tag of either kind, in both versions. More tags are for Plain.
const numHeads = 6

// shapes is all that plainLines needs to know. It is an object of its own, which the allocator puts at the start of a cache line.
type shapes struct {
	of          [numHeads + 1][numCarried]shape // the last of any other head: no frame has it
	heads       [8]uint64                       // the first eight bytes of a view, of those bits that masks says
	masks       [8]uint64
	protoAt     [8]uint64  // by head: where in the view the protocol is
	ports       [8]uint16  // L2TP's, where an IP has its ports when its second half is read
	carries     [256]uint8 // by protocol
	carriesSafe [256]uint8 // the same where ports may begin a tunnel: UDP is not plain
}

var plainShapes = newShapes()

func newShapes() *shapes {
	s := new(shapes)
	for i := range s.of {
		for k := range s.of[i] {
			s.of[i][k].min = 1 << 62 // no frame is that long
		}
	}
	s.carries[ProtoTCP], s.carries[ProtoICMP], s.carries[ProtoICMPv6] = carriesTCP, carriesICMP, carriesICMP
	s.carriesSafe = s.carries
	s.carries[ProtoUDP] = carriesUDP
	s.ports[0], s.ports[1] = portL2TP, portL2TP
	for i, tag := range [numHeads / 2]uint16{0, typeVLAN, typeQinQ} {
		s.addIPv4(2*i, s.head(2*i, tag, typeIPv4, 0x45, 0xff))
		s.addIPv6(2*i+1, s.head(2*i+1, tag, typeIPv6, 0x60, 0xf0))
	}
	return s
}

// head notes how head i begins: a tag or none, an EtherType, and the first byte of the IP header under a mask. It returns where in the
// view that is.
func (s *shapes) head(i int, tag, typ uint16, first, mask uint8) (at uint8) {
	var b, m [8]byte
	if tag != 0 {
		be.PutUint16(b[:], tag)
		be.PutUint16(m[:], 0xffff)
		at = 4
	}
	be.PutUint16(b[at:], typ)
	be.PutUint16(m[at:], 0xffff)
	b[at+2], m[at+2] = first, mask
	s.heads[i], s.masks[i] = le.Uint64(b[:]), le.Uint64(m[:])
	return at + 2
}

// take says that n bytes of an IP from to on are those of the view from from on; with swap the other way round.
func (p *shape) take(to, from uint8, n uint8, swap bool) {
	for i := range n {
		at := from + i
		if swap {
			at = from + n - 1 - i
		}
		p.from[to+i] = at
		p.keep[to+i] = 0xff
	}
}

// fix says what a byte of an IP is.
func (p *shape) fix(at, value uint8) { p.add[at/4] += uint32(value) << (at % 4 * 8) }

// addIPv4 makes the shapes of an IPv4 header without options at a place of the view.
func (s *shapes) addIPv4(head int, at uint8) {
	s.protoAt[head] = uint64(at) + 9
	for carried := uint8(carriesTCP); carried < numCarried; carried++ {
		p := &s.of[head][carried]
		p.take(srcAt+12, at+12, 4, false)
		p.take(dstAt+12, at+16, 4, false)
		p.take(lengthAt, at+2, 2, true)
		p.take(protoAt, at+9, 1, false)
		p.take(ttlAt, at+8, 1, false)
		p.take(spareAt, at+6, 2, false) // flags and offset
		for _, a := range [2]uint8{srcAt, dstAt} {
			p.fix(a+10, 0xff)
			p.fix(a+11, 0xff)
		}
		p.fix(versionAt, 4)
		p.transport(carried, at, 20)
	}
}

// addIPv6 makes the shapes of an IPv6 header at a place of the view.
func (s *shapes) addIPv6(head int, at uint8) {
	s.protoAt[head] = uint64(at) + 6
	for carried := uint8(carriesTCP); carried < numCarried; carried++ {
		p := &s.of[head][carried]
		p.take(srcAt, at+8, 16, false)
		p.take(dstAt, at+24, 16, false)
		p.take(lengthAt, at+4, 2, true)
		p.take(protoAt, at+6, 1, false)
		p.take(ttlAt, at+7, 1, false)
		p.add[lengthAt/4] = 40
		p.fix(versionAt, 6)
		p.transport(carried, at, 40)
	}
}

// transport completes a shape whose IP header at a place of the view has a length.
func (p *shape) transport(carried, at, header uint8) {
	least := header + 8
	if carried == carriesTCP {
		least = header + 20
		p.take(tcpFlagsAt, at+header+13, 1, false)
	}
	if carried != carriesICMP {
		p.take(srcPortAt, at+header, 2, true)
		p.take(dstPortAt, at+header+2, 2, true)
		p.fix(hasPortsAt, 1)
	}
	p.low = uint32(least)
	p.min = viewAt + uint64(at) + uint64(least)
}
