//go:build amd64 && !race

package traffic

import "golang.org/x/sys/cpu"

// hasAES is whether keys are hashed with AES rounds, and so whether assembly charges packets.
var hasAES = cpu.X86.HasAES && cpu.X86.HasAVX && cpu.X86.HasBMI2

// Hash mixes an address and a direction (Incoming or Outgoing) into 64 bits.
func (s *Seed) Hash(k0, k1 uint64, d Direction) uint64 {
	if hasAES {
		return aesHash(s, k0, k1, uint64(d)<<placeBits)
	}
	return s.mulHash(k0, k1, d)
}

// HashFlow mixes a 5-tuple into 64 bits. ports is source<<16 | destination.
func (s *Seed) HashFlow(src, dst *[16]byte, proto uint8, ports uint32) uint64 {
	if hasAES {
		return aesHashFlow(s, src, dst, uint64(ports>>16|ports<<16), uint64(proto))
	}
	return s.mulHashFlow(src, dst, proto, ports)
}

// aesHash is Hash of four AES rounds keyed by the seed: fewer than the ten of the cipher, but nobody sees a hash, and four are
// the least that no difference of inputs gets through with a probability worth trying (2^-110).
//
//go:noescape
func aesHash(s *Seed, k0, k1, side uint64) uint64

// aesHashFlow is HashFlow: two rounds each for source and destination, and three for all.
//
//go:noescape
func aesHashFlow(s *Seed, src, dst *[16]byte, ports, proto uint64) uint64

// chargeFast is chargeEach in assembly; it returns false when it has done nothing.
func (h *Half) chargeFast(r *Rules, c *Chunk, all *Charges, flows bool) bool {
	if !hasAES || c.Second != 0 {
		return false
	}
	chargeLines(&h.table, &h.Totals, r, c, all, flows)
	return true
}

// chargeLines is chargeFast for packets of which none is the second of its frame.
//
//go:noescape
func chargeLines(t *Table, totals *Totals, r *Rules, c *Chunk, all *Charges, flows bool)

// prepareFetch hashes the charges and prefetches their index lines.
func (t *Table) prepareFetch(charges []Charge) {
	if !hasAES {
		t.prepareEach(charges)
	} else if len(charges) > 0 {
		prepareLines(t, &charges[0], len(charges))
	}
}

// prepareLines is prepareEach for charges[0:n], n from 1 on.
//
//go:noescape
func prepareLines(t *Table, charges *Charge, n int)
