package traffic

import (
	"math/rand/v2"
	"testing"
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
					if (got == nil) != (want == nil) || got != nil && *got != *want {
						t.Fatalf("capacity %d, epoch %d: row %+v, want %+v", limit, epoch, got, want)
					}
					if got != nil && *got != (row{k0: c.k0, k1: c.k1, control: c.control}) {
						t.Fatalf("capacity %d, epoch %d: row %+v is not that of %+v, and empty", limit, epoch, got, c)
					}
				}
			}
			if one.Len() != all.Len() {
				t.Fatalf("capacity %d, epoch %d: %d rows, want %d", limit, epoch, all.Len(), one.Len())
			}
			for i := range one.Len() {
				one.rows[i].flows, all.rows[i].flows = 1, 1 // left for the next epoch
				one.rows[i].first, all.rows[i].first = [firstLine]uint64{1, 2, 3, 4}, [firstLine]uint64{1, 2, 3, 4}
			}
			one.Clear()
			all.Clear()
		}
	}
}
