package collector

import "github.com/weir-ddos/weir/flowcollect/record"

// Bounds of what a jump of a sequence number can mean. Sequences count datagrams or records.
const (
	// reordered is how far behind a datagram may be and still be late: workers overtake each other, and so do networks.
	reordered = 1 << 16
	// overtaken is how much younger a late datagram may be, by the exporter's uptime in ms; beyond it the exporter began anew.
	overtaken = 10_000
	// missing is how far ahead one may be and still be the one after a loss.
	missing = 1 << 24
	// maxSequences bounds the observation domains of one exporter that are followed.
	maxSequences = 256
)

// sequenceKey is what counts its datagrams by itself.
type sequenceKey struct {
	protocol record.Protocol
	domain   uint32
	agent    [16]byte // sFlow's; zero otherwise
}

// sequence follows one sequence number.
type sequence struct {
	next  uint32 // of a datagram that numbers itself by what was sent before it (RFC 7011 3.1), as it should
	last  uint32 // number of the datagram before
	known bool   // next and last are
	// inclusive is set for an exporter that counts a datagram's own records in (softflowd's IPFIX, Open vSwitch's NetFlow v5).
	inclusive bool
	uptime    uint32
	got       uint64 // in its own units, as lost
	lost      uint64
	late      uint64
	restart   uint64
}

// see takes the header of a datagram.
func (s *sequence) see(h *record.Header) {
	began := s.known && h.Protocol != record.IPFIX && h.Uptime < s.uptime && s.uptime-h.Uptime > overtaken && s.uptime-h.Uptime < 1<<31
	ahead := s.ahead(h)
	after := h.Sequence + h.Units
	s.got += uint64(h.Units)
	switch {
	case !s.known:
		s.next = after
	case began && (ahead < 0 || ahead > reordered), ahead < -reordered, ahead > missing:
		s.restart++
		s.next = after
	case ahead >= 0:
		s.lost += uint64(ahead)
		s.next = after
	default: // it was taken for lost
		s.late++
		s.lost -= min(s.lost, uint64(h.Units))
		return
	}
	s.uptime, s.last = h.Uptime, h.Sequence
	// After a set whose template is unknown nobody knows how many records it had (RFC 7011 3.1 counts them).
	s.known = h.Protocol != record.IPFIX || h.KnownUnits
}

// ahead is how many units are missing before a datagram; negative when it is late. An exporter shows by which of the two rules it
// counts whenever one fits exactly and the other does not.
func (s *sequence) ahead(h *record.Header) int32 {
	proper, inclusive := int32(h.Sequence-s.next), int32(h.Sequence-s.last-h.Units)
	if s.known && (proper == 0) != (inclusive == 0) {
		s.inclusive = inclusive == 0
	}
	if s.inclusive {
		return inclusive
	}
	return proper
}
