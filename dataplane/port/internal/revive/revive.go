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

// Hooks are what a driver does for its Keeper, called by the Keeper's goroutine only.
type Hooks struct {
	// Lost says why what is open receives no more, and nothing while all is well. It must be cheap.
	Lost func() string
	// Close ends reception. It is called once for each time that something was lost.
	Close func()
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

	mu      sync.Mutex // guards the rest
	closed  bool
	why     string
	reopens uint64
}

// Keep starts to look after a port that is open.
func Keep(device string, hooks Hooks) *Keeper {
	k := &Keeper{device: device, hooks: hooks, stop: make(chan struct{}), done: make(chan struct{})}
	go k.run()
	return k
}

// Close ends the Keeper. Hooks are not called any more when it returns; it calls none itself.
func (k *Keeper) Close() {
	k.mu.Lock()
	if !k.closed {
		k.closed = true
		close(k.stop)
	}
	k.mu.Unlock()
	<-k.done
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
		k.hooks.Close()
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
