package flows

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

var (
	be     = binary.BigEndian
	native = binary.NativeEndian
)

// Protocol is what is exported.
type Protocol string

// The protocols. v9 and IPFIX have templates of 20 fields, sFlow heads of 128 bytes.
const (
	NetFlow5 Protocol = "NetFlow v5"
	NetFlow9 Protocol = "NetFlow v9"
	IPFIX    Protocol = "IPFIX"
	SFlow    Protocol = "sFlow v5"
)

// Protocols are all of them.
func Protocols() []Protocol { return []Protocol{NetFlow5, NetFlow9, IPFIX, SFlow} }

// Every record is of so many packets and bytes, sampled 1:Rate.
const (
	Rate          = 100
	recordPackets = 3
	recordBytes   = 4500
)

// exporter is who sends: 198.18.0.1.
var exporter = [16]byte{10: 0xff, 11: 0xff, 12: 198, 13: 18, 15: 1}

// uptime and clock of the exporter, in ms and s.
const (
	uptime = 3_600_000
	clock  = 1_767_225_600
)

// stream makes datagrams to random hosts: one payload whose destinations are overwritten. All are of one size.
type stream struct {
	protocol Protocol
	v6       bool
	hosts    uint64
	state    uint64
	sequence uint32

	// first is what comes once before: templates and options.
	first   []byte
	payload []byte
	dsts    []int // offsets of the last four bytes of destinations
	seqAt   int
	seqStep uint32
	packets uint64 // of a record, after scaling
}

func newStream(p Protocol, v6 bool, hosts int, long bool) (*stream, error) {
	if v6 && p == NetFlow5 {
		return nil, fmt.Errorf("%s has no IPv6", p)
	}
	s := &stream{protocol: p, v6: v6, hosts: uint64(hosts), state: 1, packets: recordPackets * Rate}
	switch p {
	case NetFlow5:
		s.netflow5(long)
	case NetFlow9:
		s.templated(9, long)
	case IPFIX:
		s.templated(10, long)
	case SFlow:
		s.sflow()
	default:
		return nil, fmt.Errorf("no protocol %q", p)
	}
	return s, nil
}

// records is how many records a datagram has.
func (s *stream) records() int { return len(s.dsts) }

// next overwrites the destinations and the sequence number.
func (s *stream) next() {
	for _, at := range s.dsts {
		s.state = s.state*6364136223846793005 + 1442695040888963407
		host, _ := bits.Mul64(s.state, s.hosts)
		if s.v6 {
			be.PutUint32(s.payload[at:], uint32(host))
		} else {
			be.PutUint32(s.payload[at:], 10<<24|uint32(host))
		}
	}
	be.PutUint32(s.payload[s.seqAt:], s.sequence)
	s.sequence += s.seqStep
}

// first and last are a record's times in uptime: the same, or half a minute apart.
func times(long bool) (first, last uint32) {
	if long {
		return uptime - 30_000, uptime
	}
	return uptime, uptime
}

// netflow5 makes 30 records of 48 bytes.
func (s *stream) netflow5(long bool) {
	const n = 30
	b := make([]byte, 24, 24+48*n)
	be.PutUint16(b, 5)
	be.PutUint16(b[2:], n)
	be.PutUint32(b[4:], uptime)
	be.PutUint32(b[8:], clock)
	be.PutUint16(b[22:], 1<<14|Rate)
	first, last := times(long)
	for i := range n {
		r := make([]byte, 48)
		copy(r, []byte{198, 19, 0, byte(i)})
		be.PutUint32(r[16:], recordPackets)
		be.PutUint32(r[20:], recordBytes)
		be.PutUint32(r[24:], first)
		be.PutUint32(r[28:], last)
		be.PutUint16(r[32:], 53)
		be.PutUint16(r[34:], 4242)
		r[38] = 17
		s.dsts = append(s.dsts, len(b)+4)
		b = append(b, r...)
	}
	s.payload, s.seqAt, s.seqStep = b, 16, n
}

// field is an information element with its length.
type field struct{ id, size uint16 }

// templateFields are 20, as many as the templates of real devices have in the middle.
func templateFields(version int, v6 bool) []field {
	src, dst, hop, size := uint16(8), uint16(12), uint16(15), uint16(4)
	if v6 {
		src, dst, hop, size = 27, 28, 62, 16
	}
	counter, first, last, width := uint16(4), uint16(22), uint16(21), uint16(4)
	if version == 10 {
		counter, first, last, width = 8, 152, 153, 8
	}
	return []field{
		{src, size},
		{dst, size},
		{hop, size},
		{10, 4},
		{14, 4},
		{2, counter},
		{1, counter},
		{first, width},
		{last, width},
		{7, 2},
		{11, 2},
		{6, 1},
		{4, 1},
		{5, 1},
		{16, 4},
		{17, 4},
		{9, 1},
		{13, 1},
		{61, 1},
		{60, 1},
	}
}

