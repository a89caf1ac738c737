package worker

import (
	"runtime"
	"time"

	"github.com/weir-ddos/weir/dataplane/traffic"
)

// pacer measures the gaps between polls and spends the idle time.
type pacer struct {
	start  time.Time // any fixed point
	last   time.Duration
	asleep time.Duration // what the policy asked to sleep since the last poll
	behind time.Duration // until when what came during a sleep is worked off, at the latest; zero: it is
	found  bool          // the last round found frames
	polled bool
	empty  int // rounds in a row that found nothing
	sleeps Sleeper
	times  times
}

// gap notes how long the last round took. One reading of the clock a round.
func (p *pacer) gap(h *traffic.Half) {
	now := time.Since(p.start)
	if p.polled {
		g := now - p.last - p.asleep
		h.MaxGap = max(h.MaxGap, int64(g))
		p.times.add(g, p.found)
	}
	if p.asleep > 0 {
		p.behind = now + p.asleep
	}
	p.last, p.asleep, p.polled = now, 0, true
}

// mayTurn reports, after a round that found n frames, whether the epoch may end: what came while the worker slept belongs to the epoch in
// which it came. So many frames that they keep it from sleeping must not put the end off for longer than it has slept.
func (p *pacer) mayTurn(n int) bool {
	if n == 0 || p.last >= p.behind {
		p.behind = 0
	}
	return p.behind == 0
}

// Idle rounds before a policy takes its next step.
const (
	pauseSpins  = 200  // about 10 microseconds of polling
	pauseYields = 1000 // rounds that only yield to other goroutines
)

// pauseNap is how long IdlePause sleeps then.
const pauseNap = 20 * time.Microsecond

// idle is called at the end of a round that found n frames.
func (p *pacer) idle(policy Idle, n int) {
	p.found = n > 0
	if n > 0 {
		p.empty = 0
		p.sleeps.Found(n)
		return
	}
	p.empty++
	switch policy {
	case IdleSpin:
		// A collector that wants to stop the world must not wait for a spinning loop: the loop's calls are preemptible.
	case IdlePause:
		switch {
		case p.empty < pauseSpins:
		case p.empty < pauseYields:
			runtime.Gosched()
		default:
			p.sleep(pauseNap)
		}
	default:
		p.asleep = p.sleeps.Sleep()
	}
}

func (p *pacer) sleep(d time.Duration) {
	p.asleep = d
	nap(d, noCord)
}
