package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-ddos/weir/bench/dpdk"
)

// dpdkPath is DESIGN.md 8's row of DPDK. Both sides take turns. What is not installed is said in a row.
func dpdkPath(ctx context.Context, b *bench) (err error) {
	if why := dpdk.Missing(); why != "" {
		b.add(Row{Scenario: "dpdk", Case: "not run: " + why})
		return nil
	}
	repeat, length := 3, 3*time.Second
	if b.quick {
		repeat, length = 1, 300*time.Millisecond
	}
	d, err := dpdk.New(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for _, c := range dpdk.Cases(length) {
		var weir, testpmd []dpdk.Sample
		for range repeat {
			w, t, err := d.Turn(ctx, c)
			if err != nil {
				return fmt.Errorf("%v: %w", c, err)
			}
			weir, testpmd = append(weir, w), append(testpmd, t)
		}
		b.add(dpdkRow(c, d.HugePages, weir, testpmd))
	}
	return nil
}

func dpdkRow(c dpdk.Case, huge bool, weir, testpmd []dpdk.Sample) Row {
	name := c.String() + ", huge pages"
	if !huge {
		name = c.String() + ", no huge pages"
	}
	ns, rate := median(weir, dpdk.Sample.Nanoseconds), median(weir, dpdk.Sample.Mpps)
	beside := []Beside{
		{"testpmd rxonly", median(testpmd, dpdk.Sample.Nanoseconds), "ns"}, {"at", median(testpmd, dpdk.Sample.Mpps), "Mpps"},
	}
	if c.Hosts == 0 {
		out := row("dpdk", name, "ns", each(weir, dpdk.Sample.Nanoseconds))
		out.Beside = append([]Beside{{"rate", rate, "Mpps"}}, beside...)
		out.Targets = []Target{{Text: "testpmd + 3", Limit: beside[0].Value + 3, Value: ns, Unit: "ns"}}
		return out
	}
	out := row("dpdk", name, "Mpps", each(weir, dpdk.Sample.Mpps))
	out.Beside = append([]Beside{{"CPU", ns, "ns"}, {"a second of CPU", 1000 / ns, "M"}}, beside...)
	out.Targets = []Target{{Text: "10GbE", Limit: 14.88, Value: rate, Unit: "Mpps", AtLeast: true}}
	return out
}

func each(list []dpdk.Sample, f func(dpdk.Sample) float64) (out []float64) {
	for _, s := range list {
		out = append(out, f(s))
	}
	return out
}

func median(list []dpdk.Sample, f func(dpdk.Sample) float64) float64 {
	values := each(list, f)
	slices.Sort(values)
	return values[len(values)/2]
}
