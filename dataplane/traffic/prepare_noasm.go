//go:build !amd64 || race

package traffic

// hasAES is whether keys are hashed with AES rounds.
const hasAES = false

// Hash mixes an address and a direction (Incoming or Outgoing) into 64 bits.
func (s *Seed) Hash(k0, k1 uint64, d Direction) uint64 { return s.mulHash(k0, k1, d) }

// HashFlow mixes a 5-tuple into 64 bits. ports is source<<16 | destination.
func (s *Seed) HashFlow(src, dst *[16]byte, proto uint8, ports uint32) uint64 {
	return s.mulHashFlow(src, dst, proto, ports)
}

// chargeFast leaves everything to chargeEach.
func (h *Half) chargeFast(*Rules, *Chunk, *Charges, bool) bool { return false }

// prepareFetch hashes the charges and prefetches their index lines.
func (t *Table) prepareFetch(charges []Charge) { t.prepareEach(charges) }
