package template

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/flowcollect/record"
)

var be = binary.BigEndian

// Kind is the kind of a template.
type Kind uint8

// The kinds.
const (
	Data Kind = iota
	Options
)

// Values are the fields of one record that mean something only together. Only the slots that the program's Slots name are meaningful;
// the others are left from earlier records. One Values belongs to one decoder.
type Values struct {
	V [NumSlots]uint64
	// Section is the exported packet head, when the program has one; it points into the datagram.
	Section []byte
}

// Margin is how many bytes must lie before the first record in the buffer that Read reads: numbers are loaded backwards from their end.
const Margin = 8

// step reads one field of a segment: the number's last byte is before start+end.
type step struct {
	end  uint16
	code code
	// width is the field's length, at most 8 for numbers.
	width uint8
	// size is the length of a section.
	size uint16
}

// segment is a run of fields of fixed length and the field of variable length behind it, if any.
type segment struct {
	steps []step
	size  int
	// tail says that a field of variable length follows, and after what it does.
	tail bool
	code code
}

// Program is a compiled template. It is read-only but for the two times at its end.
type Program struct {
	// ID is the template's id, Kind its kind.
	ID   uint16
	Kind Kind
	// Scopes is how many of its fields are scope fields, Fields how many there are.
	Scopes, Fields int
	// Min is the length of its shortest record, at least 1; of every record when Fixed.
	Min   int
	Fixed bool
	// Slots are the slots that every record sets, Has the parts that every record has.
	Slots Set
	Has   record.Has
	// Totals is set when the only counters are totals.
	Totals bool
	// Layer2 is set when the byte counter is one of layer 2 (352, 353), for want of another.
	Layer2 bool
	// StartClock and EndClock belong to the slots Start and End; Observed says that they are one packet's time.
	StartClock, EndClock Clock
	Observed             bool
	// HasSection says that records carry the head of a packet, which is of link type SectionLink.
	HasSection  bool
	SectionLink wire.LinkType

	segments []segment
	def      []byte // canonical definition, to see changes and to save

	// refreshed and used are ns since the Unix epoch; written by any worker at most once a second.
	refreshed, used atomic.Int64
}

// Touch notes that the program was used at now, ns since the Unix epoch. It is called once a set.
func (p *Program) Touch(now int64) {
	if now-p.used.Load() > 1e9 {
		p.used.Store(now)
	}
}

// Read reads the record at buf[pos:end] into r and v and returns the position behind it, or -1 when the record is not whole. pos is at
// least Margin, end at most len(buf). r keeps what the record does not have.
func (p *Program) Read(buf []byte, pos, end int, r *record.Record, v *Values) int {
	for i := range p.segments {
		s := &p.segments[i]
		if end-pos < s.size {
			return -1
		}
		run(s.steps, buf[pos-Margin:pos+s.size], r, v)
		pos += s.size
		if !s.tail {
			continue
		}
		var n int
		if pos, n = varLength(buf, pos, end); n < 0 {
			return -1
		}
		tail(s.code, buf[pos-Margin:pos+n], r, v)
		pos += n
	}
	return pos
}

// varLength reads the length before a field of variable length (RFC 7011 7) and returns the field's position and length, -1 when it is not whole.
func varLength(buf []byte, pos, end int) (at, n int) {
	if pos >= end {
		return pos, -1
	}
	n = int(buf[pos])
	pos++
	if n == 255 {
		if end-pos < 2 {
			return pos, -1
		}
		n = int(be.Uint16(buf[pos:]))
		pos += 2
	}
	if end-pos < n {
		return pos, -1
	}
	return pos, n
}

// tail reads the field of variable length at b[Margin:].
func tail(c code, b []byte, r *record.Record, v *Values) {
	n := len(b) - Margin
	switch {
	case c == skip:
	case c == section:
		v.Section = b[Margin:]
	case n <= 8:
		one := [1]step{{end: uint16(n), code: c, width: uint8(n)}}
		run(one[:], b, r, v)
	case c >= firstSlot:
		v.V[c-firstSlot] = 0 // a number of more than 8 bytes is none
	}
}

// masks keep the lowest bytes of a word, by width.
var masks = [16]uint64{0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff, 0xffffffffffffffff}

