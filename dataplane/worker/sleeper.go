package worker

import (
	"time"

	"github.com/weir-ddos/weir/dataplane/cpu/turn"
	"github.com/weir-ddos/weir/dataplane/port"
)

// How long IdleSleep sleeps.
const (
	shortNap = 50 * time.Microsecond
	longNap  = time.Millisecond
	longWait = 10 * time.Millisecond
	// silentWait is for a queue to which nothing comes: longer than the usual tick, which ends it. Go's scheduler takes the turn of a thread that
	// sleeps for so long, and looks for more to do for a while, at the cost of dozens of sleeps: that pays only where rings are rare.
	silentWait = 1100 * time.Millisecond
	rareRings  = 500 * time.Millisecond
	// A nap is as long as it takes to fill one part of so many of a queue's room at the rate that was seen last.
	napParts = 4
	// No nap is longer than the whole room lasts at so many frames a microsecond: a full 10-gigabit port with the shortest frames.
	lineRate = 15
	// usualRoom is that of a queue that does not say: what network cards have.
	usualRoom = 4096
)

// Sleeper is how IdleSleep sleeps. To sleep costs microseconds, at low rates more than all that is done with the packets, and a
// short sleep costs as much as a long one: so each is as long as the queue bears. A queue that can wake the worker is waited for where
// that happens rarely, and else when nothing comes. (A block of AF_PACKET is best read as soon as it is full: sleeping through many leaves
// the processor's caches cold.) It belongs to one goroutine, which is locked to its thread.
type Sleeper struct {
	turns   *turn.Keeper
	bell    *bell       // nil without
	due     func() bool // whether the worker must not sleep now; nil: never
	queue   port.Waiter // nil when the queue cannot wake, or is not the only one
	room    int
	longest time.Duration

	frames int       // found since the last sleep began
	last   time.Time // when that was
	nap    time.Duration
	waited bool      // the last sleep was a wait
	rang   time.Time // when the bell ended one
	rare   bool      // it does so rarely
}

// NewSleeper is for the worker of these queues, who holds turns.
func NewSleeper(turns *turn.Keeper, queues ...port.Queue) Sleeper {
	s := Sleeper{turns: turns, room: usualRoom}
	for i, q := range queues {
		room := usualRoom
		if w, ok := q.(port.Waiter); ok {
			room, s.queue = w.Room(), w
		}
		if i == 0 || room < s.room {
			s.room = room
		}
	}
	if len(queues) > 1 {
		s.queue = nil // the others' frames would wait
	}
	s.longest = min(max(time.Duration(s.room/lineRate)*time.Microsecond, shortNap), longNap)
	return s
}

// Found notes a round that found n frames, at least one.
func (s *Sleeper) Found(n int) { s.frames += n }

// Sleep sleeps after a round that found nothing, and returns how much of it was meant.
func (s *Sleeper) Sleep() time.Duration {
	begin := time.Now()
	d := s.next(begin.Sub(s.last))
	s.last = begin
	s.bell.listen()
	if s.due == nil || !s.due() {
		s.turns.Keep() // a thread that sleeps through its turn loses it, too, and that costs more than the sleep
		if s.waited {
			s.queue.Wait(d, s.bell.cord())
		} else {
			nap(d, s.bell.cord())
		}
	}
	s.woken()
	return min(d, time.Since(begin)) // frames end a wait, the bell and signals both
}

// woken notes whether it was the bell that ended a sleep.
func (s *Sleeper) woken() {
	if s.bell.awake() {
		now := time.Now()
		s.rare, s.rang = now.Sub(s.rang) >= rareRings, now
	}
}

// next is how long to sleep, and says in s.waited whether for frames. Since the last sleep began period has passed.
func (s *Sleeper) next(period time.Duration) time.Duration {
	frames := s.frames
	s.frames = 0
	if s.queue != nil {
		early := s.waited && period < longWait // and it may do so again at once
		if frames == 0 && s.nap >= s.longest && !early || s.queue.Batched() && (frames > 0 || !early) {
			s.waited = true
			if s.rare && frames == 0 {
				return silentWait
			}
			return longWait
		}
	}
	s.waited = false
	d := 2 * s.nap
	if frames > 0 {
		d = min(d, time.Duration(float64(s.room/napParts)*float64(period)/float64(frames)))
	}
	s.nap = min(max(d, shortNap), s.longest)
	return s.nap
}
