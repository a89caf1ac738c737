package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-ddos/weir/bench/flows"
)

// flowRecords is DESIGN.md 8's row of flow decoding, and issue 4's of receiving.
func flowRecords(ctx context.Context, b *bench) error {
	epochs, long := 5, 3*time.Second
	if b.quick {
		epochs, long = 2, time.Second
	}
	for _, c := range flows.Cases(epochs) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.quick {
			c.Records = 1 << 20
		}
		r, err := flows.Run(c)
		if err != nil {
			return fmt.Errorf("%s, %d hosts: %w", c.Protocol, c.Hosts, err)
		}
		b.add(flowRow(r))
	}
	for _, c := range flows.ReceiveCases(long) {
		r, err := flows.Receive(ctx, c)
		if err != nil {
			return fmt.Errorf("%s over loopback, %d hosts: %w", c.Protocol, c.Hosts, err)
		}
		b.add(receiveRow(r))
	}
	return besideRows(ctx, b, 2*time.Second)
}

// besideRows runs every collector of a protocol one after the other.
func besideRows(ctx context.Context, b *bench, long time.Duration) error {
	if b.quick {
		long = 500 * time.Millisecond
	}
	b.versions = append(b.versions, flows.Versions(ctx)...)
	for _, c := range flows.BesideCases(long) {
		r, err := flows.RunBeside(ctx, c)
		if err != nil {
			return fmt.Errorf("%s to %s: %w", c.Protocol, c.Side, err)
		}
		b.add(besideRow(r))
	}
	return nil
}

func besideRow(r flows.BesideResult) Row {
	out := Row{Scenario: "flows", Case: fmt.Sprintf("%s to %s, 500 k records/s, 65 k hosts", r.Protocol, r.Side), Unit: "ns"}
	if r.Missing != "" {
		out.Case += ": " + r.Missing
		return out
	}
	ns, lost := r.Nanoseconds(), 100*float64(r.Lost)/float64(max(r.Sent, 1))
	out.Median, out.Min, out.Max, out.Runs = ns, ns, ns, 1
	out.Beside = []Beside{{"lost", lost, "%"}, {"offered", r.Offered / 1e6, "M/s"}}
	if r.Side == flows.Weir {
		out.Targets = []Target{{Text: "lost", Value: lost, Limit: 0, Unit: "%"}}
	}
	return out
}

func flowRow(r flows.Result) Row {
	out := Row{
		Scenario: "flows", Case: fmt.Sprintf("%s, %s, decode, sample, count, %s hosts", r.Protocol, familyName(r.IPv6), count(r.Hosts)), Unit: "ns",
		Median: r.Counted.Median, Min: r.Counted.Best, Max: r.Counted.Worst, Runs: r.Epochs,
		Beside: []Beside{
			{"rate", 1000 / r.Counted.Median, "M/s"}, {"decode, sample", r.Decoded.Median, "ns"}, {"allocations", r.Allocations, ""},
		},
	}
	if r.Peer.Median > 0 {
		out.Beside = append(out.Beside, Beside{"goflow2's decoder", r.Peer.Median, "ns"}, Beside{"with its producer", r.Produced.Median, "ns"})
		out.Targets = []Target{
			{Value: r.Peer.Median / r.Decoded.Median, Limit: 10, Unit: "x", AtLeast: true, Text: "goflow2's decoder"},
			{Value: r.Produced.Median / r.Counted.Median, Limit: 10, Unit: "x", AtLeast: true, Text: "with its producer, ours counted"},
		}
	}
	return out
}

func receiveRow(r flows.ReceiveResult) Row {
	name := fmt.Sprintf("%s, %s, received over loopback, %s hosts", r.Protocol, familyName(r.IPv6), count(r.Hosts))
	if r.Spread {
		name += ", spread over 30 s"
	}
	if r.Single {
		name += ", datagrams one by one"
	}
	ns := 1e9 / r.PerCore()
	out := Row{
		Scenario: "flows", Case: name, Unit: "ns", Median: ns, Min: ns, Max: ns, Runs: 1,
		Beside: []Beside{
			{"rate a core", r.PerCore() / 1e6, "M/s"},
			{"rate", float64(r.Records) / r.Took.Seconds() / 1e6, "M/s"},
			{"datagrams lost", float64(r.Lost), ""},
			{"ticks, apart", float64(r.Ticks.Nanoseconds()) / float64(r.Records), "ns"},
			{"longest tick", r.MaxTick.Seconds() * 1000, "ms"},
		},
	}
	if r.Hosts == 1<<20 && (r.Protocol == flows.NetFlow9 || r.Protocol == flows.IPFIX) {
		out.Targets = []Target{{Value: r.PerCore() / 1e6, Limit: 5, Unit: "M/s", AtLeast: true}}
	}
	return out
}
