package traffic

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/wire"
)

func TestRuleSize(t *testing.T) {
	t.Parallel()
	if n := reflect.TypeFor[rule]().Size(); n != 1<<ruleShift {
		t.Errorf("a rule has %d bytes", n)
	}
	if directions[outgoingRule] != Outgoing {
		t.Errorf("rule %d is %v", outgoingRule, directions[outgoingRule])
	}
}

// anyChunk makes packets of everything that decoding gives.
func anyChunk(r *rand.Rand, c *Chunk, n int) {
	protos := [...]uint8{wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMP, wire.ProtoICMPv6, wire.ProtoGRE, uint8(r.Uint32())}
	c.N, c.Second = uint(n), 0
	for i := range n {
		p := &c.Packets[i]
		*p = wire.IP{Version: 4, Src: host(r.IntN(1 << 20)), Dst: host(r.IntN(1 << 20))}
		if r.IntN(2) == 0 {
			p.Version = 6
			for k := range p.Src {
				p.Src[k], p.Dst[k] = uint8(r.Uint32()), uint8(r.Uint32())
			}
		}
		p.Proto, p.Length, p.TTL, p.Fragment = protos[r.IntN(len(protos))], r.Uint32(), uint8(r.Uint32()), r.IntN(4) == 0
		if p.Proto == wire.ProtoTCP {
			p.TCPFlags = uint8(r.Uint32())
		}
		if r.IntN(4) > 0 {
			p.HasPorts, p.SrcPort, p.DstPort = true, uint16(r.Uint32()), uint16(r.Uint32())
		}
		c.Ends[i] = nets.Ends{}
		if r.IntN(2) == 0 {
			c.Ends[i].Src = nets.ID(1 + r.Uint32()>>2)
		}
		if r.IntN(2) == 0 {
			c.Ends[i].Dst = nets.ID(1 + r.Uint32()>>2)
		}
		c.Lengths[i] = r.Uint32()
	}
}

// sameCharges says what differs between two ways to charge, "" if nothing.
func sameCharges(a, b *Half, x, y *Charges) string {
	switch {
	case x.n != y.n || x.nflows != y.nflows:
		return fmt.Sprintf("%d charges and %d flows, want %d and %d", x.n, x.nflows, y.n, y.nflows)
	case a.Totals != b.Totals:
		return fmt.Sprintf("totals %v, want %v", a.Totals, b.Totals)
	}
	for i := range x.All() {
		if x.charges[i] != y.charges[i] {
			return fmt.Sprintf("charge %d is %+v, want %+v", i, x.charges[i], y.charges[i])
		}
	}
	for i := range x.Hashes(0) {
		if x.hashes[i] != y.hashes[i] || x.flows[i] != y.flows[i] {
			return fmt.Sprintf("flow %d is %#x %#x, want %#x %#x", i, x.hashes[i], x.flows[i], y.hashes[i], y.flows[i])
		}
	}
	return ""
}

// TestChargeAllAgainstEach: assembly charges as Go does, both families, all directions and policies, with flows and without, packets
// that are counted twice, and bursts of several chunks.
func TestChargeAllAgainstEach(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(13, 13))
	s, _ := newShard(t, 1000)
	var a, b Half
	for _, h := range []*Half{&a, &b} {
		h.table.seed, h.table.homes, h.table.index = s.Poll().table.seed, s.Poll().table.homes, s.Poll().table.index
	}
	var c Chunk
	for policy := range numInternalPolicies {
		rules := NewRules(policy)
		for range 300 {
			var x, y Charges
			for range 1 + r.IntN(2) {
				flows := r.IntN(4) > 0
				anyChunk(r, &c, r.IntN(ChunkPackets+1))
				if r.IntN(4) == 0 {
					c.Second = r.Uint64()
				}
				a.ChargeAll(rules, &c, &x, flows)
				b.chargeEach(rules, &c, &y, flows)
			}
			if diff := sameCharges(&a, &b, &x, &y); diff != "" {
				t.Fatalf("%v: %s", policy, diff)
			}
		}
	}
	if a.Totals == (Totals{}) {
		t.Error("nothing was counted")
	}
}

