package app

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

func TestPercentOf(t *testing.T) {
	for _, c := range []struct {
		headroom, used uint64
		want           int
	}{
		{0, 0, 100},
		{0, 1 << 40, 100},
		{128 << 20, 0, 3200},
		{128 << 20, 4 << 20, 3200},
		{128 << 20, 64 << 20, 200},
		{128 << 20, 1 << 30, 100}, // what is used is more: as Go does
		{64 << 30, 1 << 20, 1638400},
	} {
		if got := percentOf(c.headroom, c.used); got != c.want {
			t.Errorf("headroom %d, used %d: %d, want %d", c.headroom, c.used, got, c.want)
		}
	}
}

// goal is when the next collection begins.
func goal() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// within polls until f is true.
func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// TestHeap: the next collection waits for the headroom whatever is in use, follows a change of it, and is Go's again in the end.
func TestHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(goPercent))
	h := newHeap(slog.New(slog.DiscardHandler))
	const headroom = 256 << 20
	h.headroom.Store(headroom)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { h.run(ctx) })
	near := func(used, want uint64) bool {
		g := goal()
		return g > used+want*3/4 && g < used+want*3/2
	}
	runtime.GC()
	within(t, "no headroom", func() bool { return near(0, headroom) })
	func() {
		big := make([]byte, 200<<20) // in use: the share becomes another one, the size does not
		runtime.GC()
		within(t, "the headroom does not stay the same when more is in use", func() bool { return near(200<<20, headroom) })
		runtime.KeepAlive(big)
	}()
	runtime.GC()
	within(t, "the headroom does not stay the same when less is in use", func() bool { return near(0, headroom) })
	h.headroom.Store(headroom / 4)
	within(t, "the headroom does not follow the configuration", func() bool { return near(0, headroom/4) })
	h.headroom.Store(0)
	within(t, "without headroom it is not Go's", func() bool { return goal() < 100<<20 })
	cancel()
	done.Wait()
	if p := debug.SetGCPercent(goPercent); p != goPercent {
		t.Errorf("%d percent in the end", p)
	}
}

// TestHeapOfTheEnvironment: GOGC and GOMEMLIMIT win.
func TestHeapOfTheEnvironment(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(321))
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Setenv("GOGC", "")
		t.Setenv("GOMEMLIMIT", "")
		t.Setenv(name, "300")
		h := newHeap(slog.New(slog.DiscardHandler))
		h.headroom.Store(1 << 30)
		h.run(context.Background()) // returns at once
		if p := debug.SetGCPercent(321); p != 321 {
			t.Errorf("%s: %d percent", name, p)
		}
	}
}
