package engine

import "sync"

// mailbox holds one value: a newer one replaces one that was not taken yet. Neither side ever waits for the other.
type mailbox[T any] struct {
	// wake has a token while there may be a value to take.
	wake chan struct{}

	mu    sync.Mutex // guards all below
	value T
	full  bool
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{wake: make(chan struct{}, 1)} }

// put leaves a value.
func (b *mailbox[T]) put(v T) {
	b.mu.Lock()
	b.value, b.full = v, true
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the box; false when it was empty.
func (b *mailbox[T]) take() (v T, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok = b.value, b.full
	var none T
	b.value, b.full = none, false
	return v, ok
}
