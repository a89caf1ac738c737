package worker

import (
	"context"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

func TestGapClasses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gap   time.Duration
		class int
	}{
		{-time.Second, 0},
		{0, 0},
		{gapUnit - 1, 0},
		{gapUnit, 1},
		{2*gapUnit - 1, 1},
		{2 * gapUnit, 2},
		{100 * time.Microsecond, 7},
		{4999 * time.Microsecond, 12},
		{5002 * time.Microsecond, 13},
		{19 * time.Millisecond, 14},
		{time.Hour, NumGaps - 1},
	} {
		var x times
		x.add(c.gap, c.gap > gapUnit)
		for i, n := range x.gaps {
			if (n == 1) != (i == c.class) || n > 1 {
				t.Errorf("%v: class %d has %d, want class %d", c.gap, i, n, c.class)
			}
		}
		if limit := GapLimit(c.class); limit > 0 && c.gap >= limit {
			t.Errorf("%v is not below the limit %v of its class", c.gap, limit)
		}
		want := max(c.gap, 0)
		if x.longest != want || (x.busy != 0) != (c.gap > gapUnit) {
			t.Errorf("%v: %+v", c.gap, x)
		}
		if over := x.gaps.Over(5 * time.Millisecond); (over != 0) != (c.gap >= 5002*time.Microsecond) {
			t.Errorf("%v: %d over 5 ms", c.gap, over)
		}
	}
	if GapLimit(-1) != 0 || GapLimit(NumGaps-1) != 0 {
		t.Error("classes without a limit have one")
	}
}

// slow holds its worker up, once.
type slow struct {
	queue
	polls int
	held  time.Duration
}

func (q *slow) RxBurst(b *port.Burst) int {
	if q.polls++; q.polls == 10 {
		time.Sleep(q.held)
	}
	return q.queue.RxBurst(b)
}

// TestGapsOfTheLoop: what holds the loop up is a gap of its length, for every policy; the sleep that a policy asks for is none.
func TestGapsOfTheLoop(t *testing.T) {
	t.Parallel()
	for _, idle := range []Idle{IdleSleep, IdlePause, IdleSpin} {
		const held, frames = 30 * time.Millisecond, 5000
		q := &slow{held: held}
		q.total, q.maxBurst = frames, 1
		q.frames = [][]byte{ip(families[1].theirs, families[1].ours).UDP(1, 2).Bytes()}
		w := newWorker(t, func(cfg *Config, d *Deps) { cfg.Idle = idle; d.Queues = []port.Queue{q} })
		begin := time.Now()
		if err := w.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		var gap int64
		for deadline := begin.Add(time.Minute); gap < int64(held) || q.sent.Load() < frames; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: longest gap %v, %d frames", idle, time.Duration(gap), q.sent.Load())
			}
			w.shard.Request()
			if h := w.shard.Collect(); h != nil {
				gap = max(gap, h.MaxGap)
				w.shard.Clear()
			}
		}
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		s := w.Stats()
		if s.LongestGap < held || s.LongestGap > took || s.Gaps.Over(20*time.Millisecond) == 0 {
			t.Errorf("%s: longest gap %v of a loop that was held for %v: %v", idle, s.LongestGap, held, s.Gaps)
		}
		if s.BusyTime < held || s.BusyTime > s.Time || s.Time > took {
			t.Errorf("%s: busy for %v of %v, held for %v in a round with a frame", idle, s.BusyTime, s.Time, held)
		}
		var n uint64
		for _, x := range s.Gaps {
			n += x
		}
		if n != s.Rounds && n != s.Rounds-1 {
			t.Errorf("%s: %d gaps in %d rounds", idle, n, s.Rounds)
		}
	}
}

// TestSleepIsNoGap: what the policy asks to sleep is taken off.
func TestSleepIsNoGap(t *testing.T) {
	t.Parallel()
	w := newWorker(t, nil)
	h := w.shard.Poll()
	var p pacer
	p.start = time.Now()
	p.gap(h)
	p.sleep(20 * time.Millisecond)
	p.gap(h)
	if took := time.Since(p.start); p.times.longest > took-20*time.Millisecond {
		t.Errorf("a gap of %v in %v with a sleep of 20 ms", p.times.longest, took)
	}
	if h.MaxGap != int64(p.times.longest) {
		t.Errorf("the half has %d", h.MaxGap)
	}
}
