package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Start starts the journal's and the mitigators' goroutines and hands out the first wanted set: what Restore brought, or nothing. Ticks are
// made by Run, or by whoever calls Tick.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.out.started {
		return errors.New("engine: started twice")
	}
	e.out.start(ctx)
	e.out.dirty = true
	e.replan(e.present())
	return nil
}

// Run ticks until ctx ends, on a fixed grid of the monotonic clock. A tick that takes too long is counted; the ticks that it ran over are left
// out, never made up for.
func (e *Engine) Run(ctx context.Context) error {
	if e.deps.Clock == nil {
		return errors.New("engine: Run needs a clock")
	}
	origin, tick := e.deps.Clock(), e.interval()
	next := origin.Add(tick)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		began := e.deps.Clock()
		e.Tick(began)
		now := e.deps.Clock()
		e.noteDuration(now.Sub(began))
		if changed := e.interval(); changed != tick {
			origin, tick = now, changed
			next = origin
		}
		if next = next.Add(tick); !next.After(now) {
			missed := int64(now.Sub(next)/tick) + 1
			next = next.Add(time.Duration(missed * int64(tick)))
			e.noteOverrun(uint64(missed))
		}
		timer.Reset(next.Sub(now))
	}
}

func (e *Engine) interval() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.set.Tick
}

func (e *Engine) noteDuration(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counters.lastTook, e.counters.maxTook = d, max(e.counters.maxTook, d)
}

func (e *Engine) noteOverrun(missed uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.counters.overruns += missed; e.counters.overruns == missed {
		e.log.Warn("a tick took longer than its interval", "missed", missed, "took", e.counters.lastTook)
	}
}

// Stop ends the outputs after they have dealt with what was published last. When withdraw is set the mitigators get an empty set
// first; the journal keeps the incidents, so that a later start finds them again. Run must have returned, and Tick is not called again.
// ctx bounds the waiting. The engine cannot be started again.
func (e *Engine) Stop(ctx context.Context, withdraw bool) error {
	e.mu.Lock()
	started := e.out.started
	e.out.started = false
	if started {
		// The latest state, peaks and times included.
		e.out.put(job{state: e.state(e.present()), want: e.plan.Announce()})
	}
	e.meter.Close()
	e.mu.Unlock()
	if !started {
		return nil
	}
	if err := e.out.end(ctx, withdraw); err != nil {
		return fmt.Errorf("engine: stop: %w", err)
	}
	return nil
}
