package app

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// heap says how often Go's garbage is collected. What lives on the heap is small (counters lie outside of it), and Go would collect
// as soon as as much garbage has gathered, several times a second while somebody asks the API. Each collection stops workers five
// or six times, for as long as it takes to wake a thread beside the tick. Here garbage may gather to a size instead of a share.
type heap struct {
	headroom atomic.Uint64 // bytes; 0 leaves it to Go
	log      *slog.Logger

	// The run's goroutine's from here on.
	percent int // in force; 0 is Go's
	samples []metrics.Sample
}

// heapEvery is how often what is in use is looked at. What is allocated in between is the most that may be had above the headroom.
const heapEvery = time.Second

// goPercent is what Go does by itself: garbage may gather until it is as much as what is in use.
const goPercent = 100

// Indices of a heap's samples.
const (
	heapLive = iota
	heapStacks
	heapGlobals
	numHeapSamples
)

func newHeap(log *slog.Logger) *heap {
	h := &heap{log: log, samples: make([]metrics.Sample, numHeapSamples)}
	h.samples[heapLive].Name = "/gc/heap/live:bytes"
	h.samples[heapStacks].Name = "/gc/scan/stack:bytes"
	h.samples[heapGlobals].Name = "/gc/scan/globals:bytes"
	return h
}

// ownGC reports whether the environment says how garbage is collected; who says so knows why.
func ownGC() bool { return os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" }

// run keeps to the headroom until ctx ends, and leaves the collector as Go has it by default.
func (h *heap) run(ctx context.Context) {
	if ownGC() {
		h.log.Info("garbage is collected as GOGC and GOMEMLIMIT say, and not as memory.headroom does")
		return
	}
	defer debug.SetGCPercent(goPercent)
	tick := time.NewTicker(heapEvery)
	defer tick.Stop()
	for {
		metrics.Read(h.samples)
		h.follow(h.used())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// used is what the last collection found in use, as Go counts it when it decides about the next.
func (h *heap) used() (sum uint64) {
	for i := range h.samples {
		if h.samples[i].Value.Kind() == metrics.KindUint64 {
			sum += h.samples[i].Value.Uint64()
		}
	}
	return sum
}

// follow makes the collector wait for as much garbage as the headroom is. Setting it does not stop anything, but wakes whoever waits
// for memory: small differences are left.
func (h *heap) follow(used uint64) {
	want := percentOf(h.headroom.Load(), used)
	if d := want - h.percent; d*8 < h.percent && -d*8 < h.percent {
		return
	}
	debug.SetGCPercent(want)
	h.percent = want
}

// leastUsed is the least that counts as used: Go's own minimum.
const leastUsed = 4 << 20

// percentOf is the share of what is used that garbage of the size of headroom has: never less than Go's own.
func percentOf(headroom, used uint64) int {
	used = max(used, leastUsed)
	return int(max(headroom*100/used, goPercent))
}
