package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-ddos/weir/bench/alone"
	"github.com/weir-ddos/weir/bench/feed"
	"github.com/weir-ddos/weir/bench/scale"
	"github.com/weir-ddos/weir/bench/soak"
	"github.com/weir-ddos/weir/bench/tick"
)

// twoWorkers holds the ratio by run time against the target: what neighbours on the machine take is not in it.
func twoWorkers(ctx context.Context, b *bench) error {
	repeat, length := 7, time.Second
	if b.quick {
		repeat, length = 2, 200*time.Millisecond
	}
	for _, hosts := range []int{1 << 16, 1 << 20} {
		for _, v6 := range []bool{false, true} {
			r, err := scale.Run(ctx, scale.Case{Config: feed.Config{Hosts: hosts, IPv6: v6}, Time: length, Repeat: repeat})
			if err != nil {
				return err
			}
			byCPU, byClock := r.Ratios()
			var one, two []float64
			for _, x := range r.One {
				one = append(one, x.CPU/1e6)
			}
			for _, x := range r.Two {
				two = append(two, x.CPU/1e6)
			}
			out := row("scale", fmt.Sprintf("%s, hosts and flows, %s active, two workers by one", familyName(v6), count(hosts)), "x", byCPU)
			out.Beside = []Beside{
				{"by the clock", byClock[len(byClock)/2], "x"},
				{"one", row("", "", "", one).Median, "Mpps"},
				{"two", row("", "", "", two).Median, "Mpps"},
			}
			out.Targets = []Target{{Limit: 1.9, Value: out.Median, Unit: "x", AtLeast: true}}
			b.add(out)
		}
	}
	return nil
}

// loadedTicks is the tick beside a worker at full rate. The target is held against the slowest; a paced worker may lose a tenth of a
// per mille more with ticks than without, since a neighbour on the machine takes more than that.
func loadedTicks(ctx context.Context, b *bench) (err error) {
	hold, err := alone.Clear(1)
	if err != nil {
		fmt.Fprintln(b.log, "  the worker shares its processor with the kernel's threads:", err)
	} else {
		defer func() { err = errors.Join(err, hold.Release()) }()
	}
	for _, size := range []struct {
		hosts int
		limit float64
	}{{1 << 20, 100}, {1 << 22, 400}} {
		n := 8
		if b.quick {
			n = 2
		}
		for _, c := range tick.LoadedCases(size.hosts, n) {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, err := tick.RunLoaded(c)
			if err != nil {
				return err
			}
			out := row("tick", fmt.Sprintf("%s, %s hosts, a worker at full rate beside it", familyName(c.IPv6), count(c.Hosts)), "ms", milliseconds(r.Times))
			out.Beside = []Beside{
				{"CPU", 1000 * r.CPU[len(r.CPU)/2].Seconds(), "ms"},
				{"the worker", r.Ticked.Rate / 1e6, "Mpps"},
				{"without ticks", r.Alone.Rate / 1e6, "Mpps"},
				{"longest gap", 1000 * r.Ticked.Longest.Seconds(), "ms"},
				{"without ticks", 1000 * r.Alone.Longest.Seconds(), "ms"},
				{"offered then", r.Paced.Offered / 1e6, "Mpps"},
				{"a ring of 4,096 lost of that", 1e6 * r.Paced.Lost, "ppm"},
				{"without ticks", 1e6 * r.PacedAlone.Lost, "ppm"},
				{"with nothing done but polling", 1e6 * r.Polled.Lost, "ppm"},
				{"a ring of 16,384", 1e6 * r.Paced.LostDeep, "ppm"},
				{"without ticks", 1e6 * r.PacedAlone.LostDeep, "ppm"},
				{"with nothing done but polling", 1e6 * r.Polled.LostDeep, "ppm"},
			}
			if r.Late > 0 {
				out.Beside = append(out.Beside, Beside{"ticks that the worker did not answer", float64(r.Late), ""})
			}
			out.Targets = []Target{
				{Limit: size.limit, Value: out.Max, Unit: "ms", Text: "the slowest"},
				{Limit: 100, Value: max(0, 1e6*r.Added), Unit: "ppm", Text: "a ring of 4,096 lost more than without ticks"},
				{Limit: 100, Value: max(0, 1e6*r.AddedDeep), Unit: "ppm", Text: "one of 16,384"},
			}
			b.add(out)
		}
	}
	return nil
}

