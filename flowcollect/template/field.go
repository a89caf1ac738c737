package template

// Private enterprise numbers whose fields are read.
const (
	penReverse = 29305 // RFC 5103: the same field, of the reverse direction
	penJuniper = 2636
	// penScope9 marks the scope fields of NetFlow v9, whose types are numbers of their own (RFC 3954 6.1).
	penScope9 = 0xffffffff
)

// varlen is the field length that announces a length before each value (RFC 7011 7). H3C uses it in NetFlow v9 too.
const varlen = 0xffff

// Slot is an index into Values: a field that means something only together with others or with the header.
type Slot uint8

// The slots.
const (
	RevBytes Slot = iota
	RevPackets
	RevFlags
	RevTOS
	Start
	End
	DurationMillis
	DurationMicros
	SystemInit
	Rate34
	Rate50
	Rate305
	Rate306
	Rate309
	Rate310
	Probability
	Sampler48
	Selector302
	ScopeInterface
	ScopeTemplate
	ScopeDomain
	SectionOctets
	FrameSize
	FrameType
	RevStart
	RevEnd
	RevDurationMillis
	RevDurationMicros
	ActiveTimeout
	IdleTimeout
	NumSlots
)

// code is what becomes of a field: an index into Values, where numbers are gathered. The first are the slots.
type code uint8

// The codes from skip on belong to the record.
const (
	skip code = iota + code(NumSlots)
	src4
	dst4
	srcPort
	dstPort
	proto
	tcpFlags
	tos
	input
	output
	byteCount
	packetCount
	next4
	srcAS
	dstAS
	srcMask
	dstMask
	direction
	srcVLAN
	dstVLAN
	mplsLabel
	forwarding
	fragOffset
	fragFlags
	icmpTypeCode
	icmpType
	icmpCode
	endReason
	droppedBytes
	droppedPackets
	juniperDrop
	postBytes
	postPackets
	l2Bytes
	ttl
	src4If // both families in one template: the one that is not zero
	dst4If
	firstWide
)

// The codes from firstWide on are of what is no number: it is taken where it lies.
const (
	src6 code = iota + firstWide
	dst6
	next6
	src6If
	dst6If
	section
	numCodes
)

// Set is a set of slots.
type Set uint64

// Has says whether slot s is in the set.
func (p Set) Has(s Slot) bool { return p&(1<<s) != 0 }

// Clock is the unit and origin of a Start or End value.
type Clock uint8

// The clocks. The NTP ones are RFC 7011's dateTimeMicroseconds and dateTimeNanoseconds.
const (
	NoClock  Clock = iota
	Seconds        // since the Unix epoch
	Millis         // since the Unix epoch
	NTP            // 32 bits of seconds since 1900, 32 bits of fraction
	DeltaUs        // µs before the export time
	UptimeMs       // ms since the exporter started
)

// want says what is done with a field. Of several fields with the same code the lowest rank wins, then the first.
type want struct {
	code  code
	rank  uint8
	clock Clock
}

func slot(s Slot) code { return code(s) }

// plain are the IANA elements that are read (https://www.iana.org/assignments/ipfix), in NetFlow v9 the same numbers.
var plain = map[uint16]want{
	8: {code: src4}, 12: {code: dst4}, 27: {code: src6}, 28: {code: dst6},
	15: {code: next4}, 62: {code: next6}, 18: {code: next4, rank: 1}, 63: {code: next6, rank: 1},
	7: {code: srcPort}, 11: {code: dstPort},
	180: {code: srcPort, rank: 1}, 182: {code: srcPort, rank: 1}, 181: {code: dstPort, rank: 1}, 183: {code: dstPort, rank: 1},
	4: {code: proto}, 193: {code: proto, rank: 1}, 6: {code: tcpFlags}, 5: {code: tos},
	10: {code: input}, 14: {code: output}, 252: {code: input, rank: 1}, 253: {code: output, rank: 1},
	16: {code: srcAS}, 17: {code: dstAS},
	58: {code: srcVLAN}, 243: {code: srcVLAN, rank: 1}, 59: {code: dstVLAN}, 254: {code: dstVLAN, rank: 1},
	9: {code: srcMask}, 13: {code: dstMask}, 29: {code: srcMask, rank: 1}, 30: {code: dstMask, rank: 1},
	70: {code: mplsLabel}, 61: {code: direction}, 89: {code: forwarding}, 88: {code: fragOffset}, 197: {code: fragFlags},
	32: {code: icmpTypeCode}, 139: {code: icmpTypeCode, rank: 1},
	52: {code: ttl}, 192: {code: ttl, rank: 1},
	176: {code: icmpType}, 178: {code: icmpType, rank: 1}, 177: {code: icmpCode}, 179: {code: icmpCode, rank: 1}, 136: {code: endReason},
	132: {code: droppedBytes}, 134: {code: droppedBytes, rank: 1}, 133: {code: droppedPackets}, 135: {code: droppedPackets, rank: 1},

	// Delta before total, own before post, the initiator's before a total; layer 2 only for want of another.
	1: {code: byteCount}, 23: {code: byteCount, rank: 1}, 231: {code: byteCount, rank: 2}, 85: {code: byteCount, rank: 3},
	171: {code: byteCount, rank: 4}, 352: {code: byteCount, rank: 5}, 353: {code: byteCount, rank: 6},
	2: {code: packetCount}, 24: {code: packetCount, rank: 1}, 298: {code: packetCount, rank: 2}, 86: {code: packetCount, rank: 3},
	172: {code: packetCount, rank: 4},
	232: {code: slot(RevBytes), rank: 9}, 299: {code: slot(RevPackets), rank: 9},

	152: {slot(Start), 0, Millis}, 156: {slot(Start), 1, NTP}, 154: {slot(Start), 2, NTP}, 150: {slot(Start), 3, Seconds},
	158: {slot(Start), 4, DeltaUs}, 22: {slot(Start), 5, UptimeMs},
	323: {slot(Start), 6, Millis}, 325: {slot(Start), 7, NTP}, 324: {slot(Start), 8, NTP}, 322: {slot(Start), 9, Seconds},
	153: {slot(End), 0, Millis}, 157: {slot(End), 1, NTP}, 155: {slot(End), 2, NTP}, 151: {slot(End), 3, Seconds},
	159: {slot(End), 4, DeltaUs}, 21: {slot(End), 5, UptimeMs},
	161: {code: slot(DurationMillis)}, 162: {code: slot(DurationMicros)}, 160: {code: slot(SystemInit)},

	36: {code: slot(ActiveTimeout)}, 37: {code: slot(IdleTimeout)},
	34: {code: slot(Rate34)}, 50: {code: slot(Rate50)}, 305: {code: slot(Rate305)}, 306: {code: slot(Rate306)},
	309: {code: slot(Rate309)}, 310: {code: slot(Rate310)}, 311: {code: slot(Probability)},
	48: {code: slot(Sampler48)}, 302: {code: slot(Selector302)},

	315: {code: section}, 313: {code: section, rank: 1}, 104: {code: section, rank: 2},
	410: {code: slot(SectionOctets)}, 103: {code: slot(SectionOctets), rank: 1}, 312: {code: slot(FrameSize)}, 408: {code: slot(FrameType)},
}

