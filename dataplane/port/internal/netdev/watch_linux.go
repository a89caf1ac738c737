package netdev

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Watcher looks after a port's device: it tells the driver when the device is removed, replaced or switched off, and
// has it opened again when a device of that name is there. The driver's functions are called by one goroutine only.
type Watcher struct {
	name  string
	conn  *Conn
	news  *news
	hooks Hooks
	stop  chan struct{}
	done  chan struct{}
	pause time.Duration // run's: after the last failure to open; zero after a success

	asking sync.Mutex // held while the kernel is asked and its answer is noted; taken before mu

	mu      sync.Mutex // guards the rest
	closed  bool
	index   int    // of the device that is open; 0 while there is none
	why     string // why there is none
	reopens uint64
	last    Device // as seen at the last look
	looked  time.Time
	missed  uint64 // growth of Device.Missed and Dropped since Watch, over all devices of the name
	dropped uint64
}

// Hooks are what a driver does for its Watcher.
type Hooks struct {
	// Open starts reception on d.
	Open func(d Device) error
	// Gone ends reception on what Open opened. It is called once for each Open that succeeded but the one before Close.
	Gone func()
}

// The kernel tells what happens to devices. A look is one message, answered from memory, which is cheap, but to wake up for it is not: without
// news looks are rare, and soon after them they are many in one. Opening is not cheap at all, so after a failure it is tried ever less often.
const (
	lookEvery = 2 * time.Second
	lookAgain = 100 * time.Millisecond
	lookSoon  = 2 * time.Millisecond
)

// Watch finds the device, opens it and starts to watch. A device that does not exist or that cannot be opened is an
// error; one that is switched off is not, it is opened when it is switched on. Check may refuse a device for good.
func Watch(name string, check func(Device) error, hooks Hooks) (*Watcher, error) {
	conn, err := Open()
	if err != nil {
		return nil, err
	}
	w := &Watcher{name: name, conn: conn, hooks: hooks, stop: make(chan struct{}), done: make(chan struct{})}
	if w.news, err = hear(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	d, err := conn.Find(name) // what happens from now on is news
	if err == nil {
		err = check(d)
	}
	if err == nil && d.Up {
		err = hooks.Open(d)
		w.index = d.Index
	}
	if err != nil {
		return nil, errors.Join(err, w.news.close(), conn.Close())
	}
	if !d.Up {
		w.why = w.gone("it is down")
	}
	w.last, w.looked = d, time.Now()
	go w.run()
	return w, nil
}

// Close ends the watch. Hooks are not called any more when it returns; it calls none itself.
func (w *Watcher) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.stop)
	}
	w.mu.Unlock()
	<-w.done
	_ = errors.Join(w.news.close(), w.conn.Close()) // sockets that were only asked over have nothing to lose
}

// State returns why nothing is received, empty when all is well, and how often the device came back.
func (w *Watcher) State() (why string, reopens uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why, w.reopens
}

// Losses returns how many frames the device had no buffer for and how many it or the stack dropped since Watch, as of at most 100 ms
// ago. See Device.
func (w *Watcher) Losses() (missed, dropped uint64) {
	w.mu.Lock()
	old := !w.closed && time.Since(w.looked) >= lookAgain
	w.mu.Unlock()
	if old {
		_, _ = w.find() // without an answer the last one stands
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missed, w.dropped
}

// find asks the kernel about the device and notes its answer.
func (w *Watcher) find() (Device, error) {
	w.asking.Lock()
	defer w.asking.Unlock()
	d, err := w.conn.Find(w.name)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looked = time.Now(); err == nil {
		w.note(d)
	}
	return d, err
}

// note keeps d and what its counters grew by; those of a new device begin at zero.
func (w *Watcher) note(d Device) {
	from := w.last
	if d.Index != from.Index || d.Missed < from.Missed || d.Dropped < from.Dropped {
		from.Missed, from.Dropped = 0, 0
	}
	w.missed += d.Missed - from.Missed
	w.dropped += d.Dropped - from.Dropped
	w.last = d
}

func (w *Watcher) run() {
	defer close(w.done)
	t := time.NewTimer(lookEvery)
	defer t.Stop()
	for {
		came := w.news.came
		if w.pause > 0 {
			came = nil // an attempt to open is news itself
		}
		select {
		case <-w.stop:
			return
		case <-came:
			t.Reset(lookSoon)
			select {
			case <-w.stop:
				return
			case <-t.C:
			}
		case <-t.C:
		}
		t.Reset(w.look())
	}
}

// look compares the device with what is open, acts, and says when to look again.
func (w *Watcher) look() time.Duration {
	d, err := w.find()
	if err != nil && !errors.Is(err, ErrNoDevice) {
		return lookAgain // the kernel did not answer, which says nothing about the device
	}
	w.mu.Lock()
	index := w.index
	w.mu.Unlock()

	there := err == nil && d.Up
	if index != 0 && (!there || d.Index != index) {
		why := "it was replaced"
		switch {
		case err != nil:
			why = "it was removed"
		case !d.Up:
			why = "it is down"
		}
		w.hooks.Gone()
		w.set(0, w.gone(why), false)
		return lookAgain // another one may be there already
	}
	if index != 0 || !there {
		w.pause = 0
		return lookEvery
	}
	if err := w.hooks.Open(d); err != nil {
		w.set(0, w.gone(fmt.Sprintf("it is back and cannot be opened: %v", err)), false)
		w.pause = min(max(2*w.pause, lookAgain), lookEvery)
		return w.pause
	}
	w.pause = 0
	w.set(d.Index, "", true)
	return lookEvery
}

func (w *Watcher) gone(why string) string {
	return fmt.Sprintf("%v: %s: %s", port.ErrGone, w.name, why)
}

func (w *Watcher) set(index int, why string, reopened bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.index, w.why = index, why
	if reopened {
		w.reopens++
	}
}
