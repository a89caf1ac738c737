//go:build dpdk

package dpdk

import (
	"os"
	"testing"
	"time"
)

// The benchmark works: both sides give a figure, and the product counts every frame for its host. WEIR_BENCH=1 measures the
// whole table.
func TestTurn(t *testing.T) {
	if why := Missing(); why != "" {
		t.Skip(why)
	}
	b, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	cases := []Case{{Time: 200 * time.Millisecond}, {Hosts: 512, Time: 200 * time.Millisecond}}
	if os.Getenv("WEIR_BENCH") != "" {
		cases = Cases(3 * time.Second)
	}
	for _, c := range cases {
		weir, testpmd, err := b.Turn(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]Sample{"weir": weir, "testpmd": testpmd} {
			if s.Packets == 0 || s.CPU <= 0 || s.Wall < c.Time {
				t.Errorf("%v: %s: %+v", c, name, s)
			}
			t.Logf("%v, huge pages %v: %s: %.1f Mpps, %.1f ns", c, b.HugePages, name, s.Mpps(), s.Nanoseconds())
		}
	}
}
