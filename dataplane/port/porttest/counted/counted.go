// Package counted says what a worker counts of the frames that a port delivers, for tests that hold one driver against another.
// It is never part of the product.
package counted

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/weir-ddos/weir/dataplane/nets"
	"github.com/weir-ddos/weir/dataplane/port"
	"github.com/weir-ddos/weir/dataplane/port/porttest"
	"github.com/weir-ddos/weir/dataplane/traffic"
	"github.com/weir-ddos/weir/dataplane/wire"
	"github.com/weir-ddos/weir/dataplane/worker"
)

// Counts is all that a worker counted.
type Counts struct {
	Frames uint64
	Codes  any
	Totals traffic.Totals
	// Hosts are by address and direction.
	Hosts map[string]traffic.Cells
}

// Of runs frames frames that p delivers through a worker to which nearly every address is its own, and returns what it counted
// when it had them all or a test's patience ended. It is called from one goroutine, which acts as p's worker.
func Of(tb testing.TB, p port.Port, frames int) Counts {
	tb.Helper()
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("192.0.0.0/3"), netip.MustParsePrefix("2000::/3")}
	table, err := nets.New(nets.Spec{Networks: everything})
	if err != nil {
		tb.Fatal(err)
	}
	cfg := worker.DefaultConfig()
	cfg.Traffic.Hosts, cfg.Flows.Flows = 50_000, 0
	var now int64
	w, err := worker.New(cfg, worker.Deps{
		Decoder: new(wire.Decoder), Nets: table, Seed: traffic.NewSeed(rand.New(rand.NewPCG(1, 2)).Uint64),
		Clock: func() int64 { now++; return now },
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := errors.Join(w.Stop(), w.Free()); err != nil {
			tb.Error(err)
		}
	}()
	feed(w, p, frames)
	return collect(tb, w)
}

// feed processes what p delivers until there were enough frames.
func feed(w *worker.Worker, p port.Port, frames int) {
	var b port.Burst
	for deadline := time.Now().Add(porttest.Patience); frames > 0 && time.Now().Before(deadline); runtime.Gosched() {
		for _, q := range p.Queues() {
			if n := q.RxBurst(&b); n > 0 {
				w.Process(&b, q.LinkType())
				q.Release(&b)
				frames -= n
			}
		}
	}
}

// collect reads what w counted.
func collect(tb testing.TB, w *worker.Worker) Counts {
	tb.Helper()
	w.Shard().Clear()
	w.Shard().Request()
	h := w.Shard().Collect()
	if h == nil {
		tb.Fatal("not collected")
	}
	c := Counts{Frames: h.Frames, Codes: h.Codes, Totals: h.Totals, Hosts: map[string]traffic.Cells{}}
	var host traffic.Host
	for i := range h.Table().Len() {
		h.Table().Read(i, &host)
		c.Hosts[netip.AddrFrom16(host.Addr).String()+host.Direction.String()] = host.Cells
	}
	return c
}
