//go:build dpdk && cgo

package dpdk

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// toeplitz is the hash that devices compute over addresses and ports: for each set bit of the input, the 32 bits of the key that begin
// there. No virtual device computes it.
func toeplitz(key, input []byte) (hash uint32) {
	for i, b := range input {
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				hash ^= binary.BigEndian.Uint32(key[i:])<<bit | uint32(key[i+4])>>(8-bit)
			}
		}
	}
	return hash
}

// The verification suite that vendors publish with their key, so that the hash itself is right.
func TestToeplitz(t *testing.T) {
	t.Parallel()
	key := []byte{
		0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
		0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
	}
	// 66.9.149.187:2794 to 161.142.100.80:1766
	if h := toeplitz(key, []byte{66, 9, 149, 187, 161, 142, 100, 80, 2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255}); h != 0x51ccc178 {
		t.Errorf("%#x", h)
	}
}

// Both directions of a flow have one hash, of either family, with ports and without, whatever the key's size; and flows spread
// over the queues.
func TestKeyIsSymmetricAndSpreads(t *testing.T) {
	t.Parallel()
	const flows, queues = 8192, 8
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{40, 52} {
		key := rssKey(size)
		if len(key) != size || bits.OnesCount8(key[size-1]) == 0 {
			t.Fatalf("key %x", key)
		}
		for _, addr := range []int{4, 16} {
			for _, ports := range []int{0, 2} {
				var load [queues]int
				for range flows {
					there, back := flow(r, addr, ports)
					h := toeplitz(key, there)
					if b := toeplitz(key, back); h != b {
						t.Fatalf("%d-byte key: %x has hash %#x, %x has %#x", size, there, h, back, b)
					}
					load[h%queues]++
				}
				for q, n := range load {
					if n < flows/queues*8/10 || n > flows/queues*12/10 {
						t.Errorf("%d-byte key, %d-byte addresses, %d-byte ports: queue %d has %d of %d flows", size, addr, ports, q, n, flows)
					}
				}
			}
		}
	}
}

// flow is the hash's input for the two directions of a random flow; the address of one side is within one /24 or /120, as under attack.
func flow(r *rand.Rand, addr, ports int) (there, back []byte) {
	a, b := make([]byte, addr), make([]byte, addr)
	for i := range a {
		a[i], b[i] = byte(r.Uint32()), byte(10+i)
	}
	b[addr-1] = byte(r.Uint32())
	p, q := make([]byte, ports), make([]byte, ports)
	for i := range p {
		p[i], q[i] = byte(r.Uint32()), byte(r.Uint32())
	}
	join := func(parts ...[]byte) (out []byte) {
		for _, x := range parts {
			out = append(out, x...)
		}
		return out
	}
	return join(a, b, p, q), join(b, a, q, p)
}
