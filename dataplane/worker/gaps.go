package worker

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// NumGaps is how many classes of length a gap has.
const NumGaps = 16

// gapUnit is the first class's limit. Each class goes to twice the one before; the thirteenth ends at 5 ms.
const gapUnit = 1221 * time.Nanosecond

// Gaps counts the gaps between two polls by their length: class i has those of less than GapLimit(i).
//
// A gap is the time from one poll of the queues to the next, without the time that the idle policy asked to sleep: the sleep is
// no fault, waking later than asked is. What a burst took to count is in it.
type Gaps [NumGaps]uint64

// GapLimit is the length below which the gaps of class i are; the last class has no limit, and 0 says so.
func GapLimit(i int) time.Duration {
	if i < 0 || i >= NumGaps-1 {
		return 0
	}
	return gapUnit << i
}

// Over is how many gaps were certainly as long as d or longer: those of the classes that begin at d or above.
func (g *Gaps) Over(d time.Duration) (n uint64) {
	for i := 1; i < NumGaps; i++ {
		if GapLimit(i-1) >= d {
			n += g[i]
		}
	}
	return n
}

// times are how a worker's time went. They are the worker's alone.
type times struct {
	gaps    Gaps
	longest time.Duration
	busy    time.Duration // rounds that found frames
}

// add notes a round.
func (t *times) add(g time.Duration, found bool) {
	g = max(g, 0)
	t.gaps[min(bits.Len64(uint64(g/gapUnit)), NumGaps-1)]++
	t.longest = max(t.longest, g)
	if found {
		t.busy += g
	}
}

// published is the copy of times that others may read: written by the worker once an epoch.
type published struct {
	gaps                   [NumGaps]atomic.Uint64
	longest, busy, elapsed atomic.Int64
}

func (p *published) store(t *times, elapsed time.Duration) {
	for i, n := range t.gaps {
		p.gaps[i].Store(n)
	}
	p.longest.Store(int64(t.longest))
	p.busy.Store(int64(t.busy))
	p.elapsed.Store(int64(elapsed))
}

func (p *published) load(s *Stats) {
	for i := range s.Gaps {
		s.Gaps[i] = p.gaps[i].Load()
	}
	s.LongestGap = time.Duration(p.longest.Load())
	s.BusyTime = time.Duration(p.busy.Load())
	s.Time = time.Duration(p.elapsed.Load())
}