// reverse are the fields of RFC 5103's reverse direction that are read.
var reverse = map[uint16]want{
	1: {code: slot(RevBytes)}, 23: {code: slot(RevBytes), rank: 1}, 85: {code: slot(RevBytes), rank: 2}, 171: {code: slot(RevBytes), rank: 3},
	2: {code: slot(RevPackets)}, 24: {code: slot(RevPackets), rank: 1}, 86: {code: slot(RevPackets), rank: 2}, 172: {code: slot(RevPackets), rank: 3},
	6: {code: slot(RevFlags)}, 5: {code: slot(RevTOS)},

	152: {slot(RevStart), 0, Millis}, 156: {slot(RevStart), 1, NTP}, 154: {slot(RevStart), 2, NTP}, 150: {slot(RevStart), 3, Seconds},
	158: {slot(RevStart), 4, DeltaUs}, 22: {slot(RevStart), 5, UptimeMs},
	153: {slot(RevEnd), 0, Millis}, 157: {slot(RevEnd), 1, NTP}, 155: {slot(RevEnd), 2, NTP}, 151: {slot(RevEnd), 3, Seconds},
	159: {slot(RevEnd), 4, DeltaUs}, 21: {slot(RevEnd), 5, UptimeMs},
	161: {code: slot(RevDurationMillis)}, 162: {code: slot(RevDurationMicros)},
}

// scopes are the scope fields that sampling needs; any other scope is read over. In IPFIX a scope is an ordinary element, in v9 a type.
var scopes = map[uint16]want{
	10: {code: slot(ScopeInterface)}, 14: {code: slot(ScopeInterface), rank: 1}, 145: {code: slot(ScopeTemplate)}, 149: {code: slot(ScopeDomain)},
	48: {code: slot(Sampler48)}, 302: {code: slot(Selector302)},
}

var scopes9 = map[uint16]want{2: {code: slot(ScopeInterface)}, 5: {code: slot(ScopeTemplate)}}

// field is one field of a template, in the canonical form of a definition: number, length, enterprise, 8 bytes.
type field struct {
	id, length uint16
	pen        uint32
}

const fieldLen = 8

// appendField appends f to a definition.
func appendField(def []byte, f field) []byte {
	return append(def, byte(f.id>>8), byte(f.id), byte(f.length>>8), byte(f.length), byte(f.pen>>24), byte(f.pen>>16), byte(f.pen>>8), byte(f.pen))
}

// fieldAt returns field i of a definition.
func fieldAt(def []byte, i int) field {
	b := def[i*fieldLen:]
	return field{be.Uint16(b), be.Uint16(b[2:]), be.Uint32(b[4:])}
}

// wanted returns what is done with f, which is a scope field or not, of a template of this kind.
func wanted(f field, kind Kind, scope bool) (want, bool) {
	var w want
	var ok bool
	switch {
	case f.pen == penScope9:
		w, ok = scopes9[f.id]
	case f.pen == penReverse && kind == Data:
		w, ok = reverse[f.id]
	case f.pen == penJuniper && f.id == 137 && f.length == 2 && kind == Data:
		w, ok = want{code: juniperDrop}, true
	case f.pen != 0:
	case scope:
		w, ok = scopes[f.id]
	default:
		if w, ok = plain[f.id]; ok && kind == Options && w.code >= skip {
			ok = false // options only fill slots
		}
	}
	return w, ok && fits(w.code, f.length)
}

// fits says whether a field of this length can be read for the code: addresses are whole, numbers have 1 to 8 bytes.
func fits(c code, length uint16) bool {
	switch c {
	case src4, dst4, next4:
		return length == 4
	case src6, dst6, next6:
		return length == 16
	case section:
		return length > 0
	case mplsLabel:
		return length == 3 || length == 4
	}
	return length >= 1 && length <= 8 || length == varlen
}
