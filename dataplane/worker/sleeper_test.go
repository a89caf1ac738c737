package worker

import (
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/cpu/turn"
	"github.com/weir-ddos/weir/dataplane/port"
)

// waiter is a queue of a virtual clock.
type waiter struct {
	port.Queue
	room    int
	batched bool
	waits   []time.Duration
}

func (w *waiter) Wait(d time.Duration, _ int) { w.waits = append(w.waits, d) }
func (w *waiter) Batched() bool               { return w.batched }
func (w *waiter) Room() int                   { return w.room }

// play lets a sleeper sleep for a while of virtual time at a rate, where its own work takes busy of the time. It returns the last
// sleep, whether that was a wait, and the most frames that a nap has found.
func play(s *Sleeper, perSecond, busy float64, length time.Duration) (d time.Duration, wait bool, most int) {
	var owed float64 // frames
	var period time.Duration
	for at := time.Duration(0); at < length; at += period {
		d = s.next(period)
		slept := d
		if s.waited && perSecond > 0 { // the first frame ends it
			slept = min(d, time.Duration(float64(time.Second)/perSecond))
		}
		period = time.Duration(float64(slept) / (1 - busy))
		owed += perSecond * period.Seconds()
		if n := int(owed); n > 0 {
			s.Found(n)
			owed -= float64(n)
			if !s.waited {
				most = max(most, int(perSecond*slept.Seconds()))
			}
		}
	}
	return d, s.waited, most
}

// TestSleeperFollowsTheRate: naps are long where the queue has room for what comes meanwhile, and shrink before a quarter of it is
// full, whatever part of the time the worker is busy.
func TestSleeperFollowsTheRate(t *testing.T) {
	t.Parallel()
	for _, room := range []int{4096, 16384, 1 << 20} {
		for _, busy := range []float64{0, 0.5, 0.9} {
			s := NewSleeper(new(turn.Keeper), &waiter{room: room})
			play(&s, 200e3, busy, 100*time.Millisecond)
			for _, rate := range []float64{200e3, 1e6, 5e6, 14.88e6, 200e3} {
				play(&s, rate, busy, 20*time.Millisecond) // it learns
				d, wait, most := play(&s, rate, busy, 100*time.Millisecond)
				limit := float64(room/napParts) / rate * float64(time.Second)
				want := min(max(time.Duration(limit), shortNap), s.longest)
				if wait || d > want+want/100 || float64(d) < 0.09*float64(want) || busy == 0 && d < want*9/10 {
					t.Errorf("room for %d, busy %.1f: a nap of %v at %.0f packets/s, want %v", room, busy, d, rate, want)
				}
				if most > max(room/napParts, int(rate*shortNap.Seconds())) {
					t.Errorf("room for %d, busy %.1f: a nap found %d packets at %.0f packets/s", room, busy, most, rate)
				}
			}
		}
	}
}

// TestSleeperOnset: whatever it slept, a flood at the line rate of 10 gigabits finds room.
func TestSleeperOnset(t *testing.T) {
	t.Parallel()
	for _, room := range []int{1024, 4096, 16384, 1 << 20} {
		s := NewSleeper(new(turn.Keeper), &waiter{room: room})
		d, _, _ := play(&s, 10e3, 0, time.Second)
		if n := 14.88e6 * d.Seconds(); n > float64(room) {
			t.Errorf("%.0f frames come in %v, there is room for %d", n, d, room)
		}
	}
}

// TestSleeperWaits: a queue that can wake the worker is waited for when nothing comes, and always if it wakes for many frames at once.
// Several queues are not.
func TestSleeperWaits(t *testing.T) {
	t.Parallel()
	one, batched := &waiter{room: 16384}, &waiter{room: 16384, batched: true}
	for _, c := range []struct {
		name   string
		queues []port.Queue
		rate   float64
		wait   bool
	}{
		{"silence", []port.Queue{one}, 0, true},
		{"traffic", []port.Queue{one}, 200e3, false},
		{"silence, batched", []port.Queue{batched}, 0, true},
		{"traffic, batched", []port.Queue{batched}, 200e3, true},
		{"silence, two queues", []port.Queue{one, batched}, 0, false},
		{"silence, cannot wake", []port.Queue{nil}, 0, false},
		{"no queue", nil, 0, false},
	} {
		s := NewSleeper(new(turn.Keeper), c.queues...)
		d, wait, _ := play(&s, c.rate, 0, 100*time.Millisecond)
		if wait != c.wait || wait && d != longWait || !wait && d != s.longest {
			t.Errorf("%s: %v, waits %t", c.name, d, wait)
		}
	}
}

// TestSleeperBrokenWait: a queue that stops waiting before its time and has nothing makes nobody spin.
func TestSleeperBrokenWait(t *testing.T) {
	t.Parallel()
	for _, batched := range []bool{false, true} {
		s := NewSleeper(new(turn.Keeper), &waiter{room: 16384, batched: batched})
		waits := 0
		for range 1000 {
			if s.next(10 * time.Microsecond); s.waited {
				waits++
			}
		}
		if waits > 500 {
			t.Errorf("batched %t: %d of 1000 sleeps were waits", batched, waits)
		}
	}
}

// TestSleep: it sleeps as long as it says, by nap and by wait, and says no more than it slept.
func TestSleep(t *testing.T) {
	t.Parallel()
	q := &waiter{room: 16384}
	s := NewSleeper(new(turn.Keeper), q)
	for range 20 {
		begin := time.Now()
		d := s.Sleep()
		took := time.Since(begin)
		if d > took {
			t.Errorf("%v of %v", d, took)
		}
	}
	if len(q.waits) == 0 || q.waits[0] != longWait {
		t.Errorf("waits %v", q.waits)
	}
}
