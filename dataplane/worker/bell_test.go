package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/cpu/turn"
	"github.com/weir-ddos/weir/dataplane/port"
)

// sleeping runs one sleep of s and returns how long it took, and how long it was meant to take.
func sleeping(s *Sleeper) (took, meant time.Duration) {
	begin := time.Now()
	meant = s.Sleep()
	return time.Since(begin), meant
}

// bells are sleepers that nap and that wait, with a bell.
func bells(t *testing.T) map[string]*Sleeper {
	list := make(map[string]*Sleeper)
	for name, q := range map[string]port.Queue{"nap": nil, "wait": &polled{waiter{room: 16384}}} {
		b, err := newBell()
		if err != nil {
			t.Fatal(err)
		}
		if b.fd == noCord {
			t.Skip("nothing wakes a sleeper on this system")
		}
		t.Cleanup(func() {
			if err := b.close(); err != nil {
				t.Error(err)
			}
		})
		s := NewSleeper(new(turn.Keeper), q)
		s.bell, s.longest, s.nap = b, longWait, longWait
		list[name] = &s
	}
	return list
}

// polled is a queue without frames that sleeps as the drivers do.
type polled struct{ waiter }

func (p *polled) Wait(d time.Duration, bell int) { nap(d, bell) }

// TestBell: a ring ends the sleep that it falls into, and not the ones after; one before a sleep does nothing, unless the sleep is due to be
// left out.
func TestBell(t *testing.T) {
	t.Parallel()
	for name, s := range bells(t) {
		s.bell.ring() // nobody sleeps
		ended := false
		for range 50 { // a busy machine may sleep through the moment
			go func() {
				time.Sleep(time.Millisecond)
				s.bell.ring()
			}()
			if took, meant := sleeping(s); meant > took {
				t.Fatalf("%s: meant %v, took %v", name, meant, took)
			} else if took < longWait {
				ended = true
				break
			}
		}
		if !ended {
			t.Errorf("%s: no sleep was ended", name)
		}
		s.waited, s.frames, s.nap, s.rare = false, 0, longWait, false
		slept := 0
		for range 10 {
			if took, _ := sleeping(s); took >= longWait-time.Millisecond {
				slept++
			}
		}
		if slept < 9 { // a ring may have come late
			t.Errorf("%s: %d of 10 sleeps lasted", name, slept)
		}
		s.due = func() bool { return true }
		if _, meant := sleeping(s); meant > time.Millisecond {
			t.Errorf("%s: %v of sleep while there is something to do", name, meant)
		}
	}
}

