package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-ddos/weir/bench/memory"
	"github.com/weir-ddos/weir/bench/ports"
	"github.com/weir-ddos/weir/dataplane/nets"
)

// row makes a Row of the values of its repetitions.
func row(scenario, name, unit string, values []float64) Row {
	slices.Sort(values)
	return Row{
		Scenario: scenario, Case: name, Unit: unit,
		Median: values[len(values)/2], Min: values[0], Max: values[len(values)-1], Runs: len(values),
	}
}

func familyName(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// memoryPath is DESIGN.md 8's first row.
func memoryPath(ctx context.Context, b *bench) error {
	for _, c := range memory.Cases(3) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.quick {
			if c.Hosts != 1 && c.Hosts != 1<<20 {
				continue
			}
			c.Packets = 1 << 21
		}
		r, err := memory.Run(c)
		if err != nil {
			return fmt.Errorf("%d hosts: %w", c.Hosts, err)
		}
		b.add(memoryRow(r))
	}
	return nil
}

func memoryRow(r memory.Result) Row {
	what := "hosts"
	if r.Flows {
		what = "hosts and flows"
	}
	out := Row{
		Scenario: "memory", Case: fmt.Sprintf("%s, %s, %s active", familyName(r.IPv6), what, count(r.Hosts)), Unit: "ns",
		Median: r.Median, Min: r.Best, Max: r.Worst, Runs: r.Epochs,
		Beside: []Beside{{"rate", 1000 / r.Median, "Mpps"}, {"touching memory only", r.PlainMedian, "ns"}},
	}
	if r.Hosts == 1<<20 {
		out.Beside = append(out.Beside, Beside{"merge", r.Tick.Seconds() * 1000, "ms"})
		out.Targets = append(out.Targets, Target{Value: r.BytesPerHost, Limit: 400, Unit: "B", Text: "a host and worker"})
	}
	if r.Hosts == 1<<20 && r.Flows {
		out.Targets = slices.Insert(out.Targets, 0,
			Target{Value: 1000 / r.Median, Limit: 14.88, Unit: "Mpps", AtLeast: true, Text: "10GbE"},
			Target{Value: 1000 / r.Median, Limit: 37, Unit: "Mpps", AtLeast: true, Text: "then"})
	}
	return out
}

// count writes 65536 as 65 k.
func count(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d M", n>>20)
	case n >= 1000:
		return fmt.Sprintf("%d k", n/1000)
	}
	return fmt.Sprint(n)
}

// peer is FastNetMon's CPU a packet in BASELINE.md 1, in ns, without and with flows; 0 was not measured.
type peer struct{ hosts, flows float64 }

func fastNetMon(c ports.Case) peer {
	switch {
	case c.IPv6 && c.Driver == "afpacket":
		return peer{hosts: 988}
	case c.IPv6:
		return peer{}
	case c.Driver == "afpacket" && c.Rate > 0:
		return peer{372, 1510}
	case c.Driver == "afpacket":
		return peer{353, 1536}
	case c.Rate > 0:
		return peer{1661, 2607}
	}
	return peer{452, 1468}
}

// shape is what is sent through which driver; the cases of a shape differ in what is done with a packet.
type shape struct {
	name  string
	cases []ports.Case
}

// shapes groups the cases.
func shapes(b *bench) (list []shape) {
	length := 1200 * time.Millisecond // one tick is in it
	if b.quick {
		length = 300 * time.Millisecond
	}
	for _, c := range ports.Cases(length) {
		if c.What == ports.Touch && (c.IPv6 || c.Rate > 0) || c.OneTarget {
			continue // says nothing new, and takes time; one target is in versus
		}
		rate := "as fast as it goes"
		if c.Rate > 0 {
			rate = count(c.Rate) + " pps"
		}
		name := fmt.Sprintf("%s, %s, 65 k targets, %s", c.Driver, familyName(c.IPv6), rate)
		if len(list) == 0 || list[len(list)-1].name != name {
			list = append(list, shape{name: name})
		}
		s := &list[len(list)-1]
		s.cases = append(s.cases, c)
	}
	return list
}

// portsPath runs the cases of a shape in turns, so that what disturbs hits all alike.
func portsPath(ctx context.Context, b *bench) error {
	if runtime.NumCPU() < 2 {
		return errors.New("the generator and the worker need a processor each")
	}
	repeat := 3
	if b.quick {
		repeat = 1
	}
	var faults []error
	for _, s := range shapes(b) {
		runs := make([][]ports.Result, len(s.cases))
		for range repeat {
			for i, c := range s.cases {
				if err := ctx.Err(); err != nil {
					return err
				}
				r, err := ports.Run(c)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, c.What, err)
				}
				runs[i] = append(runs[i], r)
			}
		}
		faults = append(faults, b.addShape(s.name, runs))
	}
	return errors.Join(faults...)
}