// header is a message header of v9 or IPFIX.
func header(version int) []byte {
	if version == 9 {
		b := make([]byte, 20)
		be.PutUint16(b, 9)
		be.PutUint32(b[4:], uptime)
		be.PutUint32(b[8:], clock)
		return b
	}
	b := make([]byte, 16)
	be.PutUint16(b, 10)
	be.PutUint32(b[4:], clock)
	return b
}

// templated makes a datagram with template and sampling rate, and one with 20 records.
func (s *stream) templated(version int, long bool) {
	const n = 20
	fields := templateFields(version, s.v6)
	words := []uint16{256, uint16(len(fields))}
	for _, f := range fields {
		words = append(words, f.id, f.size)
	}
	ids, options, rate := []uint16{0, 1}, []uint16{512, 4, 4, 1, 4, 34, 4}, []uint16{0, 0, 0, Rate}
	if version == 10 { // scope: exporting process; one of Rate
		ids, options, rate = []uint16{2, 3}, []uint16{512, 3, 1, 144, 4, 305, 4, 306, 4}, []uint16{0, 1, 0, 1, 0, Rate - 1}
	}
	s.first = header(version)
	s.first = set(s.first, ids[0], words)
	s.first = set(s.first, ids[1], options)
	s.first = set(s.first, 512, rate)
	finish(s.first, version, 3)

	b := append(header(version), 1, 0, 0, 0)
	at := len(b)
	for i := range n {
		b = s.record(b, fields, byte(i), long)
	}
	be.PutUint16(b[at-2:], uint16(len(b)-at+4))
	finish(b, version, n)
	s.payload, s.seqAt, s.seqStep = b, 12, 1
	if version == 10 {
		s.seqAt, s.seqStep = 8, n
	}
}

// set appends a set of 16-bit words.
func set(b []byte, id uint16, words []uint16) []byte {
	b = be.AppendUint16(b, id)
	b = be.AppendUint16(b, uint16(4+2*len(words)))
	for _, w := range words {
		b = be.AppendUint16(b, w)
	}
	return b
}

// finish writes the count, or the length.
func finish(b []byte, version, count int) {
	if version == 9 {
		be.PutUint16(b[2:], uint16(count))
	} else {
		be.PutUint16(b[2:], uint16(len(b)))
	}
}

// record appends one data record.
func (s *stream) record(b []byte, fields []field, i byte, long bool) []byte {
	first, last := times(long)
	for _, f := range fields {
		v := make([]byte, f.size)
		end := v[len(v)-min(len(v), 4):]
		switch f.id {
		case 8:
			copy(v, []byte{198, 19, 0, i})
		case 27:
			copy(v, []byte{0x20, 1, 0, 2, 15: i})
		case 12, 28:
			copy(v, []byte{0x20, 1, 0x0d, 0xb8})
			s.dsts = append(s.dsts, len(b)+len(v)-4)
		case 2:
			be.PutUint32(end, recordPackets)
		case 1:
			be.PutUint32(end, recordBytes)
		case 22:
			be.PutUint32(end, first)
		case 21:
			be.PutUint32(end, last)
		case 152:
			be.PutUint64(v, uint64(clock)*1000+uint64(first)-uptime)
		case 153:
			be.PutUint64(v, uint64(clock)*1000+uint64(last)-uptime)
		case 7:
			be.PutUint16(v, 53)
		case 11:
			be.PutUint16(v, 4242)
		case 4:
			v[0] = 17
		}
		b = append(b, v...)
	}
	return b
}

// sflow makes 7 samples of packets with heads of 128 bytes.
func (s *stream) sflow() {
	const n, head = 7, 128
	words := func(b []byte, w ...uint32) []byte {
		for _, v := range w {
			b = be.AppendUint32(b, v)
		}
		return b
	}
	b := words(nil, 5, 1, 198<<24|18<<16|1, 0, 0, uptime, n)
	for i := range n {
		frame := make([]byte, head)
		copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0x05, 0xdc, 0, 0, 0, 0, 64, 17, 0, 0, 198, 19, 0, byte(i)})
		dst := 30
		if s.v6 {
			copy(frame[12:], []byte{0x86, 0xdd, 0x60, 0, 0, 0, 0x05, 0xb4, 17, 64, 0x20, 1, 0, 2, 16 + 9: byte(i)})
			copy(frame[38:], []byte{0x20, 1, 0x0d, 0xb8})
			dst = 50
			copy(frame[54:], []byte{0, 53, 0x10, 0x92, 5, 0xb4})
		} else {
			copy(frame[34:], []byte{0, 53, 0x10, 0x92, 5, 0xc8})
		}
		b = words(b, 1, 32+8+16+head, uint32(i), 7, Rate, 0, 0, 1, 2, 1)
		b = words(b, 1, 16+head, 1, 1518, 4, head)
		s.dsts = append(s.dsts, len(b)+dst)
		b = append(b, frame...)
	}
	s.payload, s.seqAt, s.seqStep, s.packets = b, 16, 1, Rate
}