func FuzzChargeAll(f *testing.F) {
	f.Add(uint64(1), uint8(64), uint8(0), true)
	f.Add(uint64(2), uint8(1), uint8(3), false)
	f.Fuzz(func(t *testing.T, seed uint64, n, policy uint8, flows bool) {
		s, _ := newShard(t, 10)
		var a, b Half
		a.table.seed, a.table.homes, a.table.index = s.Poll().table.seed, s.Poll().table.homes, s.Poll().table.index
		b.table.seed, b.table.homes, b.table.index = a.table.seed, a.table.homes, a.table.index
		rules := NewRules(InternalPolicy(policy) % numInternalPolicies)
		var c Chunk
		anyChunk(rand.New(rand.NewPCG(seed, seed)), &c, int(n)%(ChunkPackets+1))
		var x, y Charges
		a.ChargeAll(rules, &c, &x, flows)
		b.chargeEach(rules, &c, &y, flows)
		if diff := sameCharges(&a, &b, &x, &y); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestTooManyPackets(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 10)
	h, rules, c := s.Poll(), NewRules(InternalBoth), new(Chunk)
	fits := func(all *Charges, n uint) (ok bool) {
		defer func() { ok = recover() == nil }()
		c.N = n
		h.ChargeAll(rules, c, all, true)
		return
	}
	var all Charges
	if fits(&all, ChunkPackets+1) {
		t.Error("a chunk of more than ChunkPackets is charged")
	}
	for i := range c.Packets {
		c.Packets[i].HasPorts, c.Ends[i] = true, nets.Ends{Src: 1, Dst: 1}
	}
	if !fits(&all, ChunkPackets) || !fits(&all, BurstPackets-ChunkPackets) || fits(&all, 1) || len(all.All()) != maxCharges {
		t.Errorf("%d charges", len(all.All()))
	}
}

// TestNewFlow: a flow that is new counts once in the totals, unless it came in a second header, and once in each of its charges.
func TestNewFlow(t *testing.T) {
	t.Parallel()
	s, _ := newShard(t, 10)
	h, c, all := s.Poll(), new(Chunk), new(Charges)
	c.N, c.Second = 4, 1<<3
	ends := [4]nets.Ends{{Dst: 1}, {Src: 1}, {Src: 1, Dst: 1}, {Dst: 1}}
	for i := range ends {
		c.Packets[i] = wire.IP{Version: 6, Proto: wire.ProtoUDP, HasPorts: true, Src: host(i), Dst: host(10 + i)}
		c.Ends[i] = ends[i]
	}
	h.ChargeAll(NewRules(InternalBoth), c, all, true)
	for k := range all.NumFlows() {
		h.NewFlow(all, k)
	}
	for d, want := range [NumDirections]uint64{Incoming: 1, Outgoing: 1, Internal: 1} {
		if got := h.Totals[IPv6][d].Flows; got != want {
			t.Errorf("%v: %d flows, want %d", Direction(d), got, want)
		}
	}
	for i := range all.All() {
		if all.charges[i].NewFlows != 1 {
			t.Errorf("charge %d has no flow", i)
		}
	}
	if n := len(all.All()); n != 5 {
		t.Errorf("%d charges", n)
	}
}

// aesRound is one AESENC (FIPS 197: SubBytes, ShiftRows, MixColumns, AddRoundKey) by the book.
func aesRound(state, key [16]byte) (out [16]byte) {
	var sub [16]byte
	for i := range sub {
		sub[i] = sbox(state[(i+4*(i%4))%16])
	}
	double := func(x byte) byte { return x<<1 ^ x>>7*0x1b }
	for c := 0; c < 16; c += 4 {
		for i := range 4 {
			p, q := sub[c+i], sub[c+(i+1)%4]
			out[c+i] = double(p) ^ double(q) ^ q ^ sub[c+(i+2)%4] ^ sub[c+(i+3)%4] ^ key[c+i]
		}
	}
	return out
}

// sbox is the inverse in GF(2^8), x^254, and the affine transformation.
func sbox(x byte) byte {
	mul := func(a, b byte) (p byte) {
		for ; b != 0; b >>= 1 {
			if b&1 != 0 {
				p ^= a
			}
			a = a<<1 ^ a>>7*0x1b
		}
		return p
	}
	inv := byte(1)
	for range 254 {
		inv = mul(inv, x)
	}
	return inv ^ bits.RotateLeft8(inv, 1) ^ bits.RotateLeft8(inv, 2) ^ bits.RotateLeft8(inv, 3) ^ bits.RotateLeft8(inv, 4) ^ 0x63
}

func block(lo, hi uint64) (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:8], lo)
	binary.LittleEndian.PutUint64(b[8:], hi)
	return b
}

