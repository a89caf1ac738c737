package gate

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The owner changes what the worker uses without any other lock; the race detector is the judge.
func TestWorkerAndOwnerTakeTurns(t *testing.T) {
	t.Parallel()
	var (
		g      Gate
		memory = make([]byte, 1)
		stop   atomic.Bool
		rounds atomic.Int64
		wg     sync.WaitGroup
	)
	wg.Go(func() {
		for !stop.Load() {
			if g.Enter() {
				memory[0]++
				rounds.Add(1)
				g.Leave()
			}
		}
	})
	for i := range 200 {
		seen := rounds.Load()
		for deadline := time.Now().Add(time.Minute); rounds.Load() == seen; {
			if time.Now().After(deadline) {
				t.Fatal("the worker does not get in")
			}
		}
		if !g.Shut(time.Duration(i%2) * time.Minute) {
			t.Fatal("the owner does not get in")
		}
		memory = nil
		if g.Enter() {
			t.Fatal("the worker got into a shut gate")
		}
		memory = make([]byte, 1)
		if !g.Shut(time.Minute) {
			t.Fatal("shutting twice")
		}
		g.Open()
		g.Open()
	}
	stop.Store(true)
	wg.Wait()
}

func TestShutGivesUp(t *testing.T) {
	t.Parallel()
	var g Gate
	if !g.Enter() {
		t.Fatal("a new gate is not open")
	}
	if g.Shut(5 * time.Millisecond) {
		t.Error("shut with the worker inside")
	}
	g.Leave()
	if !g.Shut(time.Minute) {
		t.Error("not shut after the worker left")
	}
}
