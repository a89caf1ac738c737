package traffic

import (
	"encoding/binary"
	"math/bits"
)

// Seed keys every hash of one process. All shards share it. It must be random, so that nobody outside can choose
// addresses that collide.
type Seed [4]uint64

// NewSeed takes its randomness from next.
func NewSeed(next func() uint64) (s Seed) {
	for i := range s {
		s[i] = next() | 1 // never zero: a zero word would stop the multiplication from mixing
	}
	return s
}

// words reads an address as two machine words; only equality and hashing look at them.
func words(a *[16]byte) (k0, k1 uint64) {
	return binary.LittleEndian.Uint64(a[:8]), binary.LittleEndian.Uint64(a[8:])
}

// mulHash is Hash where there are no AES instructions: two multiplications whose halves are folded, as in wyhash.
func (s *Seed) mulHash(k0, k1 uint64, d Direction) uint64 {
	hi, lo := bits.Mul64(k0^s[0], k1^s[1]+uint64(d)<<32)
	hi, lo = bits.Mul64(hi^lo^s[2], s[3]+uint64(d))
	return hi ^ lo
}

// mulHashFlow is HashFlow where there are no AES instructions.
func (s *Seed) mulHashFlow(src, dst *[16]byte, proto uint8, ports uint32) uint64 {
	a0, a1 := words(src)
	b0, b1 := words(dst)
	h0, l0 := bits.Mul64(a0^s[1], a1^s[2])
	h1, l1 := bits.Mul64(b0^s[2], b1^s[3])
	hi, lo := bits.Mul64(h0^l0+s[3]^(uint64(ports)<<8|uint64(proto)), bits.RotateLeft64(h1^l1, 32)^s[0])
	hi, lo = bits.Mul64(hi^lo^s[1], s[0])
	return hi ^ lo
}
