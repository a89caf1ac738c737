package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-ddos/weir/bench/latency"
	"github.com/weir-ddos/weir/bench/tick"
)

func seconds(list []time.Duration) (out []float64) {
	for _, d := range list {
		out = append(out, d.Seconds())
	}
	return out
}

func milliseconds(list []time.Duration) (out []float64) {
	for _, d := range list {
		out = append(out, 1000*d.Seconds())
	}
	return out
}

// ticks is DESIGN.md 8's tick with 1 M hosts, and four times that. The target is held against the slowest tick.
func ticks(ctx context.Context, b *bench) error {
	for _, size := range []struct {
		hosts, ticks int
		limit        float64
	}{{1 << 20, 15, 100}, {1 << 22, 7, 400}} {
		n := size.ticks
		if b.quick {
			n = 3
		}
		for _, c := range tick.Cases(size.hosts, n) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, err := tick.Run(c)
			if err != nil {
				return err
			}
			b.add(tickRow(r, size.limit))
		}
	}
	return loadedTicks(ctx, b)
}

func tickRow(r tick.Result, limit float64) Row {
	name := fmt.Sprintf("%s, %s hosts, quiet", familyName(r.IPv6), count(r.Hosts))
	if r.Attacked > 0 {
		name = fmt.Sprintf("both families, %s hosts, %s under attack", count(r.Hosts), count(r.Attacked))
	}
	out := row("tick", name, "ms", milliseconds(r.Times))
	out.Beside = []Beside{{"CPU", 1000 * r.CPU[len(r.CPU)/2].Seconds(), "ms"}, {"merging", 1000 * r.Merges[len(r.Merges)/2].Seconds(), "ms"}}
	if r.First > 0 {
		out.Beside = append(out.Beside, Beside{"the tick that finds them all", 1000 * r.First.Seconds(), "ms"})
	}
	out.Targets = []Target{
		{Limit: limit, Value: out.Max, Unit: "ms", Text: "the slowest"},
		{Limit: 400, Value: r.BytesPerHost, Unit: "B", Text: "a host and worker"},
	}
	return out
}

// blackholes is DESIGN.md 8's 10,000 blackholes. Latency.Blackholes fails when a route does not arrive.
func blackholes(ctx context.Context, b *bench) error {
	repeat := 3
	if b.quick {
		repeat = 1
	}
	m, err := latency.Blackholes(ctx, b.weir, 10_000, repeat)
	if err != nil {
		return err
	}
	out := row("blackholes", "10,000 announced and seen at BIRD", "s", seconds(m.Announced))
	out.Targets = []Target{{Limit: 2, Value: out.Max, Unit: "s", Text: "the slowest"}}
	b.add(out)
	b.add(row("blackholes", "10,000 withdrawn and gone from BIRD", "s", seconds(m.Withdrawn)))
	return nil
}

// floods are the factors of DESIGN.md 8, their limits in seconds with a tick of 1 s and of 100 ms, and what FastNetMon
// takes for its script call (BASELINE.md 2).
var floods = []struct{ factor, slow, fast, fastNetMon float64 }{
	{10, 1.2, 0.25, 1.15}, {2, 1.5, 0.4, 3.67}, {1.2, 2.5, 1, 8.99},
}

// firstPacketToRoute holds the targets against the slowest run. Packets that are missing at the end are a fault.
func firstPacketToRoute(ctx context.Context, b *bench) error {
	var faults []error
	for _, every := range []time.Duration{time.Second, 100 * time.Millisecond} {
		cfg := latency.Config{Weir: b.weir, Tick: every, Runs: 20, Rand: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))}
		if b.quick {
			cfg.Runs = 2
		}
		for _, f := range floods {
			cfg.Factors = append(cfg.Factors, f.factor)
		}
		results, totals, err := latency.Run(ctx, cfg)
		if err != nil {
			return err
		}
		for i, r := range results {
			out := row("latency", fmt.Sprintf("tick %v, flood of %g x the threshold", every, r.Factor), "s", seconds(r.Times))
			limit := floods[i].slow
			if every < time.Second {
				limit = floods[i].fast
			}
			out.Beside = []Beside{{"FastNetMon's script call", floods[i].fastNetMon, "s"}}
			if r.Discarded > 0 {
				out.Beside = append(out.Beside, Beside{"runs", float64(len(r.Times)), ""}, Beside{"discarded", float64(r.Discarded), ""})
			}
			out.Targets = []Target{{Limit: limit, Value: out.Max, Unit: "s", Text: "the slowest"}}
			b.add(out)
		}
		fmt.Fprintf(b.log, "  tick %v: %d packets sent, %d received, %d counted, %d dropped by the port\n", every,
			totals.Sent, totals.Received, totals.Counted, totals.Dropped)
		if n := totals.Lost(); n > 0 {
			faults = append(faults, fmt.Errorf("tick %v: %d of %d packets were not counted, of which the port reports %d as dropped",
				every, n, totals.Sent, totals.Dropped))
		}
	}
	return errors.Join(faults...)
}