// soaked is ten minutes of everything. A packet that is not accounted for is a fault.
func soaked(ctx context.Context, b *bench) error {
	c := soak.Config{Weir: b.weir, Time: 10 * time.Minute, WarmUp: time.Minute, Alone: true}
	if b.quick {
		c.Time, c.WarmUp = 20*time.Second, 5*time.Second
	}
	r, err := soak.Run(ctx, c)
	if err != nil {
		return err
	}
	rate, longest := float64(r.Delivered)/r.Elapsed.Seconds()/1e6, 1000*r.Longest.Seconds()
	b.add(Row{
		Scenario: "soak", Case: fmt.Sprintf("AF_XDP, %v, %d commits, %d API queries: packets received", c.Time, r.Commits, r.Queries), Unit: "Mpps",
		Median: rate, Min: rate, Max: rate, Runs: 1,
		Beside: []Beside{
			{"sent", float64(r.Sent), ""},
			{"lost on the cable", float64(r.Sent - r.Delivered), ""},
			{"counted", float64(r.Counted), ""},
			{"dropped by the port", float64(r.Dropped), ""},
			{"busy", 100 * r.Busy, "%"},
			{"longest tick", 1000 * r.TickLongest.Seconds(), "ms"},
		},
	})
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	b.add(Row{
		Scenario: "soak", Case: "memory of the program", Unit: "MiB", Median: mib(r.RSS), Min: mib(r.RSS), Max: mib(r.Peak), Runs: 1,
		Targets: []Target{{Limit: 2, Value: max(0, 100*float64(r.Growth)/float64(r.RSS)), Unit: "%", Text: "growth"}},
	})
	gaps := Row{
		Scenario: "soak", Case: "longest gap between two polls of the pinned worker", Unit: "ms", Median: longest, Min: longest, Max: longest, Runs: 1,
		Targets: []Target{{Limit: 5, Value: longest, Unit: "ms"}},
	}
	gaps.Beside = append(histogram(&r), Beside{"of 5 ms or more while neither the host nor another thread had the processor", float64(r.Unexplained), ""})
	gaps.Beside = append(gaps.Beside, processor(&r)...)
	b.add(gaps)
	if n := r.Unaccounted(); n != 0 {
		return fmt.Errorf("%d packets more were counted or reported lost than came", n)
	}
	return nil
}

// mostThreads is how many threads of the kernel are named.
const mostThreads = 4

// processor is what else the worker's processor did, and what could not be moved off it.
func processor(r *soak.Result) (list []Beside) {
	list = append(list, Beside{"waited for its processor", 1000 * r.Waited.Seconds(), "ms"}, Beside{"stolen by the host", 1000 * r.Stolen.Seconds(), "ms"},
		Beside{"interrupts", 1000 * r.Interrupts.Seconds(), "ms"})
	for i, t := range r.Threads {
		if i < mostThreads {
			list = append(list, Beside{t.Name, 1000 * t.Time.Seconds(), "ms"})
		}
	}
	return append(list, Beside{"threads of the kernel moved off it as isolcpus would", float64(r.Moved.Threads), ""},
		Beside{"interrupts moved", float64(r.Moved.Interrupts), ""}, Beside{"left there", float64(r.Moved.Fixed), ""})
}

// shortGap is a gap that no ring of a network card notices: shorter ones are one number.
const shortGap = 100 * time.Microsecond

// histogram is the gaps by length, without the lengths that there are none of.
func histogram(r *soak.Result) (list []Beside) {
	short := Beside{}
	for _, g := range r.Gaps {
		below := time.Duration(g.Below * float64(time.Second))
		switch {
		case below > 0 && below <= shortGap:
			short = Beside{"gaps < " + roughly(below), short.Value + float64(g.Count), ""}
		case g.Count == 0:
		case below > 0:
			list = append(list, Beside{"< " + roughly(below), float64(g.Count), ""})
		default:
			list = append(list, Beside{"longer", float64(g.Count), ""})
		}
	}
	return append([]Beside{short}, list...)
}

// roughly is a length of time with three digits or so.
func roughly(d time.Duration) string {
	unit := time.Microsecond
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}
