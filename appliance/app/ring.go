package app

import "sync"

// ring keeps the newest values that were put, safe for any goroutine.
type ring[T any] struct {
	mu     sync.Mutex // guards values
	values []T
	size   int
}

func (r *ring[T]) put(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.values = append(r.values, v); len(r.values) > r.size {
		r.values = append(r.values[:0:0], r.values[len(r.values)-r.size:]...)
	}
}

func (r *ring[T]) list() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]T(nil), r.values...)
}
