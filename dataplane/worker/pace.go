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
	empty  int // rounds in a row that found nothing
	polled bool
}

// gap notes how long the last round took. One reading of the clock a round.
func (p *pacer) gap(h *traffic.Half) {
	now := time.Since(p.start)
	if g := int64(now - p.last); p.polled && g > h.MaxGap {
		h.MaxGap = g
	}
	p.last, p.polled = now, true
}

// mark starts measuring anew.
func (p *pacer) mark() { p.last, p.polled = time.Since(p.start), true }

// Idle rounds before a policy takes its next step.
const (
	pauseSpins  = 200  // about 10 microseconds of polling
	pauseYields = 1000 // rounds that only yield to other goroutines
	sleepGrows  = 20   // short sleeps before the long ones
)

// idle is called at the end of a round that found n frames.
func (p *pacer) idle(policy Idle, n int) {
	if n > 0 {
		p.empty = 0
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
			time.Sleep(20 * time.Microsecond)
		}
	default:
		if p.empty < sleepGrows {
			time.Sleep(50 * time.Microsecond)
		} else {
			time.Sleep(500 * time.Microsecond)
		}
	}
}
