package merge

import (
	"testing"
	"time"
)

// TestFlowCycle: flow sets live for the least number of ticks that makes a second, whatever the jitter; with ticks of a
// second or more for one tick, also for an early one after a late one.
func TestFlowCycle(t *testing.T) {
	t.Parallel()
	const ms = int64(time.Millisecond)
	for _, tc := range []struct {
		tick   int64
		jitter []int64 // of tick i
		every  int
	}{
		{100, nil, 10},
		{100, []int64{3, -3, 2, -9, 9}, 10},
		{125, []int64{4, -4}, 8},
		{250, []int64{-10, 10, 0}, 4},
		{500, []int64{30, -30}, 2},
		{1000, nil, 1},
		{1000, []int64{0, 250, 0, -60, 60}, 1},
		{2000, []int64{500, 0}, 1},
		{60000, nil, 1},
	} {
		var c flowCycle
		last := int64(0)
		for i := range 200 {
			at := int64(i+1) * tc.tick * ms
			if n := len(tc.jitter); n > 0 {
				at += tc.jitter[i%n] * ms
			}
			kept := c.keep(at - last)
			last = at
			if want := (i+1)%tc.every != 0; kept != want {
				t.Fatalf("tick %d ms, jitter %v: after tick %d kept is %v", tc.tick, tc.jitter, i+1, kept)
			}
		}
	}
	// A late tick ends the second; a clock that stands still or steps back does not.
	var c flowCycle
	if !c.keep(100*ms) || c.keep(900*ms) || !c.keep(0) || !c.keep(-5*ms) {
		t.Error("late ticks")
	}
}
