package worker

import (
	"fmt"
	"sync/atomic"
)

// noCord is the descriptor of no bell.
const noCord = -1

// bell wakes a worker that sleeps. Anybody may ring it, the worker alone does the rest; a nil bell is never rung.
type bell struct {
	fd     int
	asleep atomic.Bool // the worker sets it, whoever rings takes it away
}

func newBell() (*bell, error) {
	fd, err := newCord()
	if err != nil {
		return nil, fmt.Errorf("worker: bell: %w", err)
	}
	return &bell{fd: fd}, nil
}

// close gives the descriptor back. Nobody may ring any more.
func (b *bell) close() error { return closeCord(b.fd) }

// ring ends the worker's sleep, or the one that it is about to begin. It costs a load while the worker is awake.
func (b *bell) ring() {
	if b.asleep.Load() && b.asleep.CompareAndSwap(true, false) {
		pull(b.fd)
	}
}

// listen is called before a sleep, and before the worker looks whether it may sleep at all: what changes later rings.
func (b *bell) listen() {
	if b != nil {
		b.asleep.Store(true)
	}
}

// awake is called after it, and reports whether somebody has rung. A ring that comes at this very moment ends the next sleep, and no more.
func (b *bell) awake() bool {
	if b == nil {
		return false
	}
	b.asleep.Store(false)
	return release(b.fd)
}

// cord is what a sleep is to listen to.
func (b *bell) cord() int {
	if b == nil {
		return noCord
	}
	return b.fd
}
