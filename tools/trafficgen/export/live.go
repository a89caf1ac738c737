package export

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/weir-ddos/weir/tools/trafficgen/gen"
)

// Live says how to export in real time.
type Live struct {
	// Collector is where datagrams go.
	Collector netip.AddrPort
	// Speed divides the scenario's times; 1 when zero.
	Speed float64
	// FlatOut does not wait: datagrams leave as fast as they are made. Their times are those that waiting would have given them.
	FlatOut bool
	// AttackStarts is called right before the first frame of each stream that is not benign is metered.
	AttackStarts func(stream int, at time.Time)
}

// Stats are what happened live.
type Stats struct {
	// Refused is how many datagrams the kernel did not take or the collector's host refused (nobody listens there).
	Refused uint64 `json:"refused"`
	// Behind is the most that a frame was late.
	Behind time.Duration `json:"behind_ns"`
	// Start and End are when the first frame was metered and the last datagram left.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Run meters the frames of g at the moments that the scenario gives them and sends what a device with cfg exports. When ctx ends the flows
// in the cache are reported and Run returns without error. Every metered frame is counted in t, under the time it was metered.
func Run(ctx context.Context, g *gen.Generator, t *gen.Truth, cfg Config, live Live) (Truth, Stats, error) {
	cfg.Networks = g.Scenario().Networks
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(live.Collector))
	if err != nil {
		return Truth{}, Stats{}, fmt.Errorf("export to %s: %w", live.Collector, err)
	}
	defer func() { _ = conn.Close() }() // what was sent was sent
	_ = conn.SetWriteBuffer(4 << 20)    // the default works too
	r := runner{live: live, seen: make([]bool, len(g.Streams()))}
	r.e, err = New(cfg, func(_ int64, payload []byte) error {
		_, err := conn.Write(payload)
		if errors.Is(err, syscall.ECONNREFUSED) { // of an earlier datagram; this one was not sent
			r.stats.Refused++
			_, err = conn.Write(payload)
		}
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) {
			r.stats.Refused++
			return nil
		}
		return err
	})
	if err != nil {
		return Truth{}, Stats{}, err
	}
	if r.live.Speed <= 0 {
		r.live.Speed = 1
	}
	err = r.run(ctx, g, t)
	r.stats.End = time.Now()
	return Truth{Export: r.e.Result(), Traffic: t.Result()}, r.stats, err
}

// runner is the state of one Run.
type runner struct {
	live  Live
	e     *Exporter
	stats Stats
	seen  []bool // streams whose start was reported
}

func (r *runner) run(ctx context.Context, g *gen.Generator, t *gen.Truth) error {
	var f gen.Frame
	origin := int64(0)
	for g.Next(&f) {
		if origin == 0 {
			origin, r.stats.Start = f.Time, time.Now()
		}
		due := r.stats.Start.Add(time.Duration(float64(f.Time-origin) / r.live.Speed))
		if err := r.wait(ctx, due); err != nil {
			return err
		}
		if ctx.Err() != nil {
			break
		}
		if f.Attack && !r.seen[f.Stream] {
			r.seen[f.Stream] = true
			if r.live.AttackStarts != nil {
				r.live.AttackStarts(f.Stream, time.Now())
			}
		}
		f.Time = due.UnixNano()
		t.Add(&f)
		if err := r.e.Add(&f); err != nil {
			return err
		}
	}
	return r.e.Close()
}

// step is how long the exporter's clock may stand still while no frame comes, and how early a frame may be metered.
const (
	step  = 50 * time.Millisecond
	early = time.Millisecond
)

// wait sleeps until due, or ctx ends, which is no error; what the exporter has to send meanwhile, it sends.
func (r *runner) wait(ctx context.Context, due time.Time) error {
	if r.live.FlatOut {
		return nil
	}
	for {
		ahead := time.Until(due)
		if ahead <= early {
			r.stats.Behind = max(r.stats.Behind, -ahead)
			return nil
		}
		timer := time.NewTimer(min(ahead, step))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		if now := time.Now(); now.Before(due) {
			if err := r.e.Advance(now.UnixNano()); err != nil {
				return err
			}
		}
	}
}
