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

// numbering is by what an exporter numbers its datagrams.
type numbering uint8

// The ways that are met. By the standards a datagram's number is how many units there were before it (RFC 7011 3.1, with records of
// options). Others count a datagram's own records in: Open vSwitch's NetFlow v5, and softflowd's IPFIX, which leaves options out.
const (
	before numbering = iota
	inclusive
	beforeData
	inclusiveData
	numNumberings
)

// sequence follows one sequence number.
type sequence struct {
	last        uint32 // number of the datagram before
	units, data uint32 // in it: all, and without options
	known       bool   // all of that is
	numbering   numbering
	fits        [numNumberings]uint32 // how often each explained a number exactly
	uptime      uint32
	got         uint64 // in its own units, as lost
	lost        uint64
	late        uint64
	restart     uint64
}

// see takes the header of a datagram.
func (s *sequence) see(h *record.Header) {
	began := s.known && h.Protocol != record.IPFIX && h.Uptime < s.uptime && s.uptime-h.Uptime > overtaken && s.uptime-h.Uptime < 1<<31
	var ahead int32
	if s.known {
		ahead = s.ahead(h)
	}
	s.got += uint64(h.Units)
	switch {
	case !s.known:
	case began && (ahead < 0 || ahead > reordered), ahead < -reordered, ahead > missing:
		s.restart++
	case ahead >= 0:
		s.lost += uint64(ahead)
	default: // it was taken for lost
		s.late++
		s.lost -= min(s.lost, uint64(h.Units))
		return
	}
	s.uptime, s.last, s.units, s.data = h.Uptime, h.Sequence, h.Units, h.Units-h.Options
	// After a set whose template is unknown nobody knows how many records it had (RFC 7011 3.1 counts them).
	s.known = h.Protocol != record.IPFIX || h.KnownUnits
}

// ahead is how many units are missing before a datagram; negative when it is late. An exporter shows how it numbers by what fits exactly:
// what did so more often than what was believed is believed from then on, the standard in doubt.
func (s *sequence) ahead(h *record.Header) int32 {
	since := h.Sequence - s.last
	by := [numNumberings]int32{
		before: int32(since - s.units), inclusive: int32(since - h.Units),
		beforeData: int32(since - s.data), inclusiveData: int32(since - (h.Units - h.Options)),
	}
	for n, missing := range by {
		if missing == 0 {
			s.fits[n]++
		}
	}
	if by[s.numbering] != 0 {
		for n, missing := range by {
			if n := numbering(n); missing == 0 && (s.fits[n] > s.fits[s.numbering] || s.fits[n] == s.fits[s.numbering] && n < s.numbering) {
				s.numbering = n
				break
			}
		}
	}
	return by[s.numbering]
}
