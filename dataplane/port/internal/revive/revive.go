// Package revive brings ports back whose device went away: it looks after one port from a goroutine of its own, closes
// what is broken and opens it again with growing pauses. Drivers whose devices package netdev cannot see (those beside
// the kernel's network stack) use it. It never touches a device itself and is never called per packet.
package revive

import (
	"fmt"
	"sync"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Hooks are what a driver does for its Keeper, called one at a time.
type Hooks struct {
	// Lost says why what is open receives no more, and nothing while all is well. It must be cheap.
	Lost func() string
	// Close ends reception. It waits at most for within for each worker to release its burst, 0 for ever. It is called once for each time
	// that something was lost, and by Keeper.Close, possibly after it was called already.
	Close func(within time.Duration) error
	// Open starts reception anew after Close.
	Open func() error
}

// Looking is cheap; opening is not, so after a failure it gets rarer.
const (
	lookEvery = 100 * time.Millisecond
	lookSlow  = 2 * time.Second
)

// Keeper looks after one port.
type Keeper struct {
	device string
	hooks  Hooks
	stop   chan struct{}
	done   chan struct{}

	stopped, closed sync.Once

	mu      sync.Mutex // guards the rest
	why     string
	reopens uint64
}

// Keep starts to look after a port that is open.
func Keep(device string, hooks Hooks) *Keeper {
	k := &Keeper{device: device, hooks: hooks, stop: make(chan struct{}), done: make(chan struct{})}
	go k.run()
	return k
}

// Stop ends the Keeper and leaves the port as it is. No hook is called by the Keeper any more when it returns.
func (k *Keeper) Stop() {
	k.stopped.Do(func() { close(k.stop) })
	<-k.done
}

// releaseWithin is how long Close waits for a worker that still holds a burst.
const releaseWithin = time.Second

// Close ends the Keeper and reception. A worker that keeps a burst for more than a second keeps its memory: that is an error and a leak, but
// no crash. Only the first call closes and may return an error.
func (k *Keeper) Close() (err error) {
	k.Stop()
	k.closed.Do(func() { err = k.hooks.Close(releaseWithin) })
	return err
}

// State returns why nothing is received, empty when all is well, and how often the device came back.
func (k *Keeper) State() (why string, reopens uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.why, k.reopens
}

func (k *Keeper) run() {
	defer close(k.done)
	wait := lookEvery
	for lost := false; ; {
		t := time.NewTimer(wait)
		select {
		case <-k.stop:
			t.Stop()
			return
		case <-t.C:
		}
		lost, wait = k.look(lost, wait)
	}
}

// look acts once and says when to look again.
func (k *Keeper) look(lost bool, waited time.Duration) (bool, time.Duration) {
	if !lost {
		why := k.hooks.Lost()
		if why == "" {
			return false, lookEvery
		}
		_ = k.hooks.Close(0) // what went is let go of, whatever it says
		k.set(why, false)
		return true, lookEvery
	}
	if err := k.hooks.Open(); err != nil {
		k.set(fmt.Sprintf("it cannot be opened: %v", err), false)
		return true, min(2*waited, lookSlow)
	}
	k.set("", true)
	return false, lookEvery
}

func (k *Keeper) set(why string, reopened bool) {
	if why != "" {
		why = fmt.Sprintf("%v: %s: %s", port.ErrGone, k.device, why)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.why = why
	if reopened {
		k.reopens++
	}
}