// run executes the steps on b, whose first Margin bytes lie before the segment.
func run(steps []step, b []byte, r *record.Record, v *Values) {
	for i := range steps {
		s := &steps[i]
		at := int(s.end) // + Margin - 8: the eight bytes that end with the field
		if at+8 > len(b) {
			return // cannot be: the caller has measured the segment
		}
		n := be.Uint64(b[at:]) & masks[s.width&15]
		switch s.code {
		case src4:
			set4(&r.Src, uint32(n))
		case dst4:
			set4(&r.Dst, uint32(n))
		case srcPort:
			r.SrcPort = uint16(n)
		case dstPort:
			r.DstPort = uint16(n)
		case proto:
			r.Proto = uint8(n)
		case tcpFlags:
			r.TCPFlags = uint8(n)
		case byteCount:
			r.Bytes = n
		case packetCount:
			r.Packets = n
		case input:
			r.Input = uint32(n)
		case output:
			r.Output = uint32(n)
		case tos:
			r.TOS = uint8(n)
		case srcAS:
			r.SrcAS = uint32(n)
		case dstAS:
			r.DstAS = uint32(n)
		case srcMask:
			r.SrcMask = uint8(n)
		case dstMask:
			r.DstMask = uint8(n)
		case next4:
			if n != 0 {
				set4(&r.NextHop, uint32(n))
			}
		case src6, src6If:
			if s.code == src6 || r.Src == [16]byte{} {
				r.Src = [16]byte(b[at-8:])
			}
		case dst6, dst6If:
			if s.code == dst6 || r.Dst == [16]byte{} {
				r.Dst = [16]byte(b[at-8:])
			}
		default:
			if s.code >= firstSlot {
				v.V[s.code-firstSlot] = n
			} else {
				runRare(s, n, b, r, v)
			}
		}
	}
}

// runRare executes the less common steps.
func runRare(s *step, n uint64, b []byte, r *record.Record, v *Values) {
	switch s.code {
	case src4If:
		if n != 0 {
			set4(&r.Src, uint32(n))
		}
	case dst4If:
		if n != 0 {
			set4(&r.Dst, uint32(n))
		}
	case next6:
		if hop := [16]byte(b[int(s.end)-8:]); hop != [16]byte{} {
			r.NextHop = hop
		}
	case srcVLAN:
		r.SrcVLAN = uint16(n) & 0xfff
	case dstVLAN:
		r.DstVLAN = uint16(n) & 0xfff
	case mplsLabel:
		if s.width == 4 {
			n >>= 8 // label, EXP, S, TTL: a whole entry
		}
		r.MPLSLabel = uint32(n >> 4)
	case direction:
		r.Direction = record.UnknownDirection
		if n < 2 {
			r.Direction = record.Ingress + record.Direction(n)
		}
	case forwarding:
		r.ForwardingStatus = uint8(n)
		r.Dropped = r.Dropped || n&0xc0 == 0x80 // RFC 7270 4.12
	case juniperDrop:
		// Junos exports several values under this number; the upper 6 bits say which. 2 is the forwarding exception code.
		r.Dropped = r.Dropped || n>>10 == 2 && n&0x3ff != 0
	case fragOffset:
		r.FragmentOffset = uint16(n)
		r.Fragment = r.Fragment || n != 0
	case fragFlags:
		r.Fragment = r.Fragment || n&0x20 != 0 // more fragments
	case icmpTypeCode:
		r.ICMPType, r.ICMPCode = uint8(n>>8), uint8(n)
	case icmpType:
		r.ICMPType = uint8(n)
	case icmpCode:
		r.ICMPCode = uint8(n)
	case endReason:
		r.FlowEndReason = uint8(n)
	case droppedBytes:
		r.DroppedBytes = n
	case droppedPackets:
		r.DroppedPackets = n
	case postBytes:
		r.PostBytes = n
	case postPackets:
		r.PostPackets = n
	case l2Bytes:
		r.L2Bytes = n
	case section:
		v.Section = b[int(s.end)+Margin-int(s.size) : int(s.end)+Margin]
	}
}

// set4 writes an IPv4 address v4-mapped, in two stores.
func set4(a *[16]byte, ip uint32) {
	be.PutUint64(a[0:8], 0)
	be.PutUint64(a[8:16], 0xffff<<32|uint64(ip))
}
