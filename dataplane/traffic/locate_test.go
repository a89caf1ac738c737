package traffic

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/wire"
)

// TestLocateAgainstLocateOne: a burst at a time finds the same rows as one at a time, while hosts come, collide and overflow.
func TestLocateAgainstLocateOne(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 5))
	for _, limit := range []int{1, 2, 100, 5_000} {
		one, all := newTable(t, limit), newTable(t, limit)
		supported := all.avx512
		charges := make([]Charge, 64)
		for epoch := range 2 * (maxTag + 3) {
			all.avx512 = supported && epoch%4 < 2 // with AVX-512, and without
			hosts := 1 + r.IntN(limit+limit/8+1)
			for range 3*hosts/64 + 3 {
				burst := charges[:r.IntN(65)]
				for i := range burst {
					a := host(r.IntN(hosts))
					burst[i].Set(&a, 1, Direction(i&1))
				}
				all.prepareFetch(burst)
				if epoch%3 == 2 { // everything in one line
					for i := range burst {
						burst[i].hash &= 1<<rowBits - 1
					}
				}
				all.locate(burst)
				for i := range burst {
					c := burst[i]
					one.locateOne(&c)
					got, want := all.at(&burst[i]), one.at(&c)
					if (got == nil) != (want == nil) || got != nil && (!got.is(&c) || !want.is(&c)) {
						t.Fatalf("capacity %d, epoch %d: row %+v, want %+v", limit, epoch, got, want)
					}
				}
			}
			if one.Len() != all.Len() {
				t.Fatalf("capacity %d, epoch %d: %d rows, want %d", limit, epoch, all.Len(), one.Len())
			}
			one.Clear()
			all.Clear()
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

// TestHashFlowsAgainstHashFlow: a burst at a time gives the same hashes as one at a time, and nothing for packets without ports.
func TestHashFlowsAgainstHashFlow(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(12, 12))
	seed := testSeed(12)
	for n := range 130 {
		packets := make([]wire.IP, n)
		var want []uint64
		for i := range packets {
			p := &packets[i]
			p.Src, p.Dst = host(r.IntN(1<<20)), host(r.IntN(1<<20))
			p.SrcPort, p.DstPort = uint16(r.Uint32()), uint16(r.Uint32())
			p.Proto, p.TCPFlags, p.Fragment, p.HasPorts = uint8(r.Uint32()), uint8(r.Uint32()), r.IntN(2) == 0, r.IntN(4) > 0
			if p.HasPorts {
				want = append(want, seed.HashFlow(&p.Src, &p.Dst, p.Proto, uint32(p.SrcPort)<<16|uint32(p.DstPort)))
			}
		}
		got, each := make([]uint64, n+1), make([]uint64, n)
		got[n] = 42
		k := seed.HashFlows(packets, got)
		if m := seed.hashEach(packets, each); !slices.Equal(got[:k], want) || !slices.Equal(each[:m], want) || got[n] != 42 {
			t.Fatalf("%d packets: %d hashes, %d in Go, want %d", n, k, m, len(want))
		}
	}
}

// TestFetchAllocs: the passes of a burst that prefetch allocate nothing.
func TestFetchAllocs(t *testing.T) {
	s, _ := newShard(t, 1000)
	h := s.Poll()
	charges := make([]Charge, 64)
	packets, hashes := make([]wire.IP, 64), make([]uint64, 64)
	seed := testSeed(1)
	if n := testing.AllocsPerRun(100, func() {
		for i := range charges {
			a := host(i)
			charges[i].Set(&a, 1, Incoming)
		}
		h.PrepareFetch(charges)
		h.LocateFetch(charges)
		seed.HashFlows(packets, hashes)
	}); n != 0 || h.Table().Len() != len(charges) {
		t.Errorf("%v allocations, %d rows", n, h.Table().Len())
	}
}
