package dpdk

import "testing"

func TestParseCount(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][2]uint64{
		"  RX-packets: 156085376  RX-missed: 0          RX-bytes:  9365122560":            {156085376, 0},
		"  RX-packets: 1          RX-missed: 22         RX-bytes:  60":                    {1, 22},
		"  RX-packets: 156085376      RX-dropped: 0             RX-total: 156085376":      {},
		"  TX-packets: 7          TX-errors: 0          TX-bytes:  0":                     {},
		"  RX-packets: 99999999999999999999999  RX-missed: 0          RX-bytes:  9365122": {},
	} {
		packets, missed, ok := parseCount(line)
		if packets*missed != want[0]*want[1] || ok != (want != [2]uint64{}) || (ok && packets != want[0]) {
			t.Errorf("%q: %d, %d, %v", line, packets, missed, ok)
		}
	}
}
