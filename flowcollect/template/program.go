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

// Values are the numbers of one record. One Values belongs to one decoder.
type Values struct {
	// V are the numbers by Slot; meaningful are those that the program's Slots name. Behind them lie those by code. A record is read
	// by gathering its numbers here, one after the other and without a branch, and filling the record from here.
	V [numbers]uint64
	// Section is the exported packet head, when the program has one; it points into the datagram.
	Section []byte

	of                *Program // whose numbers these are; all others are zero
	src6, dst6, next6 [16]byte
}

// numbers is a power of two, so that no index into V needs a check.
const numbers = 128

// Margin is how many bytes must lie before the first record in the buffer that Read reads: numbers are loaded backwards from their end.
const Margin = 8

// step reads one number of a segment: its last byte is before start+end.
type step struct {
	mask uint64 // of its width
	end  uint16
	code code
}

// wideStep takes what is no number.
type wideStep struct {
	begin, size uint16
	code        code
}

// segment is a run of fields of fixed length and the field of variable length behind it, if any.
type segment struct {
	steps []step
	wide  []wideStep
	size  int
	// tail says that a field of variable length follows, and code what it does.
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
	// Reverse has the slots and clocks of the times of the reverse direction under the names of the record's own, nil when that
	// direction has no times of its own.
	Reverse *Program
	// HasSection says that records carry the head of a packet, which is of link type SectionLink.
	HasSection  bool
	SectionLink wire.LinkType

	// Uniform says that every Read sets the same fields of the record and that each stands for one flow: what else is done to a
	// record that was read is known, so it need not be emptied before the next is read into it.
	Uniform bool

	segments   []segment
	src4, dst4 bool   // IPv4 addresses
	dual       bool   // of both families, at least on one side
	routes     bool   // next hop, systems, masks
	rare       []code // less common numbers
	def        []byte // canonical definition, to see changes and to save

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
// least Margin, end at most len(buf). r keeps what the program never sets.
func (p *Program) Read(buf []byte, pos, end int, r *record.Record, v *Values) int {
	if v.of != p {
		*v = Values{of: p}
	}
	for i := range p.segments {
		s := &p.segments[i]
		if end-pos < s.size {
			return -1
		}
		gather(s.steps, buf[pos-Margin:pos+s.size], &v.V)
		if len(s.wide) > 0 {
			wide(s.wide, buf[pos:pos+s.size], r, v)
		}
		pos += s.size
		if !s.tail {
			continue
		}
		var n int
		if pos, n = varLength(buf, pos, end); n < 0 {
			return -1
		}
		tail(s.code, buf[pos-Margin:pos+n], v)
		pos += n
	}
	if p.Kind == Data {
		p.fill(r, v)
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

// tail reads the field of variable length at b[Margin:]. A number of more than 8 bytes is none.
func tail(c code, b []byte, v *Values) {
	n := len(b) - Margin
	switch {
	case c == skip:
	case c == section:
		v.Section = b[Margin:]
	case n <= 8:
		v.V[c%numbers] = be.Uint64(b[n:]) & masks[n]
	default:
		v.V[c%numbers] = 0
	}
}

// masks keep the lowest bytes of a word, by width.
var masks = [16]uint64{0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff, 0xffffffffffffffff}

// wide executes the steps on the segment b.
func wide(steps []wideStep, b []byte, r *record.Record, v *Values) {
	for i := range steps {
		s := &steps[i]
		f := b[s.begin : int(s.begin)+int(s.size)]
		if s.code == section {
			v.Section = f
			continue
		}
		if len(f) < 16 {
			continue // cannot be: such a field is not chosen
		}
		switch a := (*[16]byte)(f); s.code {
		case src6:
			r.Src = *a
		case dst6:
			r.Dst = *a
		case next6:
			v.next6 = *a
		case src6If:
			v.src6 = *a
		case dst6If:
			v.dst6 = *a
		}
	}
}

// fill writes the record from the numbers. Those that the template does not have are zero.
func (p *Program) fill(r *record.Record, v *Values) {
	n := &v.V
	if p.src4 {
		set4(&r.Src, uint32(n[src4]))
	}
	if p.dst4 {
		set4(&r.Dst, uint32(n[dst4]))
	}
	r.SrcPort, r.DstPort = uint16(n[srcPort]), uint16(n[dstPort])
	r.Proto, r.TCPFlags, r.TOS = uint8(n[proto]), uint8(n[tcpFlags]), uint8(n[tos])
	r.Packets, r.Bytes = n[packetCount], n[byteCount]
	r.Input, r.Output = uint32(n[input]), uint32(n[output])
	if p.routes {
		r.SrcAS, r.DstAS = uint32(n[srcAS]), uint32(n[dstAS])
		r.SrcMask, r.DstMask = uint8(n[srcMask]), uint8(n[dstMask])
		r.NextHop = v.next6
		if n[next4] != 0 {
			set4(&r.NextHop, uint32(n[next4]))
		}
	}
	for _, c := range p.rare {
		fillRare(c, n[c%numbers], r)
	}
	if p.dual {
		pick(&r.Src, uint32(n[src4If]), &v.src6)
		pick(&r.Dst, uint32(n[dst4If]), &v.dst6)
	}
}

// pick sets the address that is not zero of a template with both families. Where a has one it is of a side with one family only.
func pick(a *[16]byte, ip uint32, six *[16]byte) {
	switch {
	case ip != 0:
		set4(a, ip)
	case *six != [16]byte{}:
		*a = *six
	}
}

// fillRare writes one of the less common numbers.
func fillRare(c code, n uint64, r *record.Record) {
	switch c {
	case srcVLAN:
		r.SrcVLAN = uint16(n) & 0xfff
	case dstVLAN:
		r.DstVLAN = uint16(n) & 0xfff
	case mplsLabel:
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
	case ttl:
		r.TTL = uint8(n)
	}
}

// set4 writes an IPv4 address v4-mapped, in two stores.
func set4(a *[16]byte, ip uint32) {
	be.PutUint64(a[0:8], 0)
	be.PutUint64(a[8:16], 0xffff<<32|uint64(ip))
}
