//go:build snabb && linux

package snabbtest

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/snabb/link"
)

// What the callback costs Snabb's thread a frame, without a reader and with one that takes the frames meanwhile. As many are sent at a
// time as there is room for, so that none is dropped, and what the program itself takes for a frame is taken off.
func BenchmarkCallback(b *testing.B) {
	const slots, memory = 1 << 16, 16 << 10
	for _, c := range []struct{ queues, size, burst int }{
		{0, 60, 64}, {1, 60, 1}, {1, 60, 8}, {1, 60, 64}, {1, 60, 512}, {2, 60, 64}, {1, 512, 64}, {1, 1514, 64},
	} {
		b.Run(fmt.Sprintf("%d readers, %d bytes, bursts of %d", c.queues, c.size, c.burst), func(b *testing.B) {
			p := start(b, 1024, nic)
			var frames [][]byte
			for i := range 1024 {
				frames = append(frames, porttest.Build(uint32(i), porttest.Shape{Size: c.size, Flow: i, V6: i%2 == 1}))
			}
			if _, err := p.send(0, frames); err != nil { // fills the buffers
				b.Fatal(err)
			}
			var got atomic.Uint64
			if c.queues > 0 {
				q := p.open(b, p.config(nic, c.queues, map[string]any{"slots": slots, "memory": memory}))
				defer drain(q, &got)()
			}
			fit := min(slots, memory<<10/((c.size+link.Line-1)&^(link.Line-1))) / c.burst * c.burst
			var sent, with, without uint64
			for sent < uint64(b.N) {
				times, err := p.do(command('B', 0, uint16(c.size), uint32(fit), uint32(c.burst)), 2)
				if err != nil {
					b.Fatal(err)
				}
				with, without, sent = with+times[0], without+times[1], sent+uint64(fit)
				for deadline := time.Now().Add(porttest.Patience); c.queues > 0 && got.Load() < sent; runtime.Gosched() {
					if time.Now().After(deadline) {
						b.Fatalf("%d frames received of %d", got.Load(), sent)
					}
				}
			}
			b.ReportMetric((float64(with)-float64(without))/float64(sent), "ns/frame")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// drain receives until it is stopped and there is nothing left.
func drain(q port.Port, got *atomic.Uint64) (stop func()) {
	var ended atomic.Bool
	var wg sync.WaitGroup
	for _, q := range q.Queues() {
		wg.Go(func() {
			var burst port.Burst
			for {
				last := ended.Load()
				n := q.RxBurst(&burst)
				if n == 0 && last {
					return
				}
				for _, f := range burst.Frames[:n] {
					_ = f.Data[13]
				}
				q.Release(&burst)
				got.Add(uint64(n))
			}
		})
	}
	return func() { ended.Store(true); wg.Wait() }
}

// What a poll with nothing ready costs.
func BenchmarkIdle(b *testing.B) {
	for _, read := range []bool{false, true} {
		b.Run(fmt.Sprintf("reader %v", read), func(b *testing.B) {
			p := start(b, 1024, nic)
			if read {
				p.open(b, p.config(nic, 1, nil))
			}
			times, err := p.do(command('I', 0, 0, 20_000_000, 0), 1)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(times[0])/20_000_000, "ns/poll")
			b.ReportMetric(0, "ns/op")
		})
	}
}