// TestRequestWakes: a worker that sleeps answers when the end of its epoch is asked for, and at Stop, instead of when it wakes.
func TestRequestWakes(t *testing.T) {
	t.Parallel()
	if b, err := newBell(); err != nil || b.fd == noCord {
		t.Skip("nothing wakes a sleeper on this system")
	} else if err := b.close(); err != nil {
		t.Error(err)
	}
	q := &polled{waiter{Queue: &queue{}, room: 16384}}
	w := newWorker(t, func(cfg *Config, d *Deps) { cfg.Idle = IdleSleep; d.Queues = []port.Queue{q} })
	if err := w.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for range 20 {
		time.Sleep(time.Millisecond)
		begin := time.Now()
		w.shard.Request()
		for w.shard.Collect() == nil {
			if time.Since(begin) > 10*time.Second {
				t.Fatal("no answer")
			}
			time.Sleep(20 * time.Microsecond)
		}
		took = append(took, time.Since(begin))
		w.shard.Clear()
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	best := took[0]
	for _, d := range took {
		best = min(best, d)
	}
	if best > longWait/4 {
		t.Errorf("answers took %v", took)
	}
}

// TestSleepBelongsToItsEpoch: what came while the worker slept is counted in the epoch that ends, not in the one that the end begins.
func TestSleepBelongsToItsEpoch(t *testing.T) {
	t.Parallel()
	if b, err := newBell(); err != nil || b.fd == noCord {
		t.Skip("nothing wakes a sleeper on this system")
	} else if err := b.close(); err != nil {
		t.Error(err)
	}
	for _, f := range families {
		const each = 20 // worked off in less time than a sleep lasts, also by a slow machine
		q := &late{}
		q.maxBurst, q.frames = port.MaxBurst, [][]byte{ip(f.theirs, f.ours).UDP(1, 2).Bytes()}
		w := newWorker(t, func(_ *Config, d *Deps) { d.Queues = []port.Queue{q} })
		if err := w.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		whole, counted := 0, uint64(0)
		for i := range 20 { // it may be awake, or slow, now and then
			time.Sleep(time.Millisecond)
			q.come.Store(int64(i+1) * each)
			w.shard.Request()
			begin := time.Now()
			h := w.shard.Collect()
			for ; h == nil; h = w.shard.Collect() {
				if time.Since(begin) > 10*time.Second {
					t.Fatal("no answer")
				}
				time.Sleep(20 * time.Microsecond)
			}
			if counted += h.Frames; counted == uint64(i+1)*each {
				whole++
			}
			w.shard.Clear()
		}
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		if whole == 0 {
			t.Errorf("%s: %d of 20 epochs have all the frames that had come before their end was asked for", f.name, whole)
		}
	}
}

// late is a queue to which frames come while its worker naps: it cannot wake it.
type late struct {
	queue
	come atomic.Int64
}

func (q *late) RxBurst(b *port.Burst) int {
	q.total = int(q.come.Load())
	return q.queue.RxBurst(b)
}

// TestMayTurn: the end of an epoch waits until what came during a sleep is worked off, and for no longer than the sleep was.
func TestMayTurn(t *testing.T) {
	t.Parallel()
	half := newWorker(t, nil).shard.Poll()
	const long = 10 * time.Millisecond
	slept := func(ago time.Duration) *pacer { // begun so long ago, and back from a sleep
		p := &pacer{start: time.Now().Add(-ago), polled: true, asleep: long}
		p.gap(half)
		return p
	}
	p := slept(time.Second)
	if p.mayTurn(1) {
		t.Error("the epoch ends before what came during a sleep is counted")
	}
	if !p.mayTurn(0) || !p.mayTurn(1) {
		t.Error("the epoch does not end after a round that found nothing")
	}
	p = slept(time.Second)
	p.start = p.start.Add(-2 * long) // it has been working since
	p.gap(half)
	if !p.mayTurn(1) {
		t.Errorf("the epoch does not end %v after a sleep of %v", 2*long, long)
	}
	if p = new(pacer); !p.mayTurn(1) {
		t.Error("the epoch of a worker that never slept does not end")
	}
}

// TestSilentWait: where the bell rings rarely and nothing comes, a wait lasts until it rings; where it rings often, or for frames, it does not.
func TestSilentWait(t *testing.T) {
	t.Parallel()
	for _, batched := range []bool{false, true} {
		s := NewSleeper(new(turn.Keeper), &waiter{room: 1 << 18, batched: batched})
		s.nap = s.longest
		if d := s.next(time.Second); !s.waited || d != longWait {
			t.Errorf("batched %t: %v, waits %t", batched, d, s.waited)
		}
		s.rare = true
		if d := s.next(time.Second); !s.waited || d != silentWait {
			t.Errorf("batched %t, rare rings: %v, waits %t", batched, d, s.waited)
		}
		s.Found(1)
		if d := s.next(longWait); d > longWait {
			t.Errorf("batched %t, a frame came: %v", batched, d)
		}
	}
	for name, s := range bells(t) {
		for _, c := range []struct {
			ago  time.Duration
			rare bool
		}{{time.Second, true}, {time.Millisecond, false}} {
			s.bell.listen() // as Sleep does, but that somebody rings
			s.bell.ring()
			s.rang = time.Now().Add(-c.ago)
			s.woken()
			if s.rare != c.rare {
				t.Errorf("%s: a ring %v after the one before: rare %t", name, c.ago, s.rare)
			}
		}
	}
}
