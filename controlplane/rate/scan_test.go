package rate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// TestScanAgainstSorting: whatever rows are skipped, the busiest hosts are the first ones of all, and every host above a limit
// is near it.
func TestScanAgainstSorting(t *testing.T) {
	t.Parallel()
	n := table(t)
	rnd := rand.New(rand.NewPCG(11, 12))
	for round := range 60 {
		m := meter(t, time.Second, func(c *Config) { c.TopHosts = rnd.IntN(40) })
		s := snap(n, time.Second)
		most := []uint64{1, 2, 3, 1000}[round%4] // few values, so that many are equal
		for _, i := range rnd.Perm(1500) {
			packets := rnd.Uint64N(most + 1)
			if rnd.IntN(300) == 0 {
				packets += 2000
			}
			host := fmt.Sprintf([]string{"192.0.2.%d", "2001:db8::%x"}[i%2], i/6)
			s.add(host, traffic.Direction(i/2%2), traffic.Class(i%int(traffic.NumClasses)), packets, rnd.Uint64N(3), rnd.Uint64N(most+1))
		}
		m.Add(s, floor(t, 1500))
		checkTops(t, m, s)
		for i := range s.rows {
			h := &s.rows[i]
			if _, near := m.near[h.Addr]; !near && h.Cells.Overlapping(0).Total.Packets > 1500 {
				t.Fatalf("round %d: %v is not near", round, netip.AddrFrom16(h.Addr))
			}
		}
	}
}

// checkTops sorts all rows and compares the front with the rankings.
func checkTops(t *testing.T, m *Meter, s *fake) {
	t.Helper()
	for f := range traffic.NumFamilies {
		for d := range traffic.Direction(2) {
			for o := range NumOrders {
				var want []ranked
				for i := range s.rows {
					h := &s.rows[i]
					total := h.Cells.Overlapping(0).Total
					value := [NumOrders]uint64{total.Packets, total.Bytes, h.Flows}[o]
					if traffic.FamilyOf(&h.Addr) == f && h.Direction == d && value > 0 {
						want = append(want, ranked{value: value, addr: h.Addr})
					}
				}
				slices.SortFunc(want, func(a, b ranked) int {
					if a.worse(&b) {
						return 1
					}
					return -1
				})
				want = want[:min(len(want), m.cfg.TopHosts)]
				var got []netip.Addr
				for _, h := range m.Top(f, d, o) {
					got = append(got, h.Addr)
				}
				if !slices.EqualFunc(got, want, func(a netip.Addr, b ranked) bool { return a == netip.AddrFrom16(b.addr).Unmap() }) {
					t.Fatalf("%v, direction %d, by %v: %v, want %v", f, d, o, got, want)
				}
			}
		}
	}
}
