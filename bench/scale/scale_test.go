package scale

import (
	"runtime"
	"testing"
	"time"

	"github.com/weir-ddos/weir/bench/feed"
)

// The benchmark works in both families; every packet that was taken was counted, or Run says so.
func TestRun(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("two workers need two processors")
	}
	for _, v6 := range []bool{false, true} {
		c := Case{Config: feed.Config{Hosts: 1 << 12, IPv6: v6}, Time: 80 * time.Millisecond, Repeat: 1}
		r, err := Run(t.Context(), c)
		if err != nil {
			t.Fatalf("IPv6 %v: %v", v6, err)
		}
		cpus, clock := r.Ratios()
		if len(cpus) != 1 || len(clock) != 1 || cpus[0] <= 0 || clock[0] <= 0 {
			t.Errorf("IPv6 %v: %+v", v6, r)
		}
		t.Logf("IPv6 %v: %.2f by run time, %.2f by the clock: %+v", v6, cpus[0], clock[0], r)
	}
}
