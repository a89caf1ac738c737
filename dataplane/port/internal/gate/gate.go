// Package gate lets one worker use a queue's memory without a cost that matters, and lets the port's owner take that
// memory away safely: when its device went, and on Close.
package gate

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
)

// Gate stands in front of a queue's memory. The worker is inside from an RxBurst that returned frames until their
// Release; the owner shuts the gate before it unmaps, and opens it after it has mapped anew. A new Gate is open.
//
// Enter and Leave cost a load, a compare-and-swap and an add a burst, uncontended.
type Gate struct {
	mu sync.Mutex // held by the worker while inside, and by the owner while the gate is shut
	// keepOut makes the worker stay away, so that the owner's turn comes.
	keepOut atomic.Bool
	shut    bool // the owner's own
}

// Enter reports whether the worker may touch the memory; if so, Leave must follow.
func (g *Gate) Enter() bool { return !g.keepOut.Load() && g.mu.TryLock() }

// Counted is a Gate that counts what comes through it.
type Counted struct {
	Gate
	received, bytes atomic.Uint64 // written once a burst by the worker
}

// Deliver ends an RxBurst that is inside and has filled n frames of b, whose lengths on the wire are sum: with frames the worker stays
// inside until Release, without it leaves. It returns what RxBurst is to return.
func (g *Counted) Deliver(b *port.Burst, n int, sum uint64) int {
	if n == 0 {
		g.Leave()
		return 0
	}
	g.received.Add(uint64(n))
	g.bytes.Add(sum)
	b.N = n
	return n
}

// Counts are the frames and bytes that were delivered. Any goroutine may ask.
func (g *Counted) Counts() port.QueueStats {
	return port.QueueStats{Received: g.received.Load(), Bytes: g.bytes.Load()}
}

// Leave ends the worker's turn.
func (g *Gate) Leave() { g.mu.Unlock() }

// Shut keeps the worker out and waits until it has left, at most for within; 0 means for ever. It returns
// false when the worker is still inside: the memory must stay. Shutting a shut gate does nothing. Only one owner
// goroutine at a time may call Shut and Open.
func (g *Gate) Shut(within time.Duration) bool {
	if g.shut {
		return true
	}
	g.keepOut.Store(true)
	if within == 0 {
		g.mu.Lock()
		g.shut = true
		return true
	}
	for deadline := time.Now().Add(within); ; time.Sleep(time.Millisecond) {
		if g.mu.TryLock() {
			g.shut = true
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// Open lets the worker in again.
func (g *Gate) Open() {
	if g.shut {
		g.shut = false
		g.keepOut.Store(false)
		g.mu.Unlock()
	}
}
