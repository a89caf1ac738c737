//go:build linux

package afpacket

import (
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/port/porttest/netns"
)

// TestWait: a worker that waits is woken by frames, sleeps when there are none, and does not spin when the device is down.
func TestWait(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	a, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"retire": "1ms", "block_size": 131072, "blocks": 16}})
	q, ok := p.Queues()[0].(port.Waiter)
	if !ok {
		t.Fatal("the queue is no port.Waiter")
	}
	if n := q.Room(); n < 8192 || n > 16*131072/60 || !q.Batched() {
		t.Errorf("room for %d frames, batched %t", n, q.Batched())
	}
	for _, v6 := range []bool{false, true} {
		if _, err := sender(a)([][]byte{porttest.Build(1, porttest.Shape{V6: v6})}); err != nil {
			t.Fatal(err)
		}
		var burst port.Burst
		begin := time.Now()
		for waits := 0; q.RxBurst(&burst) == 0; waits++ {
			if time.Since(begin) > porttest.Patience {
				t.Fatalf("no frame after %d waits", waits)
			}
			q.Wait(10*time.Millisecond, noBell)
		}
		if n := porttest.Seq(burst.Frames[0].Data); n != 1 {
			t.Errorf("frame %d", n)
		}
		q.Release(&burst)
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
		if took := time.Since(begin); took < 50*time.Millisecond {
			t.Errorf("%s: 20 waits of 10 ms took %v", state, took)
		}
	}
	sleeps("silence")
	netns.HereIP(t, "link", "set", b, "down")
	sleeps("down")
	netns.HereIP(t, "link", "delete", b)
	sleeps("gone")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	sleeps("closed")
}

// TestSmallBlocks: the kernel hands over blocks of a hundred frames too often to wait for each.
func TestSmallBlocks(t *testing.T) {
	netns.Inside(t)
	t.Parallel()
	_, b := cable(t, 1)
	p := mustOpen(t, port.Config{Device: b, Options: map[string]any{"block_size": 16384, "blocks": 64}})
	if p.Queues()[0].(port.Waiter).Batched() {
		t.Error("they count as batches")
	}
}
