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
		charges, addrs := make([]Charge, 64), make([]uintptr, 64)
		for epoch := range maxTag + 3 {
			hosts := 1 + r.IntN(limit+limit/8+1)
			for range 3*hosts/64 + 3 {
				burst := charges[:r.IntN(65)]
				for i := range burst {
					a := host(r.IntN(hosts))
					burst[i].Set(&a, 1, Direction(i&1))
				}
				all.prepare(burst, addrs)
				if epoch%3 == 2 { // everything in one line
					for i := range burst {
						burst[i].hash &= 1<<rowBits - 1
					}
				}
				all.locate(burst, addrs)
				for i := range burst {
					c := burst[i]
					if one.locateOne(&c); addrs[i] != all.rowsAt+uintptr(burst[i].row)*rowSize {
						t.Fatalf("capacity %d: the address of row %d is %#x", limit, burst[i].row, addrs[i])
					}
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
