package worker

import "time"

// Empty rounds before the naps become sleeps.
const sleepGrows = 20

// A nap is long enough that waking up pays, and so short that a ring of some thousand frames does not overflow when a flood begins.
const (
	shortNap  = 50 * time.Microsecond
	longNap   = 200 * time.Microsecond
	longSleep = 500 * time.Microsecond
	napFrames = 128 // a nap after which more were found was too long, one with less than half of them too short
)

// Sleeper is how long IdleSleep sleeps: it follows the rate, since at low ones most of a packet's cost is waking up for it. The
// zero value is ready. It belongs to one goroutine.
type Sleeper struct {
	empty  int // rounds in a row that found nothing
	frames int // found since the last sleep
	nap    time.Duration
}

// Found notes a round that found n frames, at least one.
func (s *Sleeper) Found(n int) { s.empty, s.frames = 0, s.frames+n }

// Next is how long to sleep after a round that found nothing.
func (s *Sleeper) Next() time.Duration {
	s.empty++
	switch {
	case s.empty >= sleepGrows:
		return longSleep
	case s.frames > napFrames:
		s.nap /= 2
	case s.frames > 0 && s.frames < napFrames/2:
		s.nap *= 2
	}
	s.frames = 0
	s.nap = min(max(s.nap, shortNap), longNap)
	return s.nap
}
