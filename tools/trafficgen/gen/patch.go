package gen

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// patch puts a packet's own addresses, ports and identifiers into the innermost headers.
func (t *template) patch(h *Header, id uint32) {
	ip := &t.ips[len(t.ips)-1]
	b := t.frame[ip.at:]
	putAddrs(b, ip.v6, h.Src, h.Dst)
	if !ip.v6 {
		binary.BigEndian.PutUint16(b[4:], uint16(id))
	}
	if t.l4 == 0 {
		return
	}
	b = t.frame[t.l4:]
	switch t.proto {
	case protoTCP:
		binary.BigEndian.PutUint32(b[4:], id)
	case protoICMP, protoICMPv6:
		binary.BigEndian.PutUint32(b[4:], id)
		return
	}
	binary.BigEndian.PutUint16(b, h.SrcPort)
	binary.BigEndian.PutUint16(b[2:], h.DstPort)
}

func putAddrs(b []byte, v6 bool, src, dst netip.Addr) {
	if v6 {
		s, d := src.As16(), dst.As16()
		copy(b[8:24], s[:])
		copy(b[24:40], d[:])
		return
	}
	s, d := src.As4(), dst.As4()
	copy(b[12:16], s[:])
	copy(b[16:20], d[:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum computes one checksum of the frame.
func (t *template) sum(s *checksum) {
	field, body := t.frame[s.at:], t.frame[s.from:s.to]
	if s.kind == sumSCTP { // RFC 9260 appendix A: the CRC's bytes go out lowest first
		binary.LittleEndian.PutUint32(field, 0)
		binary.LittleEndian.PutUint32(field, crc32.Checksum(body, castagnoli))
		return
	}
	field[0], field[1] = 0, 0
	acc := uint64(0)
	if s.kind == sumPseudo {
		addrs := t.frame[s.ip+12 : s.ip+20]
		if s.v6 {
			addrs = t.frame[s.ip+8 : s.ip+40]
		}
		acc = add(uint64(len(body))+uint64(s.proto), addrs)
	}
	v := fold(add(acc, body))
	if v == 0 && s.proto == protoUDP { // RFC 768: zero means none
		v = 0xffff
	}
	binary.BigEndian.PutUint16(field, v)
}

// add adds b as big-endian 32-bit words; fold makes the ones' complement sum of RFC 1071 of it.
func add(acc uint64, b []byte) uint64 {
	for len(b) >= 8 {
		v := binary.BigEndian.Uint64(b)
		acc += v>>32 + v&0xffffffff
		b = b[8:]
	}
	if len(b) >= 4 {
		acc += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		acc += uint64(binary.BigEndian.Uint16(b)) // an even position: the low half of a word
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint64(b[0]) << 8
	}
	return acc
}

func fold(acc uint64) uint16 {
	for acc>>16 != 0 {
		acc = acc>>16 + acc&0xffff
	}
	return ^uint16(acc)
}
