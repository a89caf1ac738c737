package worker

import (
	"testing"
	"time"
)

// TestSleeperFollowsTheRate: at a low rate the naps grow until waking up pays, at a high one they shrink before a ring overflows, and
// after a silence the worker sleeps long.
func TestSleeperFollowsTheRate(t *testing.T) {
	t.Parallel()
	var s Sleeper
	at := func(perSecond float64) (d time.Duration) {
		for range 50 {
			d = s.Next()
			if n := int(perSecond * d.Seconds()); n > 0 {
				s.Found(n)
			}
		}
		return d
	}
	for _, c := range []struct {
		rate     float64
		min, max time.Duration
	}{
		{200e3, longNap, longNap},
		{1e6, 64 * time.Microsecond, 128 * time.Microsecond},
		{14.88e6, shortNap, shortNap},
		{200e3, longNap, longNap}, // and back
	} {
		if d := at(c.rate); d < c.min || d > c.max {
			t.Errorf("naps of %v at %.0f packets/s, want %v to %v", d, c.rate, c.min, c.max)
		}
	}
	for range sleepGrows {
		s.Next()
	}
	if d := s.Next(); d != longSleep {
		t.Errorf("%v after a silence", d)
	}
	s.Found(1)
	if d := s.Next(); d != longNap {
		t.Errorf("%v after the first frame", d)
	}
}
