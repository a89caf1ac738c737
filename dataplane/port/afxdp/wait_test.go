//go:build linux

package afxdp

import (
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// TestWait: a worker that waits is woken by frames, and sleeps when there are none or the device is away. One that observes
// without being woken never sleeps for long.
func TestWait(t *testing.T) {
	netns.Inside(t)
	for _, c := range []struct {
		name    string
		options map[string]any
		least   time.Duration // of 20 waits of 10 ms in vain
	}{
		{"socket", map[string]any{"frames": 1024}, 100 * time.Millisecond},
		{"observe", map[string]any{"observe": true, "frames": 1024}, 15 * time.Millisecond},
		{"observe, waiting", map[string]any{"observe": true, "frames": 1024, "wait": "1ms"}, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.options["observe"] != nil {
				canObserve(t)
			}
			waits(t, c.options, c.least)
		})
	}
}

func waits(t *testing.T, options map[string]any, least time.Duration) {
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b, Queues: 1, Options: options})
	q, ok := p.Queues()[0].(port.Waiter)
	if !ok {
		t.Fatal("the queue is no port.Waiter")
	}
	if q.Room() != 1024 || q.Batched() {
		t.Errorf("room for %d frames, batched %t", q.Room(), q.Batched())
	}
	sleeps := func(state string) {
		t.Helper()
		var burst port.Burst
		begin := time.Now()
		for range 20 {
			if q.RxBurst(&burst) > 0 {
				q.Release(&burst)
			}
			q.Wait(10*time.Millisecond, noBell)
		}
		if took := time.Since(begin); took < least {
			t.Errorf("%s: 20 waits of 10 ms took %v", state, took)
		}
	}
	sleeps("silence")
	for _, v6 := range []bool{false, true} {
		if _, err := send(a)([][]byte{porttest.Build(7, porttest.Shape{V6: v6})}); err != nil {
			t.Fatal(err)
		}
		var burst port.Burst
		begin := time.Now()
		for q.RxBurst(&burst) == 0 {
			if time.Since(begin) > porttest.Patience {
				t.Fatal("no frame")
			}
			q.Wait(10*time.Millisecond, noBell)
		}
		if n := porttest.Seq(burst.Frames[0].Data); n != 7 {
			t.Errorf("frame %d", n)
		}
		q.Release(&burst)
	}
	netns.HereIP(t, "link", "delete", b)
	sleeps("gone")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	sleeps("closed")
}
