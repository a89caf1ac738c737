package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-ddos/weir/bench/flows"
)

// flowRecords is DESIGN.md 8's row of flow decoding, and issue 4's of receiving.
func flowRecords(ctx context.Context, b *bench) error {
	epochs, long := 5, 5*time.Second
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
	return nil
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
	ns := 1e9 / r.PerCore()
	out := Row{
		Scenario: "flows", Case: name, Unit: "ns", Median: ns, Min: ns, Max: ns, Runs: 1,
		Beside: []Beside{
			{"rate a core", r.PerCore() / 1e6, "M/s"},
			{"rate", float64(r.Records) / r.Took.Seconds() / 1e6, "M/s"},
			{"datagrams lost", float64(r.Lost), ""},
			{"longest tick", r.MaxTick.Seconds() * 1000, "ms"},
		},
	}
	if r.Hosts == 1<<20 && (r.Protocol == flows.NetFlow9 || r.Protocol == flows.IPFIX) {
		out.Targets = []Target{{Value: r.PerCore() / 1e6, Limit: 5, Unit: "M/s", AtLeast: true}}
	}
	return out
}