func xor(a, b [16]byte) [16]byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}

func rounds(x [16]byte, keys ...[16]byte) [16]byte {
	for _, k := range keys {
		x = aesRound(x, k)
	}
	return x
}

// TestHashIsAES: hashes are the AES rounds that they are said to be.
func TestHashIsAES(t *testing.T) {
	t.Parallel()
	if sbox(0) != 0x63 || sbox(0x53) != 0xed { // FIPS 197, 4.2.1 and 5.1.1
		t.Fatal("the twin is wrong")
	}
	if !hasAES {
		t.Skip("this processor or build has no AES instructions")
	}
	r := rand.New(rand.NewPCG(14, 14))
	for range 50 {
		s := NewSeed(r.Uint64)
		a, b := block(s[0], s[1]), block(s[2], s[3])
		k0, k1, d := r.Uint64(), r.Uint64(), Direction(r.IntN(2))
		x := rounds(xor(block(k0, k1), a), xor(b, block(uint64(d)<<placeBits, 0)), a, b, a)
		if got, want := s.Hash(k0, k1, d), binary.LittleEndian.Uint64(x[:]); got != want {
			t.Fatalf("host: %#x, want %#x", got, want)
		}
		src, dst := block(r.Uint64(), r.Uint64()), block(r.Uint64(), r.Uint64())
		proto, from, to := uint8(r.Uint32()), uint16(r.Uint32()), uint16(r.Uint32())
		x = xor(rounds(xor(src, a), b, a), rounds(xor(dst, b), a, b))
		x = rounds(xor(x, block(uint64(to)<<16|uint64(from), uint64(proto)<<8)), a, b, a)
		if got, want := s.HashFlow(&src, &dst, proto, uint32(from)<<16|uint32(to)), binary.LittleEndian.Uint64(x[:]); got != want {
			t.Fatalf("flow: %#x, want %#x", got, want)
		}
	}
}