// addShape adds the rows of what Weir does, next to what a bare counter costs. At a rate that any driver can carry, a
// loss is a fault; but a neighbour on the machine can steal the core for longer than the ring lasts, so one good
// repetition is proof enough.
func (b *bench) addShape(name string, runs [][]ports.Result) error {
	floors := make(map[string]float64)
	var faults []error
	for _, list := range runs {
		slices.SortFunc(list, func(x, y ports.Result) int { return cmp.Compare(x.Nanoseconds, y.Nanoseconds) })
		m := list[len(list)/2]
		lost := loss(list)
		if m.Rate > 0 && lost[0] > 0 {
			faults = append(faults, fmt.Errorf("%s, %s: %.2f %% lost", name, m.What, 100*lost[0]))
		}
		if m.What == ports.Bare || m.What == ports.Touch {
			floors[m.What] = m.Nanoseconds
			continue
		}
		out := Row{
			Scenario: "ports", Case: name + ", " + m.What, Unit: "ns",
			Median: m.Nanoseconds, Min: list[0].Nanoseconds, Max: list[len(list)-1].Nanoseconds, Runs: len(list),
			Beside:  []Beside{{"bare counter", floors[ports.Bare], "ns"}},
			Targets: []Target{{Text: "2 x bare", Limit: 2 * floors[ports.Bare], Value: m.Nanoseconds, Unit: "ns"}},
		}
		if ns, ok := floors[ports.Touch]; ok {
			out.Beside = append(out.Beside, Beside{"that reads the header", ns, "ns"})
		}
		out.Beside = append(out.Beside,
			Beside{"received", float64(m.Received) / m.Elapsed.Seconds() / 1e6, "Mpps"}, Beside{"lost", 100 * lost[len(lost)/2], "%"})
		if p := fastNetMon(m.Case); m.What == ports.Flows && p.flows > 0 {
			out.Targets = append(out.Targets, Target{Text: "FastNetMon/10", Limit: p.flows / 10, Value: m.Nanoseconds, Unit: "ns"})
		} else if m.What == ports.Hosts && p.hosts > 0 {
			out.Targets = append(out.Targets, Target{Text: "FastNetMon/4", Limit: p.hosts / 4, Value: m.Nanoseconds, Unit: "ns"})
		}
		b.add(out)
	}
	return errors.Join(faults...)
}

// loss is the part of the packets lost, a repetition each, sorted.
func loss(list []ports.Result) (out []float64) {
	for _, r := range list {
		out = append(out, float64(r.Dropped)/float64(r.Received+r.Dropped))
	}
	slices.Sort(out)
	return out
}

// prefixes looks up source and destination of random packets, half of them inside, among 100,000 scattered networks of each
// family.
func prefixes(_ context.Context, b *bench) error {
	const networks, pairs = 100_000, 1 << 16
	rounds := 64
	if b.quick {
		rounds = 8
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	var spec nets.Spec
	seen := make(map[netip.Prefix]bool)
	for len(seen) < 2*networks {
		a, bits := randomAddr(rnd, len(seen)%2 == 1)
		if p := netip.PrefixFrom(a, bits).Masked(); !seen[p] {
			seen[p] = true
			spec.Networks = append(spec.Networks, p)
		}
	}
	table, err := nets.New(spec)
	if err != nil {
		return err
	}
	for f, name := range []string{"IPv4", "IPv6"} {
		addrs := make([][2][16]byte, pairs)
		for i := range addrs {
			src, _ := randomAddr(rnd, f == 1)
			addrs[i][0] = src.As16()
			dst := spec.Networks[2*rnd.IntN(networks)+f].Addr().As16()
			dst[15] = byte(rnd.Uint32())
			addrs[i][1] = dst
		}
		var times []float64
		for range 5 {
			ns, inside := lookups(table, addrs, rounds)
			if inside < pairs*rounds {
				return fmt.Errorf("%s: %d of %d lookups found their network", name, inside, pairs*rounds)
			}
			times = append(times, ns)
		}
		out := row("prefixes", name+", source and destination, 100 k prefixes", "ns", times)
		out.Targets = []Target{{Limit: 30, Value: out.Median, Unit: "ns"}}
		b.add(out)
	}
	return nil
}

// randomAddr is a random address and the length of the network that is made of it.
func randomAddr(rnd *rand.Rand, v6 bool) (netip.Addr, int) {
	if v6 {
		return netip.AddrFrom16([16]byte{0x20, byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}), 48
	}
	return netip.AddrFrom4([4]byte{1 + byte(rnd.IntN(223)), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}), 24
}

// lookups returns nanoseconds of CPU a pair, and how many addresses were inside.
func lookups(table *nets.Table, addrs [][2][16]byte, rounds int) (ns float64, inside int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin := threadCPU()
	for range rounds {
		for i := range addrs {
			if table.Lookup(&addrs[i][0]) != 0 {
				inside++
			}
			if table.Lookup(&addrs[i][1]) != 0 {
				inside++
			}
		}
	}
	return float64(threadCPU()-begin) / float64(rounds*len(addrs)), inside
}

func threadCPU() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every kernel that Go runs on has it
	}
	return time.Duration(t.Nano())
}
