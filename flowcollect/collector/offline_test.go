package collector

import (
	"errors"
	"testing"
	"time"
)

// offline is a collector that receives from no socket: its one worker is given datagrams of any sender at any time.
type offline struct {
	*Collector
	w   *worker
	now time.Time
}

func newOffline(t *testing.T, cfg Config) *offline {
	t.Helper()
	c, err := New(cfg, deps(t))
	if err != nil {
		t.Fatal(err)
	}
	o := &offline{c, c.workers[0], time.Now()}
	o.w.shard.Enter()
	o.w.poll()
	t.Cleanup(func() {
		o.w.shard.Leave()
		if err := errors.Join(c.Stop(), c.Free()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// send gives the worker datagrams of one sender, and charges them.
func (o *offline) send(from string, list ...[]byte) {
	source := addr16(from)
	for _, b := range list {
		o.w.now, o.w.wall = o.deps.Clock(), o.now.UnixNano()
		o.w.datagram(&source, b)
	}
	o.w.burst.Flush(o.w.half)
}