// TestHashesSpread: keys that somebody might choose, which differ in few bits or count up, spread as random ones do: over the index
// lines (top bits) and over what an entry keeps (low bits), whatever the seed; and one bit of a key changes half of the hash.
func TestHashesSpread(t *testing.T) {
	t.Parallel()
	const n = 1 << 16
	r := rand.New(rand.NewPCG(15, 15))
	four := func(x uint32) [16]byte {
		a := [16]byte{10: 0xff, 11: 0xff}
		binary.BigEndian.PutUint32(a[12:], x)
		return a
	}
	six := func(hi, lo uint64) (a [16]byte) {
		binary.BigEndian.PutUint64(a[:8], hi)
		binary.BigEndian.PutUint64(a[8:], lo)
		return a
	}
	for name, hash := range map[string]func(s *Seed, i uint32) uint64{
		"IPv4 counting": func(s *Seed, i uint32) uint64 {
			a := four(10<<24 | i)
			x, y := words(&a)
			return s.Hash(x, y, Incoming)
		},
		"IPv4 top bits": func(s *Seed, i uint32) uint64 { a := four(i << 16); x, y := words(&a); return s.Hash(x, y, Outgoing) },
		"IPv4 two directions": func(s *Seed, i uint32) uint64 {
			a := four(i >> 1)
			x, y := words(&a)
			return s.Hash(x, y, Direction(i&1))
		},
		"IPv6 counting": func(s *Seed, i uint32) uint64 {
			a := six(0x20010db8<<32, uint64(i))
			x, y := words(&a)
			return s.Hash(x, y, Incoming)
		},
		"IPv6 both halves": func(s *Seed, i uint32) uint64 {
			a := six(uint64(i), uint64(i))
			x, y := words(&a)
			return s.Hash(x, y, Incoming)
		},
		"flows by port": func(s *Seed, i uint32) uint64 { a, b := four(1), four(2); return s.HashFlow(&a, &b, 6, i) },
		"flows by ends": func(s *Seed, i uint32) uint64 { a, b := four(i&0xff), four(i>>8); return s.HashFlow(&a, &b, 6, 1) },
		"flows by the same difference": func(s *Seed, i uint32) uint64 {
			a, b := six(1, uint64(i)<<20), six(1, uint64(i)<<20)
			return s.HashFlow(&a, &b, 17, 0)
		},
		"flows there and back": func(s *Seed, i uint32) uint64 {
			a, b := four(i>>1), four(^(i >> 1))
			if i&1 != 0 {
				a, b = b, a
			}
			return s.HashFlow(&a, &b, 17, 53<<16|53)
		},
	} {
		for range 3 {
			s := NewSeed(r.Uint64)
			var top, low [n / 16]int
			var flips int
			for i := range uint32(n) {
				h := hash(&s, i)
				top[h>>(64-12)]++
				low[h>>4&(n/16-1)]++
				flips += bits.OnesCount64(h ^ hash(&s, i^1<<(i%16)))
			}
			for _, bins := range [][n / 16]int{top, low} {
				chi := 0.0
				for _, k := range bins {
					chi += float64((k-16)*(k-16)) / 16
				}
				if mean := float64(len(bins)); chi < 0.88*mean || chi > 1.12*mean { // 4096 degrees: a deviation is 0.022
					t.Errorf("%s: chi² is %.0f, want %.0f", name, chi, mean)
				}
			}
			if mean := float64(flips) / n; mean < 31.5 || mean > 32.5 {
				t.Errorf("%s: one bit changes %.1f of a hash", name, mean)
			}
		}
	}
}

// TestPrepareAgainstEach: assembly hashes charges as Go does, in both families and directions.
func TestPrepareAgainstEach(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 11))
	tab := newTable(t, 1000)
	for n := range 150 {
		got := make([]Charge, n)
		for i := range got {
			a := host(r.IntN(1 << 20))
			got[i].Set(&a, nets.ID(r.Uint32()), Direction(r.IntN(2)))
		}
		want := slices.Clone(got)
		tab.prepareFetch(got)
		tab.prepareEach(want)
		for i := range got {
			if got[i] != want[i] || got[i].hash != tab.seed.Hash(want[i].k0, want[i].k1, Direction(want[i].control>>placeBits)) {
				t.Fatalf("charge %d of %d: %+v, want %+v", i, n, got[i], want[i])
			}
		}
	}
}

// TestChargeAllocs: charging and locating allocate nothing.
func TestChargeAllocs(t *testing.T) {
	s, _ := newShard(t, 1000)
	h, rules := s.Poll(), NewRules(InternalBoth)
	c, all := new(Chunk), new(Charges)
	anyChunk(rand.New(rand.NewPCG(16, 16)), c, ChunkPackets)
	if n := testing.AllocsPerRun(100, func() {
		all.Reset()
		h.ChargeAll(rules, c, all, true)
		c.Second ^= 1 // every other time in Go
		h.LocateFetch(all.All())
	}); n != 0 || h.Table().Len() == 0 {
		t.Errorf("%v allocations, %d rows", n, h.Table().Len())
	}
}
